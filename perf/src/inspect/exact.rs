//! Whether `craft` would give a frame back byte for byte: each is encoded again, by the encoder
//! `craft` uses, and compared.

use crate::craft::FrameEncoder;
use crate::frame::Stream;
use bytes::{Buf, BytesMut};
use raftwire::codec::Frame;
use raftwire::raftpb::{Dialect, Message};

/// Compares frames with what `craft` would write of them.
#[derive(Debug)]
pub(super) struct Comparison {
    encoder: FrameEncoder,
    /// The stream's bytes from the start of the next frame on.
    original: BytesMut,
}

impl Comparison {
    pub(super) fn new(stream: Stream, dialect: Dialect) -> Self {
        Self { encoder: FrameEncoder::new(stream, dialect, false), original: BytesMut::new() }
    }

    /// Takes bytes of the stream.
    pub(super) fn fill(&mut self, data: &[u8]) {
        self.original.extend_from_slice(data);
    }

    /// Whether the next frame, whose bytes were taken, would come out identical.
    pub(super) fn is_exact(&mut self, frame: &Frame<Message>) -> bool {
        let len = usize::try_from(frame.len).unwrap_or(usize::MAX).min(self.original.len());
        let exact = match self.encoder.encode(&frame.message, Some(frame.kind)) {
            Ok(encoded) => equal(encoded.bytes, &self.original[..len]),
            // `craft` would refuse it.
            Err(_) => false,
        };
        self.original.advance(len);
        if self.original.is_empty() {
            // What one large frame needed is not kept for the small ones behind it.
            self.original = BytesMut::new();
        }
        exact
    }
}

fn equal(mut encoded: impl Buf, mut original: &[u8]) -> bool {
    if encoded.remaining() != original.len() {
        return false;
    }
    while encoded.has_remaining() {
        let chunk = encoded.chunk();
        let count = chunk.len();
        if original[..count] != *chunk {
            return false;
        }
        original = &original[count..];
        encoded.advance(count);
    }
    true
}
