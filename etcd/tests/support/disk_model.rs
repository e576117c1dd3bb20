//! What a log must hold after a crash: a log that is kept as a list of records, of which some are
//! known to be durable. And somebody who writes one at random. Not here: where a crash comes.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use super::disk::{DIR, METADATA, append, options, origin, shared, snapshot};
use fastrand::Rng;
use raftwire::raftpb::{Dialect, Entry, HardState, Wire};
use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::wal::{
    self, Reader, RecordKind, SnapshotRecord, Wal, WalError, usable_snapshots,
};
use std::path::Path;

#[derive(Clone, Debug, PartialEq)]
enum Record {
    Entry(Entry),
    HardState(HardState),
    Snapshot(SnapshotRecord),
}

/// What a log holds behind a snapshot.
#[derive(Debug, Default, PartialEq)]
struct Held {
    entries: Vec<Entry>,
    hard_state: HardState,
}

/// All records there are to be, in order.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Whether the log's creation was acknowledged.
    pub(crate) created: bool,
    records: Vec<Record>,
    /// How many are acknowledged.
    durable: usize,
    last: (u64, u64),
    hard_state: HardState,
    /// The last one that has a record. The other gets one with the next sync.
    recorded: HardState,
    compacted: u64,
}

impl Model {
    fn last_snapshot(&self) -> u64 {
        let snapshots = self.snapshots(self.records.len());
        snapshots.iter().map(|snapshot| snapshot.index).max().unwrap_or(0)
    }

    /// What a sync does first, and closing the log too.
    pub(crate) fn put_hard_state(&mut self) {
        if self.recorded != self.hard_state {
            self.records.push(Record::HardState(self.hard_state));
            self.recorded = self.hard_state;
        }
    }

    /// A snapshot that is ahead of what has a record commits itself.
    fn put_snapshot(&mut self, wal: &mut Wal, record: SnapshotRecord) {
        wal.append_snapshot(&record);
        let index = record.index;
        self.records.push(Record::Snapshot(record));
        if index > self.recorded.commit {
            self.recorded = HardState { commit: index, ..self.hard_state };
            self.records.push(Record::HardState(self.recorded));
        }
    }

    /// The term of the entry that the log has at `index` after its first `count` records.
    fn term_at(&self, index: u64, count: usize) -> Option<u64> {
        let entries = self.records[..count].iter().rev().map_while(|record| match record {
            Record::Entry(entry) if entry.index < index => None,
            record => Some(record),
        });
        entries
            .filter_map(|record| match record {
                Record::Entry(entry) if entry.index == index => Some(entry.term),
                _ => None,
            })
            .next()
    }

    /// The log after its first `count` records.
    fn held(&self, from: &SnapshotRecord, count: usize) -> Held {
        let mut held = Held::default();
        for (position, record) in self.records[..count].iter().enumerate() {
            match record {
                Record::Entry(entry) => {
                    held.entries.retain(|held| held.index < entry.index);
                    if entry.index > from.index {
                        held.entries.push(entry.clone());
                    }
                }
                // A leader's: what the log had behind it is not what was committed.
                Record::Snapshot(snapshot)
                    if snapshot == from
                        && self.term_at(snapshot.index, position) != Some(snapshot.term) =>
                {
                    held.entries.clear();
                }
                Record::Snapshot(_) => {}
                Record::HardState(state) => held.hard_state = *state,
            }
        }
        held
    }

    fn snapshots(&self, count: usize) -> Vec<SnapshotRecord> {
        let mut snapshots = vec![origin()];
        snapshots.extend(self.records[..count].iter().filter_map(|record| match record {
            Record::Snapshot(snapshot) => Some(snapshot.clone()),
            _ => None,
        }));
        snapshots
    }

    fn usable(&self, count: usize) -> Vec<SnapshotRecord> {
        let mut usable = self.snapshots(count);
        let commit = self.held(&origin(), count).hard_state.commit;
        usable.retain(|snapshot| snapshot.index <= commit);
        usable
    }

    /// Opens the log and compares. Whatever was acknowledged must be there, and behind it any
    /// number of the records that followed; these are what the model goes on with.
    ///
    /// A disk that crashes meanwhile is no fault of the log's: `Ok(None)`.
    pub(crate) fn recover(
        &mut self,
        disk: &FaultDisk,
        segment_bytes: u64,
    ) -> Result<Option<Wal>, String> {
        let opened = self.try_recover(disk, segment_bytes);
        if disk.has_crashed() { Ok(None) } else { opened }
    }

