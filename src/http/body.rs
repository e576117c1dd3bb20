//! A body told from what frames it, a step at a time: for every split of the input the same bytes.
//!
//! ```text
//! 1a;name=value CRLF  <26 bytes>  CRLF 5 CRLF  <5 bytes>  CRLF 0 CRLF Trailer: value CRLF CRLF
//! |--- Framing -----| |-Payload-| |-Framing--| |Payload-| |------------ Framing ------------| End
//! ```
//!
//! Framing is consumed as it arrives and never looked at again, so that nothing is kept here but a
//! few numbers. Extensions and trailers are checked for their form, bounded, and dropped. Nothing is
//! known of the frames in a stream's payload: they never align with chunks.

use super::headers::{is_text, is_token};
use super::{BodyError, BodyErrorKind};

/// The longest size line, extensions included and CRLF not: what Go's reader has room for. No member
/// writes an extension.
pub const SIZE_LINE_BYTES_MAX: u32 = 4 << 10;

/// The most bytes of all trailers of a body together, with their line ends: as many as a head has by
/// default. No member writes a trailer.
pub const TRAILERS_BYTES_MAX: u32 = 16 << 10;

/// Digits of the largest size that fits 64 bits; more are refused even where they are zeros.
const SIZE_DIGITS_MAX: u32 = 16;

/// What the first bytes of an input are; see [`Body::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "bytes are the body's or not, until it is over")]
pub enum Step {
    /// So many bytes of framing, at least one: to be dropped.
    Framing(usize),
    /// So many bytes of the body, at least one: to be taken.
    Payload(usize),
    /// None of them: the body is over, and the next head may begin here.
    End,
}

/// Where in a body a reader is.
///
/// ```
/// use raftwire::http::{Body, Step};
///
/// let mut body = Body::chunked();
/// let mut raw = &b"6\r\nraft w\r\n3\r\nire\r\n0\r\n\r\nGET /"[..];
/// let mut payload = Vec::new();
/// while let Some(step) = body.step(raw)? {
///     let count = match step {
///         Step::Framing(count) => count,
///         Step::Payload(count) => {
///             payload.extend_from_slice(&raw[..count]);
///             count
///         }
///         Step::End => break,
///     };
///     raw = &raw[count..];
/// }
/// assert_eq!((&payload[..], raw), (&b"raft wire"[..], &b"GET /"[..]));
/// # Ok::<(), raftwire::http::BodyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    state: State,
    /// How many bytes were consumed.
    offset: u64,
}

/// ```text
/// Sizing -> [Spacing] -> [Extending] -> SizeCr -> Filling -> Filled -> FilledCr -> Sizing
///                                             \-> Trailing -> (Naming -> Valuing -> ValueCr -> Trailing)
///                                                          \-> LastCr -> Over
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Reading a chunk's size, `digits` of it read.
    Sizing {
        digits: u32,
        size: u64,
    },
    /// Skipping spaces behind the size.
    Spacing {
        line: u32,
        size: u64,
    },
    /// Skipping extensions.
    Extending {
        line: u32,
        size: u64,
    },
    /// The size line's CR was read.
    SizeCr {
        size: u64,
    },
    /// Handing out the chunk's bytes.
    Filling {
        left: u64,
    },
    /// The chunk's bytes were handed out; its CR follows.
    Filled,
    /// That CR was read.
    FilledCr,
    /// At the start of a line behind the last chunk.
    Trailing {
        bytes: u32,
    },
    /// In a trailer's name.
    Naming {
        bytes: u32,
    },
    /// In a trailer's value.
    Valuing {
        bytes: u32,
    },
    /// A trailer's CR was read.
    ValueCr {
        bytes: u32,
    },
    /// The CR of the last, empty line was read.
    LastCr,
    /// Handing out a body without framing, of which so many bytes are left.
    Counting {
        left: u64,
    },
    /// Handing out a body that ends with the connection.
    UntilClose,
    /// The body is over.
    Over,
    Failed(BodyError),
}

impl Body {
    /// Makes the reader of a body in chunks.
    #[must_use]
    pub const fn chunked() -> Self {
        Self::new(State::Sizing { digits: 0, size: 0 })
    }

    /// Makes the reader of a body of `length` bytes.
    #[must_use]
    pub const fn length(length: u64) -> Self {
        Self::new(if length == 0 { State::Over } else { State::Counting { left: length } })
    }

