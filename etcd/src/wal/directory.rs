//! The directory of a log: which segments it has, and which of them a reader begins with.

use super::SegmentName;
use super::error::WalError;
use super::reader::Reader;
use crate::disk::{Disk, DiskError, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: SegmentName,
    pub(super) path: PathBuf,
    pub(super) file: Box<dyn File>,
}

/// The segments in `dir`, oldest first; none if there is no such directory.
pub(super) fn segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<SegmentName>, DiskError> {
    let names = match disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names: Vec<_> = names.iter().filter_map(|name| SegmentName::parse(name)).collect();
    names.sort_unstable();
    Ok(names)
}

/// Those of `names` that are read from a snapshot at `index` on: from the last one that begins at or
/// before it.
pub(super) fn from_index<'a>(
    dir: &Path,
    names: &'a [SegmentName],
    index: u64,
) -> Result<&'a [SegmentName], WalError> {
    let first = names.iter().rposition(|name| name.index <= index);
    let first = first.ok_or_else(|| WalError::NoSegment { dir: dir.to_owned(), index })?;
    let names = &names[first..];
    contiguous(dir, names)?;
    Ok(names)
}

fn contiguous(dir: &Path, names: &[SegmentName]) -> Result<(), WalError> {
    for pair in names.windows(2) {
        if pair[0].sequence.checked_add(1) != Some(pair[1].sequence) {
            let (before, behind) = (pair[0], pair[1]);
            return Err(WalError::Missing { dir: dir.to_owned(), before, behind });
        }
    }
    Ok(())
}

/// Opens segments for appending, and locks them.
pub(super) fn open(
    disk: &dyn Disk,
    dir: &Path,
    names: &[SegmentName],
) -> Result<Vec<Segment>, WalError> {
    let open = |name: &SegmentName| {
        let path = dir.join(name.to_string());
        let mut file = disk.open(&path)?;
        match file.lock() {
            Ok(()) => Ok(Segment { name: *name, path, file }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(WalError::Locked { path }),
            Err(error) => Err(error.into()),
        }
    };
    names.iter().map(open).collect()
}

/// Opens segments for reading, whoever has locked them.
pub(super) fn open_to_read(
    disk: &dyn Disk,
    dir: &Path,
    names: &[SegmentName],
) -> Result<Vec<Segment>, WalError> {
    let open = |name: &SegmentName| {
        let path = dir.join(name.to_string());
        let file = disk.open_to_read(&path)?;
        Ok(Segment { name: *name, path, file })
    };
    names.iter().map(open).collect()
}

impl Reader {
    /// Opens all segments of the log in `dir` for reading: nothing is locked, repaired or changed.
    ///
    /// # Errors
    ///
    /// [`WalError::NoSegment`] if there is no log, [`WalError::Missing`] or [`WalError::Disk`].
    pub fn open(disk: &dyn Disk, dir: &Path) -> Result<Self, WalError> {
        let names = segments(disk, dir)?;
        if names.is_empty() {
            return Err(WalError::NoSegment { dir: dir.to_owned(), index: 0 });
        }
        contiguous(dir, &names)?;
        Ok(Self::new(open_to_read(disk, dir, &names)?)?)
    }
}
