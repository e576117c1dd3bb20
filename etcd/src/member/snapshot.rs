//! Snapshots: written when enough was applied, given to followers that need one, taken from a leader.
//!
//! ```text
//! applied far enough ─▶ SnapshotJob (elsewhere: encode, write, fsync) ─▶ snapshotted: a record in the
//!     log, old segments and entries let go of
//! a follower needs entries that are gone ─▶ one of what is applied now, in memory ─▶ MsgSnap
//! MsgSnap ─▶ install: on disk, in the log, in the state machine, before it is answered
//! ```

use super::{Member, NodeError, PeerChange};
use crate::disk::Disk;
use crate::kv::Store;
use crate::log::{Level, Sink};
use crate::members::Members;
use crate::raft::Position;
use crate::snap;
use crate::wal::SnapshotRecord;
use raft::StateRole;
use raft::eraftpb::{self, Message};
use raftwire::raftpb::{ConfState, Snapshot, SnapshotMetadata};
use raftwire::transport::MemberId;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// For how many ticks a snapshot that was sent is kept, and its entries, so that what follows on it is
/// still there when it has arrived; as long as etcd's, with ticks of 100 ms.
const KEPT_TICKS: u32 = 300;

/// A snapshot to be written, by whatever thread has time.
#[derive(Debug)]
pub struct SnapshotJob {
    metadata: SnapshotMetadata,
    store: Store,
    members: Members,
    snapshots: SnapshotDir,
}

/// A snapshot that was written.
#[derive(Debug)]
pub struct Snapshotted {
    metadata: SnapshotMetadata,
    bytes: u64,
}

/// When the next snapshot is due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// How much was applied since the last one.
    pub(super) log_bytes: u64,
    /// How large that was.
    snapshot_bytes: u64,
    /// One is being written.
    is_writing: bool,
}

/// How many bytes of the log there are to a snapshot's, at least: so much less than the log itself do
/// snapshots write, and so much more than a snapshot does a restart read.
const LOG_BYTES_PER_SNAPSHOT_BYTE: u64 = 4;

/// And where that is less than a segment, so many: under load a state of a few megabytes would otherwise be
/// written several times a second, which every commit meets at the disk.
const LOG_BYTES_PER_SMALL_SNAPSHOT_BYTE: u64 = 16;
const SEGMENT_BYTES: u64 = 64_000_000;

/// What is so small is written whenever so many entries were applied.
const SMALL_SNAPSHOT_BYTES: u64 = 256 << 10;

impl Due {
    fn has_bytes(&self) -> bool {
        let bytes = self.snapshot_bytes;
        let wanted = (LOG_BYTES_PER_SNAPSHOT_BYTE * bytes)
            .max(SEGMENT_BYTES.min(LOG_BYTES_PER_SMALL_SNAPSHOT_BYTE * bytes));
        bytes <= SMALL_SNAPSHOT_BYTES || self.log_bytes >= wanted
    }
}

impl SnapshotJob {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// It is not on disk.
    pub fn run(self) -> Result<Snapshotted, NodeError> {
        let data = self.store.encode(&self.members);
        let bytes = data.len() as u64;
        let metadata = self.metadata.clone();
        self.snapshots.save(&Snapshot { data: Some(data), metadata: self.metadata })?;
        Ok(Snapshotted { metadata, bytes })
    }
}

/// Where snapshots are.
#[derive(Clone, Debug)]
pub(super) struct SnapshotDir {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl SnapshotDir {
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path }
    }

    fn save(&self, snapshot: &Snapshot) -> Result<(), NodeError> {
        snap::save(&*self.disk, &self.path, snapshot)?;
        Ok(())
    }

    /// Removes old ones: once the log has a record of the newest, and not before, or nothing might be
    /// left that counts.
    fn purge(&self) -> Result<(), NodeError> {
        Ok(snap::purge(&*self.disk, &self.path, snap::KEPT)?)
    }

    pub(super) fn newest(
        &self,
        usable: &[SnapshotRecord],
        log: &Sink,
    ) -> Result<Option<Snapshot>, NodeError> {
        let loaded = snap::load_newest(&*self.disk, &self.path, usable)?;
        for (path, error) in &loaded.broken {
            log.line(Level::Warn, format_args!("{} cannot be read: {error}", path.display()));
        }
        Ok(loaded.snapshot)
    }
}

