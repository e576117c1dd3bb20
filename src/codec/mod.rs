//! The frames of etcd's two peer streams, encoded and decoded.
//!
//! - [`msgappv2`]: the stream of `MsgApp`s, on which a leader's steady state is the compressed
//!   `AppEntries` frame.
//! - [`message`]: the stream of everything else.
//! - [`framed`]: both as `tokio_util::codec` traits (feature `framed`, on by default).
//!
//! All integers are unsigned, 8 bytes, big-endian; frames follow one another without padding and
//! are not aligned with HTTP's chunks. An encoder writes into a
//! [`WriteQueue`](crate::buf::WriteQueue), a decoder reads from a
//! [`ReceiveBuffer`](crate::buf::ReceiveBuffer); both keep the state of one connection and are made
//! anew for the next one.
//!
//! # Strict, and as etcd
//!
//! etcd's own decoder believes what it reads. Here that is [`Mode::AsEtcd`], for captures and test
//! vectors: it takes and writes what etcd does, and reports each deviation. The default is
//! [`Mode::Strict`], in which these are errors:
//!
//! | what | etcd |
//! |---|---|
//! | a frame on `msgappv2` that holds another message than `MsgApp` | decodes it; when encoding, may turn it into a `MsgApp` |
//! | entries that do not run `index`+1, +2, ... within their message | counts them, and goes out of step |
//! | `AppEntries` entries of another term than the stream's ([`Config::check_entry_terms`]) | never looks |
//! | indexes that run past 2^64-1 | wraps |
//! | the stream's end inside a frame, between two fields | a graceful close |
//!
//! In both modes malformed protobuf, lengths above the [`Limits`] and the stream's end inside a
//! field are errors, where etcd panics, allocates whatever was announced, or gives up.

mod config;
mod decoder;
#[cfg(feature = "framed")]
pub mod framed;
pub mod message;
pub mod msgappv2;

pub use config::{Config, Limits, Mode};
pub(crate) use decoder::{decode_whole, peek_length};

use std::fmt;

/// One frame, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame<M> {
    /// What its first byte says; on the message stream always [`FrameKind::Message`].
    pub kind: FrameKind,
    /// Where it starts, in bytes from the start of the stream.
    pub offset: u64,
    /// How many bytes it takes.
    pub len: u64,
    /// The message.
    pub message: M,
    /// What strict mode would have rejected. Always empty there.
    pub deviations: Deviations,
}

/// The kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the wire format has no more")]
pub enum FrameKind {
    /// `msgappv2`, kind 0: nothing but a sign of life.
    LinkHeartbeat,
    /// `msgappv2`, kind 1: entries that follow on what the stream carried before.
    AppEntries,
    /// `msgappv2`, kind 2: a whole message.
    MsgApp,
    /// A frame of the message stream.
    Message,
}

impl FrameKind {
    /// Returns its name, as in `AppEntries`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkHeartbeat => "linkHeartbeat",
            Self::AppEntries => "AppEntries",
            Self::MsgApp => "MsgApp",
            Self::Message => "message",
        }
    }
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a stream did that etcd accepts and strict mode does not.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Deviations(u8);

impl Deviations {
    /// A `msgappv2` frame holds another message than a `MsgApp`.
    pub const NOT_MSG_APP: Self = Self(1);
    /// Entry indexes do not run on from the message's.
    pub const ENTRY_INDEX: Self = Self(1 << 1);
    /// An `AppEntries` entry is of another term than the stream.
    pub const ENTRY_TERM: Self = Self(1 << 2);
    /// Indexes ran past 2^64-1.
    pub const INDEX_WRAP: Self = Self(1 << 3);
    /// The stream ended inside a frame, between two fields.
    pub const END_INSIDE_FRAME: Self = Self(1 << 4);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::NOT_MSG_APP, "not-msgapp"),
        (Self::ENTRY_INDEX, "entry-index"),
        (Self::ENTRY_TERM, "entry-term"),
        (Self::INDEX_WRAP, "index-wrap"),
        (Self::END_INSIDE_FRAME, "end-inside-frame"),
    ];

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(one, _)| self.contains(*one)).map(|(_, name)| *name)
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Deviations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
