//! Writing: batches of records behind the last segment, and the change to the next one.

use super::directory::{self, Segment};
use super::error::WalError;
use super::record::{RecordKind, Small, SnapshotRecord};
use super::spare::Spares;
use super::staging::Staging;
use super::{Options, SegmentName};
use crate::disk::{Disk, DiskError};
use bytes::Bytes;
use raftwire::raftpb::{EntryRef, HardState};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was done since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Batches that were made durable.
    pub syncs: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Changes to a new segment.
    pub cuts: u64,
}

/// A log that is open for appending.
///
/// [`append`](Self::append), [`append_encoded`](Self::append_encoded),
/// [`append_snapshot`](Self::append_snapshot) and [`set_hard_state`](Self::set_hard_state) add to a
/// batch in memory; [`sync`](Self::sync) makes it durable. In steady state none of them allocates,
/// and a sync is one call to the disk.
#[derive(Debug)]
pub struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    /// As it stands in the segments.
    metadata: Bytes,
    /// The segments that were not released, oldest first, but for the last.
    held: VecDeque<Segment>,
    last: Segment,
    staging: Staging,
    spares: Spares,
    /// The last one that has a record.
    hard_state: HardState,
    /// One that has none yet.
    next_hard_state: Option<HardState>,
    /// Whether the batch holds something that must be durable before it is answered for.
    must_sync: bool,
    /// The index of the last entry, or of the snapshot if that is higher.
    last_index: u64,
    failed: Option<Arc<DiskError>>,
    stats: Stats,
}

