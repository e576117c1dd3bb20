//! What was committed is applied: requests to the state machine, changes to the configuration.

use super::{Applied, Member, NodeError, PeerChange};
use crate::kv::{Command, Outcome};
use crate::log::Level;
use crate::members::{ChangeRefused, Kind};
use crate::raft::{Change, Position, step_of};
use raft::eraftpb::{Entry, EntryType};
use raftwire::transport::{MemberId, PeerUrl};
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
    /// An entry that was committed is not there.
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
            self.due.log_bytes += entry.data.len() as u64;
            // What cannot be read changes nothing, on all members alike: an entry must not be able to end
            // everyone who reads it, and etcd 3.4 and 3.5 write some of another kind.
            let command = match Command::decode(entry.data.clone()) {
                Ok(command) => command,
                Err(error) => {
                    self.log
                        .line(Level::Warn, format_args!("entry {index} changes nothing: {error}"));
                    continue;
                }
            };
            let outcome = match &command.request {
                Some(request) => store.apply(index, request),
                None => Outcome::default(),
            };
            // Those of an earlier life have nobody who waits.
            if index > self.replayed && self.ids.are_of(command.id) {
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
    /// An entry that was committed is not there.
    pub fn apply(&mut self) -> Result<(), NodeError> {
        self.apply_requests()?;
        let next = self.applied.index + 1;
        if next <= self.appliable() {
            let entry = self.raft.raft_log.store().entry(next);
            let entry = entry.ok_or(NodeError::Gap { index: next })?;
            if entry.entry_type != EntryType::EntryNormal {
                let entry = entry.clone();
                self.applied = Position { index: next, term: entry.term };
                self.apply_change(&entry);
                self.find_readable();
            }
        }
        if self.raft.raft_log.applied < self.applied.index {
            self.raft.commit_apply(self.applied.index);
        }
        self.compact();
        self.offer_snapshot();
        Ok(())
    }

    fn apply_change(&mut self, entry: &Entry) {
        let index = entry.index;
        let step = match step_of(entry) {
            Ok(step) => step,
            // As with requests.
            Err(error) => {
                self.warn(format_args!("entry {index} changes nothing: {error}"));
                return;
            }
        };
        let result = self.change_members(&step.changes, step.native.as_ref());
        match &result {
            Ok(()) => {
                for change in &step.changes {
                    self.tell_change(change);
                }
            }
            Err(refused) => self.warn(format_args!("entry {index} changes nothing: {refused}")),
        }
        self.done.changed.push((step.request, result));
    }

    fn change_members(
        &mut self,
        changes: &[Change],
        native: Option<&raft::eraftpb::ConfChangeV2>,
    ) -> Result<(), ChangeRefused> {
        let before = self.members.clone();
        let joint = native.is_some_and(|native| native.enter_joint().is_some());
        self.members.apply(changes, if joint { Kind::Joint } else { Kind::Simple })?;
        // raft hears of it only now, since it takes what members must refuse.
        if let Some(native) = native
            && self.raft.apply_conf_change(native).is_err()
        {
            self.members = before;
            return Err(ChangeRefused::Impossible);
        }
        if native.is_some_and(|native| native.leave_joint()) {
            for id in self.members.leave_joint() {
                self.tell_removed(id);
            }
        }
        Ok(())
    }

    fn tell_removed(&mut self, id: MemberId) {
        self.info(format_args!("member {id} was removed"));
        self.done.peers.push(PeerChange::Removed(id));
    }

    fn tell_change(&mut self, change: &Change) {
        let (id, what) = match change {
            Change::AddVoter { id, .. } => (*id, "joined"),
            Change::AddLearner { id, .. } => (*id, "joined to learn"),
            Change::Promote { id } => (*id, "votes now"),
            Change::Update { id, .. } => (*id, "is reached elsewhere"),
            Change::Remove { id } if self.members.is_removed(*id) => {
                self.tell_removed(*id);
                return;
            }
            Change::Remove { id } => (*id, "goes when the joint change is left"),
            Change::Joint(_) | Change::LeaveJoint => return,
        };
        self.info(format_args!("member {id} {what}"));
        if let Change::AddVoter { urls, .. }
        | Change::AddLearner { urls, .. }
        | Change::Update { urls, .. } = change
        {
            // What the log says now is newer than what this member was told at its start.
            if self.applied.index > self.replayed {
                self.config.members.retain(|founder| founder.id != id);
            }
            self.set_peer(id, urls);
        }
    }

    /// Tells where a member is reached: where this one was told at its start, before what the log said
    /// by then.
    pub(super) fn set_peer(&mut self, id: MemberId, urls: &[PeerUrl]) {
        let told = self.config.members.iter().find(|founder| founder.id == id);
        let urls = told.map_or(urls, |founder| &founder.urls).to_vec();
        self.done.peers.push(PeerChange::Set(id, urls));
    }

    /// Whether the cluster removed this member.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.members.is_removed(self.config.id)
    }
}
