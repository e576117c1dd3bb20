//! Reading: records, one after the other, through all segments of a chain, verified.
//!
//! A piece of a segment is read at a time. Data is cut out of that piece and not copied, so that an
//! entry keeps no more than a piece alive. What records mean is not known here, but for CRC records.

use super::SegmentName;
use super::directory::Segment;
use super::error::{Corruption, CorruptionKind, WalError};
use super::frame::{LENGTH_BYTES, Lengths};
use super::record::{RecordFields, RecordKind};
use crate::disk::DiskError;
use bytes::Bytes;
use prost::Message;
use std::path::{Path, PathBuf};

/// What is read at once: large enough that the syscall does not count, small enough to be kept alive
/// by one entry.
const PIECE_BYTES: u64 = 256 << 10;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A record, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// What it holds.
    pub kind: RecordKind,
    /// The running CRC behind its data; in a CRC record, before it.
    pub crc: u32,
    /// Its data.
    pub data: Bytes,
    /// The segment it stands in.
    pub segment: SegmentName,
    /// Where its frame begins in the segment.
    pub offset: u64,
    /// The bytes of its frame.
    pub bytes: u64,
}

/// The end of what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tail {
    /// The last segment.
    pub path: PathBuf,
    /// Where in it the last good record ends.
    pub offset: u64,
    /// What is wrong behind it, if a record was torn.
    pub torn: Option<CorruptionKind>,
}

/// Reads the records of a log, in order.
#[derive(Debug)]
pub struct Reader {
    /// All that are read; never empty.
    segments: Vec<Segment>,
    /// The one that is being read.
    current: usize,
    length: u64,
    /// Where in it the next frame begins.
    offset: u64,
    /// What was read ahead, from `offset` on.
    piece: Bytes,
    crc: u32,
    tail: Option<Tail>,
}

impl Reader {
    /// Reads from the first of `segments` on, of which there is at least one.
    pub(super) fn new(segments: Vec<Segment>) -> Result<Self, DiskError> {
        let length = segments[0].file.length()?;
        let (piece, tail) = (Bytes::new(), None);
        Ok(Self { segments, current: 0, length, offset: 0, piece, crc: 0, tail })
    }

    /// Reads the next record; `None` at the end, of which [`tail`](Self::tail) then tells.
    ///
    /// # Errors
    ///
    /// [`WalError::Corrupt`], except for a torn record at the end of the last segment, and
    /// [`WalError::Disk`].
    pub fn next_record(&mut self) -> Result<Option<Record>, WalError> {
        while self.tail.is_none() {
            match self.frame()? {
                Frame::Record(record) => return Ok(Some(record)),
                Frame::End if self.current + 1 < self.segments.len() => self.next_segment()?,
                Frame::End => self.end(None),
                Frame::Torn(kind) => self.end(Some(kind)),
            }
        }
        Ok(None)
    }

    /// The end of what was written, once it is reached.
    #[must_use]
    pub const fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// The running CRC behind the last record.
    pub(super) const fn crc(&self) -> u32 {
        self.crc
    }

    /// Gives the segments back.
    pub(super) fn into_segments(self) -> Vec<Segment> {
        self.segments
    }

    /// Where the last record that was read is wrong.
    pub(super) fn corrupt(&self, offset: u64, kind: CorruptionKind) -> WalError {
        let path = self.path().to_owned();
        WalError::Corrupt(Corruption { path, offset, kind })
    }

    fn path(&self) -> &Path {
        &self.segments[self.current].path
    }

    const fn is_last(&self) -> bool {
        self.current + 1 == self.segments.len()
    }

    fn end(&mut self, torn: Option<CorruptionKind>) {
        self.tail = Some(Tail { path: self.path().to_owned(), offset: self.offset, torn });
    }

    fn next_segment(&mut self) -> Result<(), DiskError> {
        self.current += 1;
        self.length = self.segments[self.current].file.length()?;
        self.offset = 0;
        self.piece = Bytes::new();
        Ok(())
    }

