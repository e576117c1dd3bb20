//! The receiving half of a connection: takes a body out of its framing and frames out of the body,
//! where they lie. Sans-IO.
//!
//! ```text
//! received   │ payload, not parsed │ gap │ raw: framing and payload as it came │ room
//!                                    └─ framing that was taken out
//! ```
//!
//! All frames of a chunk are decoded before the framing behind it is looked at. So there is a gap
//! only where a frame lies across two chunks, which a writer of one batch a chunk never does. etcd's
//! writer does: it cuts chunks at 2048 bytes and around large writes. The gap is closed by moving
//! what is shorter, the beginning of the frame up or the chunk down, so a byte of a chunk costs at
//! most one byte moved however a peer cuts its chunks.

use crate::buf::{ReceiveBuffer, Space};
use crate::codec::{self, Frame, message, msgappv2};
use crate::error::DecodeError;
use crate::http::{Body, Step};
use crate::raftpb::RaftMessage;
use crate::transport::{StreamError, StreamKind};
use bytes::{Buf, BytesMut};
use std::time::Instant;

enum Decoder<M: RaftMessage> {
    MsgApp(msgappv2::Decoder<M>),
    Message(message::Decoder<M>),
}

impl<M: RaftMessage> Decoder<M> {
    fn needed(&self) -> usize {
        match self {
            Self::MsgApp(decoder) => decoder.needed(),
            Self::Message(decoder) => decoder.needed(),
        }
    }

    #[inline]
    fn decode(&mut self, received: &mut ReceiveBuffer) -> Result<Option<Frame<M>>, DecodeError> {
        match self {
            Self::MsgApp(decoder) => decoder.decode(received),
            Self::Message(decoder) => decoder.decode(received),
        }
    }

    fn finish(&self, received: &ReceiveBuffer) -> Result<(), DecodeError> {
        match self {
            Self::MsgApp(decoder) => decoder.finish(received).map(drop),
            Self::Message(decoder) => decoder.finish(received).map(drop),
        }
    }
}

/// What was received over one connection and not delivered.
pub(crate) struct Incoming<M: RaftMessage> {
    received: ReceiveBuffer,
    body: Body,
    decoder: Decoder<M>,
    /// `received` holds payload alone, and it is being decoded.
    is_decoding: bool,
    /// Meanwhile: what lies behind it.
    behind: BytesMut,
    /// Otherwise: how much of `received` is payload, and how much behind that is gap.
    payload: usize,
    gap: usize,
}

impl<M: RaftMessage> Incoming<M> {
    pub(crate) fn new(
        kind: StreamKind,
        config: codec::Config,
        body: Body,
        received: ReceiveBuffer,
    ) -> Self {
        let decoder = match kind {
            StreamKind::MsgApp => Decoder::MsgApp(msgappv2::Decoder::new(config)),
            StreamKind::Message => Decoder::Message(message::Decoder::new(config)),
        };
        Self {
            received,
            body,
            decoder,
            is_decoding: false,
            behind: BytesMut::new(),
            payload: 0,
            gap: 0,
        }
    }

    /// Where to read to, once [`next`](Self::next) gave nothing more.
    pub(crate) fn space(&mut self, now: Instant) -> Result<Space<'_>, DecodeError> {
        let needed = self.decoder.needed();
        self.received.space(needed, now)
    }

    /// Whether the body is over: nothing may follow.
    pub(crate) fn is_over(&self) -> bool {
        self.body.is_over()
    }

    /// Says how the connection ended, once there is nothing more to read.
    pub(crate) fn finish(&self) -> StreamError {
        let ended = self.body.finish().map_err(StreamError::Body);
        match ended.and_then(|()| Ok(self.decoder.finish(&self.received)?)) {
            Ok(()) => StreamError::Closed,
            Err(error) => error,
        }
    }

    /// Gives the next message. `None`: more must be received, or memory is needed;
    /// [`space`](Self::space) says which.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Frame<M>>, StreamError> {
        loop {
            if self.is_decoding {
                if let Some(frame) = self.decoder.decode(&mut self.received)? {
                    return Ok(Some(frame));
                }
                if self.received.wants_memory() {
                    return Ok(None);
                }
                self.is_decoding = false;
                self.payload = self.received.unparsed().len();
                self.join();
            }
            if !self.next_chunk()? {
                return Ok(None);
            }
            self.is_decoding = true;
        }
    }

    /// Puts what lies behind a chunk back where it was.
    fn join(&mut self) {
        let (bytes, _) = self.received.parts();
        if !self.behind.is_empty() {
            bytes.unsplit(std::mem::take(&mut self.behind));
        }
    }

    /// Makes the next bytes of the body payload to be decoded. `false`: there are none.
    fn next_chunk(&mut self) -> Result<bool, StreamError> {
        let (bytes, _) = self.received.parts();
        loop {
            let raw = bytes.get(self.payload + self.gap..).unwrap_or_default();
            match self.body.step(raw)? {
                Some(Step::Framing(len)) if self.payload == 0 => {
                    bytes.advance(self.gap + len);
                    self.gap = 0;
                }
                Some(Step::Framing(len)) => self.gap += len,
                Some(Step::Payload(len)) => {
                    if self.gap > 0 {
                        self.close_gap(len);
                    }
                    self.payload += len;
                    self.set_aside()?;
                    return Ok(true);
                }
                Some(Step::End) | None => {
                    let rest = raw.len();
                    bytes.truncate(self.payload);
                    self.gap = 0;
                    return if rest == 0 { Ok(false) } else { Err(StreamError::UnexpectedBytes) };
                }
            }
        }
    }

    /// Brings the payload behind the gap, the first `len` raw bytes, to that in front of it.
    fn close_gap(&mut self, len: usize) {
        let (bytes, _) = self.received.parts();
        let raw = self.payload + self.gap;
        if self.payload <= len {
            bytes.copy_within(..self.payload, self.gap);
            bytes.advance(self.gap);
            self.gap = 0;
        } else {
            bytes.copy_within(raw..raw + len, self.payload);
        }
    }

    /// Leaves nothing but payload in `received`.
    fn set_aside(&mut self) -> Result<(), StreamError> {
        let (bytes, _) = self.received.parts();
        let raw = &bytes[self.payload + self.gap..];
        // The end of a chunk that was received whole is nearly always the last of what was.
        if raw.len() <= 2 {
            let framing = match self.body.step(raw)? {
                Some(Step::Framing(len)) => len,
                _ => 0,
            };
            if framing == raw.len() {
                bytes.truncate(self.payload);
                self.gap = 0;
                return Ok(());
            }
            self.gap += framing;
        }
        self.behind = bytes.split_off(self.payload);
        Ok(())
    }
}
