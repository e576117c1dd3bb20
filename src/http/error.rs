//! What is wrong with a head or a body, and where. Both errors are `Copy`, hold no text of the
//! peer's, and are told apart by their kind, never by their words.
//!
//! A connection that gave one carries nothing further: where the next message would begin is not
//! known. A server may still answer 400, and close.

use std::fmt;

/// A head that is not taken, or not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadError {
    /// What is wrong.
    pub kind: HeadErrorKind,
    /// The offset of the byte that was not taken. Counted in the head that was read; in the text that
    /// was to become part of one; and where a head's headers contradict each other, in the head as
    /// it would be written, where it is that of the header that gave it away.
    pub offset: usize,
}

/// What is wrong with a head; see [`HeadError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadErrorKind {
    /// It does not end within [`bytes_max`](super::HeadLimits::bytes_max).
    TooLong,
    /// It has more headers than [`headers_max`](super::HeadLimits::headers_max).
    TooManyHeaders,
    /// The method is not a token.
    Method,
    /// The target is not one run of visible ASCII.
    Target,
    /// Neither `HTTP/1.0` nor `HTTP/1.1`.
    Version,
    /// The status is not a number from 100 to 999.
    Status,
    /// The reason holds a control byte.
    Reason,
    /// A header's name is not a token with a colon right behind it; or the header is the last one,
    /// continued on another line.
    HeaderName,
    /// A header's value holds a control byte.
    HeaderValue,
    /// A line that does not end with CRLF, or an empty one where the head begins.
    LineEnd,
    /// A `Content-Length` that is not a decimal number of 64 bits.
    ContentLength,
    /// Two `Content-Length`s that differ.
    ContentLengths,
    /// A `Transfer-Encoding` other than `chunked`, once.
    TransferEncoding,
    /// Both `Transfer-Encoding` and `Content-Length`.
    TransferEncodingAndContentLength,
    /// A `Transfer-Encoding` in HTTP/1.0, which knows none.
    TransferEncodingInHttp10,
}

impl HeadError {
    pub(super) const fn new(kind: HeadErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl fmt::Display for HeadErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "HTTP head too long",
            Self::TooManyHeaders => "too many HTTP headers",
            Self::Method => "invalid HTTP method",
            Self::Target => "invalid HTTP target",
            Self::Version => "invalid HTTP version",
            Self::Status => "invalid HTTP status",
            Self::Reason => "invalid HTTP reason",
            Self::HeaderName => "invalid HTTP header name",
            Self::HeaderValue => "invalid HTTP header value",
            Self::LineEnd => "CRLF missing in HTTP head",
            Self::ContentLength => "malformed Content-Length",
            Self::ContentLengths => "two Content-Lengths that differ",
            Self::TransferEncoding => "Transfer-Encoding other than chunked",
            Self::TransferEncodingAndContentLength => "both Transfer-Encoding and Content-Length",
            Self::TransferEncodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
        })
    }
}

impl std::error::Error for HeadError {}

/// A body that is not framed as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyError {
    /// What is wrong.
    pub kind: BodyErrorKind,
    /// The offset of the byte that was not taken, from the start of the body, framing included.
    pub offset: u64,
}

/// What is wrong with a body; see [`BodyError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// A chunk's size is not 1 to 16 hex digits with an extension or CRLF behind them.
    ChunkSize,
    /// A chunk's bytes are not followed by CRLF.
    ChunkEnd,
    /// A line of the framing that does not end with CRLF, or holds another control byte.
    LineEnd,
    /// A size line longer than [`SIZE_LINE_BYTES_MAX`](super::SIZE_LINE_BYTES_MAX).
    SizeLineTooLong,
    /// A trailer that is not a name, a colon and a value.
    Trailer,
    /// Trailers longer than [`TRAILERS_BYTES_MAX`](super::TRAILERS_BYTES_MAX).
    TrailersTooLong,
    /// The connection ended before the body did.
    Truncated,
}

impl BodyError {
    pub(super) const fn new(kind: BodyErrorKind, offset: u64) -> Self {
        Self { kind, offset }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of the body", self.kind, self.offset)
    }
}

impl fmt::Display for BodyErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChunkSize => "malformed chunk size",
            Self::ChunkEnd => "CRLF missing behind a chunk",
            Self::LineEnd => "CRLF missing in the chunk framing",
            Self::SizeLineTooLong => "chunk extensions too long",
            Self::Trailer => "malformed chunk trailer",
            Self::TrailersTooLong => "chunk trailers too long",
            Self::Truncated => "connection ended inside the HTTP body",
        })
    }
}

impl std::error::Error for BodyError {}
