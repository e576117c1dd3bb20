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

/// The highest bit of eight bytes: another one follows.
pub(crate) const MORE: u64 = 0x8080_8080_8080_8080;

/// [`put_varint`] where there is room for the longest. Members' ids, of which all bytes are made at
/// once, take ten.
#[inline(never)]
#[allow(clippy::cast_possible_truncation, reason = "seven bits at a time is how varints are cut")]
pub(crate) fn put_long_varint(out: &mut [u8; VARINT_BYTES_MAX], value: u64) -> usize {
    if value < 1 << 28 {
        return put_varint(out, value);
    }
    out[..8].copy_from_slice(&(scatter(value) | MORE).to_le_bytes());
    out[8] = (value >> 56) as u8 | 0x80;
    out[9] = 1;
    let len = varint_len(value);
    if len < VARINT_BYTES_MAX {
        out[len - 1] &= 0x7f;
    }
    len
}

/// Spreads the lower 56 bits over eight bytes, seven each.
#[inline]
pub(crate) const fn scatter(bits: u64) -> u64 {
    let bits = bits & 0x0fff_ffff | (bits & 0x00ff_ffff_f000_0000) << 4;
    let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x0fff_c000_0fff_c000) << 2;
    bits & 0x007f_007f_007f_007f | (bits & 0x3f80_3f80_3f80_3f80) << 1
}

/// Puts together the lower seven bits of eight bytes.
#[inline]
pub(crate) const fn gather(bytes: u64) -> u64 {
    let bits = bytes & 0x007f_007f_007f_007f | (bytes & 0x7f00_7f00_7f00_7f00) >> 1;
    let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) >> 2;
    bits & 0x0fff_ffff | (bits & 0x0fff_ffff_0000_0000) >> 4
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
                let mut long = [0; VARINT_BYTES_MAX];
                assert_eq!(put_long_varint(&mut long, value), written);
                assert_eq!(long[..written], out[..written]);
                assert!(out[written - 1] < 0x80 && out[..written - 1].iter().all(|b| *b >= 0x80));
            }
        }
    }
}