    /// Makes the reader of a body that ends with the connection.
    #[must_use]
    pub const fn until_close() -> Self {
        Self::new(State::UntilClose)
    }

    /// Makes the reader of no body.
    #[must_use]
    pub const fn none() -> Self {
        Self::new(State::Over)
    }

    const fn new(state: State) -> Self {
        Self { state, offset: 0 }
    }

    /// Says what the first bytes of `raw` are, which follow on those of earlier steps. The caller
    /// drops or takes exactly as many as the step says, and calls again with what is left and what
    /// has arrived. `None`: there are no bytes.
    ///
    /// # Errors
    ///
    /// The framing is malformed. The body is dead then, and every further call returns the same
    /// error.
    pub fn step(&mut self, raw: &[u8]) -> Result<Option<Step>, BodyError> {
        let (step, state) = match self.state {
            State::Failed(error) => return Err(error),
            State::Over => return Ok(Some(Step::End)),
            _ if raw.is_empty() => return Ok(None),
            State::Filling { left } => {
                let count = at_most(raw.len(), left);
                let left = left - count as u64;
                let state = if left == 0 { State::Filled } else { State::Filling { left } };
                (Step::Payload(count), state)
            }
            State::Counting { left } => {
                let count = at_most(raw.len(), left);
                let left = left - count as u64;
                let state = if left == 0 { State::Over } else { State::Counting { left } };
                (Step::Payload(count), state)
            }
            State::UntilClose => (Step::Payload(raw.len()), State::UntilClose),
            state => match frame(state, raw) {
                Ok((count, state)) => (Step::Framing(count), state),
                Err((at, kind)) => {
                    let error = BodyError::new(kind, self.offset + at as u64);
                    self.state = State::Failed(error);
                    return Err(error);
                }
            },
        };
        if let Step::Framing(count) | Step::Payload(count) = step {
            self.offset += count as u64;
        }
        self.state = state;
        Ok(Some(step))
    }

    /// Says whether the body may end here, now that the connection has.
    ///
    /// # Errors
    ///
    /// [`BodyErrorKind::Truncated`], if it is not over; or the error it died of.
    pub fn finish(&self) -> Result<(), BodyError> {
        match self.state {
            State::Over | State::UntilClose => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(BodyError::new(BodyErrorKind::Truncated, self.offset)),
        }
    }

    /// Whether all of it was consumed. One that ends with the connection never is.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether it ends with the connection, which can then not be used again.
    #[must_use]
    pub const fn is_until_close(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }
}

fn at_most(count: usize, left: u64) -> usize {
    usize::try_from(left).map_or(count, |left| left.min(count))
}

/// How many of the first bytes of a non-empty `raw` are framing, and the state behind them; or at
/// which of them it is malformed.
fn frame(state: State, raw: &[u8]) -> Result<(usize, State), (usize, BodyErrorKind)> {
    // All that a stream's framing is in most steps: the end of a chunk, and a size line.
    let line = match state {
        State::Sizing { digits: 0, .. } => Some(0),
        State::Filled if raw.starts_with(b"\r\n") => Some(2),
        _ => None,
    };
    if let Some(line) = line
        && let Some((count, left)) = size_line(&raw[line..])
    {
        return Ok((line + count, State::Filling { left }));
    }

    let mut state = state;
    for (at, &byte) in raw.iter().enumerate() {
        state = state.after(byte).map_err(|kind| (at, kind))?;
        if matches!(state, State::Filling { .. } | State::Over) {
            return Ok((at + 1, state));
        }
    }
    Ok((raw.len(), state))
}

/// Reads a whole size line of nothing but a size, and not of the last chunk's: its length and the
/// size. `None` says nothing; the state machine is for that.
fn size_line(raw: &[u8]) -> Option<(usize, u64)> {
    let mut size = 0;
    for (at, &byte) in raw.iter().enumerate().take(SIZE_DIGITS_MAX as usize + 1) {
        match digit(byte) {
            Some(digit) if at < SIZE_DIGITS_MAX as usize => size = size << 4 | digit,
            Some(_) => return None,
            None => return (size > 0 && raw[at..].starts_with(b"\r\n")).then_some((at + 2, size)),
        }
    }
    None
}

const fn digit(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some((byte - b'0') as u64),
        b'a'..=b'f' => Some((byte - b'a') as u64 + 10),
        b'A'..=b'F' => Some((byte - b'A') as u64 + 10),
        _ => None,
    }
}

