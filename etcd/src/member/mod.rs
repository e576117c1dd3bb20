//! A member without its threads and sockets: raft, its log on disk, and the state machine, moved by
//! whoever holds it.
//!
//! ```text
//! receive  propose  read  change  tick        what comes in
//!    └───────┴───────┴──────┴──────┘
//!                   │
//!     begin      what may leave at once does: a leader's messages go before its fsync
//!     persist    entries and votes are on disk; then what waited for that leaves: a follower answers
//!     apply      what was committed is applied, so many entries at a time
//!                   │
//!     take_done      who asked is told
//! ```
//!
//! A turn is `begin` to `apply`; it is due while [`has_work`](Member::has_work). Many messages and
//! requests that came since the last turn go through one, and through one fsync. `begin` and `persist`
//! are apart so that what leaves is on its way while the disk works.
//!
//! [`persist`](Member::persist) blocks on the disk, and nothing else here blocks but
//! [`open`](Member::open). An error is the end: the member says nothing after it. Not here: threads,
//! sockets, time (`node`).

mod apply;
mod commit_notices;
mod error;
mod id;
mod open;
mod reads;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;
mod turn;

pub use crate::members::ChangeRefused;
pub use error::{NodeError, ProposeError, ReadError};
pub(crate) use id::Ids;
pub use snapshot::{SnapshotJob, Snapshotted};
pub use status::{Role, Status};
pub use turn::Turn;

use crate::config::Config;
use crate::kv::{Digest, Store};
use crate::log::{Level, Sink};
use crate::members::Members;
use crate::raft::{Change, Encodings, Envelope, Log, Position, admit, proposal};
use crate::trace::Recorder;
use crate::wal::Wal;
use bytes::Bytes;
use commit_notices::CommitNotices;
use raft::eraftpb::{self, Entry, HardState, Message, MessageType};
use raft::{Raft, StateRole};
use raftwire::transport::{MemberId, PeerUrl};
use reads::Reads;
use snapshot::{Due, Sent, SnapshotDir};
use std::sync::{Arc, PoisonError, RwLock};

/// Where messages to peers go.
pub type SendTo<'a> = dyn FnMut(&Envelope) + 'a;

/// See the [module](self).
pub struct Member {
    config: Config,
    raft: Raft<Log>,
    wal: Wal,
    snapshots: SnapshotDir,
    encodings: Encodings,
    store: Arc<RwLock<Store>>,
    members: Members,
    /// What the log on disk has, or will with the next sync.
    hard_state: HardState,
    /// The leader and role that were last told.
    told: (u64, StateRole),
    applied: Position,
    /// The last entry the log had at the start.
    replayed: u64,
    /// What the election timeouts follow from, where that is told.
    elections: Option<fastrand::Rng>,
    /// Where the newest snapshot on disk is.
    snapshot: Position,
    due: Due,
    sent_snapshot: Sent,
    notices: CommitNotices,
    reads: Reads,
    ids: Arc<Ids>,
    done: Done,
    log: Sink,
    recorder: Recorder,
}

/// What came of requests, and of the cluster, since it was last asked for.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Done {
    /// Requests that were applied.
    pub applied: Vec<(u64, Applied)>,
    /// Changes that were applied, or refused.
    pub changed: Vec<(u64, Result<(), ChangeRefused>)>,
    /// Reads that may be answered from what is applied now.
    pub readable: Vec<u64>,
    /// Members that came, moved or went.
    pub peers: Vec<PeerChange>,
}

impl Done {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { applied, changed, readable, peers } = self;
        applied.is_empty() && changed.is_empty() && readable.is_empty() && peers.is_empty()
    }
}

/// What a put or delete did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// The index of its entry.
    pub index: u64,
    /// The key's version then: 1 where it was not there before, 0 where it is gone.
    pub version: u64,
}

