//! raftwire's own codec, used as a transport uses it: long-lived encoders and decoders in strict
//! mode, a queue that is gathered and used again, a pool of blocks that reads go into. Not here:
//! followers that share a frame (`cluster`).

use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;
use raftwire::buf::{Pool, ReceiveBuffer, Space, WriteQueue};
use raftwire::codec::{Config, Frame, message, msgappv2};
use raftwire::error::{DecodeError, EncodeError};
use raftwire::raftpb::{Entry, EntryType, Message, RaftMessage, Wire, plain};

use super::{Codec, Operation, Stopwatch};
use crate::bench::codec::load::{Load, StreamKind, Tally};
use crate::bench::error::BenchError;
use crate::bench::report::OURS;

/// As many slices as a vectored write of tokio's takes.
const SLICES: usize = 64;

#[derive(Debug)]
pub(crate) struct Ours {
    load: Option<Arc<Load>>,
    messages: Vec<Message>,
    /// Of the messages that are timed.
    encoded_bytes: usize,
    ends: Ends,
    queue: WriteQueue,
    received: ReceiveBuffer,
    /// Only a wait for memory would look at the time.
    now: Instant,
}

/// Both ends of a stream.
#[derive(Debug)]
enum Ends {
    Msgappv2(msgappv2::Encoder, msgappv2::Decoder<Message>),
    Message(message::Encoder, message::Decoder<Message>),
}

impl Ends {
    fn new(kind: StreamKind) -> Self {
        let written = Config::default();
        let read = Config::default().local(2).remote(1);
        match kind {
            StreamKind::Msgappv2 => {
                Self::Msgappv2(msgappv2::Encoder::new(written), msgappv2::Decoder::new(read))
            }
            StreamKind::Message => {
                Self::Message(message::Encoder::new(written), message::Decoder::new(read))
            }
        }
    }

    #[inline]
    fn encode(&mut self, message: &Message, queue: &mut WriteQueue) -> Result<(), EncodeError> {
        match self {
            Self::Msgappv2(encoder, _) => encoder.encode(message, queue)?,
            Self::Message(encoder, _) => encoder.encode(message, queue)?,
        };
        Ok(())
    }

    #[inline]
    fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<Message>>, DecodeError> {
        match self {
            Self::Msgappv2(_, decoder) => decoder.decode(received),
            Self::Message(_, decoder) => decoder.decode(received),
        }
    }

    fn needed(&self) -> usize {
        match self {
            Self::Msgappv2(_, decoder) => decoder.needed(),
            Self::Message(_, decoder) => decoder.needed(),
        }
    }
}

impl Ours {
    pub(crate) fn new() -> Self {
        Self {
            load: None,
            messages: Vec::new(),
            encoded_bytes: 0,
            ends: Ends::new(StreamKind::Msgappv2),
            queue: WriteQueue::new(),
            received: ReceiveBuffer::new(Pool::default()),
            now: Instant::now(),
        }
    }
}

impl Codec for Ours {
    fn label(&self) -> &'static str {
        OURS
    }

    fn about(&self) -> &'static str {
        "Strict mode, every check on. Encode: into one WriteQueue used again, gathered 64 slices at \
         a time. Decode: from the blocks of 256 KiB of a Pool, payloads and lists of entries \
         dropped before the next message."
    }

    fn load(&mut self, load: &Arc<Load>) -> Result<Vec<u8>, BenchError> {
        *self = Self::new();
        self.ends = Ends::new(load.kind);
        self.messages = messages(load)?;
        self.load = Some(Arc::clone(load));
        // The lists that other shapes left behind are not part of this one's steady state.
        let lists = Message::lists();
        let left_behind: Vec<_> = (0..lists.ready()).map(|_| lists.take(0)).collect();
        drop(left_behind);
        let mut encoded = Vec::new();
        for (at, message) in self.messages.iter().enumerate() {
            self.ends.encode(message, &mut self.queue).map_err(|error| wrong(load, &error))?;
            let bytes = self.queue.copy_to_bytes(self.queue.len());
            self.encoded_bytes += if at < load.lead { 0 } else { bytes.len() };
            encoded.extend_from_slice(&bytes);
        }
        Ok(encoded)
    }

    fn pass(&mut self, operation: Operation, clock: &mut Stopwatch) -> Result<Tally, BenchError> {
        let Some(load) = self.load.clone() else {
            return Ok(Tally::default());
        };
        if operation == Operation::Encode {
            return self.encode(&load, clock).map_err(|error| wrong(&load, &error));
        }
        self.decode(&load, operation, clock).map_err(|error| wrong(&load, &error))
    }

    fn copied_bytes(&self) -> Option<u64> {
        let received = self.received.stats();
        Some(self.queue.copied_bytes() + received.moved_bytes + received.copied_out_bytes)
    }
}

