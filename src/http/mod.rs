//! HTTP/1.1 as the peer port speaks it: heads read and written, bodies taken out of their framing.
//!
//! ```text
//! GET /raft/stream/msgapp/2 HTTP/1.1 CRLF     start line  \
//! X-Raft-To: 1 CRLF                           headers      > the head: `RequestHead`, `ResponseHead`
//! CRLF                                                    /
//! 35 CRLF <53 bytes> CRLF ... 0 CRLF CRLF     the body, here in chunks: `Body`, `chunk_head`
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `head.rs` | start lines and whole heads, and what they say of the body |
//! | `headers.rs` | the headers between |
//! | `body.rs` | a body's bytes told from what frames them, for every split of the input |
//! | `chunk.rs` | chunk framing, written |
//! | `error.rs` | what is wrong, and where |
//!
//! Sans-IO: bytes in, bytes out. Not here: who may ask for what, deadlines, `Expect`, content
//! codings, upgrades, `CONNECT` and HTTP/2; nothing on the peer port uses the last five.
//!
//! # Strict where Go is lenient
//!
//! Two readers that find different ends of one message are how requests are smuggled. So there is
//! one reading here, and whatever has two is refused. Everything Go's `net/http` writes is taken;
//! of what it reads, these are errors:
//!
//! | what | Go 1.19's reader |
//! |---|---|
//! | a line that ends with LF alone, in a head, a size line or a trailer | takes it |
//! | `Transfer-Encoding` together with `Content-Length` | ignores the length |
//! | `Transfer-Encoding` in HTTP/1.0 | ignores it |
//! | a header continued on the next line (obs-fold) | joins the lines |
//! | a target outside visible ASCII | takes it |
//! | HTTP/1.2 to HTTP/1.9, status codes below 100 | takes them |
//!
//! Empty lines before a head, several `Content-Length`s that differ or one that is not a plain
//! number, and any transfer coding but `chunked` are refused by both.

mod body;
mod chunk;
mod error;
mod head;
mod headers;

pub use body::{Body, SIZE_LINE_BYTES_MAX, Step, TRAILERS_BYTES_MAX};
pub use chunk::{CHUNK_END, CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, chunk_head};
pub use error::{BodyError, BodyErrorKind, HeadError, HeadErrorKind};
pub use head::{RequestHead, ResponseHead};
pub use headers::Headers;

/// The largest head that is read.
///
/// A reader holds no more than this of a head, whatever is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HeadLimits {
    /// Bytes, with the empty line at its end; 16 KiB by default. etcd's heads have some 400, to which
    /// a member with many peer URLs adds.
    pub bytes_max: usize,
    /// Headers; 64 by default. etcd's heads have at most ten.
    pub headers_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes_max: 16 << 10, headers_max: 64 }
    }
}

impl HeadLimits {
    /// Sets [`bytes_max`](Self::bytes_max).
    #[must_use]
    pub fn bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// Sets [`headers_max`](Self::headers_max).
    #[must_use]
    pub fn headers_max(self, headers_max: usize) -> Self {
        Self { headers_max, ..self }
    }
}
