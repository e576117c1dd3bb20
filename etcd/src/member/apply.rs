//! What was committed is applied: requests to the state machine, changes to the configuration.

use super::{Applied, Member, NodeError, PeerChange};
use crate::kv::{Command, Outcome};
use crate::members::ChangeRefused;
use crate::raft::{Change, Position, step_of};
use raft::eraftpb::{Entry, EntryType};
use raftwire::transport::MemberId;
use std::sync::PoisonError;

/// How many entries are applied before messages have their turn again.
const ENTRIES_PER_TURN: usize = 1024;

impl Member {
    /// Applies requests that were committed, up to a change of the configuration: what may be done
    /// between [`begin`](Self::begin) and [`persist`](Self::persist), so that who waits for them need
    /// not wait for the disk again.
    ///
    /// # Errors
    ///
    /// An entry is no request.
    pub fn apply_requests(&mut self) -> Result<(), NodeError> {
        let is_request = |entry: &Entry| entry.entry_type == EntryType::EntryNormal;
        let mut count = 0;
        if self.committed.front().is_some_and(is_request) {
            let store = self.store.clone();
            let mut store = store.write().unwrap_or_else(PoisonError::into_inner);
            while count < ENTRIES_PER_TURN
                && self.committed.front().is_some_and(is_request)
                && let Some(entry) = self.committed.pop_front()
            {
                self.follow(&entry)?;
                count += 1;
                if entry.data.is_empty() {
                    continue;
                }
                let command = Command::decode(entry.data).map_err(|error| NodeError::Entry {
                    index: entry.index,
                    reason: error.to_string(),
                })?;
                let outcome = match &command.request {
                    Some(request) => store.apply(entry.index, request),
                    None => Outcome::default(),
                };
                if self.ids.are_of(command.id) {
                    let applied = Applied { index: entry.index, version: outcome.version };
                    self.done.applied.push((command.id, applied));
                }
            }
        }
        if count > 0 {
            self.recorder.applied(self.applied.index);
            self.find_readable();
        }
        Ok(())
    }

    /// Ends a turn: applies what was committed, so many entries of it, and begins a snapshot where one
    /// is due.
    ///
    /// # Errors
    ///
    /// An entry is neither a request nor a change.
    pub fn apply(&mut self) -> Result<(), NodeError> {
        let before = self.applied.index;
        self.apply_requests()?;
        let is_change = |entry: &Entry| entry.entry_type != EntryType::EntryNormal;
        if self.committed.front().is_some_and(is_change)
            && let Some(entry) = self.committed.pop_front()
        {
            self.follow(&entry)?;
            self.apply_change(&entry)?;
            self.find_readable();
        }
        if self.applied.index != before || self.node.raft.raft_log.applied < self.applied.index {
            self.node.advance_apply_to(self.applied.index);
        }
        self.offer_snapshot();
        Ok(())
    }

    fn follow(&mut self, entry: &Entry) -> Result<(), NodeError> {
        if entry.index != self.applied.index + 1 {
            let reason = format!("it follows on entry {}", self.applied.index);
            return Err(NodeError::Entry { index: entry.index, reason });
        }
        self.applied = Position { index: entry.index, term: entry.term };
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
            && self.node.apply_conf_change(native).is_err()
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

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = |f: &mut std::fmt::Formatter<'_>, id: &MemberId, what| {
            write!(f, "member {id} {what}")
        };
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
