//! The entry a stream expects next, recognised by comparing its first bytes instead of parsing them,
//! and written by copying them instead of encoding.
//!
//! The entries of an AppEntries frame are of the stream's term, their indexes count up, and nearly
//! all are of type normal: so the bytes before an entry's data are known but for the data's length.
//! They are kept as one number, and the next entry's are the same number with a byte one higher.
//! Whatever is not like that is left to the reader in `decode.rs` and the forms of `encode.rs`.

use super::read::Span;
use super::varint::{VARINT_BYTES_MAX, put_varint, varint_len};
use super::{EntryRef, EntryType};

/// How many bytes are compared, or written.
const WINDOW: usize = 16;

/// How many bytes the length of the data takes, at most: three are data of up to 2 MiB.
const DATA_LENGTH: usize = 3;

/// What is looked at of each entry: its length in the frame, the window, and the data's length.
const LOOK: usize = 8 + WINDOW + DATA_LENGTH;

/// The expected bytes up to and including the key of the data, in two words as they lie in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    bytes: [u64; 2],
    mask: [u64; 2],
    /// What makes the next index of this one, unless its lowest 7 bits overflow.
    step: [u64; 2],
    len: usize,
    with_type: bool,
    term: u64,
    index: u64,
}

impl Expected {
    /// Expects `term` and `index`, written as the entry that starts with `first`: with its type, as
    /// gogo protobuf does, or without. `None`: that is too long to compare.
    pub(crate) fn new(first: u8, term: u64, index: u64) -> Option<Self> {
        let with_type = first == 0x08;
        let type_len = if with_type { 2 } else { 0 };
        let index_at = type_len + 1 + varint_len(term) + 1;
        let len = index_at + varint_len(index) + 1;
        if len > WINDOW {
            return None;
        }
        let mut bytes = [0; WINDOW + VARINT_BYTES_MAX];
        bytes[0] = 0x08;
        bytes[type_len] = 0x10;
        put_varint(&mut bytes[type_len + 1..], term);
        bytes[index_at - 1] = 0x18;
        put_varint(&mut bytes[index_at..], index);
        bytes[len - 1] = 0x22;
        Some(Self {
            bytes: words(u128::from_le_bytes(*bytes.first_chunk()?)),
            mask: words(u128::MAX >> (8 * (WINDOW - len))),
            step: words(1 << (8 * index_at)),
            len,
            with_type,
            term,
            index,
        })
    }

    /// Whether this is what [`new`](Self::new) would make.
    #[inline]
    pub(crate) fn stands_for(&self, first: u8, term: u64, index: u64) -> bool {
        self.index == index && self.term == term && self.with_type == (first == 0x08)
    }

    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Whether `entry` is the expected one.
    #[inline]
    pub(crate) fn is(&self, entry: &EntryRef<'_>) -> bool {
        entry.entry_type == EntryType::NORMAL
            && entry.term == self.term
            && entry.index == self.index
            && entry.data.is_some()
    }

    /// Returns where the data lies of the entry whose length stands at `at` of `frame`, if it is the
    /// expected one, holds nothing else, and lies in `frame`.
    #[inline]
    pub(crate) fn data(&self, frame: &[u8], at: usize) -> Option<Span> {
        let look: &[u8; LOOK] = frame.get(at..)?.first_chunk()?;
        let (length, look) = look.split_first_chunk::<8>()?;
        let (low, high) = look.split_first_chunk::<8>()?;
        let low = u64::from_le_bytes(*low) & self.mask[0];
        let high = u64::from_le_bytes(*high.first_chunk()?) & self.mask[1];
        if low != self.bytes[0] || high != self.bytes[1] {
            return None;
        }
        let (len_bytes, len) = match *look.get(self.len..)?.first_chunk::<DATA_LENGTH>()? {
            [a, ..] if a < 0x80 => (1, usize::from(a)),
            [a, b, _] if b < 0x80 => (2, usize::from(a & 0x7f) | usize::from(b) << 7),
            [a, b, c] if c < 0x80 => {
                (3, usize::from(a & 0x7f) | usize::from(b & 0x7f) << 7 | usize::from(c) << 14)
            }
            _ => return None,
        };
        let inner = self.len + len_bytes + len;
        let end = at + 8 + inner;
        let fits = u64::from_be_bytes(*length) == inner as u64 && end <= frame.len();
        fits.then_some(Span { start: end - len, end })
    }

    /// How much [`put`](Self::put) needs.
    pub(crate) const ROOM: usize = 8 + WINDOW + DATA_LENGTH;

