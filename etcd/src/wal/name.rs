//! The names of segments: `SEQUENCE-INDEX.wal`, both as 16 hex digits.

use std::fmt;

/// The name of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the format")]
pub struct SegmentName {
    /// The number of the segment: each is one more than the one before.
    pub sequence: u64,
    /// The index of the first entry that is expected in it.
    pub index: u64,
}

impl SegmentName {
    /// Reads a name; `None` if it is none of a segment.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (sequence, index) = name.strip_suffix(".wal")?.split_once('-')?;
        // The last number could have no successor.
        let sequence = digits(sequence).filter(|sequence| *sequence < u64::MAX)?;
        Some(Self { sequence, index: digits(index)? })
    }
}

fn digits(text: &str) -> Option<u64> {
    let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u64::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.sequence, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_it_writes_and_no_others() {
        let name = SegmentName { sequence: 0x1f, index: u64::MAX };
        assert_eq!(name.to_string(), "000000000000001f-ffffffffffffffff.wal");
        assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        for other in [
            "0.tmp",
            "000000000000001f-ffffffffffffffff.wal.broken",
            "000000000000001f-fffffffffffffff.wal",
            "000000000000001f_ffffffffffffffff.wal",
            "+00000000000001f-ffffffffffffffff.wal",
            "000000000000001f-ffffffffffffffff",
            "ffffffffffffffff-0000000000000000.wal",
            "-.wal",
            "",
        ] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }
}
