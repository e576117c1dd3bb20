//! The objects of the form, one struct each: serde derives both directions from it, straight from
//! and into the types of `raftpb`. How a single value is written stands in `value.rs`.

use super::object::{Form, Object};
use super::value::{entries, entry_type, ids, message_type, payload, responses, snapshot};
use bytes::Bytes;
use raftwire::raftpb::{
    ConfState, Entries, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A message, to be serialized in the form of this module.
///
/// It is written piece by piece: no text of a payload is ever in memory as a whole.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Written<'a>(#[serde(with = "Object::<MessageForm>")] pub &'a Message);

/// A message that was read.
#[derive(Deserialize)]
pub(super) struct Read(#[serde(with = "Object::<MessageForm>")] pub(super) Message);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Message", default = "Message::default", deny_unknown_fields)]
pub(super) struct MessageForm {
    #[serde(rename = "type", with = "message_type")]
    message_type: MessageType,
    to: u64,
    from: u64,
    term: u64,
    #[serde(rename = "logTerm")]
    log_term: u64,
    index: u64,
    #[serde(with = "entries")]
    entries: Entries,
    commit: u64,
    #[serde(with = "snapshot")]
    snapshot: Option<Box<Snapshot>>,
    reject: bool,
    #[serde(rename = "rejectHint")]
    reject_hint: u64,
    #[serde(with = "payload")]
    context: Option<Bytes>,
    #[serde(skip_serializing_if = "is_zero")]
    vote: u64,
    #[serde(with = "responses", skip_serializing_if = "Vec::is_empty")]
    responses: Vec<Message>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Entry", default = "Entry::default", deny_unknown_fields)]
pub(super) struct EntryForm {
    #[serde(rename = "type", with = "entry_type")]
    entry_type: EntryType,
    term: u64,
    index: u64,
    #[serde(with = "payload")]
    data: Option<Bytes>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Snapshot", default = "Snapshot::default", deny_unknown_fields)]
pub(super) struct SnapshotForm {
    #[serde(with = "payload")]
    data: Option<Bytes>,
    #[serde(with = "Object::<MetadataForm>")]
    metadata: SnapshotMetadata,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SnapshotMetadata", default = "SnapshotMetadata::default", deny_unknown_fields)]
struct MetadataForm {
    #[serde(with = "Object::<ConfStateForm>")]
    conf_state: ConfState,
    index: u64,
    term: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ConfState", default = "ConfState::default", deny_unknown_fields)]
struct ConfStateForm {
    #[serde(with = "ids")]
    voters: Vec<u64>,
    #[serde(with = "ids")]
    learners: Vec<u64>,
    #[serde(with = "ids")]
    voters_outgoing: Vec<u64>,
    #[serde(with = "ids")]
    learners_next: Vec<u64>,
    auto_leave: bool,
}

/// Has [`Object`] read and write what serde derived above.
macro_rules! forms {
    ($($form:ident of $value:ident),*) => {
        $(impl Form for $form {
            type Value = $value;

            fn write<S: Serializer>(value: &$value, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(value, serializer)
            }

            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$value, D::Error> {
                Self::deserialize(deserializer)
            }
        })*
    };
}

forms! {
    MessageForm of Message, EntryForm of Entry, SnapshotForm of Snapshot,
    MetadataForm of SnapshotMetadata, ConfStateForm of ConfState
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Makes `message` what reading its text would give: the text writes no snapshot as an empty one,
/// which only a `MsgSnap` keeps when it is read back.
pub fn as_read_back(message: &mut Message) {
    if message.message_type == MessageType::SNAP {
        message.snapshot.get_or_insert_default();
    } else {
        forget_empty_snapshot(message);
    }
    message.responses.iter_mut().for_each(as_read_back);
}

/// An empty snapshot means none, unless the message is there to carry one.
pub(super) fn forget_empty_snapshot(message: &mut Message) {
    if message.message_type != MessageType::SNAP {
        message.snapshot.take_if(|snapshot| snapshot.is_empty());
    }
    message.responses.iter_mut().for_each(forget_empty_snapshot);
}