impl Wal {
    /// Begins behind what `staging` begins with, in the segment `last`.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        metadata: Bytes,
        held: Vec<Segment>,
        last: Segment,
        staging: Staging,
    ) -> Self {
        let (its_disk, its_dir) = (Arc::clone(&disk), dir.to_owned());
        Self {
            disk,
            dir: dir.to_owned(),
            options,
            metadata,
            held: held.into(),
            last,
            staging,
            spares: Spares::new(its_disk, its_dir, options.segment_bytes, options.prepare),
            hard_state: HardState::default(),
            next_hard_state: None,
            must_sync: false,
            last_index: 0,
            failed: None,
            stats: Stats::default(),
        }
    }

    /// Goes on from what was replayed.
    pub(super) fn resume(&mut self, hard_state: HardState, last_index: u64) {
        (self.hard_state, self.last_index) = (hard_state, last_index);
    }

    /// Adds an entry to the batch, as it was encoded by whoever sent it. Its index is `index`.
    pub fn append_encoded(&mut self, index: u64, encoded: &[u8]) {
        self.put(RecordKind::ENTRY, &[encoded]);
        self.last_index = index;
    }

    /// Adds an entry to the batch.
    pub fn append(&mut self, entry: EntryRef<'_>) {
        let prefix = Small::entry(&entry);
        let data = entry.data.map_or(&[][..], |data| data);
        self.put(RecordKind::ENTRY, &[prefix.as_slice(), data]);
        self.last_index = entry.index;
    }

    /// Adds a snapshot's record to the batch. The snapshot itself is durable already.
    ///
    /// If the snapshot is ahead of the commit index that has a record, it was received: then a hard
    /// state that commits it goes right behind it. Entries that follow it have none to follow
    /// otherwise, should a crash leave those and not the hard state at the end of the batch.
    pub fn append_snapshot(&mut self, record: &SnapshotRecord) {
        self.put(RecordKind::SNAPSHOT, &[&record.encode()]);
        self.last_index = self.last_index.max(record.index);
        if record.index > self.hard_state.commit {
            let HardState { term, vote, .. } = self.next_hard_state.unwrap_or(self.hard_state);
            // Whoever was sent it knows its term, and has not voted in it yet.
            let (term, vote) = if term < record.term { (record.term, 0) } else { (term, vote) };
            self.put_hard_state(HardState { term, vote, commit: record.index });
            if let Some(state) = &mut self.next_hard_state {
                state.commit = state.commit.max(record.index);
            }
        }
    }

    /// Sets the hard state, which goes behind everything else in the batch.
    pub fn set_hard_state(&mut self, state: HardState) {
        let HardState { term, vote, .. } = self.hard_state;
        // What was never set is no record, as in etcd.
        let is_new = state != self.hard_state && state != HardState::default();
        self.next_hard_state = is_new.then_some(state);
        self.must_sync |= is_new && (term, vote) != (state.term, state.vote);
    }

    /// Whether the batch holds more than a new commit index: an entry, a snapshot, a term or a vote,
    /// which must be durable before they are answered for.
    #[must_use]
    pub const fn must_sync(&self) -> bool {
        self.must_sync
    }

    /// Writes the batch, and waits until it is durable. Changes to the next segment if this one is
    /// full. Does nothing if there is nothing to write.
    ///
    /// # Errors
    ///
    /// [`WalError::Failed`], from then on always.
    pub fn sync(&mut self) -> Result<(), WalError> {
        self.check()?;
        let synced = self.try_sync();
        synced.map_err(|error| self.fail(error))
    }

    /// Releases the segments before the last one that begins before `index`, and removes the oldest
    /// if there are more than are to be kept.
    ///
    /// # Errors
    ///
    /// [`WalError::Failed`], from then on always.
    pub fn release_to(&mut self, index: u64) -> Result<(), WalError> {
        self.check()?;
        // Rewritten entries may let a segment begin before the one before it does: only those before
        // the first that begins at or behind `index` are passed over.
        let names = self.held.iter().chain([&self.last]).map(|segment| segment.name);
        let before = names.take_while(|name| name.index < index).count();
        self.held.drain(..before.saturating_sub(1).min(self.held.len()));
        let purged = self.purge();
        purged.map_err(|error| self.fail(error))
    }

    /// Returns what was done since the log was opened.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Writes what is still in the batch, and closes the log.
    ///
    /// # Errors
    ///
    /// [`WalError::Failed`].
    pub fn close(mut self) -> Result<(), WalError> {
        self.sync()
    }

    fn check(&self) -> Result<(), WalError> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(WalError::Failed(Arc::clone(error))))
    }

    fn fail(&mut self, error: DiskError) -> WalError {
        WalError::Failed(Arc::clone(self.failed.insert(Arc::new(error))))
    }

    fn put(&mut self, kind: RecordKind, parts: &[&[u8]]) {
        // A dead log takes no more memory.
        if self.failed.is_none() {
            self.staging.put(kind, parts);
            self.must_sync = true;
        }
    }

    fn try_sync(&mut self) -> Result<(), DiskError> {
        if let Some(state) = self.next_hard_state.take() {
            self.put_hard_state(state);
        }
        let bytes = self.staging.batched_bytes();
        self.must_sync = false;
        if bytes == 0 {
            return Ok(());
        }
        self.staging.write(&mut *self.last.file)?;
        self.stats.syncs += 1;
        self.stats.bytes += bytes as u64;
        let end = self.staging.end();
        if end >= self.options.segment_bytes {
            return self.cut(end);
        }
        self.spares.keep_up(end);
        Ok(())
    }

    fn put_hard_state(&mut self, state: HardState) {
        if state != self.hard_state {
            self.put(RecordKind::HARD_STATE, &[Small::hard_state(state).as_slice()]);
            self.hard_state = state;
        }
    }

    /// Ends the last segment at `end`, and begins the next one, whose name appears when its head is
    /// durable.
    fn cut(&mut self, end: u64) -> Result<(), DiskError> {
        self.last.file.truncate(end)?;
        self.last.file.sync()?;

        let mut spare = self.spares.take()?;
        self.staging.begin_segment();
        self.staging.put(RecordKind::CRC, &[]);
        self.staging.put(RecordKind::METADATA, &[&self.metadata]);
        if self.hard_state != HardState::default() {
            let state = Small::hard_state(self.hard_state);
            self.staging.put(RecordKind::HARD_STATE, &[state.as_slice()]);
        }
        self.staging.write(&mut *spare.file)?;

        let name = SegmentName {
            sequence: self.last.name.sequence + 1,
            index: self.last_index.saturating_add(1),
        };
        let path = self.dir.join(name.to_string());
        self.disk.rename(&spare.path, &path)?;
        self.disk.sync_dir(&self.dir)?;
        spare.file.renamed(&path);
        let next = Segment { name, path, file: spare.file };
        self.held.push_back(std::mem::replace(&mut self.last, next));
        self.stats.cuts += 1;
        Ok(())
    }

    fn purge(&self) -> Result<(), DiskError> {
        let names = directory::segments(&*self.disk, &self.dir)?;
        let oldest_held = self.held.front().unwrap_or(&self.last).name;
        let surplus = names.len().saturating_sub(self.options.kept_segments.max(1));
        for name in names.iter().take(surplus).take_while(|name| **name < oldest_held) {
            match self.disk.remove(&self.dir.join(name.to_string())) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Wal {
    /// Writes what is still in the batch, as well as it can; [`close`](Wal::close) says whether it
    /// could.
    fn drop(&mut self) {
        let _ = self.sync();
    }
}