impl Ours {
    fn encode(&mut self, load: &Load, clock: &mut Stopwatch) -> Result<Tally, EncodeError> {
        for message in &self.messages[..load.lead] {
            self.ends.encode(message, &mut self.queue)?;
        }
        self.queue.clear();
        let copied_bytes = self.copied_bytes();
        clock.begin_steady(copied_bytes);
        let mut encoded_bytes = 0;
        clock.time(|| {
            for batch in self.messages[load.lead..].chunks(load.queue_messages) {
                for message in batch {
                    self.ends.encode(message, &mut self.queue)?;
                }
                encoded_bytes += flush(&mut self.queue);
            }
            Ok(())
        })?;
        Ok(if encoded_bytes == self.encoded_bytes { load.expected } else { Tally::default() })
    }

    fn decode(
        &mut self,
        load: &Load,
        operation: Operation,
        clock: &mut Stopwatch,
    ) -> Result<Tally, DecodeError> {
        let mut rest = load.stream.clone();
        let mut lead = rest.split_to(load.lead_bytes);
        while !lead.is_empty() {
            self.make_room()?;
            self.read(&mut lead)?;
            self.drain(&mut Tally::default())?;
        }
        let mut tally = Tally::default();
        clock.begin_steady(self.copied_bytes());
        if operation == Operation::DecodeCopied {
            clock.time(|| {
                while !rest.is_empty() {
                    self.make_room()?;
                    self.read(&mut rest)?;
                    self.drain(&mut tally)?;
                }
                Ok(())
            })?;
        } else {
            clock.time(|| self.make_room())?;
            while !rest.is_empty() {
                self.read(&mut rest)?;
                clock.time(|| {
                    self.drain(&mut tally)?;
                    self.make_room()
                })?;
            }
        }
        Ok(tally)
    }

    /// What a reader does before each read.
    fn make_room(&mut self) -> Result<(), DecodeError> {
        self.received.space(self.ends.needed(), self.now).map(drop)
    }

    /// Stands for a socket read into the room there is.
    fn read(&mut self, from: &mut Bytes) -> Result<(), DecodeError> {
        if let Space::Room(mut room) = self.received.space(self.ends.needed(), self.now)? {
            let bytes = room.remaining_mut().min(from.len());
            room.put_slice(&from[..bytes]);
            from.advance(bytes);
        }
        Ok(())
    }

    #[inline]
    fn drain(&mut self, tally: &mut Tally) -> Result<(), DecodeError> {
        while let Some(frame) = self.ends.decode(&mut self.received)? {
            let entries = &frame.message.entries;
            let data = entries.iter().map(|entry| entry.data.as_ref().map_or(0, Bytes::len));
            tally.add(entries.len(), data.sum());
            black_box(&frame);
        }
        Ok(())
    }
}

/// Does what a writer does with a queue, except for the vectored write itself.
pub(crate) fn flush(queue: &mut WriteQueue) -> usize {
    let mut flushed = 0;
    while queue.has_remaining() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = queue.chunks_vectored(&mut slices);
        let bytes = black_box(&slices[..filled]).iter().map(|slice| slice.len()).sum();
        queue.advance(bytes);
        flushed += bytes;
    }
    flushed
}

/// The load's messages in raftwire's own type, payloads shared with the load.
pub(crate) fn messages(load: &Load) -> Result<Vec<Message>, BenchError> {
    load.messages.iter().map(|message| convert(load, message)).collect()
}

fn convert(load: &Load, message: &plain::Message) -> Result<Message, BenchError> {
    let without_entries = plain::Message { entries: Vec::new(), ..message.clone() };
    let bytes = Bytes::from(without_entries.encode_to_vec());
    let mut converted = Message::decode(&bytes).map_err(|error| wrong(load, &error))?;
    let entry = |entry: &plain::Entry| Entry {
        entry_type: EntryType(entry.r#type.unwrap_or(0)),
        term: entry.term(),
        index: entry.index(),
        data: entry.data.clone(),
    };
    converted.entries = message.entries.iter().map(entry).collect::<Vec<_>>().into();
    Ok(converted)
}

pub(crate) fn wrong(load: &Load, error: &dyn std::error::Error) -> BenchError {
    BenchError::WrongAnswer {
        contender: OURS.to_owned(),
        input: load.input.clone(),
        what: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_the_plain_codec_and_sees_the_whole_load() {
        for shape in ["1x64", "3x5000", "2x300KiB"] {
            let load = Arc::new(Load::steady(shape.parse().unwrap(), 1));
            let mut ours = Ours::new();
            assert!(ours.load(&load).unwrap() == load.stream, "{shape}");
            for operation in Operation::ALL {
                for _ in 0..3 {
                    let seen = ours.pass(operation, &mut Stopwatch::default()).unwrap();
                    assert_eq!(seen, load.expected, "{shape} {operation:?}");
                }
            }
        }
    }

    #[test]
    fn flushes_everything() {
        let load = Load::steady("64x5000".parse().unwrap(), 1);
        let mut queue = WriteQueue::new();
        let mut ends = Ends::new(load.kind);
        for message in messages(&load).unwrap() {
            ends.encode(&message, &mut queue).unwrap();
        }
        assert_eq!(flush(&mut queue), load.stream.len());
        assert!(queue.is_empty());
    }
}
