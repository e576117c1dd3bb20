//! What an entry's data holds, as far as it is known: a put, a delete, or a change of members.

use bytes::Bytes;
use prost::Message;
use raftwire::raftpb::{ConfChange, ConfChangeV2, Entry, EntryType, Wire};
use std::fmt;

/// What the data of an entry is.
#[derive(Debug)]
pub(super) enum Content {
    Nothing,
    Put {
        id: u64,
        put: Put,
    },
    Delete {
        id: u64,
        delete: DeleteRange,
    },
    Change(ConfChange),
    Changes(ConfChangeV2),
    /// Anything else, and what cannot be read.
    Bytes(Bytes),
}

/// Those fields of etcd's `InternalRaftRequest` that are shown.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "4")]
    put: Option<Put>,
    #[prost(message, optional, tag = "5")]
    delete_range: Option<DeleteRange>,
    #[prost(message, optional, tag = "100")]
    header: Option<Header>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Header {
    #[prost(uint64, tag = "1")]
    id: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Put {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
    #[prost(int64, tag = "3")]
    pub(super) lease: i64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct DeleteRange {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) range_end: Bytes,
}

impl Content {
    pub(super) fn of(entry: &Entry) -> Self {
        let Some(data) = entry.data.clone().filter(|data| !data.is_empty()) else {
            return Self::Nothing;
        };
        let known = match entry.entry_type {
            EntryType::CONF_CHANGE => ConfChange::decode(&data).ok().map(Self::Change),
            EntryType::CONF_CHANGE_V2 => ConfChangeV2::decode(&data).ok().map(Self::Changes),
            EntryType::NORMAL => Self::request(&data),
            _ => None,
        };
        known.unwrap_or(Self::Bytes(data))
    }

    fn request(data: &Bytes) -> Option<Self> {
        let request = Request::decode(data.clone()).ok()?;
        let id = request.header.map_or(0, |header| header.id);
        match (request.put, request.delete_range) {
            (Some(put), _) => Some(Self::Put { id, put }),
            (None, Some(delete)) => Some(Self::Delete { id, delete }),
            (None, None) => None,
        }
    }

    /// The content as a part of a line, in which `preview` bytes of each payload are shown.
    pub(super) fn in_a_line(&self, preview: usize) -> impl fmt::Display {
        InALine { content: self, preview }
    }
}

struct InALine<'a> {
    content: &'a Content,
    preview: usize,
}

impl InALine<'_> {
    fn context(&self, f: &mut fmt::Formatter<'_>, context: Option<&Bytes>) -> fmt::Result {
        match context {
            Some(bytes) if !bytes.is_empty() => {
                write!(f, " context={}", Quoted { bytes, preview: self.preview })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for InALine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |bytes| Quoted { bytes, preview: self.preview };
        match self.content {
            Content::Nothing => Ok(()),
            Content::Put { id, put } => {
                write!(f, " put {} {}", quoted(&put.key), quoted(&put.value))?;
                if put.lease != 0 {
                    write!(f, " lease={:x}", put.lease)?;
                }
                write!(f, " id={id:x}")
            }
            Content::Delete { id, delete } => {
                write!(f, " delete {}", quoted(&delete.key))?;
                if !delete.range_end.is_empty() {
                    write!(f, " to {}", quoted(&delete.range_end))?;
                }
                write!(f, " id={id:x}")
            }
            Content::Change(change) => {
                write!(f, " {} {:x} id={:x}", change.change_type, change.node_id, change.id)?;
                self.context(f, change.context.as_ref())
            }
            Content::Changes(changes) => {
                write!(f, " {}", changes.transition)?;
                for change in &changes.changes {
                    write!(f, " {} {:x}", change.change_type, change.node_id)?;
                }
                self.context(f, changes.context.as_ref())
            }
            Content::Bytes(bytes) => write!(f, " {}", quoted(bytes)),
        }
    }
}

/// The first bytes of a payload, quoted, and how many follow.
pub(super) struct Quoted<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) preview: usize,
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.bytes[..self.bytes.len().min(self.preview)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        match self.bytes.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "…(+{more} B)"),
        }
    }
}
