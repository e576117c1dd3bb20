//! Files, as the log and the snapshots need them: created exclusively, written at offsets, synced,
//! renamed, locked. [`OsDisk`] is the system's; in tests a disk takes its place that crashes
#![cfg_attr(any(test, feature = "__faults"), doc = "([`fault`]).")]
#![cfg_attr(not(any(test, feature = "__faults")), doc = "(`fault`, a private feature).")]
//!
//! What is durable, and when, is POSIX's bare promise: a file's bytes and length after
//! [`sync`](File::sync), its name after [`sync_dir`](Disk::sync_dir) of the directory it is in.
//! What the files hold is not known here.

mod aligned;
mod error;
#[cfg(any(test, feature = "__faults"))]
pub mod fault;
mod os;

pub use aligned::AlignedBuffer;
pub use error::{DiskError, Operation};
pub use os::OsDisk;

use std::fmt;
use std::path::Path;

/// What a file of whole blocks is written in: the largest logical block in use, and a page.
pub const BLOCK_BYTES: usize = 4096;

/// A place for files.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a file that was not there, open for reading and writing.
    ///
    /// # Errors
    ///
    /// What the system says, as of all methods here; `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> Result<Box<dyn File>, DiskError>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open(&self, path: &Path) -> Result<Box<dyn File>, DiskError>;

    /// Opens a file for reading only.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open_to_read(&self, path: &Path) -> Result<Box<dyn File>, DiskError>;

    /// Lists the names in a directory, in no order. Names that are not UTF-8 are left out: nobody
    /// here makes such.
    ///
    /// # Errors
    ///
    /// What the system says; `NotFound` if there is no such directory.
    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError>;

    /// Renames a file or a directory, over a file that is there.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn remove(&self, path: &Path) -> Result<(), DiskError>;

    /// Creates a directory that only its owner may enter, if there is none.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn create_dir(&self, path: &Path) -> Result<(), DiskError>;

    /// Removes a directory and all in it, if there is one.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn remove_dir_all(&self, path: &Path) -> Result<(), DiskError>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync_dir(&self, path: &Path) -> Result<(), DiskError>;
}

/// An open file. It is closed, and its lock released, when it is dropped.
pub trait File: Send + fmt::Debug {
    /// Locks the file against everybody else, this process too. Does not wait.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody else holds it, or what the system says.
    fn lock(&mut self) -> Result<(), DiskError>;

    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn length(&self) -> Result<u64, DiskError>;

    /// Reads `count` bytes at `offset`, fewer where the file ends before.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_at(&self, offset: u64, count: usize) -> Result<Vec<u8>, DiskError>;

    /// From here on only whole, aligned blocks of [`BLOCK_BYTES`] are written, from memory that is
    /// aligned likewise ([`AlignedBuffer`]) and past the system's cache, where the file system has
    /// a way to do so. Where it has none, nothing changes.
    fn write_whole_blocks(&mut self);

    /// Writes all of `bytes`. They are durable after [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// What the system says. How much was written is not known then.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), DiskError>;

    /// Writes all of `bytes` and waits until they are durable. It does not wait for what was
    /// written before.
    ///
    /// # Errors
    ///
    /// What the system says. How much was written is not known then, and nothing about it can be
    /// found out by trying again.
    fn write_durably_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), DiskError>;

    /// Makes the bytes and the length durable.
    ///
    /// # Errors
    ///
    /// What the system says. What was written before may be lost then, even if a later sync returns
    /// `Ok`: the system forgets what it failed to write.
    fn sync(&mut self) -> Result<(), DiskError>;

    /// Sets the length; what is added is zero.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn truncate(&mut self, length: u64) -> Result<(), DiskError>;

    /// Tells an open file that it was renamed, for the sake of errors.
    fn renamed(&mut self, path: &Path);
}

/// Reads a whole file.
///
/// # Errors
///
/// What the system says; `FileTooLarge` if it is longer than `bytes_max`.
pub fn read(disk: &dyn Disk, path: &Path, bytes_max: usize) -> Result<Vec<u8>, DiskError> {
    let file = disk.open_to_read(path)?;
    match usize::try_from(file.length()?) {
        Ok(count) if count <= bytes_max => file.read_at(0, count),
        _ => Err(DiskError::new(Operation::Read, path, std::io::ErrorKind::FileTooLarge.into())),
    }
}