    fn try_recover(&mut self, disk: &FaultDisk, segment_bytes: u64) -> Result<Option<Wal>, String> {
        let dir = Path::new(DIR);
        if !wal::exists(disk, dir).map_err(|error| error.to_string())? {
            if self.created {
                return Err("the log is gone".to_owned());
            }
            *self = Self::default();
            let created = Wal::create(shared(disk), dir, METADATA, options(segment_bytes));
            self.created = created.is_ok();
            return created.map(Some).map_err(|error| error.to_string());
        }
        let usable = usable_snapshots(disk, dir).map_err(|error| error.to_string())?;
        let Some(newest) = usable.last() else { return Err("no usable snapshot".to_owned()) };
        let (wal, replay) = Wal::open(shared(disk), dir, newest, options(segment_bytes))
            .map_err(|error| error.to_string())?;
        if replay.metadata != METADATA {
            return Err(format!("{:?}", replay.metadata));
        }
        let found = Held { entries: replay.entries, hard_state: replay.hard_state };
        // One that is not usable yet may be later, so that they count too.
        let snapshots = all_snapshots(disk).map_err(|error| error.to_string())?;
        let fits = |count: &usize| {
            // Those in segments that were removed are no longer found.
            self.usable(*count).ends_with(&usable)
                && self.snapshots(*count).ends_with(&snapshots)
                && self.held(newest, *count) == found
        };
        let Some(count) = (self.durable..=self.records.len()).find(fits) else {
            let expected = self.held(newest, self.durable);
            return Err(format!(
                "{} durable of {} records, hard state {:?}, entries to {:?} behind {newest:?}; found \
                 {:?}, entries to {:?}",
                self.durable,
                self.records.len(),
                expected.hard_state,
                expected.entries.last().map(|entry| entry.index),
                found.hard_state,
                found.entries.last().map(|entry| entry.index),
            ));
        };
        self.created = true;
        self.records.truncate(count);
        self.durable = count;
        (self.hard_state, self.recorded) = (found.hard_state, found.hard_state);
        self.last = found
            .entries
            .last()
            .map_or((newest.term, newest.index), |last| (last.term, last.index));
        self.compacted = newest.index;
        Ok(Some(wal))
    }

    /// Writes a random batch.
    pub(crate) fn step(&mut self, wal: &mut Wal, random: &mut Rng) -> Result<(), WalError> {
        match random.u8(..10) {
            // An election.
            0 => {
                self.hard_state.term += 1;
                self.hard_state.vote = random.u64(..4);
                wal.set_hard_state(self.hard_state);
            }
            // A leader that has another log.
            1 if self.last.1 > self.hard_state.commit => {
                self.last.1 = random.u64(self.hard_state.commit..self.last.1);
                self.hard_state.term += 1;
                wal.set_hard_state(self.hard_state);
            }
            // A snapshot of our own.
            2 if self.hard_state.commit > self.last_snapshot() => {
                let index = self.hard_state.commit;
                if let Some(term) = self.term_at(index, self.records.len()) {
                    self.put_snapshot(wal, snapshot(term, index));
                }
            }
            // A snapshot that was received.
            3 => {
                let index = self.last.1.max(self.last_snapshot()) + random.u64(1..100);
                let record = snapshot(self.hard_state.term, index);
                self.put_snapshot(wal, record);
                self.last.1 = index;
                self.hard_state.commit = index;
                wal.set_hard_state(self.hard_state);
            }
            _ => {}
        }
        for _ in 0..random.u32(..4) {
            self.last = (self.hard_state.term, self.last.1 + 1);
            let bytes = match random.u8(..8) {
                0 => 0,
                1 => random.usize(..6000),
                _ => random.usize(..300),
            };
            // A run of zeros may look like what was never written.
            let fill = random.u8(..2);
            let mut data: Vec<u8> = (0..bytes).map(|_| random.u8(..) * fill).collect();
            data.extend_from_slice(&random.u64(..).to_le_bytes());
            let entry = super::disk::entry(self.last.0, self.last.1, data);
            if random.bool() {
                append(wal, &entry);
            } else {
                wal.append_encoded(entry.index, &entry.encode(Dialect::ALL[random.usize(..3)]));
            }
            self.records.push(Record::Entry(entry));
        }
        self.hard_state.commit = self.hard_state.commit.max(random.u64(..=self.last.1));
        wal.set_hard_state(self.hard_state);
        if random.u8(..8) > 0 {
            self.put_hard_state();
            wal.sync()?;
            self.durable = self.records.len();
        }
        // A snapshot that is usable lets go of what is before the one before it.
        let usable = self.usable(self.durable);
        if let [.., before, _] = &usable[..]
            && before.index > self.compacted
        {
            self.compacted = before.index;
            wal.release_to(before.index)?;
        }
        Ok(())
    }
}

fn all_snapshots(disk: &FaultDisk) -> Result<Vec<SnapshotRecord>, WalError> {
    let mut reader = Reader::open(disk, Path::new(DIR))?;
    let mut snapshots = Vec::new();
    while let Some(record) = reader.next_record()? {
        if record.kind == RecordKind::SNAPSHOT {
            snapshots.extend(SnapshotRecord::decode(&record.data));
        }
    }
    Ok(snapshots)
}
