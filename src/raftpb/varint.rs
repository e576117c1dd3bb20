//! Protobuf varints: their length, and writing them. Reading them, from bytes nobody vouches for,
//! is [`Reader`](super::read::Reader)'s.

/// The most bytes a `u64` takes.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// How many bytes `value` takes: 1 to 10.
#[inline]
pub(crate) const fn varint_len(value: u64) -> usize {
    // 7 bits a byte: ceil(bits / 7) without a division; 0 takes a byte as well.
    ((64 - (value | 1).leading_zeros() as usize) * 9 + 64) / 64
}

/// Writes `value` to the front of `out` and returns how many bytes it took.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "seven bits at a time is how varints are cut")]
pub(crate) fn put_varint(out: &mut [u8], mut value: u64) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_bytes_agree_at_every_width() {
        let mut out = [0; VARINT_BYTES_MAX];
        for bit in 0..64 {
            for value in [(1 << bit) - 1, 1 << bit, (1 << bit) + 1, u64::MAX >> bit] {
                let written = put_varint(&mut out, value);
                assert_eq!(written, varint_len(value), "{value}");
                let read = out[..written]
                    .iter()
                    .rev()
                    .fold(0u64, |read, byte| read << 7 | u64::from(byte & 0x7f));
                assert_eq!(read, value);
                assert!(out[written - 1] < 0x80 && out[..written - 1].iter().all(|b| *b >= 0x80));
            }
        }
    }
}
