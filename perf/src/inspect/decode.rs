//! The decoders of both streams behind one face, fed from memory. What is done with a frame is not
//! known here.

use crate::frame::Stream;
use bytes::BufMut;
use raftwire::buf::{Pool, PoolConfig, ReceiveBuffer, Space};
use raftwire::codec::{Config, Deviations, Frame, message, msgappv2};
use raftwire::error::DecodeError;
use raftwire::raftpb::Message;
use std::time::Instant;

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
    pub(super) fn new(stream: Stream, config: Config) -> Self {
        let decoder = match stream {
            Stream::Msgappv2 => Decoder::Msgappv2(msgappv2::Decoder::new(config)),
            Stream::Message => Decoder::Message(message::Decoder::new(config)),
        };
        Self { decoder, received: ReceiveBuffer::new(Pool::new(PoolConfig::default())) }
    }

    /// Takes bytes of the stream, and returns how many; then [`next`](Self::next) is called until
    /// it returns `None`.
    pub(super) fn fill(&mut self, data: &[u8]) -> Result<usize, DecodeError> {
        let needed = match &self.decoder {
            Decoder::Msgappv2(decoder) => decoder.needed(),
            Decoder::Message(decoder) => decoder.needed(),
        };
        let now = Instant::now();
        let until = match self.received.space(needed, now)? {
            Space::Wait { until } => until,
            space => {
                let Some(mut room) = space.room() else {
                    return Ok(0);
                };
                let count = data.len().min(room.remaining_mut());
                room.put_slice(&data[..count]);
                return Ok(count);
            }
        };
        // No other thread holds memory of this pool: waiting would free none.
        self.received.space(needed, until).map(|_| 0)
    }

    /// Decodes the next frame; `None` if more bytes are needed.
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
