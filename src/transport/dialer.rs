//! The request that opens a stream, and what its answer means. Sans-IO.
//!
//! Source: etcd 3.4 to 3.7, `rafthttp/stream.go` (`streamReader.dial`). Where we differ: a version
//! header that cannot be read is an error, where etcd ends with a panic; and no `Accept-Encoding` is
//! sent, since nothing here could be decompressed.

use super::identity::{
    CLUSTER_ID, Identity, MIN_CLUSTER_VERSION, PEER_URLS, RAFT_TO, SERVER_FROM, SERVER_VERSION,
    version_of,
};
use super::{MemberId, PeerUrl, StreamError, StreamKind, Version};
use crate::http::ResponseHead;
use std::fmt::Write;

/// How much of an error's text is read.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 10;

/// Writes the request for the stream from `to`.
pub(crate) fn request(me: &Identity, kind: StreamKind, to: MemberId, url: &PeerUrl) -> Vec<u8> {
    let mut head = format!(
        "GET /raft/stream/{kind}/{} HTTP/1.1\r\n\
         Host: {}\r\n\
         User-Agent: raftwire/{}\r\n\
         {CLUSTER_ID}: {}\r\n\
         {MIN_CLUSTER_VERSION}: {}\r\n",
        me.id_text,
        url.authority(),
        env!("CARGO_PKG_VERSION"),
        me.cluster_text,
        Version::MIN_CLUSTER,
    );
    if !me.urls_text.is_empty() {
        let _ = write!(head, "{PEER_URLS}: {}\r\n", me.urls_text);
    }
    let _ = write!(
        head,
        "{RAFT_TO}: {to}\r\n{SERVER_FROM}: {}\r\n{SERVER_VERSION}: {}\r\n\r\n",
        me.id_text, me.version_text,
    );
    head.into_bytes()
}

/// Says what a response means; `text` is the beginning of its body, unless it opens the stream.
pub(crate) fn judge(
    response: &ResponseHead,
    text: &[u8],
    me: &Identity,
    kind: StreamKind,
) -> Result<(), StreamError> {
    let server = version_of(&response.headers, SERVER_VERSION).ok_or(StreamError::Version)?;
    if !server.serves_streams(&me.version) {
        return Err(StreamError::Unsupported(kind));
    }
    match response.status {
        200 => Ok(()),
        404 => Err(StreamError::UnknownMember),
        410 => Err(StreamError::Removed),
        412 => Err(match text.strip_suffix(b"\n").unwrap_or(text) {
            b"incompatible version" => StreamError::IncompatibleVersion,
            b"cluster ID mismatch" => StreamError::ClusterMismatch,
            b"to field mismatch" => StreamError::MemberMismatch,
            _ => StreamError::Status(412),
        }),
        status => Err(StreamError::Status(status)),
    }
}
