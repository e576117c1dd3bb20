//! Chunk framing, written: the size line in front of a batch whose length is known only when it is
//! whole, and what goes behind it.
//!
//! ```text
//! 5   3   5  CR  LF   <53 bytes>   CR  LF   ...   0  CR  LF  CR  LF
//! |- chunk_head ---|               CHUNK_END      LAST_CHUNK
//! ```
//!
//! Chunks align with nothing: one holds as many frames as there are to write. Reading is in
//! `body.rs`.

/// The longest size line that [`chunk_head`] writes, in bytes: eight hex digits and CRLF. No batch is
/// as large as 4 GiB.
pub const CHUNK_HEAD_BYTES_MAX: usize = 10;

/// What follows the bytes of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The chunk that ends a body, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes the size line of a chunk of `len` bytes at the end of `room`, and returns where it starts.
///
/// So a writer can leave [`CHUNK_HEAD_BYTES_MAX`] bytes free, put the chunk behind them, and fill in
/// the length once it knows it: lower-case digits without leading zeros, as Go writes.
///
/// ```
/// use raftwire::http::{CHUNK_HEAD_BYTES_MAX, chunk_head};
///
/// let mut room = [0; CHUNK_HEAD_BYTES_MAX];
/// let start = chunk_head(2048, &mut room);
/// assert_eq!(&room[start..], b"800\r\n");
/// ```
///
/// # Panics
///
/// If `len` is 0: a chunk of no bytes ends the body, and [`LAST_CHUNK`] is for that.
pub fn chunk_head(len: u32, room: &mut [u8; CHUNK_HEAD_BYTES_MAX]) -> usize {
    assert!(len != 0, "a chunk of no bytes ends the body");
    let [digits @ .., cr, lf] = room;
    (*cr, *lf) = (b'\r', b'\n');
    let mut start = digits.len();
    let mut left = len;
    for digit in digits.iter_mut().rev() {
        if left == 0 {
            break;
        }
        *digit = b"0123456789abcdef"[(left & 0xf) as usize];
        left >>= 4;
        start -= 1;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_rust_formats() {
        let edges = (0..32).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for len in edges.chain([u32::MAX]).filter(|len| *len != 0) {
            let mut room = [b'!'; CHUNK_HEAD_BYTES_MAX];
            let start = chunk_head(len, &mut room);
            assert_eq!(room[start..], *format!("{len:x}\r\n").as_bytes());
            assert!(
                room[..start].iter().all(|byte| *byte == b'!'),
                "bytes before it are left alone"
            );
        }
    }

    #[test]
    #[should_panic(expected = "ends the body")]
    fn refuses_to_end_the_body() {
        chunk_head(0, &mut [0; CHUNK_HEAD_BYTES_MAX]);
    }
}
