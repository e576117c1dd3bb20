//! A turn: what raft has made of what came since the last one leaves, is persisted, and is committed.

use super::{Member, NodeError, Send};
use crate::raft::{Envelope, wire_entry};
use raft::eraftpb::{HardState, Message, MessageType};
use raft::{Ready, StateRole};
use raftwire::raftpb;
use raftwire::transport::MemberId;

/// A turn that has begun, to be [persisted](Member::persist).
#[derive(Debug)]
pub struct Turn {
    ready: Option<Ready>,
}

impl Member {
    /// Begins a turn: asks what is to be read, and sends what need not wait for the disk.
    pub fn begin(&mut self, send: &mut Send<'_>) -> Turn {
        self.ask_reads();
        if !self.node.has_ready() {
            return Turn { ready: None };
        }
        let mut ready = self.node.ready();
        if let Some(state) = ready.ss() {
            self.tell_leader(state.leader_id, state.raft_state);
        }
        // A new vote or term is on disk before anybody hears of it, though it led at once.
        if !self.changes_term(&ready) {
            for message in ready.take_messages() {
                self.send(message, send);
            }
        }
        self.recorder.encoded();
        self.confirm_reads(ready.read_states());
        let committed = ready.take_committed_entries();
        self.take_committed(committed);
        Turn { ready: Some(ready) }
    }

    fn changes_term(&self, ready: &Ready) -> bool {
        ready.must_sync() && ready.hs().is_some_and(|state| state.term != self.term)
    }

    /// Waits until everything of the turn that must not be lost is on disk, and sends what waited for
    /// it.
    ///
    /// # Errors
    ///
    /// It is not on disk, and nothing was sent.
    pub fn persist(&mut self, turn: Turn, send: &mut Send<'_>) -> Result<(), NodeError> {
        let Some(mut ready) = turn.ready else { return Ok(()) };
        if !ready.snapshot().is_empty() {
            self.install(ready.snapshot())?;
        }
        self.recorder.wal_begin();
        for entry in ready.entries() {
            match self.encodings.of(entry) {
                Some(encoding) => self.wal.append_encoded(entry.index, &encoding),
                None => self.wal.append(wire_entry(entry)),
            }
        }
        self.encodings.clear();
        if let Some(state) = ready.hs() {
            self.term = state.term;
            self.wal.set_hard_state(hard_state(state));
        }
        if ready.must_sync() {
            self.recorder.fsync_begin();
            self.wal.sync()?;
            self.recorder.fsync_end();
        }
        let entries = ready.take_entries();
        self.node.mut_store().append(entries);
        self.send_all(ready.take_messages(), send);
        self.send_all(ready.take_persisted_messages(), send);
        self.recorder.ack_queued();
        let installed = (!ready.snapshot().is_empty()).then_some(self.applied.index);
        let mut light = self.node.advance_append(ready);
        if let Some(index) = installed {
            self.node.advance_apply_to(index);
        }
        self.send_all(light.take_messages(), send);
        self.take_committed(light.take_committed_entries());
        Ok(())
    }

    fn take_committed(&mut self, entries: Vec<raft::eraftpb::Entry>) {
        if let Some(last) = entries.last() {
            self.recorder.committed(last.index);
        }
        self.committed.extend(entries);
    }

    fn send_all(&mut self, mut messages: Vec<Message>, send: &mut Send<'_>) {
        // Of several answers to appends the last says it all, as in etcd.
        let mut answers = messages.iter().enumerate().rev().filter(|(_, m)| is_answer(m));
        let last = answers.next().map(|(position, _)| position);
        for (position, message) in messages.drain(..).enumerate() {
            if is_answer(&message) && Some(position) != last {
                continue;
            }
            self.send(message, send);
        }
    }

    fn send(&mut self, message: Message, send: &mut Send<'_>) {
        if message.to == self.config.id.0 || self.members.is_removed(MemberId(message.to)) {
            return;
        }
        if message.msg_type == MessageType::MsgSnapshot {
            self.sent_snapshot(&message);
        }
        if self.node.raft.state == StateRole::Leader {
            self.notices.send(message, send);
        } else {
            send(&Envelope(message));
        }
    }

    fn tell_leader(&mut self, leader: u64, role: StateRole) {
        let term = self.node.raft.term;
        match (leader, role) {
            (0, StateRole::Follower) => self.info(format_args!("no leader in term {term}")),
            (0, _) => {}
            (leader, StateRole::Leader) if leader == self.config.id.0 => {
                self.info(format_args!("leads from term {term} on"));
            }
            (leader, _) => {
                self.info(format_args!("follows {} in term {term}", MemberId(leader)));
            }
        }
    }
}

/// An answer that takes entries: later ones cover it.
fn is_answer(message: &Message) -> bool {
    message.msg_type == MessageType::MsgAppendResponse && !message.reject
}

pub(super) fn hard_state(state: &HardState) -> raftpb::HardState {
    raftpb::HardState { term: state.term, vote: state.vote, commit: state.commit }
}
