//! raft-rs's `eraftpb::Message` as a message type of the codecs (feature `raft-rs`).
//!
//! Payloads are shared both ways, since raft-rs keeps them as `Bytes` too (its `protobuf-codec`).
//! What the two do not have in common:
//!
//! | raft-rs | etcd | here |
//! |---|---|---|
//! | fields 13 to 16: request_snapshot, deprecated_priority, commit_term, priority | 13 vote, 14 responses | neither written nor read |
//! | no nil payloads | nil and empty differ | empty is written as nil |
//! | message types end at 18 | end at 23 | those beyond are decoded as `MsgHup`, which raft-rs refuses from the network |
//! | entry types are an enum | open | those it does not know are decoded as `EntryNormal`: check what a peer's conf changes are before stepping |
//!
//! An entry's `context` has no field in etcd and is not written. The numbers of `ConfChangeType`,
//! inside an entry's data, differ as well; data is never looked into here.

use super::{ConfState, SnapshotMetadata};
use super::{EntryRef, EntryType, Head, MessageType, Parts, RaftMessage, Snapshot};
use crate::buf::Lists;
use bytes::Bytes;
use protobuf::{ProtobufEnum, RepeatedField, SingularPtrField};
use raft_proto::eraftpb;
use std::borrow::Cow;

fn non_empty(bytes: &Bytes) -> Option<&Bytes> {
    (!bytes.is_empty()).then_some(bytes)
}

impl RaftMessage for eraftpb::Message {
    type Entry = eraftpb::Entry;

    #[inline]
    fn head(&self) -> Head {
        Head {
            message_type: MessageType(self.msg_type.value()),
            to: self.to,
            from: self.from,
            term: self.term,
            log_term: self.log_term,
            index: self.index,
            commit: self.commit,
            reject: self.reject,
            reject_hint: self.reject_hint,
            vote: 0,
        }
    }

    #[inline]
    fn entries(&self) -> &[eraftpb::Entry] {
        &self.entries
    }

    #[inline]
    fn entry(entry: &eraftpb::Entry) -> EntryRef<'_> {
        EntryRef {
            entry_type: EntryType(entry.entry_type.value()),
            term: entry.term,
            index: entry.index,
            data: non_empty(&entry.data),
        }
    }

    fn context(&self) -> Option<&Bytes> {
        non_empty(&self.context)
    }

    fn snapshot(&self) -> Option<Cow<'_, Snapshot>> {
        let snapshot = self.snapshot.as_ref()?;
        let metadata = snapshot.get_metadata();
        let state = metadata.get_conf_state();
        Some(Cow::Owned(Snapshot {
            data: non_empty(&snapshot.data).cloned(),
            metadata: SnapshotMetadata {
                conf_state: ConfState {
                    voters: state.voters.clone(),
                    learners: state.learners.clone(),
                    voters_outgoing: state.voters_outgoing.clone(),
                    learners_next: state.learners_next.clone(),
                    auto_leave: state.auto_leave,
                },
                index: metadata.index,
                term: metadata.term,
            },
        }))
    }

    #[inline]
    fn lists() -> &'static Lists<eraftpb::Entry> {
        static LISTS: Lists<eraftpb::Entry> = Lists::new();
        &LISTS
    }

    #[inline]
    fn make_entry(
        entry_type: EntryType,
        term: u64,
        index: u64,
        data: Option<Bytes>,
    ) -> eraftpb::Entry {
        eraftpb::Entry {
            entry_type: eraftpb::EntryType::from_i32(entry_type.0).unwrap_or_default(),
            term,
            index,
            data: data.unwrap_or_default(),
            ..eraftpb::Entry::default()
        }
    }

    fn from_parts(parts: Parts<Self>) -> Self {
        let head = parts.head;
        Self {
            msg_type: eraftpb::MessageType::from_i32(head.message_type.0).unwrap_or_default(),
            to: head.to,
            from: head.from,
            term: head.term,
            log_term: head.log_term,
            index: head.index,
            entries: RepeatedField::from_vec(parts.entries),
            commit: head.commit,
            snapshot: match parts.snapshot {
                Some(snapshot) => SingularPtrField::some((*snapshot).into()),
                None => SingularPtrField::none(),
            },
            reject: head.reject,
            reject_hint: head.reject_hint,
            context: parts.context.unwrap_or_default(),
            ..Self::default()
        }
    }
}

impl From<Snapshot> for eraftpb::Snapshot {
    fn from(snapshot: Snapshot) -> Self {
        let SnapshotMetadata { conf_state, index, term } = snapshot.metadata;
        let conf_state = eraftpb::ConfState {
            voters: conf_state.voters,
            learners: conf_state.learners,
            voters_outgoing: conf_state.voters_outgoing,
            learners_next: conf_state.learners_next,
            auto_leave: conf_state.auto_leave,
            ..eraftpb::ConfState::default()
        };
        let metadata = eraftpb::SnapshotMetadata {
            conf_state: SingularPtrField::some(conf_state),
            index,
            term,
            ..eraftpb::SnapshotMetadata::default()
        };
        Self {
            data: snapshot.data.unwrap_or_default(),
            metadata: SingularPtrField::some(metadata),
            ..Self::default()
        }
    }
}
