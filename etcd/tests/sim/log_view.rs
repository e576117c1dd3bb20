//! What a member's log on disk says: read with the project's reader, and put together here anew.

use super::Verdict;
use bytes::Bytes;
use raftwire::raftpb::{Entry, HardState, Wire};
use raftwire_etcd::disk::Disk;
use raftwire_etcd::wal::{Reader, RecordKind, SnapshotRecord};
use std::collections::BTreeMap;
use std::path::Path;

/// See the file.
#[derive(Debug, Default)]
pub(crate) struct LogView {
    /// By index: those that count, with none behind that are not theirs.
    pub(crate) entries: BTreeMap<u64, Entry>,
    pub(crate) hard_state: HardState,
    /// The index of the last entry or snapshot.
    pub(crate) last_index: u64,
}

impl LogView {
    /// Reads the log in `dir`; an empty one if there is none.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Verdict<Self> {
        let mut view = Self::default();
        if !raftwire_etcd::wal::exists(disk, dir).map_err(|error| error.to_string())? {
            return Ok(view);
        }
        let mut reader = Reader::open(disk, dir).map_err(|error| error.to_string())?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record().map_err(|error| error.to_string())? {
            if record.kind == RecordKind::HARD_STATE {
                view.hard_state =
                    HardState::decode(&record.data).map_err(|error| error.to_string())?;
            }
            records.push((record.kind, record.data));
        }
        for (kind, data) in records {
            view.take(kind, &data)?;
        }
        Ok(view)
    }

    /// What is to be said of it where it is not as it should be.
    pub(crate) fn end(&self) -> (&HardState, u64) {
        (&self.hard_state, self.last_index)
    }

    fn take(&mut self, kind: RecordKind, data: &Bytes) -> Verdict {
        match kind {
            RecordKind::ENTRY => {
                let entry = Entry::decode(data).map_err(|error| error.to_string())?;
                let _ = self.entries.split_off(&entry.index);
                self.last_index = entry.index;
                self.entries.insert(entry.index, entry);
            }
            RecordKind::SNAPSHOT => {
                let record = SnapshotRecord::decode(data).map_err(|error| error.to_string())?;
                // A crash left its record alone: it was never taken.
                if record.index > self.hard_state.commit {
                    return Ok(());
                }
                // What stood in the log before a snapshot that came from elsewhere counts no more.
                let differs =
                    self.entries.get(&record.index).is_some_and(|entry| entry.term != record.term);
                if differs || record.index > self.last_index {
                    self.entries.clear();
                    self.last_index = record.index;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
