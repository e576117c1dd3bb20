//! The one place that indexes bytes nobody vouches for.
//!
//! A [`Reader`] walks one protobuf message inside a longer piece of bytes. Its positions are
//! offsets in that piece, so that an error names the byte it is about and a payload can be cut out
//! of the piece later. It never allocates and never panics, whatever the bytes.

use super::NESTING_MAX;
use super::varint::{MORE, gather};
use crate::error::{DecodeError, DecodeErrorKind};

/// The kinds of value a field key announces.
pub(crate) const VARINT: u8 = 0;
const FIXED64: u8 = 1;
pub(crate) const BYTES: u8 = 2;
const GROUP: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED32: u8 = 5;

/// Where a length-delimited value lies in the bytes that are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const fn len(self) -> usize {
        self.end - self.start
    }
}

/// Reads the varint of at most 64 bits that `bytes` begin with, and how many bytes it takes: 0 if it
/// does not end, or has more bits. All bytes are read at once, since members' ids take ten.
#[inline(never)]
pub(crate) fn read_long_varint(bytes: &[u8]) -> (u64, usize) {
    let Some((word, behind)) = bytes.split_first_chunk() else {
        return read_last_varint(bytes);
    };
    let word = u64::from_le_bytes(*word);
    let ends = !word & MORE;
    if ends != 0 {
        let len = ends.trailing_zeros() as usize / 8 + 1;
        return (gather(word & (ends ^ (ends - 1))), len);
    }
    match behind {
        [a, ..] if *a < 0x80 => (gather(word) | u64::from(*a) << 56, 9),
        // The tenth byte has room for the 64th bit only.
        [a, b, ..] if *b < 2 => {
            (gather(word) | u64::from(*a & 0x7f) << 56 | u64::from(*b) << 63, 10)
        }
        _ => (0, 0),
    }
}

/// [`read_long_varint`] of fewer than eight bytes.
fn read_last_varint(bytes: &[u8]) -> (u64, usize) {
    let mut value = 0;
    for (position, byte) in bytes.iter().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if *byte < 0x80 {
            return (value, position + 1);
        }
    }
    (0, 0)
}

/// A cursor over `bytes[at..end]`.
///
/// INVARIANT: `at <= end <= bytes.len()`.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    /// How many more levels of messages and groups may open.
    pub(crate) levels: u32,
}

type Result<T> = std::result::Result<T, DecodeError>;

