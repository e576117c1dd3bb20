//! Snapshots on disk, in etcd's format: a file each, named after its term and index, which the log
//! has a record of once it is durable.
//!
//! ```text
//! DIR/
//!   TERM-INDEX.snap          16 hex digits each
//!   TERM-INDEX.snap.broken   one that could not be read
//!   tmpTERM-INDEX.snap       one that is being written
//!
//! file (protobuf)   1: CRC-32C of the data   2: a raftpb.Snapshot
//! ```
//!
//! What a snapshot holds is not known here.

mod error;
mod file;
#[cfg(test)]
mod tests;

pub use error::SnapError;
use file::Parts;
pub use file::{FILE_BYTES_MAX, decode, encode};

use crate::disk::{self, Disk, DiskError};
use crate::wal::SnapshotRecord;
use bytes::Bytes;
use raftwire::raftpb::Snapshot;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How many snapshots etcd keeps.
pub const KEPT: usize = 5;

/// The name of a snapshot's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    term: u64,
    index: u64,
}

impl Name {
    fn of(snapshot: &Snapshot) -> Self {
        Self { term: snapshot.metadata.term, index: snapshot.metadata.index }
    }

    fn parse(name: &str) -> Option<Self> {
        let (term, index) = name.strip_suffix(".snap")?.split_once('-')?;
        Some(Self { term: digits(term)?, index: digits(index)? })
    }

    fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:016x}-{:016x}.snap", self.term, self.index))
    }

    fn unfinished_path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{UNFINISHED}{:016x}-{:016x}.snap", self.term, self.index))
    }
}

/// What the names of files begin with that are being written. etcd removes such when it starts.
const UNFINISHED: &str = "tmp";

fn digits(text: &str) -> Option<u64> {
    let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u64::from_str_radix(text, 16).ok() } else { None }
}

/// What was found in a directory.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The newest snapshot that is whole and that the log has a record of.
    pub snapshot: Option<Snapshot>,
    /// Newer ones that could not be read, under their new names, and why.
    pub broken: Vec<(PathBuf, SnapError)>,
}

/// Writes a snapshot, durably, and returns its path. One of the same term and index is replaced.
///
/// # Errors
///
/// [`SnapError::Empty`] if it is of index 0, [`SnapError::TooLarge`] and [`SnapError::Disk`]. Nothing
/// of the snapshot is left then, as far as the disk lets it be removed.
pub fn save(disk: &dyn Disk, dir: &Path, snapshot: &Snapshot) -> Result<PathBuf, SnapError> {
    let Parts { head, data, tail } = file::parts(snapshot)?;
    let name = Name::of(snapshot);
    let (unfinished, path) = (name.unfinished_path(dir), name.path(dir));
    remove_if_there(disk, &unfinished)?;
    let write = || {
        let mut file = disk.create(&unfinished)?;
        let mut offset = 0;
        // Not put together first: there may not be memory for it twice.
        for piece in [&head, &data[..], &tail] {
            file.write_at(piece, offset)?;
            offset += piece.len() as u64;
        }
        file.sync()?;
        disk.rename(&unfinished, &path)?;
        disk.sync_dir(dir)
    };
    if let Err(error) = write() {
        // The first error is the one to tell.
        let _ = disk.remove(&unfinished);
        return Err(error.into());
    }
    Ok(path)
}

/// Loads the newest snapshot that is whole and is one of `usable`, the log's
/// [`usable_snapshots`](crate::wal::usable_snapshots). Newer ones that cannot be read are renamed, as
/// etcd does, and what was not finished is removed.
///
/// # Errors
///
/// [`SnapError::Disk`].
pub fn load_newest(
    disk: &dyn Disk,
    dir: &Path,
    usable: &[SnapshotRecord],
) -> Result<Loaded, SnapError> {
    let mut names = Vec::new();
    for name in disk.list(dir)? {
        if name.starts_with(UNFINISHED) {
            disk.remove(&dir.join(name))?;
        } else {
            names.extend(Name::parse(&name));
        }
    }
    names.sort_unstable();
    let mut loaded = Loaded { snapshot: None, broken: Vec::new() };
    for name in names.iter().rev() {
        let path = name.path(dir);
        match read(disk, &path) {
            Ok(snapshot) => {
                let name = Name::of(&snapshot);
                if usable
                    .iter()
                    .any(|usable| (usable.term, usable.index) == (name.term, name.index))
                {
                    loaded.snapshot = Some(snapshot);
                    break;
                }
            }
            Err(SnapError::Disk(error)) => return Err(SnapError::Disk(error)),
            Err(error) => {
                let mut broken = path.clone().into_os_string();
                broken.push(".broken");
                let broken = PathBuf::from(broken);
                disk.rename(&path, &broken)?;
                loaded.broken.push((broken, error));
            }
        }
    }
    Ok(loaded)
}

/// Reads one snapshot's file.
///
/// # Errors
///
/// Any of [`SnapError`].
pub fn read(disk: &dyn Disk, path: &Path) -> Result<Snapshot, SnapError> {
    decode(&Bytes::from(disk::read(disk, path, FILE_BYTES_MAX)?))
}

/// Removes all but the newest `kept` snapshots.
///
/// # Errors
///
/// [`SnapError::Disk`].
pub fn purge(disk: &dyn Disk, dir: &Path, kept: usize) -> Result<(), SnapError> {
    let names = disk.list(dir)?;
    let mut names: Vec<_> = names.iter().filter_map(|name| Name::parse(name)).collect();
    names.sort_unstable();
    let surplus = names.len().saturating_sub(kept);
    for name in &names[..surplus] {
        disk.remove(&name.path(dir))?;
    }
    Ok(())
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), DiskError> {
    match disk.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
