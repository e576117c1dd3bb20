//! Records of a log as JSON objects, in the form `raftwire inspect` prints messages in: payloads as
//! lower-case hex, `null` for none, enums by name where they have one.
//!
//! ```json
//! {"segment":"0000000000000000-0000000000000000.wal","offset":184,"len":48,"kind":"entry",
//!  "crc":2409235855,"entry":{"type":"EntryNormal","term":2,"index":3,"data":"220a0a01..."},
//!  "request":{"id":7,"put":{"key":"61","value":"31","lease":0}}}
//! ```

use super::wal_entry::{Content, DeleteRange, Put};
use bytes::Bytes;
use raftwire::raftpb::{ConfChange, ConfChangeV2, ConfState, Entry};
use raftwire_etcd::wal::{Record, RecordKind, SnapshotRecord, Tail};
use serde::{Serialize, Serializer};

/// A record, with the keys of its object in their order.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    segment: String,
    offset: u64,
    len: u64,
    kind: Name,
    crc: u32,
    #[serde(flatten)]
    held: Option<Held<'a>>,
    /// What is known of an entry's data.
    #[serde(flatten)]
    known: Option<Known<'a>>,
}

impl<'a> Line<'a> {
    pub(super) fn of(record: &Record, held: Option<Held<'a>>, known: Option<Known<'a>>) -> Self {
        let name = match record.kind {
            RecordKind::METADATA => Name::Known("metadata"),
            RecordKind::ENTRY => Name::Known("entry"),
            RecordKind::HARD_STATE => Name::Known("hardState"),
            RecordKind::CRC => Name::Known("crc"),
            RecordKind::SNAPSHOT => Name::Known("snapshot"),
            RecordKind(number) => Name::Unknown(number),
        };
        Self {
            segment: record.segment.to_string(),
            offset: record.offset,
            len: record.bytes,
            kind: name,
            crc: record.crc,
            held,
            known,
        }
    }
}

/// A name, or a number that has none.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Name {
    Known(&'static str),
    Unknown(i64),
}

/// What a record holds, under a key of its own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Held<'a> {
    Metadata {
        member: u64,
        cluster: u64,
    },
    Entry(EntryForm<'a>),
    HardState {
        term: u64,
        vote: u64,
        commit: u64,
    },
    Snapshot(SnapshotForm<'a>),
    /// Data that nobody can read, and why.
    Data {
        bytes: Hex<'a>,
        error: Option<String>,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct EntryForm<'a> {
    #[serde(rename = "type")]
    entry_type: Name,
    term: u64,
    index: u64,
    data: Option<Hex<'a>>,
}

impl<'a> EntryForm<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        Self {
            entry_type: name(entry.entry_type.name(), entry.entry_type.0),
            term: entry.term,
            index: entry.index,
            data: entry.data.as_ref().map(Hex::of),
        }
    }
}

fn name(name: Option<&'static str>, number: i32) -> Name {
    name.map_or_else(|| Name::Unknown(number.into()), Name::Known)
}

#[derive(Debug, Serialize)]
pub(super) struct SnapshotForm<'a> {
    conf_state: Option<ConfStateForm<'a>>,
    index: u64,
    term: u64,
}

impl<'a> SnapshotForm<'a> {
    pub(super) fn of(snapshot: &'a SnapshotRecord) -> Self {
        Self {
            conf_state: snapshot.conf_state.as_ref().map(ConfStateForm::of),
            index: snapshot.index,
            term: snapshot.term,
        }
    }
}

#[derive(Debug, Serialize)]
struct ConfStateForm<'a> {
    voters: &'a [u64],
    learners: &'a [u64],
    voters_outgoing: &'a [u64],
    learners_next: &'a [u64],
    auto_leave: bool,
}

impl<'a> ConfStateForm<'a> {
    fn of(state: &'a ConfState) -> Self {
        Self {
            voters: &state.voters,
            learners: &state.learners,
            voters_outgoing: &state.voters_outgoing,
            learners_next: &state.learners_next,
            auto_leave: state.auto_leave,
        }
    }
}

/// What an entry's data holds, under a key of its own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Known<'a> {
    Request {
        id: u64,
        #[serde(flatten)]
        operation: Operation<'a>,
    },
    ConfChange {
        id: u64,
        #[serde(flatten)]
        change: ChangeForm,
        context: Option<Hex<'a>>,
    },
    ConfChangeV2 {
        transition: Name,
        changes: Vec<ChangeForm>,
        context: Option<Hex<'a>>,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Operation<'a> {
    Put { key: Hex<'a>, value: Hex<'a>, lease: i64 },
    DeleteRange { key: Hex<'a>, range_end: Hex<'a> },
}

#[derive(Debug, Serialize)]
pub(super) struct ChangeForm {
    #[serde(rename = "type")]
    change_type: Name,
    #[serde(rename = "nodeId")]
    node_id: u64,
}

impl<'a> Known<'a> {
    pub(super) fn of(content: &'a Content) -> Option<Self> {
        Some(match content {
            Content::Nothing | Content::Bytes(_) => return None,
            Content::Put { id, put: Put { key, value, lease } } => {
                let (key, value) = (Hex::of(key), Hex::of(value));
                Self::Request { id: *id, operation: Operation::Put { key, value, lease: *lease } }
            }
            Content::Delete { id, delete: DeleteRange { key, range_end } } => {
                let (key, range_end) = (Hex::of(key), Hex::of(range_end));
                Self::Request { id: *id, operation: Operation::DeleteRange { key, range_end } }
            }
            Content::Change(ConfChange { id, change_type, node_id, context }) => {
                let change_type = name(change_type.name(), change_type.0);
                let change = ChangeForm { change_type, node_id: *node_id };
                Self::ConfChange { id: *id, change, context: context.as_ref().map(Hex::of) }
            }
            Content::Changes(ConfChangeV2 { transition, changes, context }) => {
                let change = changes.iter().map(|change| ChangeForm {
                    change_type: name(change.change_type.name(), change.change_type.0),
                    node_id: change.node_id,
                });
                let transition = name(transition.name(), transition.0);
                let context = context.as_ref().map(Hex::of);
                Self::ConfChangeV2 { transition, changes: change.collect(), context }
            }
        })
    }
}

/// The line before the records: the newest snapshot that the log can be opened at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usable<'a> {
    pub(super) usable_snapshot: Option<SnapshotForm<'a>>,
}

/// The line behind the records.
#[derive(Debug, Serialize)]
pub(super) struct End {
    end: EndForm,
}

#[derive(Debug, Serialize)]
struct EndForm {
    segment: String,
    offset: u64,
    /// What is wrong behind it, if a record was torn.
    torn: Option<String>,
}

impl End {
    pub(super) fn of(tail: &Tail) -> Self {
        let segment = tail.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let torn = tail.torn.map(|torn| torn.to_string());
        Self { end: EndForm { segment, offset: tail.offset, torn } }
    }
}

/// Bytes as hex.
#[derive(Debug)]
pub(super) struct Hex<'a>(&'a [u8]);

impl<'a> Hex<'a> {
    pub(super) fn of(bytes: &'a Bytes) -> Self {
        Self(bytes)
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&const_hex::display(self.0))
    }
}
