//! The same messages as prost generates them: the naive oracle of the tests and the fuzzers, the
//! baseline of the benchmark, and a bridge for those who use prost. No stream uses them.
//!
//! They differ from [`raftpb`](super)'s own in that every scalar is an `Option`, as proto2 has it.

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::use_self,
    reason = "generated"
)]
mod generated;

pub use generated::*;

use super as raftpb;
use super::EntryType as OpenEntryType;
use super::MessageType as OpenMessageType;

impl From<Entry> for raftpb::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            entry_type: OpenEntryType(entry.r#type()),
            term: entry.term(),
            index: entry.index(),
            data: entry.data,
        }
    }
}

impl From<ConfState> for raftpb::ConfState {
    fn from(state: ConfState) -> Self {
        Self {
            auto_leave: state.auto_leave(),
            voters: state.voters,
            learners: state.learners,
            voters_outgoing: state.voters_outgoing,
            learners_next: state.learners_next,
        }
    }
}

impl From<SnapshotMetadata> for raftpb::SnapshotMetadata {
    fn from(metadata: SnapshotMetadata) -> Self {
        Self {
            index: metadata.index(),
            term: metadata.term(),
            conf_state: metadata.conf_state.map(Into::into).unwrap_or_default(),
        }
    }
}

impl From<Snapshot> for raftpb::Snapshot {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            data: snapshot.data,
            metadata: snapshot.metadata.map(Into::into).unwrap_or_default(),
        }
    }
}

/// An empty snapshot is none, unless the message is a `MsgSnap`.
impl From<Message> for raftpb::Message {
    fn from(message: Message) -> Self {
        let message_type = OpenMessageType(message.r#type());
        let (to, from, term) = (message.to(), message.from(), message.term());
        let (log_term, index, commit) = (message.log_term(), message.index(), message.commit());
        let (reject, reject_hint) = (message.reject(), message.reject_hint());
        let vote = message.vote();
        let snapshot: Option<raftpb::Snapshot> = message.snapshot.map(Into::into);
        let snapshot =
            snapshot.filter(|it| message_type == OpenMessageType::SNAP || !it.is_empty());
        Self {
            message_type,
            to,
            from,
            term,
            log_term,
            index,
            entries: message.entries.into_iter().map(Into::into).collect(),
            commit,
            snapshot: snapshot.map(Box::new),
            reject,
            reject_hint,
            context: message.context,
            vote,
            responses: message.responses.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<HardState> for raftpb::HardState {
    fn from(state: HardState) -> Self {
        Self { term: state.term(), vote: state.vote(), commit: state.commit() }
    }
}

impl From<ConfChange> for raftpb::ConfChange {
    fn from(change: ConfChange) -> Self {
        Self {
            id: change.id(),
            change_type: raftpb::ConfChangeType(change.r#type()),
            node_id: change.node_id(),
            context: change.context,
        }
    }
}

impl From<ConfChangeSingle> for raftpb::ConfChangeSingle {
    fn from(change: ConfChangeSingle) -> Self {
        Self { change_type: raftpb::ConfChangeType(change.r#type()), node_id: change.node_id() }
    }
}

impl From<ConfChangeV2> for raftpb::ConfChangeV2 {
    fn from(change: ConfChangeV2) -> Self {
        Self {
            transition: raftpb::ConfChangeTransition(change.transition()),
            changes: change.changes.into_iter().map(Into::into).collect(),
            context: change.context,
        }
    }
}
