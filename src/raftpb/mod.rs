//! raft's messages, and their protobuf encoding in the three dialects of etcd.
//!
//! The types are plain structs ([`Message`], [`Entry`], [`Snapshot`], ...) with payloads as
//! [`Bytes`](bytes::Bytes). Their encoding is written by hand, since it is what a stream spends
//! its time on, and held equal to what prost generates from the same `raft.proto` (feature
//! `prost`, `raftpb::plain`) by property tests and fuzzing. An embedder's own message type takes
//! part through [`RaftMessage`]; frames and streams are [`codec`](crate::codec)'s.
//!
//! Decoding accepts all dialects, unknown fields and enum values, packed and unpacked lists, and
//! duplicates (the last scalar wins, messages merge, lists append). A known field with another
//! field's wire type is an error. Unknown fields are dropped.
//!
//! ```
//! use bytes::Bytes;
//! use raftwire::raftpb::{Dialect, Entry, Wire};
//!
//! let entry = Entry { term: 2, index: 12, data: Some(Bytes::from("hello")), ..Entry::default() };
//! let bytes = entry.encode(Dialect::V3_4);
//! assert_eq!(bytes[..], [0x08, 0, 0x10, 2, 0x18, 12, 0x22, 5, b'h', b'e', b'l', b'l', b'o']);
//! assert_eq!(entry.encode(Dialect::V3_7)[..], bytes[2..]);
//! assert_eq!(Entry::decode(&bytes.into())?, entry);
//! # Ok::<(), raftwire::error::DecodeError>(())
//! ```

mod control;
mod decode;
mod dialect;
mod embed;
mod encode;
mod enums;
mod expected;
#[cfg(feature = "prost")]
pub mod plain;
#[cfg(feature = "raft-rs")]
mod raft_rs;
mod read;
mod types;
mod varint;
mod wire;

pub(crate) use control::{CONTROL_ROOM, Control, put_control, read_control};
pub(crate) use decode::{Cut, Payloads, RawEntry, decode_message, read_entry};
pub use dialect::Dialect;
pub use embed::{EntryRef, Head, Parts, RaftMessage};
pub(crate) use encode::{ENTRY_PREFIX_BYTES_MAX, EntryForm, Sink, encode_message};
pub use enums::{ConfChangeTransition, ConfChangeType, EntryType, MessageType};
pub(crate) use expected::Expected;
pub(crate) use read::{Reader, Span};
pub use types::{
    ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, Entries, Entry, HardState, Message,
    Snapshot, SnapshotMetadata,
};
pub use wire::Wire;

/// How deep messages and groups may be nested: as prost, whose recursion limit it is.
pub const NESTING_MAX: u32 = 100;

/// How many messages the `responses` of one message may hold, at all depths together. They are
/// never on the wire between members, and 2 bytes on the wire would cost a hundred times that here.
pub const RESPONSES_MAX: usize = 4096;

/// How many ids the `ConfState`s of one message may hold, in all their lists: far above any cluster, far below what the
/// message limit would let a peer make us allocate.
pub const CONF_STATE_IDS_MAX: usize = 1 << 16;
