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
use crate::buf::{Carve, ReceiveBuffer, SHARE_BYTES_MIN, WriteQueue};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
use crate::raftpb::{
    CONTROL_ROOM, Control, MessageType, Parts, RaftMessage, encode_message, put_control,
    read_control,
};
use bytes::{Buf, Bytes, BytesMut};
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
    match put_whole(message, config, queue) {
        Some(len) => {
            check_message(len, config)?;
            queue.commit_copied(LENGTH_BYTES, len);
            Ok(())
        }
        None => encode_any(message, config, queue),
    }
}

/// Writes `message` behind what is queued, if it is a control message, and returns how long it is
/// behind its length.
#[inline(always)]
fn put_whole<M: RaftMessage>(
    message: &M,
    config: &Config,
    queue: &mut WriteQueue,
) -> Option<usize> {
    let head = message.head();
    let context = message.context();
    let context_len = context.map_or(0, Bytes::len);
    if !message.entries().is_empty()
        || !message.responses().is_empty()
        || head.message_type == MessageType::SNAP
        || context_len >= SHARE_BYTES_MIN
        || message.snapshot().is_some()
    {
        return None;
    }
    let tail = queue.tail(LENGTH_BYTES + CONTROL_ROOM + context_len);
    let (length, out) = tail.split_first_chunk_mut()?;
    let len = put_control(&head, context, config.dialect, out)?;
    *length = (len as u64).to_be_bytes();
    Some(len)
}

fn check_message(len: usize, config: &Config) -> Result<(), EncodeError> {
    let (bytes, limit) = (len as u64, config.limits.message_bytes_max);
    if bytes > limit {
        return Err(EncodeError::new(EncodeErrorKind::Limit { bytes, limit }));
    }
    Ok(())
}

fn encode_any<M: RaftMessage>(
    message: &M,
    config: &Config,
    queue: &mut WriteQueue,
) -> Result<(), EncodeError> {
    let mark = queue.mark();
    // The length is known once the message is written.
    let length = queue.put_later(LENGTH_BYTES);
    let start = queue.len();
    let encoded = encode_message(message, config.dialect, queue).and_then(|()| {
        let len = queue.len() - start;
        check_message(len, config)?;
        queue.fill(length, &(len as u64).to_be_bytes());
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
    #[inline]
    pub fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<M>>, DecodeError> {
        let (input, carve) = received.parts();
        self.decode_from(input, carve)
    }

    #[inline]
    pub(crate) fn decode_from(
        &mut self,
        input: &mut BytesMut,
        carve: &mut Carve,
    ) -> Result<Option<Frame<M>>, DecodeError> {
        let Some((count, control)) = self.control(input) else {
            return self.decode_any(input, carve);
        };
        carve.wants_list_bytes = 0;
        let context = match control.context {
            Some(span) => Some(carve.only_payload(input, count, span)),
            None => {
                input.advance(count);
                None
            }
        };
        let (offset, len) = (self.offset, count as u64);
        self.offset += len;
        self.needed = LENGTH_BYTES;
        carve.parsed(count);
        carve.item(count);
        let message = M::from_parts(Parts {
            head: control.head,
            entries: Vec::new(),
            context,
            snapshot: None,
            responses: Vec::new(),
        });
        let deviations = Deviations::default();
        Ok(Some(Frame { kind: FrameKind::Message, offset, len, message, deviations }))
    }

    /// The control message that is the next frame, and the bytes of that, if it is one and has
    /// arrived.
    #[inline]
    fn control(&self, input: &[u8]) -> Option<(usize, Control)> {
        if self.failed.is_some() || self.held.is_some() {
            return None;
        }
        let length = peek_length(input, 0)?;
        if length > self.config.limits.message_bytes_max {
            return None;
        }
        let frame = input.get(..LENGTH_BYTES + usize::try_from(length).ok()?)?;
        Some((frame.len(), read_control(frame, LENGTH_BYTES)?))
    }

    #[inline(never)]
    fn decode_any(
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
