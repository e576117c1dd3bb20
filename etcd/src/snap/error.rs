//! What can be wrong with a snapshot's file.

use crate::disk::DiskError;
use raftwire::error::DecodeError;
use std::fmt;

/// A snapshot that cannot be written or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapError {
    /// The disk failed.
    Disk(DiskError),
    /// It holds nothing: a snapshot of index 0, or a file without data or CRC.
    Empty,
    /// It is larger than a file may be.
    TooLarge {
        /// The bytes the file would have.
        bytes: usize,
    },
    /// The file is no protobuf message.
    Protobuf,
    /// Its data is not what was written.
    Crc {
        /// What the file says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// Its data is no snapshot.
    Snapshot(DecodeError),
}

impl From<DiskError> for SnapError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl fmt::Display for SnapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Empty => f.write_str("empty snapshot"),
            Self::TooLarge { bytes } => {
                write!(f, "snapshot of {bytes} bytes is too large for a file")
            }
            Self::Protobuf => f.write_str("malformed snapshot file"),
            Self::Crc { stored, computed } => {
                write!(f, "file says CRC {stored:08x}, its data gives {computed:08x}")
            }
            Self::Snapshot(error) => write!(f, "malformed snapshot: {error}"),
        }
    }
}

impl std::error::Error for SnapError {}
