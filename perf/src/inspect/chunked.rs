//! HTTP/1.1 chunk framing taken off a body, sans-IO: any split of the input gives the same bytes.
//!
//! ```text
//! 1a;name=value CRLF  <26 bytes> CRLF   ...   0 CRLF  Trailer: value CRLF  CRLF
//! ```
//!
//! Extensions and trailers are skipped, within a bound. Heads are not read here, and nothing is
//! known of the frames inside: frames and chunks never align.

use super::unframe::{Step, UnframeErrorKind};

/// A chunk's extensions carry nothing a stream needs; a longer line is not a chunk head.
const EXTENSION_BYTES_MAX: u32 = 4 * 1024;

/// The trailer of a body as a whole: as much as a head may have.
const TRAILER_BYTES_MAX: u32 = 16 * 1024;

/// Digits of the largest size that fits 64 bits; more are refused even where they are zeros.
const SIZE_DIGITS_MAX: u32 = 16;

#[derive(Clone, Copy, Debug)]
enum State {
    /// Reading a chunk's size, `digits` of it read.
    Sizing { digits: u32, size: u64 },
    /// Skipping what follows the size on its line.
    Extending { bytes: u32, size: u64 },
    /// The size line's CR was read.
    Opening { size: u64 },
    /// Reading the chunk's bytes.
    Filling { left: u64 },
    /// The chunk's bytes were read; its CR follows.
    Filled,
    /// That CR was read.
    Closing,
    /// Skipping the trailer: at the start of a line, or inside one.
    Trailing { bytes: u32, in_line: bool },
    /// A CR was read in the trailer; after an empty line it is the last.
    TrailingCr { bytes: u32, in_line: bool },
    /// The body has ended.
    Ended,
}

/// Takes chunk framing off a body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Sizing { digits: 0, size: 0 } }
    }

    /// Whether the last chunk and its trailer were read.
    pub(super) fn ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Takes bytes up to and including the next run of body bytes; takes none once ended.
    ///
    /// An error stands at the byte after the ones it counts.
    pub(super) fn step<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Step<'a>, (usize, UnframeErrorKind)> {
        for (at, &byte) in input.iter().enumerate() {
            match self.state {
                State::Ended => {
                    return Ok(Step { taken: at, data: &[] });
                }
                State::Filling { left } => {
                    let rest = &input[at..];
                    let run = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = left - run as u64;
                    self.state = if left == 0 { State::Filled } else { State::Filling { left } };
                    return Ok(Step { taken: at + run, data: &rest[..run] });
                }
                _ => self.state = self.state.after(byte).map_err(|kind| (at, kind))?,
            }
        }
        Ok(Step { taken: input.len(), data: &[] })
    }
}

