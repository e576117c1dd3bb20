//! What was committed is applied: requests to the state machine, changes to the configuration.

use super::{Applied, Member, NodeError, PeerChange};
use crate::kv::{Command, Outcome};
use crate::members::ChangeRefused;
use crate::raft::{Change, Position, step_of};
use raft::eraftpb::{Entry, EntryType};
use raftwire::transport::MemberId;
use std::fmt;
use std::sync::PoisonError;

/// How many entries are applied before messages have their turn again.
const ENTRIES_PER_TURN: u64 = 1024;

impl Member {
    /// Up to where entries may be applied: they are committed, and on this member's disk.
    pub(super) fn appliable(&self) -> u64 {
        self.raft.raft_log.committed.min(self.raft.raft_log.persisted)
    }

    /// Applies requests that were committed, up to a change of the configuration: what may be done
    /// between [`begin`](Self::begin) and [`persist`](Self::persist), so that who waits for them need
    /// not wait for the disk again.
    ///
    /// # Errors
    ///
    /// An entry is no request.
    pub fn apply_requests(&mut self) -> Result<(), NodeError> {
        let before = self.applied.index;
        let end = self.appliable().min(before + ENTRIES_PER_TURN);
        if end <= before {
            return Ok(());
        }
        self.recorder.committed(end);
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        let log = self.raft.raft_log.store();
        for index in before + 1..=end {
            let entry = log.entry(index).ok_or(NodeError::Gap { index })?;
            if entry.entry_type != EntryType::EntryNormal {
                break;
            }
            self.applied = Position { index, term: entry.term };
            // A leader's first of its term.
            if entry.data.is_empty() {
                continue;
            }
            let command = Command::decode(entry.data.clone())
                .map_err(|error| NodeError::Entry { index, reason: error.to_string() })?;
            let outcome = match &command.request {
                Some(request) => store.apply(index, request),
                None => Outcome::default(),
            };
            if self.ids.are_of(command.id) {
                let applied = Applied { index, version: outcome.version };
                self.done.applied.push((command.id, applied));
            }
        }
        drop(store);
        if self.applied.index > before {
            self.recorder.applied(self.applied.index);
            self.find_readable();
        }
        Ok(())
    }

    /// Ends a turn: applies what was committed, so many entries of it, and makes the snapshot a follower
    /// needs.
    ///
    /// # Errors
    ///
    /// An entry is neither a request nor a change.
    pub fn apply(&mut self) -> Result<(), NodeError> {
        self.apply_requests()?;
        let next = self.applied.index + 1;
        if next <= self.appliable() {
            let entry = self.raft.raft_log.store().entry(next);
            let entry = entry.ok_or(NodeError::Gap { index: next })?;
            if entry.entry_type != EntryType::EntryNormal {
                let entry = entry.clone();
                self.applied = Position { index: next, term: entry.term };
                self.apply_change(&entry)?;
                self.find_readable();
            }
        }
        if self.raft.raft_log.applied < self.applied.index {
            self.raft.commit_apply(self.applied.index);
        }
        self.offer_snapshot();
        Ok(())
    }

    fn apply_change(&mut self, entry: &Entry) -> Result<(), NodeError> {
        let index = entry.index;
        let step = step_of(entry).map_err(|error| NodeError::Change { index, error })?;
        let result = self.change_members(&step.changes, step.native.as_ref());
        match &result {
            Ok(()) => {
                for change in &step.changes {
                    self.tell_peers(change);
                }
            }
            Err(refused) => self.warn(format_args!("entry {index} changes nothing: {refused}")),
        }
        self.done.changed.push((step.request, result));
        Ok(())
    }

    fn change_members(
        &mut self,
        changes: &[Change],
        native: Option<&raft::eraftpb::ConfChangeV2>,
    ) -> Result<(), ChangeRefused> {
        let before = self.members.clone();
        self.members.apply(changes)?;
        // raft hears of it only now, since it takes what members must refuse.
        if let Some(native) = native
            && self.raft.apply_conf_change(native).is_err()
        {
            self.members = before;
            return Err(ChangeRefused::Impossible);
        }
        Ok(())
    }

    fn tell_peers(&mut self, change: &Change) {
        self.info(format_args!("{}", Told(change)));
        match change {
            Change::AddVoter { id, urls }
            | Change::AddLearner { id, urls }
            | Change::Update { id, urls } => {
                self.done.peers.push(PeerChange::Set(*id, urls.clone()));
            }
            Change::Remove { id } => self.done.peers.push(PeerChange::Removed(*id)),
            Change::Promote { .. } | Change::Joint(_) | Change::LeaveJoint => {}
        }
    }

    /// Whether the cluster removed this member.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.members.is_removed(self.config.id)
    }
}

struct Told<'a>(&'a Change);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told =
            |f: &mut fmt::Formatter<'_>, id: &MemberId, what| write!(f, "member {id} {what}");
        match self.0 {
            Change::AddVoter { id, .. } => told(f, id, "joined"),
            Change::AddLearner { id, .. } => told(f, id, "joined to learn"),
            Change::Promote { id } => told(f, id, "votes now"),
            Change::Update { id, .. } => told(f, id, "is reached elsewhere"),
            Change::Remove { id } => told(f, id, "was removed"),
            Change::Joint(_) => f.write_str("a joint change"),
            Change::LeaveJoint => f.write_str("the joint change was left"),
        }
    }
}
