//! What can be wrong with a stream, where, and whose fault it is.
//!
//! [`DecodeError`] blames bytes that arrived (or memory that did not become free in time),
//! [`EncodeError`] blames the caller's message. Both are `Copy`, hold no text of the peer's, and
//! are told apart by their kind, never by their words.
//!
//! | error | what to do next |
//! |---|---|
//! | [`DecodeError`], [`Fault::Peer`] | drop the connection and dial again: the stream cannot be resumed |
//! | [`DecodeError`], [`Fault::Local`] | the same; and look at who holds the pool's blocks |
//! | [`EncodeError`] | drop the message: nothing of it was queued, and the stream goes on |

use crate::raftpb::MessageType;
use std::fmt;
use std::time::Duration;

/// Who is to blame for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes that arrived: the peer, or what lies between.
    Peer,
    /// The message the caller handed in.
    Caller,
    /// This process: its memory budget was exhausted for too long.
    Local,
}

/// Bytes that cannot be decoded: what is wrong, in which field, at which byte.
///
/// A stream that gave one is dead: a decoder goes on returning the same error, and where it came from
/// [`ReceiveBuffer::space`](crate::buf::ReceiveBuffer::space) the stream must be dropped all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// The field it was found in, as in `Message.entries` or `AppEntries.count`.
    pub field: &'static str,
    /// The offset, counted from the start of the stream, of the first byte of that field's value; of
    /// the byte that was not understood, where a field cannot begin; and of the entry or the message
    /// that holds the field, where what is wrong with it shows only once that is read (strict mode's
    /// checks of types, terms and indexes).
    pub offset: u64,
}

/// What is wrong with the bytes; see [`DecodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// A frame of `msgappv2` opens with a byte other than 0, 1 and 2.
    FrameKind(u8),
    /// A length or a count is above its limit.
    Limit {
        /// What was announced.
        announced: u64,
        /// The limit, of the same unit.
        limit: u64,
    },
    /// A field reaches beyond the end of the message that holds it.
    Overrun,
    /// A varint does not fit 64 bits.
    Varint,
    /// A field key has number 0, a number above 2^29-1, or a wire type that does not exist.
    Key,
    /// A known field has another field's wire type.
    WireType(u8),
    /// A group ends that was not begun, or is not ended.
    Group,
    /// Messages or groups are nested deeper than [`NESTING_MAX`](crate::raftpb::NESTING_MAX).
    Nesting,
    /// A `MsgApp` frame holds a message of another type (strict mode).
    NotMsgApp(MessageType),
    /// An entry's index does not follow its predecessor's (strict mode).
    EntryIndex {
        /// The predecessor's index plus one.
        expected: u64,
        /// What the entry says.
        found: u64,
    },
    /// The term of an entry of an `AppEntries` frame is not the stream's (strict mode).
    EntryTerm {
        /// The stream's term.
        expected: u64,
        /// What the entry says.
        found: u64,
    },
    /// Indexes run past 2^64-1 (strict mode).
    IndexWrap,
    /// The stream ended inside a frame.
    Truncated,
    /// The memory budget had no room before the deadline.
    Budget {
        /// How long the reader waited.
        waited: Duration,
    },
}

impl DecodeError {
    pub(crate) const fn new(kind: DecodeErrorKind, field: &'static str, offset: u64) -> Self {
        Self { kind, field, offset }
    }

    /// The same error in a longer stream, in which its bytes start at `base`.
    pub(crate) const fn shifted(self, base: u64) -> Self {
        Self { offset: self.offset.saturating_add(base), ..self }
    }

    /// Whose fault it is: the peer's, but for an exhausted memory budget.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self.kind {
            DecodeErrorKind::Budget { .. } => Fault::Local,
            _ => Fault::Peer,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} at byte {}", self.kind, self.field, self.offset)
    }
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FrameKind(kind) => write!(f, "unknown frame kind {kind:#04x}"),
            Self::Limit { announced, limit } => write!(f, "{announced} is above the limit {limit}"),
            Self::Overrun => f.write_str("field reaches beyond the end of its message"),
            Self::Varint => f.write_str("varint longer than 64 bits"),
            Self::Key => f.write_str("malformed field key"),
            Self::WireType(found) => write!(f, "unexpected wire type {found}"),
            Self::Group => f.write_str("unbalanced group"),
            Self::Nesting => f.write_str("messages nested too deep"),
            Self::NotMsgApp(found) => write!(f, "frame holds a {found}, not a MsgApp"),
            Self::EntryIndex { expected, found } => {
                write!(f, "entry index {found} where {expected} follows")
            }
            Self::EntryTerm { expected, found } => {
                write!(f, "entry term {found} on a stream of term {expected}")
            }
            Self::IndexWrap => f.write_str("index past 2^64-1"),
            Self::Truncated => f.write_str("stream ended inside a frame"),
            Self::Budget { waited } => {
                write!(f, "no memory within the budget after {} ms", waited.as_millis())
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// A message the encoder refuses. Nothing was queued, and the stream's state is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodeError {
    /// What is wrong.
    pub kind: EncodeErrorKind,
    /// The position in the message of the entry it was found in, if it was found in one.
    pub entry: Option<usize>,
}

/// What is wrong with a message; see [`EncodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// The `msgappv2` stream carries `MsgApp` and link heartbeats only (strict mode).
    NotMsgApp(MessageType),
    /// Entry indexes do not run on from the message's index (strict mode).
    EntryIndex {
        /// The predecessor's index plus one.
        expected: u64,
        /// What the entry says.
        found: u64,
    },
    /// The term of an entry of an `AppEntries` frame is not the stream's (strict mode).
    EntryTerm {
        /// The stream's term.
        expected: u64,
        /// What the entry says.
        found: u64,
    },
    /// Indexes run past 2^64-1 (strict mode).
    IndexWrap,
    /// An encoded entry, message or frame is above its limit: no receiver would take it.
    Limit {
        /// The encoded size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Messages are nested deeper than [`NESTING_MAX`](crate::raftpb::NESTING_MAX).
    Nesting,
}

impl EncodeError {
    pub(crate) const fn new(kind: EncodeErrorKind) -> Self {
        Self { kind, entry: None }
    }

    pub(crate) const fn in_entry(kind: EncodeErrorKind, entry: usize) -> Self {
        Self { kind, entry: Some(entry) }
    }

    /// Whose fault it is: always the caller's.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Caller
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            EncodeErrorKind::NotMsgApp(found) => {
                write!(f, "msgappv2 carries MsgApp only, not {found}")?;
            }
            EncodeErrorKind::EntryIndex { expected, found } => {
                write!(f, "entry index {found} where {expected} follows")?;
            }
            EncodeErrorKind::EntryTerm { expected, found } => {
                write!(f, "entry term {found} on a stream of term {expected}")?;
            }
            EncodeErrorKind::IndexWrap => f.write_str("index past 2^64-1")?,
            EncodeErrorKind::Limit { bytes, limit } => {
                write!(f, "{bytes} encoded bytes are above the limit {limit}")?;
            }
            EncodeErrorKind::Nesting => f.write_str("messages nested too deep")?,
        }
        match self.entry {
            Some(entry) => write!(f, " in entries[{entry}]"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for EncodeError {}
