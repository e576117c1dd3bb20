//! How a log begins: created, or opened behind a snapshot and repaired.

use super::directory::{self, Segment};
use super::error::WalError;
use super::reader::Reader;
use super::record::{Metadata, RecordKind, SnapshotRecord};
use super::replay::{Replay, Replaying};
use super::spare;
use super::staging::Staging;
use super::writer::Wal;
use super::{Options, SegmentName, exists, repair};
use crate::disk::Disk;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Wal {
    /// Creates a log in `dir`, whose parent is there: a first segment with the metadata and the empty
    /// snapshot, built beside it and then renamed.
    ///
    /// # Errors
    ///
    /// [`WalError::Exists`] and [`WalError::Disk`].
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        metadata: Metadata,
        options: Options,
    ) -> Result<Self, WalError> {
        if exists(&*disk, dir)? {
            return Err(WalError::Exists { dir: dir.to_owned() });
        }
        let mut unfinished = dir.as_os_str().to_owned();
        unfinished.push(".tmp");
        let unfinished = PathBuf::from(unfinished);
        disk.remove_dir_all(&unfinished)?;
        disk.create_dir(&unfinished)?;

        let name = SegmentName { sequence: 0, index: 0 };
        let path = unfinished.join(name.to_string());
        let mut file = spare::make(&*disk, &path, options.segment_bytes, |_| Ok(()))?;
        let mut staging = Staging::new(&[], 0, 0);
        let metadata = metadata.encode();
        staging.put(RecordKind::CRC, &[]);
        staging.put(RecordKind::METADATA, &[&metadata]);
        staging.put(RecordKind::SNAPSHOT, &[&SnapshotRecord::default().encode()]);
        staging.write(&mut *file)?;
        disk.sync_dir(&unfinished)?;

        // Over nothing, or an empty directory: what is in another one is not ours.
        disk.rename(&unfinished, dir)?;
        disk.sync_dir(parent(dir))?;
        let path = dir.join(name.to_string());
        file.renamed(&path);

        let last = Segment { name, path, file };
        Ok(Self::new(disk, dir, options, metadata.into(), Vec::new(), last, staging))
    }

    /// Opens the log in `dir` behind the snapshot `from`, one of
    /// [`usable_snapshots`](super::usable_snapshots), and returns what it holds. A torn end is
    /// repaired.
    ///
    /// # Errors
    ///
    /// Any of [`WalError`] but `Exists` and `Failed`.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        from: &SnapshotRecord,
        options: Options,
    ) -> Result<(Self, Replay), WalError> {
        let names = directory::segments(&*disk, dir)?;
        let names = directory::from_index(dir, &names, from.index)?;
        // A process before this one may have died, or failed, between a renaming and this.
        disk.sync_dir(parent(dir))?;
        disk.sync_dir(dir)?;
        let mut reader = Reader::new(directory::open(&*disk, dir, names)?)?;
        let mut replaying = Replaying::new(from);
        replaying.take_all(&mut reader)?;
        if !replaying.met {
            return Err(WalError::NoSnapshot { dir: dir.to_owned(), index: from.index });
        }
        let Some((metadata, metadata_bytes)) = replaying.metadata else {
            return Err(WalError::NoMetadata { dir: dir.to_owned() });
        };

        let (tail, crc) = (reader.tail().cloned(), reader.crc());
        let mut segments = reader.into_segments();
        let (Some(mut last), Some(tail)) = (segments.pop(), tail) else {
            return Err(WalError::NoSegment { dir: dir.to_owned(), index: from.index });
        };
        let repaired = match tail.torn {
            Some(_) => Some(repair::cut_off(&*disk, dir, &mut last, &tail)?),
            None => None,
        };
        repair::write_again(&mut last, tail.offset)?;
        let head = repair::zero_behind(&mut last, tail.offset, options.segment_bytes)?;

        let staging = Staging::new(&head, tail.offset, crc);
        let mut wal = Self::new(disk, dir, options, metadata_bytes, segments, last, staging);
        wal.resume(replaying.hard_state, replaying.last_index);
        let (hard_state, entries) = (replaying.hard_state, replaying.entries);
        Ok((wal, Replay { metadata, hard_state, entries, repaired }))
    }
}

/// The directory a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
