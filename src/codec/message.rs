//! The message stream: every message whole, behind its length.
//!
//! ```text
//! u64 length | length bytes: Message
//! ```
//!
//! It has no state. A link heartbeat is a message like any other here, and is known by what it
//! holds ([`Head::is_link_heartbeat`](crate::raftpb::Head::is_link_heartbeat)), not by its length,
//! which differs from release to release.
//!
//! Source: etcd 3.4 to 3.7, `server/etcdserver/api/rafthttp/message_codec.go`.

use super::decoder::{LENGTH_BYTES, check_length};
use super::{Config, Deviations, Frame, FrameKind, decode_whole, peek_length};
use crate::buf::{Carve, ReceiveBuffer, WriteQueue};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
use crate::raftpb::{RaftMessage, encode_message};
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::marker::PhantomData;

/// Writes the message stream of one connection.
#[derive(Clone, Debug)]
pub struct Encoder {
    config: Config,
}

impl Encoder {
    /// Makes the encoder of a new connection.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Queues `message`.
    ///
    /// # Errors
    ///
    /// The message is longer than [`message_bytes_max`](super::Limits::message_bytes_max), or
    /// nested too deep. Nothing is queued then.
    pub fn encode<M: RaftMessage>(
        &mut self,
        message: &M,
        queue: &mut WriteQueue,
    ) -> Result<FrameKind, EncodeError> {
        encode_whole(message, &self.config, queue)?;
        Ok(FrameKind::Message)
    }
}

/// Queues `message` behind its length.
pub(crate) fn encode_whole<M: RaftMessage>(
    message: &M,
    config: &Config,
    queue: &mut WriteQueue,
) -> Result<(), EncodeError> {
    let mark = queue.mark();
    // The length is known once the message is written.
    let length = queue.put_later(LENGTH_BYTES);
    let start = queue.len();
    let encoded = encode_message(message, config.dialect, queue).and_then(|()| {
        let bytes = (queue.len() - start) as u64;
        let limit = config.limits.message_bytes_max;
        if bytes > limit {
            return Err(EncodeError::new(EncodeErrorKind::Limit { bytes, limit }));
        }
        queue.fill(length, &bytes.to_be_bytes());
        Ok(())
    });
    if encoded.is_err() {
        queue.rollback(mark);
    }
    encoded
}

/// Reads the message stream of one connection.
pub struct Decoder<M: RaftMessage> {
    config: Config,
    messages: PhantomData<fn() -> M>,
    /// Where the unparsed bytes begin.
    offset: u64,
    /// A whole frame that waits for memory.
    held: Option<Bytes>,
    needed: usize,
    failed: Option<DecodeError>,
}

impl<M: RaftMessage> Decoder<M> {
    /// Makes the decoder of a new connection.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config: config.with_sane_limits(),
            messages: PhantomData,
            offset: 0,
            held: None,
            needed: 1,
            failed: None,
        }
    }

    /// Returns how many unparsed bytes there must be before [`decode`](Self::decode) can go on:
    /// what [`ReceiveBuffer::space`] asks for.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// Returns where the next frame begins, in bytes from the start of the stream.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset - self.held.as_ref().map_or(0, Bytes::len) as u64
    }

    /// Decodes the next frame. `None`: more bytes are needed, or more memory;
    /// [`ReceiveBuffer::space`] says which.
    ///
    /// # Errors
    ///
    /// A length above its limit, or malformed protobuf. The stream is dead then, and every further
    /// call returns the same error.
    pub fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<M>>, DecodeError> {
        let (input, carve) = received.parts();
        self.decode_from(input, carve)
    }

    pub(crate) fn decode_from(
        &mut self,
        input: &mut BytesMut,
        carve: &mut Carve,
    ) -> Result<Option<Frame<M>>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        carve.wants_list_bytes = 0;
        let decoded = self.step(input, carve);
        if let Err(error) = &decoded {
            self.failed = Some(*error);
        }
        decoded
    }

    fn step(
        &mut self,
        input: &mut BytesMut,
        carve: &mut Carve,
    ) -> Result<Option<Frame<M>>, DecodeError> {
        let run = match self.held.take() {
            Some(run) => run,
            None => {
                let Some(length) = peek_length(input, 0) else {
                    self.needed = LENGTH_BYTES;
                    return Ok(None);
                };
                let limit = self.config.limits.message_bytes_max;
                let length = check_length(length, limit, "message.length", self.offset)?;
                self.needed = LENGTH_BYTES + length;
                if input.len() < self.needed {
                    return Ok(None);
                }
                let run = input.split_to(self.needed).freeze();
                self.offset += run.len() as u64;
                run
            }
        };
        let len = run.len() as u64;
        let offset = self.offset - len;
        let Some(message) = decode_whole(&run, LENGTH_BYTES, offset, carve)? else {
            self.held = Some(run);
            return Ok(None);
        };
        carve.parsed(run.len());
        carve.item(run.len());
        self.needed = LENGTH_BYTES;
        Ok(Some(Frame {
            kind: FrameKind::Message,
            offset,
            len,
            message,
            deviations: Deviations::default(),
        }))
    }

    /// Says how the stream ended, once the peer closed it and [`decode`](Self::decode) returned
    /// `None`. A deviation is possible in [`Mode::AsEtcd`](super::Mode::AsEtcd) only.
    ///
    /// # Errors
    ///
    /// [`DecodeErrorKind::Truncated`] inside a frame; or the error the stream died of.
    pub fn finish(&self, received: &ReceiveBuffer) -> Result<Deviations, DecodeError> {
        self.finish_from(received.unparsed())
    }

    pub(crate) fn finish_from(&self, rest: &[u8]) -> Result<Deviations, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut deviations = Deviations::default();
        match rest.len() {
            0 if self.held.is_none() => {}
            // Go's reader takes an end between length and message for the stream's.
            LENGTH_BYTES if !self.config.is_strict() => {
                deviations.add(Deviations::END_INSIDE_FRAME);
            }
            read => {
                let offset = self.offset + read as u64;
                let field = if read < LENGTH_BYTES { "message.length" } else { "message" };
                return Err(DecodeError::new(DecodeErrorKind::Truncated, field, offset));
            }
        }
        Ok(deviations)
    }
}

impl<M: RaftMessage> fmt::Debug for Decoder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("config", &self.config)
            .field("offset", &self.offset)
            .field("needed", &self.needed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}
