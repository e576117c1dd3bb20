//! What HTTP puts around a captured stream, taken off: the response head (`head.rs`) and the body's
//! framing (`chunked.rs`), with the file offset of every byte kept. Sans-IO; frames are not known
//! here.

use super::chunked::Chunked;
use super::head::{BodyFraming, Head};
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
    Head(Head),
    Chunked(Chunked),
    Length { left: u64 },
    UntilClose,
}

/// Takes off what is around a stream.
#[derive(Debug)]
pub(super) struct Unframer {
    stage: Stage,
    file_offset: u64,
}

impl Unframer {
    pub(super) fn new(around: Around) -> Self {
        let stage = match around {
            Around::Nothing => Stage::UntilClose,
            Around::Chunks => Stage::Chunked(Chunked::new()),
            Around::Response => Stage::Head(Head::default()),
        };
        Self { stage, file_offset: 0 }
    }

    /// The offset in the file of the next byte [`step`](Self::step) will take.
    pub(super) fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// Takes at least one byte of a non-empty input, or returns an error.
    pub(super) fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, UnframeError> {
        let start = self.file_offset;
        let failed = |at: usize, kind| UnframeError { kind, file_offset: start + at as u64 };
        let step = match &mut self.stage {
            Stage::Head(head) => {
                let (taken, framing) = head.step(input).map_err(|kind| failed(0, kind))?;
                match framing {
                    Some(BodyFraming::Chunked) => self.stage = Stage::Chunked(Chunked::new()),
                    Some(BodyFraming::Length(left)) => self.stage = Stage::Length { left },
                    Some(BodyFraming::UntilClose) => self.stage = Stage::UntilClose,
                    None => {}
                }
                Step { taken, data: &[] }
            }
            Stage::Chunked(chunked) => {
                chunked.step(input).map_err(|(at, kind)| failed(at, kind))?
            }
            Stage::Length { left } => {
                let run = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= run as u64;
                Step { taken: run, data: &input[..run] }
            }
            Stage::UntilClose => Step { taken: input.len(), data: input },
        };
        if step.taken == 0 && !input.is_empty() {
            return Err(failed(0, UnframeErrorKind::AfterEnd));
        }
        self.file_offset += step.taken as u64;
        Ok(step)
    }

    /// Says whether the file may end here.
    pub(super) fn finish(&self) -> Result<(), UnframeError> {
        let whole = match &self.stage {
            Stage::Head(_) => false,
            Stage::Chunked(chunked) => chunked.ended(),
            Stage::Length { left } => *left == 0,
            Stage::UntilClose => true,
        };
        if whole {
            return Ok(());
        }
        Err(UnframeError { kind: UnframeErrorKind::Truncated, file_offset: self.file_offset })
    }
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
    Head(httparse::Error),
    /// A head above 16 KiB or 64 headers.
    HeadLimit,
    /// A response that carries no stream.
    Status(u16),
    /// A body in a coding other than chunks.
    Coding,
    /// A `Content-Length` that is no number, or two that differ.
    Length,
    /// Not a chunk's size.
    ChunkSize,
    /// No CRLF where one belongs.
    ChunkEnd,
    ExtensionTooLong,
    TrailerTooLong,
    /// Bytes after the body.
    AfterEnd,
    /// The file ends before the body does.
    Truncated,
}

impl fmt::Display for UnframeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            UnframeErrorKind::Head(error) => write!(f, "not an HTTP response head: {error}")?,
            UnframeErrorKind::HeadLimit => {
                f.write_str("HTTP response head above 16 KiB or 64 headers")?;
            }
            UnframeErrorKind::Status(status) => {
                write!(f, "HTTP response of status {status}, which carries no stream")?;
            }
            UnframeErrorKind::Coding => f.write_str("HTTP body in a coding other than chunked")?,
            UnframeErrorKind::Length => f.write_str("malformed Content-Length")?,
            UnframeErrorKind::ChunkSize => f.write_str("malformed chunk size")?,
            UnframeErrorKind::ChunkEnd => f.write_str("CRLF missing in the chunk framing")?,
            UnframeErrorKind::ExtensionTooLong => f.write_str("chunk extensions too long")?,
            UnframeErrorKind::TrailerTooLong => f.write_str("chunk trailer too long")?,
            UnframeErrorKind::AfterEnd => f.write_str("bytes after the end of the body")?,
            UnframeErrorKind::Truncated => f.write_str("file ended inside the HTTP body")?,
        }
        write!(f, " at byte {} of the file", self.file_offset)
    }
}

impl std::error::Error for UnframeError {}
