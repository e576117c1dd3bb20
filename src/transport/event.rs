//! What becomes of streams, as it is told to the embedder.

use super::{MemberId, StreamError};
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Which of a peer's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the protocol has no more")]
pub enum StreamKind {
    /// `msgappv2`: `MsgApp`s.
    MsgApp,
    /// `message`: everything else, and `MsgApp`s while there is no other.
    Message,
}

impl StreamKind {
    pub(crate) const ALL: [Self; 2] = [Self::MsgApp, Self::Message];

    /// Returns the last part but one of its path: `msgapp` or `message`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MsgApp => "msgapp",
            Self::Message => "message",
        }
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which way a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "there are two")]
pub enum Direction {
    /// From the peer: this member dialed it.
    Incoming,
    /// To the peer: it dialed this member.
    Outgoing,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incoming => "from",
            Self::Outgoing => "to",
        })
    }
}

/// Something happened to a stream.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stream is open. Its end is told, too.
    #[non_exhaustive]
    Opened {
        /// With whom.
        peer: MemberId,
        /// Which.
        kind: StreamKind,
        /// Which way.
        direction: Direction,
        /// Which connection of that stream and direction, counted from 1. One to a peer that dials
        /// anew opens before the one it replaces ends.
        connection: u64,
    },
    /// An open stream ended.
    #[non_exhaustive]
    Ended {
        /// With whom.
        peer: MemberId,
        /// Which.
        kind: StreamKind,
        /// Which way.
        direction: Direction,
        /// Which connection, as when it opened.
        connection: u64,
        /// Why.
        error: &'a StreamError,
    },
    /// A stream could not be opened. While that goes on with the same kind of error at the same
    /// address, told once.
    #[non_exhaustive]
    Failed {
        /// With whom.
        peer: MemberId,
        /// Which.
        kind: StreamKind,
        /// Why.
        error: &'a StreamError,
    },
    /// A request on an accepted connection was refused with this status, or was no request at all.
    #[non_exhaustive]
    Refused {
        /// Where it came from, if that is known: over TCP.
        from: Option<SocketAddr>,
        /// The status answered; none if the connection was closed without an answer.
        status: Option<u16>,
        /// What was wrong with it: the answer's text.
        reason: &'a str,
    },
    /// The listener gave an error instead of a connection, as when the process has too many files
    /// open. It is asked again after 100 ms.
    #[non_exhaustive]
    NotAccepted {
        /// The error.
        error: &'a io::Error,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { peer, kind, direction, .. } => {
                write!(f, "{kind} stream {direction} {peer} opened")
            }
            Self::Ended { peer, kind, direction, error, .. } => {
                write!(f, "{kind} stream {direction} {peer} ended: {error}")?;
                sources(f, error)
            }
            Self::Failed { peer, kind, error } => {
                write!(f, "{kind} stream from {peer} not opened: {error}")?;
                sources(f, error)
            }
            Self::Refused { from, status, reason } => {
                match status {
                    Some(status) => write!(f, "refused a request with {status}")?,
                    None => f.write_str("closed a connection")?,
                }
                if let Some(from) = from {
                    write!(f, " from {from}")?;
                }
                write!(f, ": {}", reason.trim_end())
            }
            Self::NotAccepted { error } => write!(f, "accepted no connection: {error}"),
        }
    }
}

fn sources(f: &mut fmt::Formatter<'_>, error: &StreamError) -> fmt::Result {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        write!(f, ": {inner}")?;
        source = inner.source();
    }
    Ok(())
}
