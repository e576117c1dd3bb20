//! A turn: what raft has made of what came since the last one leaves, is persisted, and is committed.
//!
//! raft-rs has a type for this, `RawNode`, whose `Ready` is a copy of everything that is to be done. Here
//! it is done from where it lies in `Raft`, which spares three copies of each entry's head and half of
//! the allocations of a commit. The order is `RawNode`'s:
//!
//! | | leader | others |
//! |---|---|---|
//! | before the disk | messages leave | |
//! | on disk | snapshot, entries, term and vote | the same |
//! | after it | what was persisted counts for the commit; messages leave | messages leave |
//! | never | | what is not on disk is not told |

use super::{Member, NodeError, SendTo};
use crate::raft::{Envelope, wire_entry};
use raft::StateRole;
use raft::eraftpb::{Message, MessageType};
use raftwire::raftpb;
use raftwire::transport::MemberId;

/// A turn that has begun, to be [persisted](Member::persist).
#[derive(Debug)]
#[must_use = "what it began is to be persisted"]
pub struct Turn(());

impl Member {
    /// Begins a turn: asks what is to be read, and sends what need not wait for the disk.
    pub fn begin(&mut self, send: &mut SendTo<'_>) -> Turn {
        self.ask_reads();
        self.tell_leader();
        // A new vote or term is on disk before anybody hears of it, though it led at once.
        if self.raft.state == StateRole::Leader && !self.changes_vote() {
            self.send_all(send);
            self.recorder.encoded();
        }
        self.confirm_reads();
        Turn(())
    }

    /// Waits until everything of the turn that must not be lost is on disk, and sends what waited for
    /// it.
    ///
    /// # Errors
    ///
    /// It is not on disk, and nothing was sent.
    pub fn persist(&mut self, turn: Turn, send: &mut SendTo<'_>) -> Result<(), NodeError> {
        let Turn(()) = turn;
        let must_sync = self.must_sync();
        let snapshot = self.raft.raft_log.unstable_snapshot().clone();
        if let Some(snapshot) = &snapshot {
            self.install(snapshot)?;
        }
        self.recorder.wal_begin();
        let log = &mut self.raft.r.raft_log;
        if let Some(first) = log.unstable.entries.first() {
            self.replayed = self.replayed.min(first.index - 1);
        }
        for entry in log.unstable.entries.iter() {
            match self.encodings.of(entry) {
                Some(encoding) => self.wal.append_encoded(entry.index, &encoding),
                None => self.wal.append(wire_entry(entry)),
            }
        }
        self.encodings.clear();
        self.set_hard_state();
        if must_sync {
            self.recorder.fsync_begin();
            self.wal.sync()?;
            self.recorder.fsync_end();
        }
        self.persisted(snapshot.map(|snapshot| snapshot.get_metadata().index));
        self.send_all(send);
        self.recorder.ack_queued();
        Ok(())
    }

    /// Tells raft what is on disk now.
    fn persisted(&mut self, snapshot: Option<u64>) {
        if let Some(index) = snapshot {
            self.raft.raft_log.stable_snap(index);
            self.raft.on_persist_snap(index);
            self.raft.commit_apply(index);
        }
        let log = &mut self.raft.r.raft_log;
        if let Some(last) = log.unstable.entries.last() {
            let (index, term) = (last.index, last.term);
            log.store.append(log.unstable.entries.iter().cloned());
            log.stable_entries(index, term);
            self.raft.on_persist_entries(index, term);
        }
    }

    /// Whether there is something that must not be lost.
    pub(super) fn must_sync(&self) -> bool {
        let log = &self.raft.raft_log;
        !log.unstable_entries().is_empty()
            || log.unstable_snapshot().is_some()
            || self.changes_vote()
    }

    fn changes_vote(&self) -> bool {
        let known = &self.hard_state;
        (self.raft.term, self.raft.vote) != (known.term, known.vote)
    }

    /// Adds term, vote and commit index to what goes to disk next, where they changed. A commit index by
    /// itself waits for company: it is known again from the leader.
    pub(super) fn set_hard_state(&mut self) {
        let state = self.raft.hard_state();
        if state != self.hard_state {
            self.wal.set_hard_state(raftpb::HardState {
                term: state.term,
                vote: state.vote,
                commit: state.commit,
            });
            self.hard_state = state;
        }
    }

    fn send_all(&mut self, send: &mut SendTo<'_>) {
        let mut messages = std::mem::take(&mut self.raft.msgs);
        // Of several answers to a leader's appends the farthest says it all. etcd keeps the last.
        let farthest = messages
            .iter()
            .filter(|message| takes_entries(message))
            .max_by_key(|m| (m.term, m.index));
        let farthest = farthest.map(|message| (message.to, message.term, message.index));
        let mut was_sent = false;
        for message in messages.drain(..) {
            if let Some((to, term, index)) = farthest
                && takes_entries(&message)
                && (message.to, message.term) == (to, term)
            {
                if was_sent || message.index != index {
                    continue;
                }
                was_sent = true;
            }
            self.send(message, send);
        }
        // None were added meanwhile; the list is kept for the next turn.
        self.raft.msgs = messages;
    }

    fn send(&mut self, message: Message, send: &mut SendTo<'_>) {
        if message.to == self.config.id.0 || self.members.is_removed(MemberId(message.to)) {
            return;
        }
        if message.msg_type == MessageType::MsgSnapshot {
            self.sent_snapshot(&message);
        }
        if self.raft.state == StateRole::Leader {
            self.notices.send(message, send);
        } else {
            send(&Envelope(message));
        }
    }

    fn tell_leader(&mut self) {
        let (leader, role) = (self.raft.leader_id, self.raft.state);
        if self.told == (leader, role) {
            return;
        }
        self.told = (leader, role);
        let term = self.raft.term;
        match role {
            StateRole::Leader => self.info(format_args!("leads from term {term} on")),
            _ if leader != 0 => {
                self.info(format_args!("follows {} in term {term}", MemberId(leader)));
            }
            StateRole::Follower => self.info(format_args!("no leader in term {term}")),
            StateRole::PreCandidate | StateRole::Candidate => {}
        }
        if role != StateRole::Leader {
            // Of a term it no longer leads.
            self.notices.clear();
        }
    }
}

/// Whether it answers an append by taking it: later answers cover it.
fn takes_entries(message: &Message) -> bool {
    message.msg_type == MessageType::MsgAppendResponse && !message.reject
}
