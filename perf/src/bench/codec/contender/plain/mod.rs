//! The plain contender: its buffers and passes. One `BytesMut` is written into again and again; one
//! of 256 KiB is read into, and reserved into before each read, which reclaims it when no slice of it
//! lives. Not here: the codec itself (`codec`).

mod codec;

pub(crate) use codec::{APP_ENTRIES, Encoder, decode_stream, encode_stream};

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use codec::{Decoder, payload_bytes};

use super::{Codec, Operation, Stopwatch};
use crate::bench::codec::load::{BLOCK_BYTES, Load, StreamKind, Tally};
use crate::bench::error::BenchError;

/// A frame larger than a block needs more room than a block; a read into less is not worth a syscall.
const ROOM_BYTES_MIN: usize = BLOCK_BYTES / 4;

#[derive(Debug, Default)]
pub(crate) struct Plain {
    load: Option<Arc<Load>>,
    out: BytesMut,
    encoder: Encoder,
    /// Of the messages that are timed.
    encoded_bytes: usize,
    received: BytesMut,
    decoder: Decoder,
    copied_bytes: u64,
}

impl Codec for Plain {
    fn label(&self) -> &'static str {
        "plain prost"
    }

    fn about(&self) -> &'static str {
        "prost-generated messages over Bytes. Encode: one reused BytesMut, room reserved once a \
         frame, each length computed once and patched in, payloads copied by prost. Decode: one \
         BytesMut of 256 KiB, reclaimed when free, the entries at hand split off and frozen at once, \
         payloads sliced, one Vec of the right size a message. No checks of terms and indexes, no limits."
    }

    fn load(&mut self, load: &Arc<Load>) -> Result<Vec<u8>, BenchError> {
        self.load = Some(Arc::clone(load));
        self.encoder = Encoder::default();
        self.decoder = Decoder::default();
        self.received.clear();
        let lead_bytes = encode_stream(load.kind, &load.messages[..load.lead]).len();
        let encoded = encode_stream(load.kind, &load.messages);
        self.encoded_bytes = encoded.len() - lead_bytes;
        Ok(encoded.into())
    }

    fn pass(&mut self, operation: Operation, clock: &mut Stopwatch) -> Result<Tally, BenchError> {
        let Some(load) = self.load.clone() else {
            return Ok(Tally::default());
        };
        if operation == Operation::Encode {
            return Ok(self.encode(&load, clock));
        }
        self.decode(&load, operation, clock).map_err(|what| BenchError::WrongAnswer {
            contender: self.label().to_owned(),
            input: load.input.clone(),
            what,
        })
    }

    fn copied_bytes(&self) -> Option<u64> {
        Some(self.copied_bytes)
    }
}

impl Plain {
    fn encode(&mut self, load: &Load, clock: &mut Stopwatch) -> Tally {
        for message in &load.messages[..load.lead] {
            self.encoder.encode(load.kind, message, &mut self.out);
        }
        self.out.clear();
        clock.begin_steady(self.copied_bytes());
        let mut encoded_bytes = 0;
        clock.time(|| {
            for batch in load.timed().chunks(load.queue_messages) {
                for message in batch {
                    self.encoder.encode(load.kind, message, &mut self.out);
                }
                encoded_bytes += black_box(self.out.chunk()).len();
                self.out.clear();
            }
        });
        self.copied_bytes += load.expected.payload_bytes;
        if encoded_bytes == self.encoded_bytes { load.expected } else { Tally::default() }
    }

    fn decode(
        &mut self,
        load: &Load,
        operation: Operation,
        clock: &mut Stopwatch,
    ) -> Result<Tally, String> {
        let mut rest = load.stream.clone();
        let mut lead = rest.split_to(load.lead_bytes);
        while !lead.is_empty() {
            self.make_room();
            self.read(&mut lead);
            self.drain(load.kind, &mut Tally::default())?;
        }
        let mut tally = Tally::default();
        clock.begin_steady(self.copied_bytes());
        if operation == Operation::DecodeCopied {
            clock.time(|| {
                while !rest.is_empty() {
                    self.make_room();
                    self.read(&mut rest);
                    self.drain(load.kind, &mut tally)?;
                }
                Ok::<_, String>(())
            })?;
        } else {
            clock.time(|| self.make_room());
            while !rest.is_empty() {
                self.read(&mut rest);
                clock.time(|| {
                    self.drain(load.kind, &mut tally)?;
                    self.make_room();
                    Ok::<_, String>(())
                })?;
            }
        }
        Ok(tally)
    }

    /// What a reader does before each read.
    fn make_room(&mut self) {
        let tail = self.received.len();
        let before = self.received.as_ptr();
        self.received.reserve(BLOCK_BYTES.saturating_sub(tail).max(ROOM_BYTES_MIN));
        if tail > 0 && self.received.as_ptr() != before {
            self.copied_bytes += tail as u64;
        }
    }

    /// Stands for a socket read into the room there is.
    fn read(&mut self, from: &mut Bytes) {
        let bytes = (self.received.capacity() - self.received.len()).min(from.len());
        self.received.put_slice(&from[..bytes]);
        from.advance(bytes);
    }

    fn drain(&mut self, kind: StreamKind, tally: &mut Tally) -> Result<(), String> {
        while let Some(message) = self.decoder.decode(kind, &mut self.received)? {
            tally.add(message.entries.len(), payload_bytes(&message));
            black_box(&message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_sees_the_whole_load() {
        let load = Arc::new(Load::steady("3x100".parse().unwrap(), 1));
        let mut plain = Plain::default();
        assert_eq!(plain.load(&load).unwrap(), load.stream);
        for operation in Operation::ALL {
            for _ in 0..3 {
                let seen = plain.pass(operation, &mut Stopwatch::default()).unwrap();
                assert_eq!(seen, load.expected, "{operation:?}");
            }
        }
    }
}