impl State {
    /// The state after a byte of framing.
    fn after(self, byte: u8) -> Result<Self, BodyErrorKind> {
        Ok(match (self, byte) {
            (Self::Sizing { digits, size }, _) if digit(byte).is_some() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(BodyErrorKind::ChunkSize);
                }
                Self::Sizing { digits: digits + 1, size: size << 4 | digit(byte).unwrap_or(0) }
            }
            (Self::Sizing { digits: 1.., size }, b'\r')
            | (Self::Spacing { size, .. } | Self::Extending { size, .. }, b'\r') => {
                Self::SizeCr { size }
            }
            (
                Self::Spacing { line: SIZE_LINE_BYTES_MAX, .. }
                | Self::Extending { line: SIZE_LINE_BYTES_MAX, .. },
                _,
            ) => return Err(BodyErrorKind::SizeLineTooLong),
            (Self::Sizing { digits: line @ 1.., size }, b' ' | b'\t')
            | (Self::Spacing { line, size }, b' ' | b'\t') => {
                Self::Spacing { line: line + 1, size }
            }
            (Self::Sizing { digits: line @ 1.., size } | Self::Spacing { line, size }, b';') => {
                Self::Extending { line: line + 1, size }
            }
            (Self::Extending { line, size }, _) if is_text(byte) => {
                Self::Extending { line: line + 1, size }
            }
            (Self::Sizing { digits: 1.., .. } | Self::Spacing { .. }, b'\n') => {
                return Err(BodyErrorKind::LineEnd);
            }
            (Self::Sizing { .. } | Self::Spacing { .. }, _) => {
                return Err(BodyErrorKind::ChunkSize);
            }
            (Self::SizeCr { size: 0 }, b'\n') => Self::Trailing { bytes: 0 },
            (Self::SizeCr { size }, b'\n') => Self::Filling { left: size },
            (Self::Filled, b'\r') => Self::FilledCr,
            (Self::FilledCr, b'\n') => Self::Sizing { digits: 0, size: 0 },
            (Self::Filled | Self::FilledCr, _) => return Err(BodyErrorKind::ChunkEnd),
            (Self::Trailing { .. }, b'\r') => Self::LastCr,
            (Self::LastCr, b'\n') => Self::Over,
            (
                Self::Trailing { bytes: TRAILERS_BYTES_MAX }
                | Self::Naming { bytes: TRAILERS_BYTES_MAX }
                | Self::Valuing { bytes: TRAILERS_BYTES_MAX }
                | Self::ValueCr { bytes: TRAILERS_BYTES_MAX },
                _,
            ) => return Err(BodyErrorKind::TrailersTooLong),
            (Self::Trailing { bytes } | Self::Naming { bytes }, _) if is_token(byte) => {
                Self::Naming { bytes: bytes + 1 }
            }
            (Self::Naming { bytes }, b':') => Self::Valuing { bytes: bytes + 1 },
            (Self::Trailing { .. }, b'\n') => return Err(BodyErrorKind::LineEnd),
            (Self::Trailing { .. } | Self::Naming { .. }, _) => return Err(BodyErrorKind::Trailer),
            (Self::Valuing { bytes }, b'\r') => Self::ValueCr { bytes: bytes + 1 },
            (Self::Valuing { bytes }, _) if is_text(byte) => Self::Valuing { bytes: bytes + 1 },
            (Self::ValueCr { bytes }, b'\n') => Self::Trailing { bytes: bytes + 1 },
            // A CR without its LF, or a control byte.
            _ => return Err(BodyErrorKind::LineEnd),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BodyErrorKind as Kind;

    /// Payload, how many bytes were consumed, and the end, of a body that arrives in these pieces.
    fn read(
        mut body: Body,
        raw: &[u8],
        ends: impl IntoIterator<Item = usize>,
    ) -> (Vec<u8>, usize, Result<(), BodyError>) {
        let (mut payload, mut at) = (Vec::new(), 0);
        for end in ends {
            loop {
                match body.step(&raw[at..end]) {
                    Ok(Some(Step::Framing(count))) => at += count,
                    Ok(Some(Step::Payload(count))) => {
                        payload.extend_from_slice(&raw[at..at + count]);
                        at += count;
                    }
                    Ok(None) => break,
                    Ok(Some(Step::End)) | Err(_) => return (payload, at, body.finish()),
                }
            }
            assert_eq!(at, end, "all is consumed as it arrives");
        }
        (payload, at, body.finish())
    }

    /// The same for every way to cut the input in two, and cut at each byte.
    fn read_cut(body: &Body, raw: &[u8]) -> (Vec<u8>, usize, Result<(), BodyError>) {
        let whole = read(body.clone(), raw, [raw.len()]);
        for cut in 0..raw.len() {
            let found = read(body.clone(), raw, [cut, raw.len()]);
            assert_eq!((&found.0, found.2), (&whole.0, whole.2), "{cut} of {}", raw.escape_ascii());
            assert!(whole.2.is_err() || found.1 == whole.1);
        }
        let found = read(body.clone(), raw, 0..=raw.len());
        assert_eq!((&found.0, found.2), (&whole.0, whole.2), "{}", raw.escape_ascii());
        whole
    }

    #[test]
    fn takes_chunks_apart() {
        let raw = b"5\r\nhello\r\n0A;a=b;c=\"d\"\r\n, raftwire\r\n1 \t\r\n!\r\n\
            0000000000000001 ;\r\n!\r\n00;x\r\nX: y\r\nZ:\t\r\n\r\nHTTP/1.1";
        let found = read_cut(&Body::chunked(), raw);
        assert_eq!(found, (b"hello, raftwire!!".to_vec(), raw.len() - 8, Ok(())));
    }

    #[test]
    fn framing_between_payloads_is_one_step() {
        let mut body = Body::chunked();
        let mut raw = &b"a;b\r\n0123456789\r\n3\r\n012\r\n0\r\nA: b\r\n\r\nrest"[..];
        let mut steps = Vec::new();
        loop {
            let step = body.step(raw).unwrap().unwrap();
            steps.push(step);
            match step {
                Step::Framing(count) | Step::Payload(count) => raw = &raw[count..],
                Step::End => break,
            }
        }
        let [framing, payload] = [Step::Framing, Step::Payload];
        assert_eq!(
            steps,
            [framing(5), payload(10), framing(5), payload(3), framing(13), Step::End]
        );
        assert!(body.is_over() && raw == b"rest");
    }

    #[test]
    fn refuses_what_is_not_a_chunk() {
        for (raw, kind, offset) in [
            (&b"\r\n"[..], Kind::ChunkSize, 0),
            (b"\n", Kind::ChunkSize, 0),
            (b"g\r\n", Kind::ChunkSize, 0),
            (b";a\r\n", Kind::ChunkSize, 0),
            (b" 1\r\n", Kind::ChunkSize, 0),
            (b"0x1\r\n", Kind::ChunkSize, 1),
            (b"1_0\r\n", Kind::ChunkSize, 1),
            (b"-1\r\n", Kind::ChunkSize, 0),
            (b"+1\r\n", Kind::ChunkSize, 0),
            (b"1 1\r\n", Kind::ChunkSize, 2),
            (b"00000000000000001\r\n", Kind::ChunkSize, 16),
            (b"11111111111111111\r\n", Kind::ChunkSize, 16),
            (b"1\n", Kind::LineEnd, 1),
            (b"1 \n", Kind::LineEnd, 2),
            (b"1\rx", Kind::LineEnd, 2),
            (b"1;a\n", Kind::LineEnd, 3),
            (b"1;a\rb\r\n", Kind::LineEnd, 4),
            (b"1;\0\r\n", Kind::LineEnd, 2),
            (b"1\r\nab\r\n", Kind::ChunkEnd, 4),
            (b"1\r\na\n", Kind::ChunkEnd, 4),
            (b"1\r\na\rb", Kind::ChunkEnd, 5),
            (b"1\r\na1\r\n", Kind::ChunkEnd, 4),
            (b"0\r\n\n", Kind::LineEnd, 3),
            (b"0\r\n\rx", Kind::LineEnd, 4),
            (b"0\r\nX: y\n", Kind::LineEnd, 7),
            (b"0\r\nX: y\rz", Kind::LineEnd, 8),
            (b"0\r\nX: \0", Kind::LineEnd, 6),
            // The next request, where an empty line is missing.
            (b"0\r\nGET / HTTP/1.1\r\n", Kind::Trailer, 6),
            (b"0\r\nX\r\n", Kind::Trailer, 4),
            (b"0\r\nX\n", Kind::Trailer, 4),
            (b"0\r\n: y\r\n", Kind::Trailer, 3),
            (b"0\r\nX: y\r\n z\r\n", Kind::Trailer, 9),
        ] {
            let (_, _, end) = read_cut(&Body::chunked(), raw);
            assert_eq!(end, Err(BodyError::new(kind, offset)), "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn bounds_size_lines_and_trailers() {
        let end_of = |text: &str| read(Body::chunked(), text.as_bytes(), 0..=text.len()).2;
        let fits = "x".repeat(SIZE_LINE_BYTES_MAX as usize - 2);
        assert_eq!(end_of(&format!("0;{fits}\r\n\r\n")), Ok(()));
        let error = Err(BodyError::new(Kind::SizeLineTooLong, SIZE_LINE_BYTES_MAX.into()));
        assert_eq!(end_of(&format!("0;{fits}x\r\n\r\n")), error);
        let spaces = " ".repeat(SIZE_LINE_BYTES_MAX as usize);
        assert_eq!(end_of(&format!("0{spaces}\r\n\r\n")), error);

        let fits = "x".repeat(TRAILERS_BYTES_MAX as usize - "a:\r\n".len());
        let error = |at: u32| Err(BodyError::new(Kind::TrailersTooLong, (3 + at).into()));
        assert_eq!(end_of(&format!("0\r\na:{fits}\r\n\r\n")), Ok(()));
        assert_eq!(end_of(&format!("0\r\na:{fits}x\r\n\r\n")), error(TRAILERS_BYTES_MAX));
        assert_eq!(end_of(&format!("0\r\na:{fits}xxx\r\n\r\n")), error(TRAILERS_BYTES_MAX));
        let lines = "a:\r\n".repeat(TRAILERS_BYTES_MAX as usize / 4);
        assert_eq!(end_of(&format!("0\r\n{lines}\r\n")), Ok(()));
        assert_eq!(end_of(&format!("0\r\n{lines}a:\r\n\r\n")), error(TRAILERS_BYTES_MAX));
    }

    #[test]
    fn takes_the_largest_size() {
        for raw in [&b"ffffffffffffffff\r\nab"[..], b"FFFFFFFFFFFFFFFF\r\nab"] {
            let (payload, consumed, end) = read_cut(&Body::chunked(), raw);
            assert_eq!((&*payload, consumed), (&b"ab"[..], raw.len()));
            assert_eq!(end, Err(BodyError::new(Kind::Truncated, 20)));
        }
    }

    #[test]
    fn a_body_that_is_not_whole_is_truncated_wherever_it_is_cut() {
        let raw = b"1;a\r\n!\r\n0 ;b\r\nX: y\r\n\r\n";
        for cut in 0..raw.len() {
            let (_, _, end) = read(Body::chunked(), raw, [cut]);
            assert_eq!(end, Err(BodyError::new(Kind::Truncated, cut as u64)));
        }
    }

    #[test]
    fn takes_bodies_that_are_not_in_chunks() {
        let truncated = |at| Err(BodyError::new(Kind::Truncated, at));
        for (body, taken, end) in [
            (Body::none(), 0, Ok(())),
            (Body::length(0), 0, Ok(())),
            (Body::length(3), 3, Ok(())),
            (Body::length(5), 5, Ok(())),
            (Body::length(6), 5, truncated(5)),
            (Body::length(u64::MAX), 5, truncated(5)),
            (Body::until_close(), 5, Ok(())),
        ] {
            let found = read_cut(&body, b"hello");
            assert_eq!(found, (b"hello"[..taken].to_vec(), taken, end), "{body:?}");
        }
        let mut body = Body::length(1);
        assert_eq!(body.step(b""), Ok(None));
        assert!(!body.is_over());
        assert_eq!(body.step(b"!"), Ok(Some(Step::Payload(1))));
        assert!(body.is_over());
        assert_eq!(body.step(b""), Ok(Some(Step::End)));
        assert!(Body::until_close().is_until_close() && !Body::until_close().is_over());
    }

    #[test]
    fn an_error_stays() {
        let mut body = Body::chunked();
        let error = body.step(b"1\r\r").unwrap_err();
        assert_eq!(body.step(b"1\r\n!\r\n0\r\n\r\n"), Err(error));
        assert_eq!(body.finish(), Err(error));
        assert!(!body.is_over());
    }
}
