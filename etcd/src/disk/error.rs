//! What can be wrong with a disk: the operation, the path, and what the system said.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An operation that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct DiskError {
    /// What was tried.
    pub operation: Operation,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// What is done with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Creating a file.
    Create,
    /// Opening a file.
    Open,
    /// Locking a file.
    Lock,
    /// Reading a file.
    Read,
    /// Writing a file.
    Write,
    /// Writing a file durably.
    WriteDurably,
    /// Making a file durable.
    Sync,
    /// Setting a file's length.
    Truncate,
    /// Renaming a file or a directory.
    Rename,
    /// Removing a file.
    Remove,
    /// Listing a directory.
    List,
    /// Creating a directory.
    CreateDir,
    /// Removing a directory.
    RemoveDir,
    /// Making a directory durable.
    SyncDir,
}

impl DiskError {
    pub(crate) fn new(operation: Operation, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source }
    }

    /// What kind of error the system gave.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.path.display(), self.source)
    }
}

impl std::error::Error for DiskError {}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "creating",
            Self::Open => "opening",
            Self::Lock => "locking",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::WriteDurably => "writing durably to",
            Self::Sync => "syncing",
            Self::Truncate => "truncating",
            Self::Rename => "renaming",
            Self::Remove => "removing",
            Self::List => "listing",
            Self::CreateDir => "creating directory",
            Self::RemoveDir => "removing directory",
            Self::SyncDir => "syncing directory",
        })
    }
}