/// What becomes of streams with a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerChange {
    /// It came, or is reached elsewhere.
    Set(MemberId, Vec<PeerUrl>),
    /// It went for good.
    Removed(MemberId),
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.config.id)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl Member {
    /// Takes a message from a peer.
    pub fn receive(&mut self, message: Envelope) {
        let mut message = message.0;
        if let Err(refusal) = admit(&mut message) {
            let (kind, from) = (message.msg_type, MemberId(message.from));
            self.warn(format_args!("{kind:?} from {from} not taken: {refusal}"));
            return;
        }
        // Who follows would pass it on, and raft-rs ends at passing on what has a term.
        let is_transfer = message.msg_type == MessageType::MsgTransferLeader;
        if is_transfer && self.raft.state != StateRole::Leader {
            return;
        }
        if message.msg_type == MessageType::MsgSnapshot
            && let Err(error) = self.check_snapshot(&message)
        {
            let from = MemberId(message.from);
            self.warn(format_args!("snapshot from {from} not taken: {error}"));
            return;
        }
        if message.msg_type == MessageType::MsgReadIndex && !self.can_read() {
            self.reads.hold(message);
            return;
        }
        if message.msg_type == MessageType::MsgAppend {
            self.encodings.take(&mut message);
        }
        self.step(message);
        // What raft did not take is of no use.
        if self.raft.raft_log.unstable_entries().is_empty() {
            self.encodings.clear();
        }
    }

    fn step(&mut self, message: Message) {
        if self.recorder.is_on() && message.msg_type == MessageType::MsgAppendResponse {
            self.recorder.acked(MemberId(message.from), message.index);
        }
        // An answer of somebody who is no member any more, or to one who is none.
        let is_member = |id| self.raft.prs().get(id).is_some();
        if is_answer(message.msg_type) && !(is_member(message.from) && is_member(self.config.id.0))
        {
            return;
        }
        // Nobody has what this leader has not; raft would count it.
        let is_append_answer = message.msg_type == MessageType::MsgAppendResponse;
        if is_append_answer && message.index > self.raft.raft_log.last_index() {
            return;
        }
        self.step_local(message);
    }

    fn step_local(&mut self, message: Message) {
        // What raft refuses is old, or not its affair now: a lost message, to whoever sent it.
        let _ = self.raft.step(message);
    }

    /// Proposes requests, as one message. `false`: none of them was.
    pub fn propose(&mut self, requests: impl IntoIterator<Item = Bytes>) -> bool {
        let entries = requests.into_iter().map(|data| Entry { data, ..Entry::default() });
        let entries: Vec<_> = entries.collect();
        entries.is_empty() || self.propose_entries(entries)
    }

    fn propose_entries(&mut self, entries: Vec<Entry>) -> bool {
        let mut message = message(MessageType::MsgPropose, self.config.id.0);
        message.set_entries(entries.into());
        self.raft.step(message).is_ok()
    }

    /// Proposes a change of the configuration.
    ///
    /// # Errors
    ///
    /// [`Refused`](ProposeError::Refused) where it cannot be, as far as this member knows, and
    /// [`Dropped`](ProposeError::Dropped).
    pub fn change(&mut self, request: u64, change: &Change) -> Result<(), ProposeError> {
        let Ok(proposal) = proposal(request, change) else {
            return Err(ProposeError::Refused(ChangeRefused::Impossible));
        };
        if proposal.is_nothing {
            return Err(ProposeError::Refused(ChangeRefused::Impossible));
        }
        let is_joint = !self.raft.prs().conf().to_conf_state().voters_outgoing.is_empty();
        let leaves = matches!(change, Change::LeaveJoint);
        if self.raft.has_pending_conf() || is_joint != leaves {
            return Err(ProposeError::Refused(ChangeRefused::Pending));
        }
        match self.propose_entries(vec![proposal.entry]) {
            true => Ok(()),
            false => Err(ProposeError::Dropped),
        }
    }

    /// Asks that `request` may read: it is among [`Done::readable`] once what was committed by now is
    /// applied.
    pub fn read(&mut self, request: u64) {
        self.reads.ask(request, self.config.request_ticks());
    }

    /// Whether a leader's reads have an answer: not before it committed an entry of its own.
    fn can_read(&self) -> bool {
        // One that was removed would take itself for all there is.
        let is_member = self.raft.prs().get(self.config.id.0).is_some();
        self.raft.state != StateRole::Leader || (is_member && self.raft.commit_to_current_term())
    }

    /// Lets a tick of time pass.
    pub fn tick(&mut self) {
        // raft has just set the timeout anew, by chance.
        if let Some(elections) = &mut self.elections
            && self.raft.election_elapsed == 0
        {
            let ticks = self.config.election_ticks;
            self.raft.set_randomized_election_timeout(elections.usize(ticks..2 * ticks));
        }
        self.raft.tick();
        self.reads.tick();
        self.tick_snapshot();
    }

    /// Asks for votes, unless this member has none or leads.
    pub fn campaign(&mut self) {
        // A member by itself leads at once, which raft wants everything to be on disk for.
        let is_persisted = self.raft.raft_log.unstable_entries().is_empty();
        if self.raft.promotable() && self.raft.state != StateRole::Leader && is_persisted {
            self.step_local(message(MessageType::MsgHup, 0));
        }
    }

    /// Hands leadership to `to`, if this member leads, or asks the leader to.
    pub fn transfer_leader(&mut self, to: MemberId) {
        self.step_local(message(MessageType::MsgTransferLeader, to.0));
    }

    /// Learns that messages to `peer` were lost.
    pub fn unreachable(&mut self, peer: MemberId) {
        self.step_local(message(MessageType::MsgUnreachable, peer.0));
    }

    /// Learns that a snapshot to `peer` was lost.
    pub fn snapshot_lost(&mut self, peer: MemberId) {
        let lost = Message { reject: true, ..message(MessageType::MsgSnapStatus, peer.0) };
        self.step_local(lost);
    }

    /// Whether a turn is due.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let raft = &self.raft;
        !raft.msgs.is_empty()
            || !raft.read_states.is_empty()
            || self.must_sync()
            || self.appliable() > self.applied.index
            || self.told != (raft.leader_id, raft.state)
            || self.reads.are_due(self)
    }

    /// Whether a commit index waits to be told, which goes with the next entries if any come soon:
    /// [`tell_commit`](Self::tell_commit) before waiting for anything else.
    #[must_use]
    pub fn holds_commit(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Tells followers what was committed, where no entries will.
    pub fn tell_commit(&mut self, send: &mut SendTo<'_>) {
        self.notices.flush(send);
    }

    /// Takes what came of requests.
    pub fn take_done(&mut self) -> Done {
        std::mem::take(&mut self.done)
    }

    /// Puts back the lists of a [`Done`] that was dealt with, so that they are not allocated anew.
    pub(crate) fn reuse(&mut self, mut done: Done) {
        if self.done.is_empty() {
            done.applied.clear();
            done.changed.clear();
            done.readable.clear();
            done.peers.clear();
            self.done = done;
        }
    }

    /// The state machine, to be looked into from elsewhere.
    pub(crate) fn store(&self) -> Arc<RwLock<Store>> {
        self.store.clone()
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    pub(crate) fn ids(&self) -> Arc<Ids> {
        self.ids.clone()
    }

    /// Returns a short account of what is applied.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.store.read().unwrap_or_else(PoisonError::into_inner).digest(self.applied.index)
    }

    pub(crate) fn set_recorder(&mut self, recorder: Recorder) {
        self.recorder = recorder;
    }

    /// Takes the moment at which the entries of a message came, and now.
    pub(crate) fn record_receipt(&self, message: &Envelope, received_ns: u64) {
        if self.recorder.is_on() && message.0.msg_type == MessageType::MsgAppend {
            let indexes = message.0.entries.iter().map(|entry| entry.index);
            self.recorder.decoded(indexes, received_ns);
        }
    }

    /// Takes the moments at which what is proposed next was asked for, and now.
    pub(crate) fn record_proposals(&self, proposed_ns: impl Iterator<Item = u64>) {
        if self.recorder.is_on() && self.raft.state == StateRole::Leader {
            let first = self.raft.raft_log.last_index() + 1;
            self.recorder.proposed(first, proposed_ns);
        }
    }

    /// How many fsyncs the log took.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.wal.stats().syncs
    }

    /// Ends: what was only batched is written.
    ///
    /// # Errors
    ///
    /// It cannot be.
    pub fn close(self) -> Result<(), NodeError> {
        Ok(self.wal.close()?)
    }

    fn conf_state(&self) -> eraftpb::ConfState {
        self.raft.prs().conf().to_conf_state()
    }

    fn info(&self, line: std::fmt::Arguments<'_>) {
        self.log.line(Level::Info, line);
    }

    fn warn(&self, line: std::fmt::Arguments<'_>) {
        self.log.line(Level::Warn, line);
    }
}

/// A message as raft takes it from its own side.
fn message(kind: MessageType, from: u64) -> Message {
    let mut message = Message { from, ..Message::default() };
    message.set_msg_type(kind);
    message
}

/// Whether only a member is listened to.
fn is_answer(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppendResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestPreVoteResponse
    )
}