    /// Writes the length of the expected entry, and the entry up to its data, of which there are
    /// `data_len` bytes. Returns how much that was; `None`: the data is too long for that.
    #[inline]
    pub(crate) fn put(&self, out: &mut [u8; Self::ROOM], data_len: usize) -> Option<usize> {
        if data_len >= 1 << (7 * DATA_LENGTH) {
            return None;
        }
        let (length, window) = out.split_first_chunk_mut::<8>()?;
        window[..8].copy_from_slice(&self.bytes[0].to_le_bytes());
        window[8..16].copy_from_slice(&self.bytes[1].to_le_bytes());
        let len_bytes = put_varint(&mut window[self.len..], data_len as u64);
        let prefix = self.len + len_bytes;
        *length = ((prefix + data_len) as u64).to_be_bytes();
        Some(8 + prefix)
    }

    /// Expects the next entry. `false`: it is too long to compare.
    #[inline]
    pub(crate) fn advance(&mut self) -> bool {
        self.index = self.index.wrapping_add(1);
        // Only one of the words has a step, and the byte it raises does not overflow, but for the
        // carry, which sets everything anew.
        self.bytes[0] = self.bytes[0].wrapping_add(self.step[0]);
        self.bytes[1] = self.bytes[1].wrapping_add(self.step[1]);
        self.index & 0x7f != 0 || self.carry()
    }

    #[cold]
    fn carry(&mut self) -> bool {
        let first = if self.with_type { 0x08 } else { 0x10 };
        match Self::new(first, self.term, self.index) {
            Some(next) => {
                *self = next;
                true
            }
            None => {
                // Equal to nothing.
                self.mask = [0; 2];
                self.bytes = [1; 2];
                false
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half is what is meant")]
const fn words(window: u128) -> [u64; 2] {
    [window as u64, (window >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftpb::{Dialect, Entry, Reader, Wire, read_entry};
    use bytes::Bytes;

    /// An entry as it lies in a frame, behind three bytes of something else and its length.
    fn placed(entry: &[u8]) -> (Vec<u8>, Span) {
        let length = (entry.len() as u64).to_be_bytes();
        let bytes = [&[0xee; 3][..], &length, entry, &[0xee; LOOK]].concat();
        (bytes, Span { start: 11, end: 11 + entry.len() })
    }

    #[test]
    fn recognises_what_the_encoders_write_wherever_the_index_stands() {
        for dialect in Dialect::ALL {
            for term in [1, 127, 128, 1 << 20] {
                for start in [0, 1, 126, 127, 16_383, 1 << 21, (1 << 28) - 3] {
                    let first = if dialect == Dialect::V3_7 { 0x10 } else { 0x08 };
                    let mut expected = Expected::new(first, term, start).unwrap();
                    for (index, data_len) in
                        (start..start + 300).zip([0, 1, 127, 128, 300, 20_000].iter().cycle())
                    {
                        let data = Some(Bytes::from(vec![7; *data_len]));
                        let entry = Entry { term, index, data, ..Entry::default() };
                        let (bytes, span) = placed(&entry.encode(dialect));
                        let data = expected.data(&bytes, 3);
                        let raw = read_entry(Reader::over(&bytes, span)).unwrap();
                        assert_eq!(data, raw.data, "{dialect:?} term {term} index {index}");
                        let mut written = [0; Expected::ROOM];
                        let len = expected.put(&mut written, raw.data.unwrap().len()).unwrap();
                        assert_eq!(written[..len], bytes[3..3 + len]);
                        assert!(data.is_some());
                        assert!(expected.advance());
                    }
                }
            }
        }
    }

    #[test]
    fn leaves_everything_else_to_the_reader() {
        let expected = Expected::new(0x08, 5, 1000).unwrap();
        let entry = |term, index, entry_type, data| Entry { entry_type, term, index, data };
        let data = || Some(Bytes::from("data"));
        let normal = EntryType::NORMAL;
        let right = entry(5, 1000, normal, data()).encode(Dialect::V3_4);
        let (bytes, span) = placed(&right);
        assert!(expected.data(&bytes, 3).is_some());
        assert_eq!(expected.data(&bytes[..span.end], 3), None, "nothing behind it");
        for other in [
            entry(6, 1000, normal, data()).encode(Dialect::V3_4),
            entry(5, 1001, normal, data()).encode(Dialect::V3_4),
            entry(5, 1000, EntryType::CONF_CHANGE, data()).encode(Dialect::V3_4),
            entry(5, 1000, normal, None).encode(Dialect::V3_4),
            entry(5, 1000, normal, Some(vec![0; 1 << 21].into())).encode(Dialect::V3_4),
            right[2..].to_vec(),
            right[..right.len() - 1].to_vec(),
            [&right[..], &[0x28, 0]].concat(),
        ] {
            let (bytes, _) = placed(&other);
            assert_eq!(expected.data(&bytes, 3), None, "{other:x?}");
        }
        let mut wrong = bytes;
        wrong[10] += 1;
        assert_eq!(expected.data(&wrong, 3), None, "another length");
        assert!(Expected::new(0x08, 1 << 40, 1 << 40).is_none());
    }
}
