//! What can be wrong with a log, in which file and where.
//!
//! | error | what to do next |
//! |---|---|
//! | [`WalError::Failed`] | stop the member: what was not acknowledged may or may not be there |
//! | [`WalError::Disk`] | nothing was appended: mend the disk, and open the log again |
//! | [`WalError::Locked`] | another process has the log: one of the two is to stop |
//! | [`WalError::Corrupt`] and the rest | the log is not what was written: take the member out of the cluster and add it anew |

use super::SegmentName;
use super::record::{DataError, RecordKind};
use crate::disk::DiskError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A log that cannot be opened, read or written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WalError {
    /// The disk failed while nothing was being appended.
    Disk(Arc<DiskError>),
    /// The disk failed while the log was being written. The log is dead: every later call returns
    /// this same error, and none tries again, since a second sync may succeed without a first one's
    /// bytes being durable.
    Failed(Arc<DiskError>),
    /// There is a log already.
    Exists {
        /// Its directory.
        dir: PathBuf,
    },
    /// There is no segment that begins at or before the snapshot.
    NoSegment {
        /// The directory.
        dir: PathBuf,
        /// The snapshot's index.
        index: u64,
    },
    /// A segment is missing between two others.
    Missing {
        /// The directory.
        dir: PathBuf,
        /// The one before it.
        before: SegmentName,
        /// The one behind it.
        behind: SegmentName,
    },
    /// Another process has locked a segment.
    Locked {
        /// The segment.
        path: PathBuf,
    },
    /// A record is not as it was written, or cannot follow those before it.
    Corrupt(Corruption),
    /// There is no record of the snapshot.
    NoSnapshot {
        /// The directory.
        dir: PathBuf,
        /// The snapshot's index.
        index: u64,
    },
    /// No record says whose log it is.
    NoMetadata {
        /// The directory.
        dir: PathBuf,
    },
}

/// Where a log is corrupt, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corruption {
    /// The segment.
    pub path: PathBuf,
    /// Where the record's frame begins in it.
    pub offset: u64,
    /// What is wrong.
    pub kind: CorruptionKind,
}

/// What is wrong with a record; see [`Corruption`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CorruptionKind {
    /// Its frame reaches beyond the end of the segment.
    Overrun {
        /// The bytes of the frame, or of its length where that is cut short.
        frame: u64,
        /// The bytes that are left.
        rest: u64,
    },
    /// It is no protobuf message.
    Protobuf,
    /// Its data is not what was written.
    Crc {
        /// What the record says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The segment does not follow the one before it.
    Chain {
        /// What the CRC record says.
        stored: u32,
        /// What the records before it give.
        computed: u32,
    },
    /// A record of a kind that does not exist.
    Kind(RecordKind),
    /// Data that cannot be read.
    Data(RecordKind, DataError),
    /// An entry whose predecessor is not there.
    Gap {
        /// The highest index it could have had.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// The log is another member's from here on.
    Metadata,
    /// The snapshot was taken in another term.
    SnapshotTerm {
        /// The term of the snapshot the log is opened at.
        expected: u64,
        /// What the record says.
        found: u64,
    },
}

impl From<DiskError> for WalError {
    fn from(error: DiskError) -> Self {
        Self::Disk(Arc::new(error))
    }
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Failed(error) => write!(f, "log is dead: {error}"),
            Self::Exists { dir } => write!(f, "{} holds a log already", dir.display()),
            Self::NoSegment { dir, index } => {
                write!(f, "{} has no segment for a snapshot at {index}", dir.display())
            }
            Self::Missing { dir, before, behind } => {
                write!(f, "{} has no segment between {before} and {behind}", dir.display())
            }
            Self::Locked { path } => write!(f, "{} is locked by another process", path.display()),
            Self::Corrupt(corruption) => corruption.fmt(f),
            Self::NoSnapshot { dir, index } => {
                write!(f, "{} has no record of a snapshot at {index}", dir.display())
            }
            Self::NoMetadata { dir } => write!(f, "{} does not say whose it is", dir.display()),
        }
    }
}

impl std::error::Error for WalError {}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.path.display(), self.offset, self.kind)
    }
}

impl fmt::Display for CorruptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overrun { frame, rest } => {
                write!(f, "frame of {frame} bytes where {rest} are left")
            }
            Self::Protobuf => f.write_str("malformed record"),
            Self::Crc { stored, computed } => {
                write!(f, "record says CRC {stored:08x}, its data gives {computed:08x}")
            }
            Self::Chain { stored, computed } => {
                write!(
                    f,
                    "segment begins with CRC {stored:08x}, the one before ends with {computed:08x}"
                )
            }
            Self::Kind(kind) => write!(f, "record of unknown {kind}"),
            Self::Data(kind, error) => write!(f, "{kind}: {error}"),
            Self::Gap { expected, found } => {
                write!(f, "entry {found} where {expected} follows")
            }
            Self::Metadata => f.write_str("metadata of another log"),
            Self::SnapshotTerm { expected, found } => {
                write!(f, "snapshot of term {found} where term {expected} was expected")
            }
        }
    }
}
