//! What the decoders of both streams share: a message behind its length.

use crate::buf::{Carve, Charge};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::raftpb::{Cut, Payloads, RaftMessage, Reader, Span, decode_message};
use bytes::Bytes;

/// The size of a length or count on the wire.
pub(crate) const LENGTH_BYTES: usize = 8;

/// Lists of fewer bytes than this, all those of a frame together, are not worth counting against the
/// budget.
pub(crate) const LIST_BYTES_UNCHARGED: usize = 64 << 10;

/// Reads the length at `at`, if it is there.
#[inline]
pub(crate) fn peek_length(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + LENGTH_BYTES)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Rejects a length above its limit, before it is cast.
#[inline]
pub(crate) fn check_length(
    announced: u64,
    limit: u64,
    field: &'static str,
    offset: u64,
) -> Result<usize, DecodeError> {
    match usize::try_from(announced) {
        Ok(len) if announced <= limit => Ok(len),
        _ => Err(DecodeError::new(DecodeErrorKind::Limit { announced, limit }, field, offset)),
    }
}

/// Makes room in the budget for a list of `bytes` bytes. `Err`: not now.
pub(crate) fn charge_list(carve: &mut Carve, bytes: usize) -> Result<Charge, ()> {
    match Charge::new(&carve.pool, bytes) {
        Some(charge) => Ok(charge),
        None => {
            carve.wants_list_bytes = bytes;
            Err(())
        }
    }
}

/// The payloads of one run of parsed bytes.
struct RunPayloads<'a> {
    run: &'a Bytes,
    carve: &'a mut Carve,
    /// The lists of this message so far, and what of it counts against the budget until it is whole.
    list_bytes: usize,
    charges: Vec<Charge>,
}

impl Payloads for RunPayloads<'_> {
    fn payload(&mut self, span: Span) -> Bytes {
        self.carve.payload(self.run, span)
    }

    fn charge(&mut self, bytes: usize) -> bool {
        self.list_bytes += bytes;
        if self.list_bytes < LIST_BYTES_UNCHARGED {
            return true;
        }
        // Those that were small enough count as well now that they are not.
        let uncharged = if self.charges.is_empty() { self.list_bytes } else { bytes };
        match charge_list(self.carve, uncharged) {
            Ok(charge) => {
                self.charges.push(charge);
                true
            }
            Err(()) => false,
        }
    }
}

/// Decodes the message that `run`, which starts at byte `base` of the stream, holds behind its first
/// `prefix` bytes. `None`: there is no memory
/// for its list of entries now.
pub(crate) fn decode_whole<M: RaftMessage>(
    run: &Bytes,
    prefix: usize,
    base: u64,
    carve: &mut Carve,
) -> Result<Option<M>, DecodeError> {
    let reader = Reader::over(run, Span { start: prefix, end: run.len() });
    let mut payloads = RunPayloads { run, carve, list_bytes: 0, charges: Vec::new() };
    match decode_message(reader, &mut payloads) {
        Ok(message) => Ok(Some(message)),
        Err(Cut::Error(error)) => Err(error.shifted(base)),
        Err(Cut::Memory) => Ok(None),
    }
}
