//! Raft messages in the exact wire format of etcd's peer transport, without allocating.
//!
//! Everything but `transport` is sans-IO: it takes bytes, and where time matters `now`, and gives
//! frames and bytes to write. It opens no socket, asks no clock and starts no thread.
//!
//! - [`raftpb`]: raft's messages and their protobuf encoding in the three dialects of etcd.
//! - [`codec`]: the frames of the `msgappv2` and `message` streams, encoded and decoded.
//! - [`buf`]: the pooled blocks a stream is received into, and the queue it is written from.
#![cfg_attr(
    feature = "http",
    doc = "- [`http`]: HTTP/1.1 heads, and bodies in chunks (feature `http`)."
)]
#![cfg_attr(
    feature = "net",
    doc = "- [`transport`]: the streams over sockets, from `send` to `process` (feature `net`)."
)]
//! - [`error`]: what can be wrong, where, and whose fault it is.
//!
//! # Example
//!
//! A message goes through a stream: encoded into a write queue, received into a pooled block, and
//! decoded with its payload still lying in that block.
//!
//! ```
//! use bytes::{Buf, BufMut, Bytes};
//! use raftwire::buf::{Pool, ReceiveBuffer, WriteQueue};
//! use raftwire::codec::{Config, msgappv2};
//! use raftwire::raftpb::{Entry, EntryType, Message, MessageType};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let message = Message {
//!     message_type: MessageType::APP,
//!     from: 1,
//!     to: 2,
//!     term: 5,
//!     log_term: 5,
//!     index: 10,
//!     entries: vec![Entry { term: 5, index: 11, data: Some(Bytes::from("put")), ..Entry::default() }].into(),
//!     ..Message::default()
//! };
//!
//! // Member 1 writes: everything queued leaves in one vectored write.
//! let mut encoder = msgappv2::Encoder::new(Config::default());
//! let mut queue = WriteQueue::new();
//! encoder.encode(&message, &mut queue)?;
//!
//! // Member 2 reads into a pooled block, and decodes in place.
//! let pool = Pool::default();
//! let mut received = ReceiveBuffer::new(pool);
//! let mut decoder = msgappv2::Decoder::<Message>::new(Config::default().local(2).remote(1));
//! # let now = std::time::Instant::now();
//! received.space(decoder.needed(), now)?.room().expect("within the budget").put(&mut queue);
//! let frame = decoder.decode(&mut received)?.expect("a whole frame was received");
//! assert_eq!(frame.message, message);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(clippy::exhaustive_enums)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod buf;
pub mod codec;
pub mod error;
#[cfg(feature = "__fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "http")]
pub mod http;
pub mod raftpb;
#[cfg(feature = "net")]
pub mod transport;
