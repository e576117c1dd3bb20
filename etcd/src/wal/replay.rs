//! What the records of a log mean: whose it is, the entries behind a snapshot, the hard state.

use super::error::{CorruptionKind, WalError};
use super::reader::{Reader, Record};
use super::record::{Metadata, RecordKind, SnapshotRecord};
use super::repair::Repair;
use crate::disk::Disk;
use bytes::Bytes;
use raftwire::raftpb::{Entry, HardState, Wire};
use std::path::Path;

/// What a log held when it was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replay {
    /// Whose it is.
    pub metadata: Metadata,
    /// The last hard state; all zero if there is none.
    pub hard_state: HardState,
    /// The entries behind the snapshot, without gaps. Those above the hard state's commit may yet
    /// be overwritten.
    pub entries: Vec<Entry>,
    /// What was cut off, if the last record was torn.
    pub repaired: Option<Repair>,
}

/// Takes records, one after the other.
#[derive(Debug)]
pub(super) struct Replaying<'a> {
    from: &'a SnapshotRecord,
    /// The metadata, and the bytes it was read from.
    pub(super) metadata: Option<(Metadata, Bytes)>,
    pub(super) hard_state: HardState,
    pub(super) entries: Vec<Entry>,
    /// The index of the last entry, or of the snapshot if that is higher.
    pub(super) last_index: u64,
    /// Whether the snapshot's record was met.
    pub(super) met: bool,
    /// The term of the log's entry that has the snapshot's index, if it has one.
    term_at_from: Option<u64>,
}

impl<'a> Replaying<'a> {
    pub(super) const fn new(from: &'a SnapshotRecord) -> Self {
        let hard_state = HardState { term: 0, vote: 0, commit: 0 };
        Self {
            from,
            metadata: None,
            hard_state,
            entries: Vec::new(),
            last_index: 0,
            met: false,
            term_at_from: None,
        }
    }

    /// Takes all that `reader` has.
    pub(super) fn take_all(&mut self, reader: &mut Reader) -> Result<(), WalError> {
        while let Some(record) = reader.next_record()? {
            self.take(&record).map_err(|kind| reader.corrupt(record.offset, kind))?;
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) -> Result<(), CorruptionKind> {
        let malformed = |error| CorruptionKind::Data(record.kind, error);
        match record.kind {
            RecordKind::CRC => {}
            RecordKind::METADATA => match &self.metadata {
                Some((_, data)) if *data != record.data => return Err(CorruptionKind::Metadata),
                Some(_) => {}
                None => {
                    let metadata = Metadata::decode(&record.data).map_err(malformed)?;
                    self.metadata = Some((metadata, record.data.clone()));
                }
            },
            RecordKind::ENTRY => {
                let entry = Entry::decode(&record.data).map_err(|e| malformed(e.into()))?;
                self.last_index = entry.index;
                self.push(entry)?;
            }
            RecordKind::HARD_STATE => {
                self.hard_state =
                    HardState::decode(&record.data).map_err(|e| malformed(e.into()))?;
            }
            RecordKind::SNAPSHOT => {
                let snapshot = SnapshotRecord::decode(&record.data).map_err(malformed)?;
                self.last_index = self.last_index.max(snapshot.index);
                if snapshot.index == self.from.index {
                    let (expected, found) = (self.from.term, snapshot.term);
                    if expected != found {
                        return Err(CorruptionKind::SnapshotTerm { expected, found });
                    }
                    self.met = true;
                    // A leader's snapshot, which the log did not lead to: what stands behind its index
                    // is not what was committed there. A member's own follows on its entry.
                    if found > 0 && self.term_at_from != Some(found) {
                        self.entries.clear();
                    }
                }
            }
            kind => return Err(CorruptionKind::Kind(kind)),
        }
        Ok(())
    }

    /// Adds an entry behind the snapshot, in place of the one with its index and those behind it.
    fn push(&mut self, entry: Entry) -> Result<(), CorruptionKind> {
        let found = entry.index;
        let Some(position) =
            found.checked_sub(self.from.index).and_then(|ahead| ahead.checked_sub(1))
        else {
            // It replaces all behind it. etcd's reader lets those stand, and its members rarely get there.
            self.entries.clear();
            self.term_at_from = (found == self.from.index).then_some(entry.term);
            return Ok(());
        };
        match usize::try_from(position) {
            Ok(position) if position <= self.entries.len() => {
                self.entries.truncate(position);
                self.entries.push(entry);
                Ok(())
            }
            _ => {
                let expected = self.from.index.saturating_add(self.entries.len() as u64 + 1);
                Err(CorruptionKind::Gap { expected, found })
            }
        }
    }
}

/// Returns the snapshots the log in `dir` can be opened at: those it has a record of, and whose index
/// is committed. Nothing is locked or changed; a torn end is passed over.
///
/// # Errors
///
/// [`WalError::Corrupt`], [`WalError::NoSegment`] if there is no log, and [`WalError::Disk`].
pub fn usable_snapshots(disk: &dyn Disk, dir: &Path) -> Result<Vec<SnapshotRecord>, WalError> {
    let mut reader = Reader::open(disk, dir)?;
    let (mut snapshots, mut commit) = (Vec::new(), 0);
    while let Some(record) = reader.next_record()? {
        let malformed =
            |error| reader.corrupt(record.offset, CorruptionKind::Data(record.kind, error));
        match record.kind {
            RecordKind::SNAPSHOT => {
                snapshots.push(SnapshotRecord::decode(&record.data).map_err(malformed)?);
            }
            RecordKind::HARD_STATE => {
                let state = HardState::decode(&record.data).map_err(|e| malformed(e.into()))?;
                commit = state.commit;
            }
            _ => {}
        }
    }
    snapshots.retain(|snapshot| snapshot.index <= commit);
    Ok(snapshots)
}
