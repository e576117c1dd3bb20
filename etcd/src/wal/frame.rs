//! Frames: what a record is wrapped in, so that its length never straddles a sector.
//!
//! ```text
//! length: u64, little-endian | record | padding: zeros, to a multiple of 8
//!
//! bits 0..56 of the length   bytes of the record
//! bits 56..64                0, or 0x80 | bytes of padding (1 to 7)
//! ```
//!
//! A length of 0 is the end of what was written: segments are full of zeros before they are used.

/// The bytes of a length.
pub(super) const LENGTH_BYTES: usize = 8;

/// A frame is a multiple of so many bytes.
const ALIGNMENT: usize = 8;

/// How long a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    /// Bytes of the record: less than 2^56.
    pub(super) record: u64,
    /// Bytes of padding: less than 8.
    pub(super) padding: u8,
}

impl Lengths {
    #[allow(clippy::cast_possible_truncation, reason = "less than the alignment")]
    pub(super) const fn of_record(bytes: usize) -> Self {
        Self { record: bytes as u64, padding: (bytes.wrapping_neg() % ALIGNMENT) as u8 }
    }

    /// Reads a length; `None` where nothing was written. Of the highest byte etcd reads the highest
    /// bit and the lowest three.
    pub(super) const fn decode(bytes: [u8; LENGTH_BYTES]) -> Option<Self> {
        let length = u64::from_le_bytes(bytes);
        if length == 0 {
            return None;
        }
        let padding = if bytes[7] & 0x80 == 0 { 0 } else { bytes[7] & 7 };
        Some(Self { record: length & ((1 << 56) - 1), padding })
    }

    pub(super) const fn encode(self) -> [u8; LENGTH_BYTES] {
        let marked = if self.padding == 0 { 0 } else { (0x80 | self.padding as u64) << 56 };
        (self.record | marked).to_le_bytes()
    }

    /// The bytes behind the length.
    pub(super) const fn body(self) -> u64 {
        self.record + self.padding as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_were_written() {
        for record in 1..1000 {
            let lengths = Lengths::of_record(record);
            assert_eq!(lengths.body() % 8, 0);
            assert_eq!(lengths.record, record as u64);
            assert_eq!(Lengths::decode(lengths.encode()), Some(lengths));
        }
        assert_eq!(Lengths::of_record(4).encode(), [4, 0, 0, 0, 0, 0, 0, 0x84]);
        assert_eq!(Lengths::of_record(24).encode(), [24, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn bits_that_say_nothing_are_passed_over() {
        let padded = Some(Lengths { record: 4, padding: 4 });
        assert_eq!(Lengths::decode([4, 0, 0, 0, 0, 0, 0, 0xfc]), padded);
        let whole = Some(Lengths { record: 4, padding: 0 });
        assert_eq!(Lengths::decode([4, 0, 0, 0, 0, 0, 0, 0x7c]), whole);
        assert_eq!(Lengths::decode([0; 8]), None);
        let longest = Some(Lengths { record: (1 << 56) - 1, padding: 7 });
        assert_eq!(Lengths::decode([0xff; 8]), longest);
    }
}
