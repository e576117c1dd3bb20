//! The log on disk, in etcd's format: what a member must not forget, written and synced before it
//! answers for it.
//!
//! ```text
//! DIR/                                             locked, each, while the log is open
//!   0000000000000000-0000000000000000.wal   crc metadata snapshot(0) ...
//!   0000000000000001-00000000000153a2.wal   crc metadata hard-state entry entry hard-state ...
//!   0.tmp                                   a spare, zeros
//! ```
//!
//! A segment is 64 000 000 bytes of zeros, durably, before the first record is written to it
//! (`spare.rs`); records go into frames (`frame.rs`, `record.rs`), batches of them into whole blocks
//! (`staging.rs`). One batch is one write that waits for the disk. Where a batch ends behind the
//! segment's size, the segment is cut to what was written, and the next one begins with the running
//! CRC, the metadata and the hard state.
//!
//! # The end of the log
//!
//! A crash leaves any of the sectors of the last batch unwritten, and those are zero. What the
//! [`Reader`] makes of a frame:
//!
//! | what stands there | in the last segment | in another one |
//! |---|---|---|
//! | nothing, or a length of 0 | the end | the next segment follows |
//! | fewer bytes than a length, or a length beyond the end of the file | torn | refused: `Overrun` |
//! | a record that is no protobuf message, and a sector of the frame behind its length is all zero | torn | refused: `Protobuf` |
//! | the same without such a sector | refused: `Protobuf` | refused: `Protobuf` |
//! | a record whose data does not give its CRC, and a sector as above is all zero | torn | refused: `Crc` |
//! | the same without such a sector | refused: `Crc` | refused: `Crc` |
//! | a CRC record that is not the running CRC, unless that is 0 | refused: `Chain` | refused: `Chain` |
//! | a record that is whole, and of no known kind, or its data malformed | refused: `Kind`, `Data` | likewise |
//! | an entry above the snapshot that leaves a gap | refused: `Gap` | likewise |
//! | metadata other than before; the snapshot's record with another term | refused | likewise |
//!
//! Entries that the log has behind a snapshot's index are what followed on it only if the log's own
//! entry has the snapshot's term, as before a member's own snapshot. Behind a leader's snapshot they are
//! what it replaced, and are not replayed; nor is what stands behind an entry that was replaced, though its
//! index is the snapshot's or lower. etcd's reader keeps both.
//!
//! A torn end is cut off ([`Repair`]), and whatever stands behind the end is made zero before
//! anything is appended. What is refused was durable once, and has changed since.
//!
//! Not here: what entries mean, and when a log may be cut off at the front (`release_to`'s caller).

mod directory;
mod error;
mod frame;
mod name;
mod open;
mod options;
mod reader;
mod record;
mod repair;
mod replay;
mod spare;
mod staging;
mod writer;

pub use error::{Corruption, CorruptionKind, WalError};
pub use name::SegmentName;
pub use options::Options;
pub use reader::{Reader, Record, Tail};
pub use record::{DataError, Metadata, RecordKind, SnapshotRecord};
pub use repair::Repair;
pub use replay::{Replay, usable_snapshots};
pub use spare::Prepare;
pub use writer::{Stats, Wal};

use crate::disk::Disk;
use std::path::Path;

/// The bytes of a segment, as of etcd's.
pub const SEGMENT_BYTES: u64 = 64_000_000;

/// Whether there is a log in `dir`.
///
/// # Errors
///
/// [`WalError::Disk`].
pub fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, WalError> {
    Ok(!directory::segments(disk, dir)?.is_empty())
}
