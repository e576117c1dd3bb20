//! The entries in memory: what raft-rs reads its log from.
//!
//! ```text
//!            compacted            last
//!                |                  |
//!   ...gone... [ . | e  e  e  e  e  e ]     entries[0] is at compacted.index + 1
//! ```
//!
//! All that is kept is here; the log on disk (`wal`) is only read at a start. A follower that needs
//! what is gone gets a snapshot, which is made when raft-rs asks for one.

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};
use std::cell::Cell;
use std::collections::VecDeque;

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// What an entry's fields take at most beside its data.
const ENTRY_HEAD_BYTES: u64 = 30;

#[derive(Debug, Default)]
pub(crate) struct Log {
    hard_state: HardState,
    conf_state: ConfState,
    compacted: Position,
    entries: VecDeque<Entry>,
    /// Of the entries, with what they take beside their data.
    bytes: u64,
    /// For followers that need one.
    snapshot: Option<Snapshot>,
    /// The least index a snapshot must have that was asked for in vain.
    wanted: Cell<Option<u64>>,
}

impl Log {
    /// Makes the log a member starts with: `entries` follow what is `compacted`.
    pub(crate) fn new(
        hard_state: HardState,
        conf_state: ConfState,
        compacted: Position,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Self {
        let mut log = Self { hard_state, conf_state, compacted, ..Self::default() };
        log.append(entries);
        log
    }

    pub(crate) fn compacted(&self) -> Position {
        self.compacted
    }

    pub(crate) fn last(&self) -> Position {
        match self.entries.back() {
            Some(entry) => Position { index: entry.index, term: entry.term },
            None => self.compacted,
        }
    }

    /// Returns the entry of `index`, if it is there.
    pub(crate) fn entry(&self, index: u64) -> Option<&Entry> {
        if index <= self.compacted.index {
            return None;
        }
        self.entries.get(self.offset(index))
    }

    /// Adds entries that were persisted; they replace those that have their indexes, and all behind.
    pub(crate) fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            let keep = entry.index.saturating_sub(self.compacted.index + 1);
            let keep = usize::try_from(keep).unwrap_or(usize::MAX);
            while self.entries.len() > keep {
                self.bytes -= self.entries.pop_back().as_ref().map_or(0, bytes_of);
            }
            self.bytes += bytes_of(&entry);
            self.entries.push_back(entry);
        }
    }

    /// How much memory the entries take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets go of the entries up to `index`.
    pub(crate) fn compact(&mut self, index: u64) {
        let Ok(term) = self.term(index) else { return };
        if index > self.compacted.index {
            let gone = self.entries.drain(..self.offset(index + 1));
            self.bytes -= gone.map(|entry| bytes_of(&entry)).sum::<u64>();
            self.compacted = Position { index, term };
            // What grew in a burst is given back.
            if self.entries.capacity() > 4 * self.entries.len().max(1024) {
                self.entries.shrink_to(2 * self.entries.len());
            }
        }
    }

    /// Begins anew behind a snapshot.
    pub(crate) fn restore(&mut self, at: Position) {
        self.entries.clear();
        self.bytes = 0;
        self.compacted = at;
        self.snapshot = None;
    }

    /// The least index of a snapshot raft-rs has asked for and not got, if it has since the last call.
    pub(crate) fn take_wanted(&self) -> Option<u64> {
        self.wanted.take()
    }

    /// What followers get that need a snapshot; `None`: it is let go of.
    pub(crate) fn set_snapshot(&mut self, snapshot: Option<Snapshot>) {
        self.snapshot = snapshot;
    }

    /// Where the entry of `index` lies, which is behind what is compacted.
    fn offset(&self, index: u64) -> usize {
        let offset = index.saturating_sub(self.compacted.index + 1);
        usize::try_from(offset).unwrap_or(usize::MAX)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.compacted.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        let (start, end) = (self.offset(low), self.offset(high));
        if end > self.entries.len() {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let mut left = max_size.into().unwrap_or(u64::MAX);
        let mut count = 0;
        for entry in self.entries.range(start..end) {
            let bytes = entry.data.len() as u64 + ENTRY_HEAD_BYTES;
            // One entry goes, however large.
            if bytes > left && count > 0 {
                break;
            }
            left = left.saturating_sub(bytes);
            count += 1;
        }
        Ok(self.entries.range(start..start + count).cloned().collect())
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.compacted.index {
            return Ok(self.compacted.term);
        }
        if index < self.compacted.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        match self.entries.get(self.offset(index)) {
            Some(entry) => Ok(entry.term),
            None => Err(Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.compacted.index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last().index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        // One that does not reach the first entry would be followed by another.
        let least = request_index.max(self.compacted.index);
        match &self.snapshot {
            Some(snapshot)
                if snapshot.get_metadata().index >= least && is_of_its_cluster(snapshot, to) =>
            {
                Ok(snapshot.clone())
            }
            _ => {
                self.wanted.set(Some(least));
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

fn bytes_of(entry: &Entry) -> u64 {
    (entry.data.len() + entry.context.len() + size_of::<Entry>()) as u64
}

/// Whether `member` is one in the configuration of `snapshot`. One that joined later would not take it.
fn is_of_its_cluster(snapshot: &Snapshot, member: u64) -> bool {
    let state = snapshot.get_metadata().get_conf_state();
    [&state.voters, &state.learners, &state.voters_outgoing]
        .into_iter()
        .any(|members| members.contains(&member))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64, bytes: usize) -> Entry {
        Entry { index, term, data: vec![7; bytes].into(), ..Entry::default() }
    }

    fn log(entries: &[(u64, u64)]) -> Log {
        let compacted = Position { index: 3, term: 3 };
        let entries: Vec<_> = entries.iter().map(|&(index, term)| entry(index, term, 10)).collect();
        Log::new(HardState::default(), ConfState::default(), compacted, entries)
    }

    fn read(log: &Log, low: u64, high: u64, max_size: u64) -> Result<Vec<u64>> {
        let entries = log.entries(low, high, max_size, GetEntriesContext::empty(false))?;
        Ok(entries.iter().map(|entry| entry.index).collect())
    }

    #[test]
    fn tells_terms_and_what_is_gone_from_what_is_not_there() {
        let log = log(&[(4, 4), (5, 5)]);
        assert_eq!(log.term(3), Ok(3));
        assert_eq!(log.term(5), Ok(5));
        assert_eq!(log.term(2), Err(Error::Store(StorageError::Compacted)));
        assert_eq!(log.term(6), Err(Error::Store(StorageError::Unavailable)));
        assert_eq!(read(&log, 3, 5, u64::MAX), Err(Error::Store(StorageError::Compacted)));
        assert_eq!(read(&log, 4, 7, u64::MAX), Err(Error::Store(StorageError::Unavailable)));
        assert_eq!((log.first_index(), log.last_index()), (Ok(4), Ok(5)));
    }

    #[test]
    fn reads_up_to_a_size_but_one_entry_always() {
        let log = log(&[(4, 4), (5, 4), (6, 4)]);
        assert_eq!(read(&log, 4, 7, 0), Ok(vec![4]));
        assert_eq!(read(&log, 4, 7, 2 * 40), Ok(vec![4, 5]));
        assert_eq!(read(&log, 4, 7, 2 * 40 - 1), Ok(vec![4]));
        assert_eq!(read(&log, 5, 7, u64::MAX), Ok(vec![5, 6]));
        assert_eq!(read(&log, 5, 5, u64::MAX), Ok(vec![]));
    }

    #[test]
    fn appends_in_place_of_what_has_the_same_indexes() {
        let mut log = log(&[(4, 4), (5, 4), (6, 4)]);
        log.append([entry(5, 5, 1)]);
        assert_eq!((log.term(5), log.last_index()), (Ok(5), Ok(5)));
        log.append([entry(6, 5, 1), entry(7, 5, 1)]);
        assert_eq!(read(&log, 4, 8, u64::MAX), Ok(vec![4, 5, 6, 7]));
        log.append([entry(4, 6, 1)]);
        assert_eq!((log.first_index(), log.last_index(), log.term(4)), (Ok(4), Ok(4), Ok(6)));
    }

    #[test]
    fn compacts_up_to_an_index_it_has() {
        let mut log = log(&[(4, 4), (5, 5), (6, 6)]);
        log.compact(2);
        log.compact(9);
        assert_eq!(log.first_index(), Ok(4));
        log.compact(5);
        assert_eq!((log.first_index(), log.term(5), log.last_index()), (Ok(6), Ok(5), Ok(6)));
        log.compact(6);
        assert_eq!((log.first_index(), log.last_index()), (Ok(7), Ok(6)));
        log.restore(Position { index: 20, term: 9 });
        assert_eq!((log.first_index(), log.last_index(), log.term(20)), (Ok(21), Ok(20), Ok(9)));
        assert_eq!(log.bytes(), 0);
    }

    #[test]
    fn counts_the_bytes_it_holds() {
        let mut log = log(&[(4, 4), (5, 5), (6, 6)]);
        let each = log.bytes() / 3;
        assert_eq!(each, 10 + size_of::<Entry>() as u64);
        log.append([entry(5, 7, 10)]);
        assert_eq!(log.bytes(), 2 * each);
        log.compact(4);
        assert_eq!(log.bytes(), each);
    }

    #[test]
    fn asks_for_a_snapshot_that_reaches_its_entries() {
        let mut log = log(&[(4, 4), (5, 4)]);
        let unavailable = Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        assert_eq!(log.snapshot(0, 2), unavailable);
        assert_eq!((log.take_wanted(), log.take_wanted()), (Some(3), None));
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = 4;
        snapshot.mut_metadata().mut_conf_state().mut_learners().push(2);
        log.set_snapshot(Some(snapshot.clone()));
        assert_eq!(log.snapshot(0, 2), Ok(snapshot));
        // It joined later.
        assert_eq!(log.snapshot(0, 3), unavailable);
        assert_eq!(log.snapshot(5, 2), unavailable);
        log.compact(5);
        assert_eq!(log.snapshot(0, 2), unavailable);
    }
}
