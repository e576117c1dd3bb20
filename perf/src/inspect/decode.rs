//! The decoders of both streams behind one face, fed from memory. What is done with a frame is not
//! known here.

use crate::frame::Stream;
use bytes::BufMut;
use raftwire::buf::{Pool, PoolConfig, ReceiveBuffer, Space};
use raftwire::codec::{Config, Deviations, Frame, message, msgappv2};
use raftwire::error::DecodeError;
use raftwire::raftpb::Message;
use std::time::Instant;

/// What became of the bytes that were offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// So many were taken.
    Taken(usize),
    /// None: what was taken before is to be decoded first, there is memory for its lists now.
    Decode,
}

/// Decodes the frames of one stream.
#[derive(Debug)]
pub(super) struct FrameDecoder {
    decoder: Decoder,
    received: ReceiveBuffer,
}

#[derive(Debug)]
enum Decoder {
    Msgappv2(msgappv2::Decoder<Message>),
    Message(message::Decoder<Message>),
}

impl FrameDecoder {
    /// Its received bytes and lists take no more memory than `memory` allows.
    pub(super) fn new(stream: Stream, config: Config, memory: PoolConfig) -> Self {
        let decoder = match stream {
            Stream::Msgappv2 => Decoder::Msgappv2(msgappv2::Decoder::new(config)),
            Stream::Message => Decoder::Message(message::Decoder::new(config)),
        };
        Self { decoder, received: ReceiveBuffer::new(Pool::new(memory)) }
    }

    /// Takes bytes of the stream; then [`next`](Self::next) is called until it returns `None`.
    ///
    /// That `None` means more bytes are needed only where the next call of this, with no bytes even,
    /// does not say [`Filled::Decode`].
    pub(super) fn fill(&mut self, data: &[u8]) -> Result<Filled, DecodeError> {
        let needed = match &self.decoder {
            Decoder::Msgappv2(decoder) => decoder.needed(),
            Decoder::Message(decoder) => decoder.needed(),
        };
        let now = Instant::now();
        let until = match self.received.space(needed, now)? {
            Space::Wait { until } => until,
            space => {
                let Some(mut room) = space.room() else {
                    return Ok(Filled::Decode);
                };
                let count = data.len().min(room.remaining_mut());
                room.put_slice(&data[..count]);
                return Ok(Filled::Taken(count));
            }
        };
        // No other thread holds memory of this pool: waiting would free none.
        self.received.space(needed, until).map(|_| Filled::Decode)
    }

    /// Decodes the next frame; `None` if more bytes are needed, or memory.
    pub(super) fn next(&mut self) -> Result<Option<Frame<Message>>, DecodeError> {
        match &mut self.decoder {
            Decoder::Msgappv2(decoder) => decoder.decode(&mut self.received),
            Decoder::Message(decoder) => decoder.decode(&mut self.received),
        }
    }

    /// The state behind the last frame; the `message` stream has none.
    pub(super) fn state(&self) -> Option<msgappv2::State> {
        match &self.decoder {
            Decoder::Msgappv2(decoder) => Some(decoder.state()),
            Decoder::Message(_) => None,
        }
    }

    /// Says whether the stream may end here.
    pub(super) fn finish(&self) -> Result<Deviations, DecodeError> {
        match &self.decoder {
            Decoder::Msgappv2(decoder) => decoder.finish(&self.received),
            Decoder::Message(decoder) => decoder.finish(&self.received),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raftwire::error::DecodeErrorKind;

    /// A frame of the message stream that holds an entry list of `entries` twice over: as its own,
    /// and in a response.
    fn two_lists(entries: usize) -> Vec<u8> {
        let list = [0x3a, 0x00].repeat(entries);
        let mut length = list.len();
        let mut body = list.clone();
        body.push(0x72);
        while length >= 0x80 {
            body.push((length & 0x7f).to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        body.push(length.to_le_bytes()[0]);
        body.extend_from_slice(&list);
        [&(body.len() as u64).to_be_bytes()[..], &body].concat()
    }

    /// Decodes to the end, as the command does: how many frames there were.
    fn decode(bytes: &[u8], budget_bytes: usize) -> Result<usize, DecodeError> {
        let mut memory = PoolConfig::default();
        memory.budget_bytes = budget_bytes;
        let mut decoder = FrameDecoder::new(Stream::Message, Config::default(), memory);
        let (mut rest, mut frames) = (bytes, 0);
        // Far more turns than it takes: it must not go round for ever.
        for _ in 0..10_000 {
            match decoder.fill(rest)? {
                Filled::Taken(0) if rest.is_empty() => {
                    return decoder.finish().map(|_| frames);
                }
                Filled::Taken(count) => rest = &rest[count..],
                Filled::Decode => {}
            }
            while decoder.next()?.is_some() {
                frames += 1;
            }
        }
        panic!("neither an end nor an error")
    }

    #[test]
    fn a_frame_whose_lists_have_no_memory_is_an_error_and_not_an_end() {
        let bytes = two_lists(20_000);
        assert_eq!(decode(&bytes, 64 << 20), Ok(1));
        // Enough for each list, and not for both; with and without bytes behind the frame.
        for behind in [&[][..], &[0]] {
            let bytes = [&bytes[..], behind].concat();
            let error = decode(&bytes, 2 << 20).unwrap_err();
            let short = matches!(
                error.kind,
                DecodeErrorKind::Budget { .. } | DecodeErrorKind::Limit { .. }
            );
            assert!(short, "{error}");
        }
    }
}
