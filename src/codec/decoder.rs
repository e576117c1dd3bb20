//! What the decoders of both streams share: a message behind its length.

use crate::buf::{Carve, Charge};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::raftpb::{CONF_STATE_IDS_MAX, Cut, Payloads, RaftMessage, Reader, Span, decode_message};
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

/// The payloads of one run of parsed bytes.
struct RunPayloads<'a> {
    run: &'a Bytes,
    carve: &'a mut Carve,
    /// The lists of this message so far, and what of it counts against the budget until it is whole.
    list_bytes: usize,
    charges: Vec<Charge>,
    ids_left: usize,
}

impl Payloads for RunPayloads<'_> {
    fn payload(&mut self, span: Span) -> Bytes {
        self.carve.payload(self.run, span)
    }

    fn ids_left(&mut self) -> &mut usize {
        &mut self.ids_left
    }

    fn charge(&mut self, bytes: usize) -> bool {
        self.list_bytes += bytes;
        if self.list_bytes < LIST_BYTES_UNCHARGED {
            return true;
        }
        // Those that were small enough count as well now that they are not.
        let uncharged = if self.charges.is_empty() { self.list_bytes } else { bytes };
        match Charge::new(&self.carve.pool, uncharged) {
            Some(charge) => {
                self.charges.push(charge);
                true
            }
            None => {
                // All of this message's lists are made anew when it is tried again.
                self.carve.wants_list_bytes = self.list_bytes;
                false
            }
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
    let before = (carve.shared_bytes, carve.copied_bytes);
    let mut payloads = RunPayloads {
        run,
        carve,
        list_bytes: 0,
        charges: Vec::new(),
        ids_left: CONF_STATE_IDS_MAX,
    };
    match decode_message(reader, &mut payloads) {
        Ok(message) => Ok(Some(message)),
        Err(Cut::Error(error)) => Err(error.shifted(base)),
        Err(Cut::Memory) => {
            // All of it is decoded again later; what was cut out of it so far is gone.
            (carve.shared_bytes, carve.copied_bytes) = before;
            Ok(None)
        }
    }
}
