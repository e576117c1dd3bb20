//! What HTTP puts around a captured stream, taken off, with the file offset of every byte kept: a
//! response head, interim ones before it, and the body's framing. `raftwire::http` reads both; frames
//! are not known here.

use raftwire::http::{
    Body, BodyError, BodyErrorKind, HeadErrorKind, HeadLimits, ResponseHead, Step as BodyStep,
};
use std::fmt;

/// What is around the stream in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// Nothing: the file is the stream.
    Nothing,
    /// Chunk framing.
    Chunks,
    /// A response head, and the framing it announces.
    Response,
}

/// What was made of the first bytes of an input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    /// How many bytes were taken.
    pub(super) taken: usize,
    /// The last of them, if they are the stream's.
    pub(super) data: &'a [u8],
}

#[derive(Debug)]
enum Stage {
    /// In a head, of which this much was taken.
    Head(Vec<u8>),
    /// In the body, which starts here in the file.
    Body { body: Body, file_offset: u64 },
}

/// Takes off what is around a stream.
#[derive(Debug)]
pub(super) struct Unframer {
    stage: Stage,
    file_offset: u64,
}

impl Unframer {
    pub(super) fn new(around: Around) -> Self {
        let body = |body| Stage::Body { body, file_offset: 0 };
        let stage = match around {
            Around::Nothing => body(Body::until_close()),
            Around::Chunks => body(Body::chunked()),
            Around::Response => Stage::Head(Vec::new()),
        };
        Self { stage, file_offset: 0 }
    }

    /// The offset in the file of the next byte [`step`](Self::step) will take.
    pub(super) fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// Takes at least one byte of a non-empty input, or returns an error.
    pub(super) fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, UnframeError> {
        let step = match &mut self.stage {
            Stage::Head(head) => {
                let (taken, body) = in_head(head, input, self.file_offset)?;
                if let Some(body) = body {
                    let file_offset = self.file_offset + taken as u64;
                    self.stage = Stage::Body { body, file_offset };
                }
                Step { taken, data: &[] }
            }
            Stage::Body { body, file_offset } => {
                let file_offset = *file_offset;
                match body.step(input).map_err(|error| UnframeError::of(error, file_offset))? {
                    Some(BodyStep::Framing(taken)) => Step { taken, data: &[] },
                    Some(BodyStep::Payload(taken)) => Step { taken, data: &input[..taken] },
                    Some(BodyStep::End) if !input.is_empty() => {
                        let kind = UnframeErrorKind::AfterEnd;
                        return Err(UnframeError { kind, file_offset: self.file_offset });
                    }
                    Some(BodyStep::End) | None => Step { taken: 0, data: &[] },
                }
            }
        };
        self.file_offset += step.taken as u64;
        Ok(step)
    }

    /// Says whether the file may end here.
    pub(super) fn finish(&self) -> Result<(), UnframeError> {
        match &self.stage {
            Stage::Head(_) => {
                let kind = UnframeErrorKind::Truncated;
                Err(UnframeError { kind, file_offset: self.file_offset })
            }
            Stage::Body { body, file_offset } => {
                body.finish().map_err(|error| UnframeError::of(error, *file_offset))
            }
        }
    }
}

/// Takes bytes of a head, behind those it has: how many, and what it says of the body once it is
/// whole.
fn in_head(
    head: &mut Vec<u8>,
    input: &[u8],
    file_offset: u64,
) -> Result<(usize, Option<Body>), UnframeError> {
    let limits = HeadLimits::default();
    let collected = head.len();
    let start = file_offset - collected as u64;
    let failed = |kind, offset: usize| UnframeError { kind, file_offset: start + offset as u64 };
    // What is one byte too much is refused, so that there is room for some.
    let count = input.len().min(limits.bytes_max - collected);
    head.extend_from_slice(&input[..count]);
    let parsed = ResponseHead::parse(head, &limits);
    let parsed = parsed.map_err(|error| failed(error.kind.into(), error.offset))?;
    // At least one byte of the head was missing before, so its end lies in `input`.
    let Some((response, end)) = parsed else {
        return Ok((count, None));
    };
    let taken = end - collected;
    head.clear();
    match response.status {
        100..=199 => return Ok((taken, None)),
        200 => {}
        status => return Err(failed(UnframeErrorKind::Status(status), 0)),
    }
    let mut codings = response.headers.get_all("Content-Encoding");
    if codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        return Err(failed(UnframeErrorKind::Coding, 0));
    }
    let body = response.body("GET").map_err(|error| failed(error.kind.into(), error.offset))?;
    Ok((taken, Some(body)))
}

/// A file in which the HTTP framing is not what it was said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnframeError {
    kind: UnframeErrorKind,
    file_offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnframeErrorKind {
    /// Not a response head.
    Head(HeadErrorKind),
    /// A response that carries no stream.
    Status(u16),
    /// A body in a coding other than chunks.
    Coding,
    /// Not the framing that was said to be there.
    Body(BodyErrorKind),
    /// Bytes after the body.
    AfterEnd,
    /// The file ends before the body does.
    Truncated,
}