    /// The next `count` bytes, or fewer at the end of the segment.
    fn peek(&mut self, count: u64) -> Result<Bytes, DiskError> {
        if (self.piece.len() as u64) < count {
            let count = count.max(PIECE_BYTES).min(self.length.saturating_sub(self.offset));
            // On a machine whose memory a segment does not fit into, there is too little of it.
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            self.piece = self.segments[self.current].file.read_at(self.offset, count)?.into();
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.piece.len());
        Ok(self.piece.slice(..count))
    }

    fn pass(&mut self, bytes: u64) {
        self.offset += bytes;
        let count = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.piece.len());
        self.piece = self.piece.slice(count..);
    }

    fn frame(&mut self) -> Result<Frame, WalError> {
        let length = self.peek(LENGTH_BYTES as u64)?;
        if length.is_empty() {
            return Ok(Frame::End);
        }
        let Some(length) = length.first_chunk() else {
            let kind =
                CorruptionKind::Overrun { frame: LENGTH_BYTES as u64, rest: length.len() as u64 };
            return self.short(kind);
        };
        let Some(lengths) = Lengths::decode(*length) else {
            return Ok(Frame::End);
        };
        let bytes = LENGTH_BYTES as u64 + lengths.body();
        let rest = self.length.saturating_sub(self.offset);
        if bytes > rest {
            return self.short(CorruptionKind::Overrun { frame: bytes, rest });
        }
        let frame = self.peek(bytes)?;
        if (frame.len() as u64) < bytes {
            // It was cut while it was read.
            let rest = frame.len() as u64;
            return self.short(CorruptionKind::Overrun { frame: bytes, rest });
        }
        let body = frame.slice(LENGTH_BYTES..);
        // Both are within the frame.
        let record_bytes = body.len() - usize::from(lengths.padding);
        let Ok(fields) = RecordFields::decode(body.slice(..record_bytes)) else {
            return self.damaged(&body, CorruptionKind::Protobuf);
        };
        let (kind, stored) = (RecordKind(fields.kind()), fields.crc());
        let data = fields.data.unwrap_or_default();
        if kind == RecordKind::CRC {
            // A reader that begins here knows no other.
            if self.crc != 0 && self.crc != stored {
                let kind = CorruptionKind::Chain { stored, computed: self.crc };
                return Err(self.corrupt(self.offset, kind));
            }
            self.crc = stored;
        } else {
            let computed = crc32c::crc32c_append(self.crc, &data);
            if computed != stored {
                return self.damaged(&body, CorruptionKind::Crc { stored, computed });
            }
            self.crc = computed;
        }
        let segment = self.segments[self.current].name;
        let record = Record { kind, crc: stored, data, segment, offset: self.offset, bytes };
        self.pass(bytes);
        Ok(Frame::Record(record))
    }

    /// A frame that reaches beyond the end of the segment.
    fn short(&self, kind: CorruptionKind) -> Result<Frame, WalError> {
        if self.is_last() { Ok(Frame::Torn(kind)) } else { Err(self.corrupt(self.offset, kind)) }
    }

    /// A frame whose record is not what was written.
    fn damaged(&self, body: &[u8], kind: CorruptionKind) -> Result<Frame, WalError> {
        if self.is_last() && has_unwritten_sector(self.offset + LENGTH_BYTES as u64, body) {
            return Ok(Frame::Torn(kind));
        }
        Err(self.corrupt(self.offset, kind))
    }
}

/// What stands at an offset.
enum Frame {
    Record(Record),
    /// Nothing was written there.
    End,
    /// A record of which only a part was written.
    Torn(CorruptionKind),
}

/// Whether one of the sectors that `bytes`, which begin at `offset`, lie in is all zero, as far as
/// they lie in it: that one was never written, since segments are full of zeros before they are
/// used. Anything else was written once, and has changed since.
fn has_unwritten_sector(offset: u64, bytes: &[u8]) -> bool {
    // Less than a sector.
    let lead = usize::try_from(offset.wrapping_neg() % SECTOR_BYTES as u64).unwrap_or(0);
    let lead = lead.min(bytes.len());
    let (first, rest) = bytes.split_at(lead);
    let mut sectors = rest.chunks(SECTOR_BYTES);
    let is_zero = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    !first.is_empty() && is_zero(first) || sectors.any(is_zero)
}
