//! Either stream's codec behind one face, and the loop of a reader that never waits.

use crate::buf::{Pool, PoolConfig, ReceiveBuffer, Space, WriteQueue};
use crate::codec::{Config, Deviations, Frame, FrameKind, Mode, message, msgappv2};
use crate::error::{DecodeError, EncodeError};
use crate::raftpb::Message;
use bytes::{Buf, BufMut};
use std::time::Instant;

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "etcd has two")]
pub enum Stream {
    /// `msgappv2`.
    MsgAppV2,
    /// The message stream.
    Message,
}

pub(super) enum Decoder {
    MsgAppV2(msgappv2::Decoder<Message>),
    Message(message::Decoder<Message>),
}

impl Decoder {
    fn new(stream: Stream, config: &Config) -> Self {
        match stream {
            Stream::MsgAppV2 => Self::MsgAppV2(msgappv2::Decoder::new(config.clone())),
            Stream::Message => Self::Message(message::Decoder::new(config.clone())),
        }
    }

    fn needed(&self) -> usize {
        match self {
            Self::MsgAppV2(decoder) => decoder.needed(),
            Self::Message(decoder) => decoder.needed(),
        }
    }

    fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<Message>>, DecodeError> {
        match self {
            Self::MsgAppV2(decoder) => decoder.decode(received),
            Self::Message(decoder) => decoder.decode(received),
        }
    }

    fn finish(&self, received: &ReceiveBuffer) -> Result<Deviations, DecodeError> {
        match self {
            Self::MsgAppV2(decoder) => decoder.finish(received),
            Self::Message(decoder) => decoder.finish(received),
        }
    }

    fn offset(&self) -> u64 {
        match self {
            Self::MsgAppV2(decoder) => decoder.offset(),
            Self::Message(decoder) => decoder.offset(),
        }
    }

    fn state(&self) -> Option<msgappv2::State> {
        match self {
            Self::MsgAppV2(decoder) => Some(decoder.state()),
            Self::Message(_) => None,
        }
    }
}

pub(super) enum Encoder {
    MsgAppV2(msgappv2::Encoder),
    Message(message::Encoder),
}

impl Encoder {
    pub(super) fn new(stream: Stream, config: Config) -> Self {
        match stream {
            Stream::MsgAppV2 => Self::MsgAppV2(msgappv2::Encoder::new(config)),
            Stream::Message => Self::Message(message::Encoder::new(config)),
        }
    }

    pub(super) fn encode(
        &mut self,
        message: &Message,
        queue: &mut WriteQueue,
    ) -> Result<FrameKind, EncodeError> {
        match self {
            Self::MsgAppV2(encoder) => encoder.encode(message, queue),
            Self::Message(encoder) => encoder.encode(message, queue),
        }
    }
}

/// What came of a stream that was then closed.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) frames: Vec<Frame<Message>>,
    pub(super) end: Result<Deviations, DecodeError>,
    pub(super) offset: u64,
    pub(super) state: Option<msgappv2::State>,
}

/// The size of the blocks: the least there is, so that an input has frames that lie across two.
pub(super) const BLOCK_BYTES: usize = 4 << 10;

/// Decodes a stream that arrives in pieces of these `sizes`, and hands each frame to `take`.
pub(super) fn decode_into(
    stream: Stream,
    config: &Config,
    mut bytes: &[u8],
    mut sizes: impl Iterator<Item = usize>,
    now: Instant,
    mut take: impl FnMut(Frame<Message>),
) -> Outcome {
    let mut decoder = Decoder::new(stream, config);
    let mut received = ReceiveBuffer::new(Pool::new(PoolConfig {
        block_bytes: BLOCK_BYTES,
        ..PoolConfig::default()
    }));
    let mut failed = None;
    while !bytes.is_empty() && failed.is_none() {
        let size = sizes.next().unwrap_or(bytes.len()).min(bytes.len());
        let (mut piece, rest) = bytes.split_at(size);
        bytes = rest;
        while !piece.is_empty() && failed.is_none() {
            let Ok(Space::Room(mut room)) = received.space(decoder.needed(), now) else {
                panic!("no input is as long as the budget");
            };
            let count = room.remaining_mut().min(piece.len());
            assert!(count > 0, "a room has room");
            room.put_slice(&piece[..count]);
            piece.advance(count);
            loop {
                match decoder.decode(&mut received) {
                    Ok(Some(frame)) => take(frame),
                    Ok(None) => break,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
        }
    }
    let end = decoder.finish(&received);
    if let Some(error) = failed {
        assert_eq!(end, Err(error), "a decoder goes on failing");
        assert_eq!(decoder.decode(&mut received), Err(error), "a decoder goes on failing");
    }
    Outcome { frames: Vec::new(), end, offset: decoder.offset(), state: decoder.state() }
}

/// Decodes a stream that arrives in pieces of these `sizes`.
pub(super) fn decode(
    stream: Stream,
    config: &Config,
    bytes: &[u8],
    sizes: impl Iterator<Item = usize>,
    now: Instant,
) -> Outcome {
    let mut frames = Vec::new();
    let outcome = decode_into(stream, config, bytes, sizes, now, |frame| frames.push(frame));
    Outcome { frames, ..outcome }
}

/// Encodes `messages` as etcd would, and returns each frame's kind, and the bytes.
pub(super) fn encode<'a>(
    stream: Stream,
    config: &Config,
    messages: impl Iterator<Item = &'a Message>,
) -> (Vec<FrameKind>, Vec<u8>) {
    let mut encoder = Encoder::new(stream, config.clone());
    let mut queue = WriteQueue::new();
    let kinds = messages
        .map(|message| match encoder.encode(message, &mut queue) {
            Ok(kind) => kind,
            Err(error) => panic!("what was decoded can be encoded: {error}"),
        })
        .collect();
    let bytes = queue.copy_to_bytes(queue.len()).to_vec();
    (kinds, bytes)
}

/// Decodes a stream that is then closed, as etcd would, within the default limits.
pub fn decode_as_etcd(
    stream: Stream,
    (local, remote): (u64, u64),
    bytes: &[u8],
    now: Instant,
) -> (Vec<Frame<Message>>, Result<Deviations, DecodeError>) {
    let config = Config::default().mode(Mode::AsEtcd).local(local).remote(remote);
    let outcome = decode(stream, &config, bytes, std::iter::empty(), now);
    (outcome.frames, outcome.end)
}
