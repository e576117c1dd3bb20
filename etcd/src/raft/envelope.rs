//! A message of raft-rs as the transport carries it.
//!
//! An entry of raft-rs has a `context`, which etcd's has not and which is never on the wire. It is
//! used on both ways, each time for one moment:
//!
//! - of a change of the configuration that was proposed here, it holds etcd's form, while `data` holds
//!   raft-rs's own (`change`). What leaves is etcd's.
//! - of an entry that was received, it holds the bytes it came as, until the member takes them out
//!   before raft-rs sees the message.

use bytes::Bytes;
use raft::eraftpb;
use raftwire::buf::Lists;
use raftwire::raftpb::{EntryRef, EntryType, Head, Parts, RaftMessage, Snapshot};
use raftwire::transport::MemberId;
use std::borrow::Cow;

/// A message of raft-rs, in etcd's form on the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope(pub(crate) eraftpb::Message);

impl Envelope {
    /// Whether `peer` may send it: its own, or what it passes on to a leader.
    pub(crate) fn may_come_from(&self, peer: MemberId) -> bool {
        use eraftpb::MessageType::{MsgPropose, MsgReadIndex, MsgTransferLeader};
        let is_passed_on = matches!(self.0.msg_type, MsgPropose | MsgReadIndex | MsgTransferLeader);
        is_passed_on || self.0.from == peer.0
    }
}

impl RaftMessage for Envelope {
    type Entry = eraftpb::Entry;

    const KEEPS_ENCODING: bool = true;

    #[inline]
    fn head(&self) -> Head {
        self.0.head()
    }

    #[inline]
    fn entries(&self) -> &[eraftpb::Entry] {
        &self.0.entries
    }

    #[inline]
    fn entry(entry: &eraftpb::Entry) -> EntryRef<'_> {
        wire_entry(entry)
    }

    #[inline]
    fn context(&self) -> Option<&Bytes> {
        self.0.context()
    }

    fn snapshot(&self) -> Option<Cow<'_, Snapshot>> {
        RaftMessage::snapshot(&self.0)
    }

    #[inline]
    fn lists() -> &'static Lists<eraftpb::Entry> {
        eraftpb::Message::lists()
    }

    #[inline]
    fn make_entry(
        entry_type: EntryType,
        term: u64,
        index: u64,
        data: Option<Bytes>,
    ) -> eraftpb::Entry {
        eraftpb::Message::make_entry(entry_type, term, index, data)
    }

    #[inline]
    fn keep_encoding(entry: &mut eraftpb::Entry, encoding: Bytes) {
        entry.context = encoding;
    }

    #[inline]
    fn from_parts(parts: Parts<Self>) -> Self {
        let Parts { head, entries, context, snapshot, responses: _ } = parts;
        Self(eraftpb::Message::from_parts(Parts {
            head,
            entries,
            context,
            snapshot,
            responses: Vec::new(),
        }))
    }
}

/// An entry as it is on the wire and on disk.
#[inline]
pub(crate) fn wire_entry(entry: &eraftpb::Entry) -> EntryRef<'_> {
    let data = match entry.entry_type {
        eraftpb::EntryType::EntryNormal => &entry.data,
        // One that was proposed here.
        _ if !entry.context.is_empty() => &entry.context,
        _ => &entry.data,
    };
    EntryRef {
        entry_type: EntryType(entry.entry_type as i32),
        term: entry.term,
        index: entry.index,
        data: (!data.is_empty()).then_some(data),
    }
}