/// How much of the log is kept in memory for followers that are slow.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// How much of it is kept for one that is on its way to a snapshot. What it needs beyond is in another.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// The snapshot followers get, and who was sent it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    kept: Option<Kept>,
    /// Who was sent one that has not been given up, and for how many ticks.
    to: Vec<(u64, u32)>,
}

/// The snapshot followers get.
#[derive(Debug)]
struct Kept {
    index: u64,
    /// Since it was made, or first sent to somebody.
    ticks: u32,
    sent_to: Vec<u64>,
}

impl Member {
    /// Begins a snapshot if one is due: it is to be run, and then told to
    /// [`snapshotted`](Self::snapshotted).
    pub fn snapshot_job(&mut self) -> Option<SnapshotJob> {
        let entries = self.applied.index.saturating_sub(self.snapshot.index);
        let is_due = entries >= self.config.snapshot_entries.max(1) && self.due.has_bytes();
        if !is_due || self.due.is_writing {
            return None;
        }
        (self.due.is_writing, self.due.log_bytes) = (true, 0);
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner).clone();
        Some(SnapshotJob {
            metadata: self.metadata(),
            store,
            members: self.members.clone(),
            snapshots: self.snapshots.clone(),
        })
    }

    /// Lets go of what a snapshot that was written covers.
    ///
    /// # Errors
    ///
    /// The log could not be written.
    pub fn snapshotted(&mut self, done: Snapshotted) -> Result<(), NodeError> {
        (self.due.is_writing, self.due.snapshot_bytes) = (false, done.bytes);
        let SnapshotMetadata { conf_state, index, term } = done.metadata;
        // A leader's may have come meanwhile.
        if index > self.snapshot.index {
            self.wal.append_snapshot(&SnapshotRecord { index, term, conf_state: Some(conf_state) });
            self.wal.sync()?;
            self.wal.release_to(index)?;
            self.snapshots.purge()?;
            self.snapshot = Position { index, term };
        }
        Ok(())
    }

    /// Lets go of entries in memory that no follower will need: one that does gets a snapshot of what is
    /// applied by then, so it need not be one that is on disk.
    pub(super) fn compact(&mut self) {
        let mut index = self.applied.index.saturating_sub(self.config.catch_up_entries);
        let tracker = self.raft.prs();
        // Who got the snapshot needs what follows on it until it has that.
        let matched = |id: &u64| tracker.get(*id).map_or(u64::MAX, |progress| progress.matched);
        let bytes = self.raft.raft_log.store().bytes();
        if let Some(kept) = &self.sent_snapshot.kept
            && bytes < KEPT_BYTES_MAX
            && (kept.sent_to.is_empty()
                || kept.sent_to.iter().map(matched).any(|matched| matched < kept.index))
        {
            index = index.min(kept.index);
        }
        // To wait for a follower that is slow but there is cheaper than to send it everything.
        if self.raft.state == StateRole::Leader
            && self.raft.raft_log.store().bytes() < LOG_BYTES_MAX
        {
            let active = tracker.iter().filter(|(id, progress)| {
                **id != self.config.id.0 && progress.recent_active && progress.matched > 0
            });
            index = active.map(|(_, progress)| progress.matched).fold(index, u64::min);
        }
        // By the batch: each one moves what is kept.
        let batch = (self.config.catch_up_entries / 16).max(1);
        if index >= self.raft.raft_log.store().compacted().index + batch {
            self.raft.mut_store().compact(index);
        }
    }

    fn metadata(&self) -> SnapshotMetadata {
        let Position { index, term } = self.applied;
        SnapshotMetadata { conf_state: conf_state_of(self.conf_state()), index, term }
    }

    /// Makes the snapshot a follower needs, if one does.
    pub(super) fn offer_snapshot(&mut self) {
        // One that was asked for before this member applied what it needs is asked for again.
        let Some(wanted) = self.raft.mut_store().take_wanted() else { return };
        if wanted > self.applied.index {
            return;
        }
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let data = Some(store.encode(&self.members));
        drop(store);
        let snapshot = Snapshot { data, metadata: self.metadata() };
        self.raft.mut_store().set_snapshot(Some(snapshot.into()));
        let index = self.applied.index;
        self.sent_snapshot.kept = Some(Kept { index, ticks: 0, sent_to: Vec::new() });
    }

    pub(super) fn sent_snapshot(&mut self, message: &Message) {
        let index = message.get_snapshot().get_metadata().index;
        self.info(format_args!("sends the snapshot of {index} to {}", MemberId(message.to)));
        self.sent_snapshot.to.retain(|(to, _)| *to != message.to);
        self.sent_snapshot.to.push((message.to, 0));
        if let Some(kept) = &mut self.sent_snapshot.kept
            && !kept.sent_to.contains(&message.to)
        {
            kept.sent_to.push(message.to);
            kept.ticks = 0;
        }
    }

    pub(super) fn tick_snapshot(&mut self) {
        if let Some(kept) = &mut self.sent_snapshot.kept {
            kept.ticks += 1;
            if kept.ticks > KEPT_TICKS {
                self.sent_snapshot.kept = None;
                self.raft.mut_store().set_snapshot(None);
            }
        }
        let mut lost = Vec::new();
        for (to, ticks) in &mut self.sent_snapshot.to {
            *ticks += 1;
            if *ticks > KEPT_TICKS {
                lost.push(*to);
            }
        }
        self.sent_snapshot.to.retain(|(_, ticks)| *ticks <= KEPT_TICKS);
        for peer in lost {
            // raft sends that peer nothing until it hears of it. One that has it has told so.
            self.snapshot_lost(MemberId(peer));
        }
    }

    /// Whether this member could take the snapshot in `message`.
    pub(super) fn check_snapshot(&self, message: &Message) -> Result<(), NodeError> {
        let data = message.get_snapshot().data.clone();
        match Store::decode(data) {
            Ok(_) => Ok(()),
            Err(error) => Err(NodeError::State(error.to_string())),
        }
    }

    /// Takes a leader's snapshot in place of everything: to disk first.
    pub(super) fn install(&mut self, snapshot: &eraftpb::Snapshot) -> Result<(), NodeError> {
        let metadata = snapshot.get_metadata();
        let at = Position { index: metadata.index, term: metadata.term };
        let (store, members) = Store::decode(snapshot.data.clone())
            .map_err(|error| NodeError::State(error.to_string()))?;
        let conf_state = conf_state_of(metadata.get_conf_state().clone());
        self.snapshots.save(&Snapshot {
            data: Some(snapshot.data.clone()),
            metadata: SnapshotMetadata {
                conf_state: conf_state.clone(),
                index: at.index,
                term: at.term,
            },
        })?;
        let record =
            SnapshotRecord { index: at.index, term: at.term, conf_state: Some(conf_state) };
        self.wal.append_snapshot(&record);
        self.wal.sync()?;
        self.wal.release_to(at.index)?;
        self.snapshots.purge()?;
        self.info(format_args!("took the snapshot of {}", at.index));
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = store;
        self.set_members(members);
        self.applied = at;
        self.snapshot = at;
        self.raft.mut_store().restore(at);
        self.find_readable();
        Ok(())
    }

    /// Adopts the members of a snapshot, and tells what that changes.
    fn set_members(&mut self, members: Members) {
        for (id, known) in members.iter() {
            self.set_peer(id, &known.urls);
        }
        let now: Vec<_> = members.iter().map(|(id, _)| id).collect();
        let gone = self.members.iter().map(|(id, _)| id).filter(|id| !now.contains(id));
        let removed = members.removed().iter().map(|id| MemberId(*id));
        self.done.peers.extend(gone.chain(removed).map(PeerChange::Removed));
        self.members = members;
    }
}

pub(super) fn conf_state_of(state: eraftpb::ConfState) -> ConfState {
    ConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: state.auto_leave,
    }
}
