//! The codecs as `tokio_util::codec` traits, for [`Framed`](tokio_util::codec::Framed) and its like.
//!
//! They are the same codecs, at the price of the traits: `Encoder` has one contiguous buffer to
//! write to, so that every payload is copied into it; and `Framed` grows its read buffer itself, so
//! that a new one is allocated while payloads of the last are held. Of the read buffer the frame that
//! is on its way counts against the pool's budget; where there is none left that is an error at once,
//! since these traits cannot ask a reader to wait. A transport that counts
//! allocations uses [`WriteQueue`] and [`ReceiveBuffer`](crate::buf::ReceiveBuffer).
//!
//! ```
//! use bytes::BytesMut;
//! use raftwire::codec::{Config, framed::MsgAppV2};
//! use raftwire::raftpb::{Message, MessageType};
//! use tokio_util::codec::{Decoder, Encoder};
//!
//! // `tokio_util::codec::Framed::new(socket, MsgAppV2::new(config))` calls these.
//! let mut codec = MsgAppV2::<Message>::new(Config::default());
//! let mut buffer = BytesMut::new();
//! let message = Message { message_type: MessageType::APP, term: 3, ..Message::default() };
//! codec.encode(&message, &mut buffer)?;
//! assert_eq!(codec.decode(&mut buffer)?.map(|frame| frame.message), Some(message));
//! # Ok::<(), raftwire::codec::framed::StreamError>(())
//! ```

use super::{Config, Deviations, Frame, message, msgappv2};
use crate::buf::{Carve, Charge, Pool, WriteQueue};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::raftpb::RaftMessage;
use bytes::{Buf, BufMut, BytesMut};
use std::borrow::Borrow;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio_util::codec::{Decoder, Encoder};

/// A stream failed: the socket, or what it carried.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// Reading or writing failed.
    Io(io::Error),
    /// What was received is malformed.
    Decode(DecodeError),
    /// A message cannot be sent.
    Encode(EncodeError),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(_) => "input or output failed",
            Self::Decode(_) => "received a malformed frame",
            Self::Encode(_) => "cannot send the message",
        })
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            Self::Io(error) => error,
            Self::Decode(error) => error,
            Self::Encode(error) => error,
        })
    }
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DecodeError> for StreamError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<EncodeError> for StreamError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

/// How much a read buffer grows at a time while a frame arrives: by what has arrived, not by what
/// was announced.
const GROWTH_BYTES_MIN: usize = 8 << 10;

/// A read buffer that needs less than this does not count against the budget.
const BUFFERED_BYTES_UNCHARGED: usize = 256 << 10;

macro_rules! framed {
    ($(#[$meta:meta])* $name:ident, $module:ident) => {
        $(#[$meta])*
        pub struct $name<M: RaftMessage> {
            encoder: $module::Encoder,
            decoder: $module::Decoder<M>,
            queue: WriteQueue,
            carve: Carve,
            /// The read buffer, while a large frame is on its way.
            buffered: Option<Charge>,
            end: Deviations,
        }

        impl<M: RaftMessage> $name<M> {
            /// Makes the codec of a new connection, with the process's memory budget.
            #[must_use]
            pub fn new(config: Config) -> Self {
                Self::with_pool(config, Pool::default())
            }

            /// Makes the codec of a new connection, with the memory budget of `pool`.
            #[must_use]
            pub fn with_pool(config: Config, pool: Pool) -> Self {
                Self {
                    encoder: $module::Encoder::new(config.clone()),
                    decoder: $module::Decoder::new(config),
                    queue: WriteQueue::new(),
                    carve: Carve::new(pool),
                    buffered: None,
                    end: Deviations::default(),
                }
            }

            /// Returns what strict mode would have rejected about the stream's end, once the stream
            /// has ended. Always empty in strict mode.
            #[must_use]
            pub fn deviations_at_end(&self) -> Deviations {
                self.end
            }

            /// Lets the read buffer grow for what the decoder needs, within the budget.
            fn reserve(&mut self, src: &mut BytesMut) -> Result<(), DecodeError> {
                let missing = self.decoder.needed().saturating_sub(src.len());
                let growth = missing.min(src.len().max(GROWTH_BYTES_MIN));
                let bytes = src.len() + growth;
                if bytes >= BUFFERED_BYTES_UNCHARGED {
                    let charged = match &mut self.buffered {
                        Some(charge) => charge.grow(bytes),
                        none => {
                            *none = Charge::new(&self.carve.pool, bytes);
                            none.is_some()
                        }
                    };
                    if !charged {
                        return Err(self.no_memory());
                    }
                }
                src.reserve(growth);
                Ok(())
            }

            /// Nothing here could ask the reader to stop and wait.
            fn no_memory(&self) -> DecodeError {
                let kind = DecodeErrorKind::Budget { waited: Duration::ZERO };
                DecodeError::new(kind, "memory budget", self.decoder.offset())
            }
        }

        impl<M: RaftMessage, T: Borrow<M>> Encoder<T> for $name<M> {
            type Error = StreamError;

            fn encode(&mut self, message: T, dst: &mut BytesMut) -> Result<(), StreamError> {
                self.encoder.encode(message.borrow(), &mut self.queue)?;
                dst.reserve(self.queue.len());
                while self.queue.has_remaining() {
                    let chunk = self.queue.chunk();
                    dst.put_slice(chunk);
                    let count = chunk.len();
                    self.queue.advance(count);
                }
                Ok(())
            }
        }

        impl<M: RaftMessage> Decoder for $name<M> {
            type Item = Frame<M>;
            type Error = StreamError;

            fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame<M>>, StreamError> {
                let frame = self.decoder.decode_from(src, &mut self.carve)?;
                if frame.is_some() {
                    // What is handed out is the consumer's.
                    self.buffered = None;
                } else if self.carve.wants_list_bytes > 0 {
                    return Err(self.no_memory().into());
                } else {
                    self.reserve(src)?;
                }
                Ok(frame)
            }

            fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Frame<M>>, StreamError> {
                let frame = self.decode(src)?;
                if frame.is_none() {
                    self.end = self.decoder.finish_from(src)?;
                    // What is left of a stream that etcd takes for ended.
                    src.clear();
                }
                Ok(frame)
            }
        }

        impl<M: RaftMessage> fmt::Debug for $name<M> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("encoder", &self.encoder)
                    .field("decoder", &self.decoder)
                    .finish_non_exhaustive()
            }
        }
    };
}

framed! {
    /// The `msgappv2` stream.
    MsgAppV2, msgappv2
}

framed! {
    /// The message stream.
    MessageStream, message
}
