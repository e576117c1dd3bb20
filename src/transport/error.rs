//! Why a stream could not be opened, or ended.

use super::StreamKind;
use crate::error::DecodeError;
use crate::http::{BodyError, HeadError};
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a stream was not opened, or ended.
///
/// The transport dials again after every one of them; [`Fault`](crate::error::Fault) of what is
/// inside says whose it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer has no address to dial.
    NoUrl,
    /// No connection could be made.
    Dial(io::Error),
    /// Nothing came of a connection, or of a response, within this time.
    DialTimeout(Duration),
    /// The response, or the request, is no HTTP/1.1.
    Head(HeadError),
    /// The connection ended within the response's head.
    HeadTruncated,
    /// The peer's version header cannot be read.
    Version,
    /// The peer is a 2.0, or says no version: it has no such stream.
    Unsupported(StreamKind),
    /// 404: the peer does not know this member (yet).
    UnknownMember,
    /// 410: this member was removed from the cluster for good.
    Removed,
    /// 412: the peer's version and this member's do not get along.
    IncompatibleVersion,
    /// 412: the peer is of another cluster.
    ClusterMismatch,
    /// 412: another member listens at that address.
    MemberMismatch,
    /// Another answer than those etcd gives.
    Status(u16),
    /// The stream's framing is broken, or it ended within.
    Body(BodyError),
    /// The stream's frames are broken, or the memory budget was exhausted.
    Decode(DecodeError),
    /// The socket failed.
    Io(io::Error),
    /// No byte came for this long.
    ReadTimeout(Duration),
    /// The peer took no byte for this long.
    WriteTimeout(Duration),
    /// The peer's end of the stream was closed: properly, at the end of a frame.
    Closed,
    /// The peer sent something where it only reads.
    UnexpectedBytes,
    /// The peer opened the stream anew, and this connection was closed for it.
    Replaced,
    /// The transport stopped, or the peer was removed from it.
    Stopped,
    /// The [`Raft`](super::Raft) panicked while it was given a message, which is lost, or told of what
    /// was read or written.
    Panicked,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUrl => f.write_str("the peer has no address"),
            Self::Dial(_) => f.write_str("cannot connect"),
            Self::DialTimeout(timeout) => write!(f, "no answer within {timeout:?}"),
            Self::Head(_) => f.write_str("not HTTP/1.1"),
            Self::HeadTruncated => f.write_str("connection closed within the head"),
            Self::Version => f.write_str("unreadable X-Server-Version"),
            Self::Unsupported(kind) => write!(f, "the peer is too old for the {kind} stream"),
            Self::UnknownMember => f.write_str("the peer does not know this member"),
            Self::Removed => f.write_str("this member was removed from the cluster"),
            Self::IncompatibleVersion => f.write_str("incompatible version"),
            Self::ClusterMismatch => f.write_str("the peer is of another cluster"),
            Self::MemberMismatch => f.write_str("another member is at that address"),
            Self::Status(status) => write!(f, "unexpected status {status}"),
            Self::Body(_) => f.write_str("broken body"),
            Self::Decode(_) => f.write_str("broken stream"),
            Self::Io(_) => f.write_str("socket failed"),
            Self::ReadTimeout(timeout) => write!(f, "nothing received for {timeout:?}"),
            Self::WriteTimeout(timeout) => write!(f, "nothing written for {timeout:?}"),
            Self::Closed => f.write_str("closed by the peer"),
            Self::UnexpectedBytes => f.write_str("bytes from a peer that should only read"),
            Self::Replaced => f.write_str("replaced by a newer connection"),
            Self::Stopped => f.write_str("stopped"),
            Self::Panicked => f.write_str("the raft panicked"),
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Dial(error) | Self::Io(error) => Some(error),
            Self::Head(error) => Some(error),
            Self::Body(error) => Some(error),
            Self::Decode(error) => Some(error),
            _ => None,
        }
    }
}

impl From<HeadError> for StreamError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl From<BodyError> for StreamError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<DecodeError> for StreamError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// A transport could not do as it was told.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransportError {
    /// A setting makes no sense; which, and why.
    Config(&'static str),
    /// There is no such peer.
    UnknownPeer,
    /// A peer cannot be this member itself, nor member 0.
    InvalidPeer,
    /// The transport was stopped.
    Stopped,
    /// A listener or a thread could not be set up.
    Io(io::Error),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(what) => write!(f, "invalid configuration: {what}"),
            Self::UnknownPeer => f.write_str("no such peer"),
            Self::InvalidPeer => f.write_str("a peer is neither this member nor member 0"),
            Self::Stopped => f.write_str("the transport was stopped"),
            Self::Io(_) => f.write_str("cannot set up"),
        }
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