impl UnframeError {
    /// An error in a body that starts here.
    fn of(error: BodyError, file_offset: u64) -> Self {
        let kind = match error.kind {
            BodyErrorKind::Truncated => UnframeErrorKind::Truncated,
            kind => UnframeErrorKind::Body(kind),
        };
        Self { kind, file_offset: file_offset + error.offset }
    }
}

impl From<HeadErrorKind> for UnframeErrorKind {
    fn from(kind: HeadErrorKind) -> Self {
        match kind {
            HeadErrorKind::TransferEncoding => Self::Coding,
            kind => Self::Head(kind),
        }
    }
}

impl fmt::Display for UnframeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            UnframeErrorKind::Head(HeadErrorKind::TooLong | HeadErrorKind::TooManyHeaders) => {
                f.write_str("HTTP response head above 16 KiB or 64 headers")?;
            }
            UnframeErrorKind::Head(kind) => write!(f, "not an HTTP response head: {kind}")?,
            UnframeErrorKind::Status(status) => {
                write!(f, "HTTP response of status {status}, which carries no stream")?;
            }
            UnframeErrorKind::Coding => f.write_str("HTTP body in a coding other than chunked")?,
            UnframeErrorKind::Body(kind) => kind.fmt(f)?,
            UnframeErrorKind::AfterEnd => f.write_str("bytes after the end of the body")?,
            UnframeErrorKind::Truncated => f.write_str("file ended inside the HTTP body")?,
        }
        write!(f, " at byte {} of the file", self.file_offset)
    }
}

impl std::error::Error for UnframeError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stream in a file that is read in two pieces.
    fn unframe(around: Around, file: &[u8], cut: usize) -> Result<Vec<u8>, UnframeError> {
        let (mut unframer, mut stream) = (Unframer::new(around), Vec::new());
        for mut piece in [&file[..cut], &file[cut..]] {
            while !piece.is_empty() {
                let step = unframer.step(piece)?;
                assert!(step.taken > 0);
                stream.extend_from_slice(step.data);
                piece = &piece[step.taken..];
            }
        }
        assert_eq!(unframer.file_offset(), file.len() as u64);
        unframer.finish().map(|()| stream)
    }

    /// What comes of a response, wherever it is cut.
    fn response(text: &str) -> Result<Vec<u8>, UnframeError> {
        let whole = unframe(Around::Response, text.as_bytes(), 0);
        for cut in 1..=text.len() {
            assert_eq!(unframe(Around::Response, text.as_bytes(), cut), whole, "{cut} of {text:?}");
        }
        whole
    }

    fn error(kind: UnframeErrorKind, file_offset: u64) -> Result<Vec<u8>, UnframeError> {
        Err(UnframeError { kind, file_offset })
    }

    #[test]
    fn takes_a_response_off_wherever_it_is_cut() {
        for (framing, body) in [
            ("Transfer-Encoding: Chunked\r\n", "2;a\r\nra\r\n2\r\nft\r\n0\r\nA: b\r\n\r\n"),
            ("Content-Length: 4\r\nContent-Encoding: identity\r\n", "raft"),
            ("", "raft"),
        ] {
            let text =
                format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{framing}\r\n{body}");
            assert_eq!(response(&text), Ok(b"raft".to_vec()));
        }
        assert_eq!(unframe(Around::Nothing, b"raft", 2), Ok(b"raft".to_vec()));
        assert_eq!(unframe(Around::Chunks, b"1\r\n!\r\n0\r\n\r\n", 2), Ok(b"!".to_vec()));
    }

    #[test]
    fn says_where_in_the_file_it_is_broken() {
        let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n";
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        let start = head.len() as u64;
        let body = chunked.len() as u64;
        use UnframeErrorKind as Kind;
        for (text, kind, file_offset) in [
            ("\x02\0\0\0".into(), Kind::Head(HeadErrorKind::Version), 0),
            (format!("{head}a b: c\r\n"), Kind::Head(HeadErrorKind::HeaderName), start + 1),
            (
                format!("{head}a: b\r\nContent-Length: x\r\n\r\n"),
                Kind::Head(HeadErrorKind::ContentLength),
                start + 6,
            ),
            (format!("{head}Transfer-Encoding: gzip\r\n\r\n"), Kind::Coding, start),
            (format!("{head}Content-Encoding: gzip\r\n\r\n"), Kind::Coding, 25),
            ("HTTP/1.1 410 Gone\r\n\r\n".into(), Kind::Status(410), 0),
            (head.into(), Kind::Truncated, start),
            (format!("{chunked}1"), Kind::Truncated, body + 1),
            (format!("{chunked}x"), Kind::Body(BodyErrorKind::ChunkSize), body),
            (format!("{chunked}0\r\n\r\n!"), Kind::AfterEnd, body + 5),
        ] {
            assert_eq!(response(&text), error(kind, file_offset), "{text:?}");
        }
    }

    #[test]
    fn bounds_the_head() {
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(16 << 10));
        for cut in [0, 1, 16 << 10, (16 << 10) + 1] {
            let found = unframe(Around::Response, long.as_bytes(), cut).unwrap_err();
            assert_eq!(found.kind, UnframeErrorKind::Head(HeadErrorKind::TooLong), "{cut}");
            assert!(found.to_string().contains("above 16 KiB or 64 headers at byte 16384 "));
        }
    }
}