impl State {
    /// The state after a byte of framing.
    fn after(self, byte: u8) -> Result<Self, UnframeErrorKind> {
        let next = match (self, byte) {
            (Self::Sizing { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                if digits == SIZE_DIGITS_MAX {
                    return Err(UnframeErrorKind::ChunkSize);
                }
                Self::Sizing { digits: digits + 1, size: size << 4 | digit }
            }
            (Self::Sizing { digits: 1.., size }, b'\r') => Self::Opening { size },
            (Self::Sizing { digits: 1.., size }, b';' | b' ' | b'\t') => {
                Self::Extending { bytes: 1, size }
            }
            (Self::Sizing { .. }, _) => return Err(UnframeErrorKind::ChunkSize),
            (Self::Extending { size, .. }, b'\r') => Self::Opening { size },
            (Self::Extending { .. }, b'\n') => return Err(UnframeErrorKind::ChunkEnd),
            (Self::Extending { bytes: EXTENSION_BYTES_MAX, .. }, _) => {
                return Err(UnframeErrorKind::ExtensionTooLong);
            }
            (Self::Extending { bytes, size }, _) => Self::Extending { bytes: bytes + 1, size },
            (Self::Opening { size: 0 }, b'\n') => Self::Trailing { bytes: 0, in_line: false },
            (Self::Opening { size }, b'\n') => Self::Filling { left: size },
            (Self::Filled, b'\r') => Self::Closing,
            (Self::Closing, b'\n') => Self::Sizing { digits: 0, size: 0 },
            (Self::Trailing { bytes: TRAILER_BYTES_MAX, .. }, _) => {
                return Err(UnframeErrorKind::TrailerTooLong);
            }
            (Self::Trailing { bytes, in_line }, b'\r') => {
                Self::TrailingCr { bytes: bytes + 1, in_line }
            }
            (Self::Trailing { .. }, b'\n') => return Err(UnframeErrorKind::ChunkEnd),
            (Self::Trailing { bytes, .. }, _) => Self::Trailing { bytes: bytes + 1, in_line: true },
            (Self::TrailingCr { in_line: false, .. }, b'\n') => Self::Ended,
            (Self::TrailingCr { bytes, in_line: true }, b'\n') => {
                Self::Trailing { bytes, in_line: false }
            }
            _ => return Err(UnframeErrorKind::ChunkEnd),
        };
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Body, bytes taken and whether it ended, with the input cut at `cuts`.
    fn unframe(input: &[u8], cut: usize) -> Result<(Vec<u8>, bool), UnframeErrorKind> {
        let mut chunked = Chunked::new();
        let mut body = Vec::new();
        for mut piece in [&input[..cut], &input[cut..]] {
            while !piece.is_empty() && !chunked.ended() {
                let step = chunked.step(piece).map_err(|(_, kind)| kind)?;
                body.extend_from_slice(step.data);
                piece = &piece[step.taken..];
            }
        }
        Ok((body, chunked.ended()))
    }

    #[test]
    fn gives_the_same_body_for_every_split() {
        let input = b"5\r\nhello\r\n0A;a=b;c\r\n, raftwire\r\n1 \r\n!\r\n0\r\nX: y\r\nZ:\r\n\r\n";
        for cut in 0..=input.len() {
            assert_eq!(unframe(input, cut), Ok((b"hello, raftwire!".to_vec(), true)), "{cut}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_chunk() {
        for (input, kind) in [
            (&b"\r\n"[..], UnframeErrorKind::ChunkSize),
            (b"g\r\n", UnframeErrorKind::ChunkSize),
            (b";a\r\n", UnframeErrorKind::ChunkSize),
            (b"00000000000000001\r\n", UnframeErrorKind::ChunkSize),
            (b"1\n", UnframeErrorKind::ChunkSize),
            (b"1\rx", UnframeErrorKind::ChunkEnd),
            (b"1;a\n", UnframeErrorKind::ChunkEnd),
            (b"1\r\nab\r\n", UnframeErrorKind::ChunkEnd),
            (b"1\r\na\n", UnframeErrorKind::ChunkEnd),
            (b"0\r\n\rx", UnframeErrorKind::ChunkEnd),
            (b"0\r\nX: y\n", UnframeErrorKind::ChunkEnd),
        ] {
            for cut in 0..=input.len() {
                assert_eq!(unframe(input, cut), Err(kind), "{}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn bounds_extensions_and_trailers() {
        let long = "x".repeat(TRAILER_BYTES_MAX as usize + 1);
        let extension = unframe(format!("1;{long}").as_bytes(), 0);
        assert_eq!(extension, Err(UnframeErrorKind::ExtensionTooLong));
        let trailer = unframe(format!("0\r\n{long}").as_bytes(), 0);
        assert_eq!(trailer, Err(UnframeErrorKind::TrailerTooLong));
        let lines = "x\r\n".repeat(TRAILER_BYTES_MAX as usize);
        let trailer = unframe(format!("0\r\n{lines}").as_bytes(), 0);
        assert_eq!(trailer, Err(UnframeErrorKind::TrailerTooLong));
    }

    #[test]
    fn takes_the_largest_size() {
        let (body, ended) = unframe(b"ffffffffffffffff\r\nab", 0).unwrap();
        assert_eq!((body.as_slice(), ended), (&b"ab"[..], false));
    }
}
