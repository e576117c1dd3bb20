//! Recognises the entry a stream expects next by comparing its first bytes, instead of parsing them.
//!
//! The entries of an AppEntries frame are of the stream's term, their indexes count up, and nearly
//! all are of type normal: so the bytes before an entry's data are known but for the data's length.
//! They are kept as one number, and the next entry's are the same number with a byte one higher.
//! Whatever does not compare equal is left to the reader in `decode.rs`.

use super::read::Span;
use super::varint::{VARINT_BYTES_MAX, put_varint, varint_len};

/// How many bytes are compared.
const WINDOW: usize = 16;

/// What is looked at of each entry: its length in the frame, the window, and the data's length.
const LOOK: usize = 8 + WINDOW + 2;

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

    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    pub(crate) fn index(&self) -> u64 {
        self.index
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
        // Two bytes of length are data of up to 16 KiB; what is longer has time for the reader.
        let [first, second] = *look.get(self.len..)?.first_chunk()?;
        let (len_bytes, len) = match (first < 0x80, second < 0x80) {
            (true, _) => (1, usize::from(first)),
            (false, true) => (2, usize::from(first & 0x7f) | usize::from(second) << 7),
            (false, false) => return None,
        };
        let inner = self.len + len_bytes + len;
        let end = at + 8 + inner;
        let fits = u64::from_be_bytes(*length) == inner as u64 && end <= frame.len();
        fits.then_some(Span { start: end - len, end })
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
            None => false,
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
    use crate::raftpb::{Dialect, Entry, EntryType, Reader, Wire, read_entry};
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
                        (start..start + 300).zip([0, 1, 127, 128, 300].iter().cycle())
                    {
                        let data = Some(Bytes::from(vec![7; *data_len]));
                        let entry = Entry { term, index, data, ..Entry::default() };
                        let (bytes, span) = placed(&entry.encode(dialect));
                        let data = expected.data(&bytes, 3);
                        let raw = read_entry(Reader::over(&bytes, span)).unwrap();
                        assert_eq!(data, raw.data, "{dialect:?} term {term} index {index}");
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
            entry(5, 1000, normal, Some(vec![0; 1 << 15].into())).encode(Dialect::V3_4),
            right[2..].to_vec(),
            right[..right.len() - 1].to_vec(),
            [&right[..], &[0x28, 0]].concat(),
        ] {
            let (bytes, _) = placed(&other);
            assert_eq!(expected.data(&bytes, 3), None, "{other:x?}");
        }
        let mut wrong = bytes.clone();
        wrong[10] += 1;
        assert_eq!(expected.data(&wrong, 3), None, "another length");
        assert!(Expected::new(0x08, 1 << 40, 1 << 40).is_none());
    }
}