impl<'a> Reader<'a> {
    /// Reads all of `bytes`.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len(), levels: NESTING_MAX }
    }

    /// Reads the part of `bytes` that `span` names, on the same level.
    #[inline]
    pub(crate) fn over(bytes: &'a [u8], span: Span) -> Self {
        let end = span.end.min(bytes.len());
        Self { bytes, at: span.start.min(end), end, levels: NESTING_MAX }
    }

    /// Reads the message that lies in `span`, one level deeper.
    pub(crate) fn enter(&self, span: Span, field: &'static str) -> Result<Self> {
        let Some(levels) = self.levels.checked_sub(1) else {
            return Err(DecodeError::new(DecodeErrorKind::Nesting, field, span.start as u64));
        };
        Ok(Self { levels, ..Self::over(self.bytes, span) })
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.at == self.end
    }

    #[inline]
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..self.end]
    }

    #[cold]
    fn error<T>(&self, kind: DecodeErrorKind, field: &'static str) -> Result<T> {
        Err(DecodeError::new(kind, field, self.at as u64))
    }

    /// Reads the list that lies in `span`, on the same level.
    pub(crate) fn within(&self, span: Span) -> Self {
        Self { levels: self.levels, ..Self::over(self.bytes, span) }
    }

    /// Whether `span` holds just these bytes.
    pub(crate) fn is_at(&self, span: Span, bytes: &[u8]) -> bool {
        self.bytes.get(span.start..span.end) == Some(bytes)
    }

    /// Passes over `key` if it is the next byte.
    #[inline]
    pub(crate) fn take(&mut self, key: u8) -> bool {
        let found = self.rest().first() == Some(&key);
        self.at += usize::from(found);
        found
    }

    /// Reads a varint of one byte, if the next one is.
    #[inline]
    pub(crate) fn small(&mut self) -> Option<u8> {
        let byte = *self.rest().first().filter(|byte| **byte < 0x80)?;
        self.at += 1;
        Some(byte)
    }

    /// How many of the fields that follow are the length-delimited field `number`, as far as the
    /// bytes are well formed.
    pub(crate) fn count_of(mut self, number: u32) -> usize {
        let mut count = 0;
        while !self.is_empty() {
            match self.key("") {
                Ok(key) if self.skip(key.0, key.1, "").is_ok() => {
                    count += usize::from(key == (number, BYTES));
                }
                _ => break,
            }
        }
        count
    }

    /// The last of the varint fields `number` that follow, as far as the bytes are well formed.
    pub(crate) fn last_varint_of(mut self, number: u32) -> Option<u64> {
        let mut last = None;
        while !self.is_empty() {
            let Ok(key) = self.key("") else {
                break;
            };
            if key == (number, VARINT) {
                match self.varint("") {
                    Ok(value) => last = Some(value),
                    Err(_) => break,
                }
            } else if self.skip(key.0, key.1, "").is_err() {
                break;
            }
        }
        last
    }

    /// Reads a varint of at most 64 bits.
    #[inline]
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u64> {
        match self.rest() {
            [a, ..] if *a < 0x80 => {
                self.at += 1;
                Ok(u64::from(*a))
            }
            [a, b, ..] if *b < 0x80 => {
                self.at += 2;
                Ok(u64::from(*a & 0x7f) | u64::from(*b) << 7)
            }
            [a, b, c, ..] if *c < 0x80 => {
                self.at += 3;
                Ok(u64::from(*a & 0x7f) | u64::from(*b & 0x7f) << 7 | u64::from(*c) << 14)
            }
            _ => self.long_varint(field),
        }
    }

    fn long_varint(&mut self, field: &'static str) -> Result<u64> {
        match read_long_varint(self.rest()) {
            (_, 0) if self.rest().len() < 10 => self.error(DecodeErrorKind::Overrun, field),
            (_, 0) => self.error(DecodeErrorKind::Varint, field),
            (value, len) => {
                self.at += len;
                Ok(value)
            }
        }
    }

    /// Reads a field's key: its number and wire type.
    #[inline]
    pub(crate) fn key(&mut self, field: &'static str) -> Result<(u32, u8)> {
        let start = self.at;
        let key = self.varint(field)?;
        let wire_type = (key & 7) as u8;
        match u32::try_from(key) {
            Ok(key) if key >> 3 != 0 && wire_type <= FIXED32 => Ok((key >> 3, wire_type)),
            _ => {
                self.at = start;
                self.error(DecodeErrorKind::Key, field)
            }
        }
    }

    /// Reads the value of a known varint field.
    #[inline]
    pub(crate) fn expect_varint(&mut self, wire_type: u8, field: &'static str) -> Result<u64> {
        if wire_type != VARINT {
            return self.error(DecodeErrorKind::WireType(wire_type), field);
        }
        self.varint(field)
    }

    /// Reads the length of a known length-delimited field, and passes over its value.
    #[inline]
    pub(crate) fn expect_bytes(&mut self, wire_type: u8, field: &'static str) -> Result<Span> {
        if wire_type != BYTES {
            return self.error(DecodeErrorKind::WireType(wire_type), field);
        }
        let length_at = self.at;
        let length = self.varint(field)?;
        let start = self.at;
        // Compared before it is added: a length of 2^64-1 must not wrap.
        match usize::try_from(length) {
            Ok(len) if len <= self.end - start => {
                self.at = start + len;
                Ok(Span { start, end: self.at })
            }
            _ => {
                self.at = length_at;
                self.error(DecodeErrorKind::Overrun, field)
            }
        }
    }

    /// Passes over the value of a field nobody knows, groups included.
    pub(crate) fn skip(&mut self, number: u32, wire_type: u8, field: &'static str) -> Result<()> {
        match wire_type {
            VARINT => self.varint(field).map(|_| ()),
            FIXED64 => self.pass(8, field),
            BYTES => self.expect_bytes(BYTES, field).map(|_| ()),
            FIXED32 => self.pass(4, field),
            GROUP => self.skip_group(number, field),
            _ => self.error(DecodeErrorKind::Group, field),
        }
    }

    fn pass(&mut self, count: usize, field: &'static str) -> Result<()> {
        if self.end - self.at < count {
            return self.error(DecodeErrorKind::Overrun, field);
        }
        self.at += count;
        Ok(())
    }

    fn skip_group(&mut self, number: u32, field: &'static str) -> Result<()> {
        let Some(levels) = self.levels.checked_sub(1) else {
            return self.error(DecodeErrorKind::Nesting, field);
        };
        self.levels = levels;
        loop {
            if self.is_empty() {
                return self.error(DecodeErrorKind::Group, field);
            }
            match self.key(field)? {
                (end, GROUP_END) if end == number => break,
                (inner, wire_type) => self.skip(inner, wire_type, field)?,
            }
        }
        self.levels += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> DecodeErrorKind {
        result.unwrap_err().kind
    }

    #[test]
    fn reads_varints_of_every_width() {
        for bit in 0..64 {
            let value = u64::MAX >> bit;
            let mut bytes = [0; 10];
            let len = crate::raftpb::varint::put_varint(&mut bytes, value);
            let mut reader = Reader::new(&bytes[..len]);
            assert_eq!(reader.varint("f").unwrap(), value);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn rejects_a_65th_bit_and_an_eleventh_byte() {
        let mut bytes = [0xff; 11];
        assert_eq!(kind(Reader::new(&bytes).varint("f")), DecodeErrorKind::Varint);
        bytes[9] = 2;
        assert_eq!(kind(Reader::new(&bytes).varint("f")), DecodeErrorKind::Varint);
        bytes[9] = 1;
        assert_eq!(Reader::new(&bytes).varint("f").unwrap(), u64::MAX);
    }

    #[test]
    fn rejects_a_varint_cut_short() {
        for len in 0..9 {
            assert_eq!(kind(Reader::new(&[0x80; 9][..len]).varint("f")), DecodeErrorKind::Overrun);
        }
    }

    #[test]
    fn rejects_a_length_beyond_the_end_even_when_it_would_wrap() {
        let bytes = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0];
        let error = Reader::new(&bytes).expect_bytes(BYTES, "f").unwrap_err();
        assert_eq!((error.kind, error.offset), (DecodeErrorKind::Overrun, 0));
    }

    #[test]
    fn rejects_keys_that_cannot_be() {
        for bytes in [&[0x00][..], &[0x0e], &[0x0f], &[0x80, 0x80, 0x80, 0x80, 0x10]] {
            assert_eq!(kind(Reader::new(bytes).key("f")), DecodeErrorKind::Key, "{bytes:x?}");
        }
        assert_eq!(
            Reader::new(&[0xf8, 0xff, 0xff, 0xff, 0x0f]).key("f").unwrap(),
            (536_870_911, 0)
        );
    }

    #[test]
    fn skips_groups_within_groups() {
        // Group 1 { varint 2, group 3 { fixed32 1 }, bytes 4 } and nothing after it.
        let bytes = [0x10, 0x05, 0x1b, 0x0d, 1, 2, 3, 4, 0x1c, 0x22, 0x01, 0xff, 0x0c];
        let mut reader = Reader::new(&bytes);
        reader.skip(1, GROUP, "f").unwrap();
        assert!(reader.is_empty());
        assert_eq!(reader.levels, NESTING_MAX);
    }

    #[test]
    fn rejects_groups_that_do_not_balance() {
        assert_eq!(kind(Reader::new(&[0x08, 1]).skip(1, GROUP, "f")), DecodeErrorKind::Group);
        assert_eq!(kind(Reader::new(&[0x14]).skip(1, GROUP, "f")), DecodeErrorKind::Group);
        assert_eq!(kind(Reader::new(&[]).skip(1, GROUP_END, "f")), DecodeErrorKind::Group);
        let nested = [0x0b; 200];
        assert_eq!(kind(Reader::new(&nested).skip(1, GROUP, "f")), DecodeErrorKind::Nesting);
    }
}
