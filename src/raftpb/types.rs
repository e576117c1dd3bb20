//! The messages of raftpb as Rust structs. How they are encoded stands in `encode.rs` and
//! `decode.rs`; what their enums mean in `enums.rs`.
//!
//! Field numbers are those of etcd's `raft.proto`, which never changed. Payloads are [`Bytes`], so
//! that a decoded message can share the block it was received into; `None` is Go's nil (the field
//! is not on the wire) and an empty payload is one that is there with length 0. raft treats the two
//! alike, but a byte-exact encoder cannot.

use super::{ConfChangeTransition, ConfChangeType, EntryType, MessageType};
use crate::buf::Lists;
use bytes::Bytes;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// One entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct Entry {
    /// Field 1.
    pub entry_type: EntryType,
    /// Field 2.
    pub term: u64,
    /// Field 3.
    pub index: u64,
    /// Field 4.
    pub data: Option<Bytes>,
}

/// A message between two members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct Message {
    /// Field 1.
    pub message_type: MessageType,
    /// Field 2: the member it is for.
    pub to: u64,
    /// Field 3: the member that sent it.
    pub from: u64,
    /// Field 4.
    pub term: u64,
    /// Field 5: the term of the entry before `entries`.
    pub log_term: u64,
    /// Field 6: the index of the entry before `entries`.
    pub index: u64,
    /// Field 7.
    pub entries: Entries,
    /// Field 8.
    pub commit: u64,
    /// Field 9. Up to 3.5 every message carries one on the wire; an empty one means none, and is
    /// decoded to `None` unless the message is a `MsgSnap`.
    pub snapshot: Option<Box<Snapshot>>,
    /// Field 10.
    pub reject: bool,
    /// Field 11.
    pub reject_hint: u64,
    /// Field 12.
    pub context: Option<Bytes>,
    /// Field 13, since raft 3.6.
    pub vote: u64,
    /// Field 14, since raft 3.6; never on the wire between members.
    pub responses: Vec<Self>,
}

/// The entries of a [`Message`]: a `Vec` whose memory decoders use again once it is dropped.
///
/// That is what lets them allocate nothing in steady state, whichever thread drops their messages.
/// It derefs to `Vec<Entry>`.
#[derive(Default)]
pub struct Entries {
    /// Dropped by hand, which takes it out: most messages have none, and then nothing is left to do.
    list: ManuallyDrop<Vec<Entry>>,
}

/// Where dropped lists lie ready.
pub(super) static LISTS: Lists<Entry> = Lists::new();

impl Entries {
    /// Takes the list out.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<Entry> {
        std::mem::take(&mut *self.list)
    }

    /// Out of the way of the messages that have no entries.
    #[inline(never)]
    fn give_back(&mut self) {
        LISTS.put(std::mem::take(&mut *self.list));
    }
}

impl Drop for Entries {
    #[inline]
    fn drop(&mut self) {
        if self.list.capacity() > 0 {
            self.give_back();
        }
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(list: Vec<Entry>) -> Self {
        Self { list: ManuallyDrop::new(list) }
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Vec::from_iter(entries).into()
    }
}

impl IntoIterator for Entries {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl Deref for Entries {
    type Target = Vec<Entry>;

    fn deref(&self) -> &Vec<Entry> {
        &self.list
    }
}

impl DerefMut for Entries {
    fn deref_mut(&mut self) -> &mut Vec<Entry> {
        &mut self.list
    }
}

impl Clone for Entries {
    fn clone(&self) -> Self {
        (**self).clone().into()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for Entries {}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A snapshot of the state machine, or the announcement of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct Snapshot {
    /// Field 1.
    pub data: Option<Bytes>,
    /// Field 2.
    pub metadata: SnapshotMetadata,
}

impl Snapshot {
    /// Whether this is the empty snapshot, which on the wire means that there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_none()
            && self.metadata.index == 0
            && self.metadata.term == 0
            && self.metadata.conf_state.is_empty()
    }
}

/// What a snapshot stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct SnapshotMetadata {
    /// Field 1.
    pub conf_state: ConfState,
    /// Field 2.
    pub index: u64,
    /// Field 3.
    pub term: u64,
}

/// Who is a member, in which role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct ConfState {
    /// Field 1.
    pub voters: Vec<u64>,
    /// Field 2.
    pub learners: Vec<u64>,
    /// Field 3: the voters of the configuration that is being left.
    pub voters_outgoing: Vec<u64>,
    /// Field 4: voters that become learners when it is left.
    pub learners_next: Vec<u64>,
    /// Field 5.
    pub auto_leave: bool,
}

impl ConfState {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
            && self.learners.is_empty()
            && self.voters_outgoing.is_empty()
            && self.learners_next.is_empty()
            && !self.auto_leave
    }
}

/// What a member must not forget beside its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct HardState {
    /// Field 1.
    pub term: u64,
    /// Field 2.
    pub vote: u64,
    /// Field 3.
    pub commit: u64,
}

/// A change of one member: the data of an `EntryConfChange`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct ConfChange {
    /// Field 1.
    pub id: u64,
    /// Field 2.
    pub change_type: ConfChangeType,
    /// Field 3.
    pub node_id: u64,
    /// Field 4.
    pub context: Option<Bytes>,
}

/// One change of a [`ConfChangeV2`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct ConfChangeSingle {
    /// Field 1.
    pub change_type: ConfChangeType,
    /// Field 2.
    pub node_id: u64,
}

/// A change of several members: the data of an `EntryConfChangeV2`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct ConfChangeV2 {
    /// Field 1.
    pub transition: ConfChangeTransition,
    /// Field 2.
    pub changes: Vec<ConfChangeSingle>,
    /// Field 3.
    pub context: Option<Bytes>,
}
