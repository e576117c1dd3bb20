//! The end of the last segment: cut off behind the last good record if that is torn, and zero from
//! there to the segment's end.

use super::directory::Segment;
use super::reader::Tail;
use super::spare::{PIECE_BYTES, write_zeros};
use crate::disk::{BLOCK_BYTES, Disk, DiskError, File, Operation};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What was done about a torn record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// The segment, which now ends with its last good record.
    pub path: PathBuf,
    /// The segment as it was.
    pub broken: PathBuf,
    /// Where it was cut.
    pub offset: u64,
}

/// Copies the segment aside, and cuts it at `tail.offset`.
pub(super) fn cut_off(
    disk: &dyn Disk,
    dir: &Path,
    segment: &mut Segment,
    tail: &Tail,
) -> Result<Repair, DiskError> {
    let broken = dir.join(format!("{}.broken", segment.name));
    match disk.remove(&broken) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    copy(&*segment.file, &mut *disk.create(&broken)?)?;
    disk.sync_dir(dir)?;
    segment.file.truncate(tail.offset)?;
    segment.file.sync()?;
    Ok(Repair { path: segment.path.clone(), broken, offset: tail.offset })
}

fn copy(from: &dyn File, to: &mut dyn File) -> Result<(), DiskError> {
    let mut offset = 0;
    loop {
        let piece = from.read_at(offset, PIECE_BYTES)?;
        if piece.is_empty() {
            return to.sync();
        }
        to.write_at(&piece, offset)?;
        offset += piece.len() as u64;
    }
}

/// Writes once more what was read up to `end`, durably. A process before this one may have died, or
/// failed, before it was: the system shows what it has in memory, and forgets what it could not write.
/// Only the last segment needs it: no segment is cut before all of it is durable.
pub(super) fn write_again(segment: &mut Segment, end: u64) -> Result<(), DiskError> {
    let file = &mut *segment.file;
    let mut offset = 0;
    while offset < end {
        let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let piece = file.read_at(offset, left.min(PIECE_BYTES))?;
        if piece.is_empty() {
            break;
        }
        file.write_at(&piece, offset)?;
        offset += piece.len() as u64;
    }
    file.sync()
}

/// Makes everything behind `end` zero, up to `segment_bytes` at least, durably: what is there is no
/// record, but behind new records it would be read as one. Returns the bytes of the block that `end`
/// lies in, as far as they are before it.
///
/// Nothing is written where all is zero already.
pub(super) fn zero_behind(
    segment: &mut Segment,
    end: u64,
    segment_bytes: u64,
) -> Result<Vec<u8>, DiskError> {
    let file = &mut *segment.file;
    let length = file.length()?;
    let block = BLOCK_BYTES as u64;
    let head_offset = end - end % block;
    // Less than a block.
    let head_bytes = usize::try_from(end - head_offset).unwrap_or(0);
    let head = file.read_at(head_offset, head_bytes)?;
    if head.len() < head_bytes {
        // It was read a moment ago.
        return Err(DiskError::new(
            Operation::Read,
            &segment.path,
            ErrorKind::UnexpectedEof.into(),
        ));
    }
    let whole = segment_bytes.next_multiple_of(block).max(length.next_multiple_of(block));
    let all_zero = is_zero_behind(file, end)?;
    if !all_zero || length < whole {
        // Cut first: then nothing is left behind it, wherever a crash comes.
        let from = if all_zero { length } else { end };
        file.truncate(from)?;
        let first_block = from - from % block;
        let head = file.read_at(first_block, usize::try_from(from - first_block).unwrap_or(0))?;
        file.write_whole_blocks();
        write_zeros(file, &head, first_block, whole, |_| Ok(()))?;
        file.sync()?;
    }
    file.write_whole_blocks();
    Ok(head)
}

fn is_zero_behind(file: &dyn File, mut offset: u64) -> Result<bool, DiskError> {
    loop {
        let piece = file.read_at(offset, PIECE_BYTES)?;
        if piece.is_empty() {
            return Ok(true);
        }
        if piece.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += piece.len() as u64;
    }
}
