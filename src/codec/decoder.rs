//! What the decoders of both streams share: a message behind its length.

use crate::buf::{Carve, Charge, VecPool};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::raftpb::{Cut, Payloads, RaftMessage, Reader, Span, decode_message};
use bytes::Bytes;

/// The size of a length or count on the wire.
pub(crate) const LENGTH_BYTES: usize = 8;

/// Lists below this many bytes are not worth counting against the budget: a decoder has one at a
/// time.
const LIST_BYTES_UNCHARGED: usize = 64 << 10;

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
        _ => Err(DecodeError::new(
            DecodeErrorKind::Limit { announced, limit },
            field,
            offset,
        )),
    }
}

/// Makes room in the budget for a list of `bytes` bytes. `Err`: not now.
pub(crate) fn charge_list(carve: &mut Carve, bytes: usize) -> Result<Option<Charge>, ()> {
    if bytes < LIST_BYTES_UNCHARGED {
        return Ok(None);
    }
    match Charge::new(&carve.pool, bytes) {
        Some(charge) => Ok(Some(charge)),
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
    /// Held until the message is whole.
    charges: Vec<Charge>,
}

impl Payloads for RunPayloads<'_> {
    fn payload(&mut self, span: Span) -> Bytes {
        self.carve.payload(self.run, span)
    }

    fn charge(&mut self, bytes: usize) -> bool {
        match charge_list(self.carve, bytes) {
            Ok(charge) => {
                self.charges.extend(charge);
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
    lists: &VecPool<M::Entry>,
) -> Result<Option<M>, DecodeError> {
    let reader = Reader::over(
        run,
        Span {
            start: prefix,
            end: run.len(),
        },
    );
    let mut payloads = RunPayloads {
        run,
        carve,
        charges: Vec::new(),
    };
    match decode_message(reader, &mut payloads, lists) {
        Ok(message) => Ok(Some(message)),
        Err(Cut::Error(error)) => Err(error.shifted(base)),
        Err(Cut::Memory) => Ok(None),
    }
}
