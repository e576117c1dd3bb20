//! The `msgappv2` stream: the `MsgApp`s of a leader to one follower, compressed.
//!
//! ```text
//! 00                                                            link heartbeat
//! 01 | u64 n | n x ( u64 length | length bytes: Entry ) | u64 commit   AppEntries
//! 02 | u64 length | length bytes: Message                       MsgApp
//! ```
//!
//! Both ends keep a [`State`]: the term, and the index up to which the stream has carried entries;
//! both 0 on a new connection. A message that follows on it (`logTerm` and `term` are the state's
//! term, `index` the state's index) needs neither head nor ids and becomes an AppEntries frame;
//! any other is sent whole, and sets the state. An AppEntries frame loses whatever else the message
//! held (context, reject, snapshot), and its `from` and `to` are the connection's: raft's MsgApps
//! hold nothing else.
//!
//! ```
//! use raftwire::buf::WriteQueue;
//! use raftwire::codec::{Config, FrameKind, msgappv2::Encoder};
//! use raftwire::raftpb::{Message, MessageType};
//! # use bytes::Buf;
//!
//! let commit_only = Message {
//!     message_type: MessageType::APP,
//!     term: 2, log_term: 2, index: 12, commit: 15, from: 1, to: 2,
//!     ..Message::default()
//! };
//! let (mut encoder, mut queue) = (Encoder::new(Config::default()), WriteQueue::new());
//! assert_eq!(encoder.encode(&commit_only, &mut queue)?, FrameKind::MsgApp); // says where we are
//! queue.clear();
//! assert_eq!(encoder.encode(&commit_only, &mut queue)?, FrameKind::AppEntries);
//! assert_eq!(queue.chunk(), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15]);
//! # Ok::<(), raftwire::error::EncodeError>(())
//! ```
//!
//! Source: etcd 3.4 to 3.7, `server/etcdserver/api/rafthttp/msgappv2_codec.go`.

mod decoder;
mod encoder;
mod partial;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// What both ends of a stream know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct State {
    /// The term of the last whole message.
    pub term: u64,
    /// The index of the last entry, or of the last whole message if it had none.
    pub index: u64,
}

const LINK_HEARTBEAT: u8 = 0;
const APP_ENTRIES: u8 = 1;
const MSG_APP: u8 = 2;

/// A frame's kind, and its count or length.
const PREFIX_BYTES: usize = 1 + super::decoder::LENGTH_BYTES;
