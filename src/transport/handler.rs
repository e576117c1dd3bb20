//! What a request on the peer port is answered: the checks of a stream's handler, in etcd's order,
//! and their statuses and texts. Sans-IO: a head goes in, an answer or a stream comes out.
//!
//! Source: etcd 3.4 to 3.7, `rafthttp/http.go` (`streamHandler.ServeHTTP`); answers compared with
//! those of 3.4.23 in `testdata/http/transcripts.txt`.
//!
//! Where we differ: an unreadable version header is answered 400, where etcd closes the connection
//! without a word; a requester that is no peer is answered 404 and not remembered as a remote.

use super::identity::{
    CLUSTER_ID, Identity, MIN_CLUSTER_VERSION, RAFT_TO, SERVER_VERSION, version_of,
};
use super::{MemberId, StreamKind};
use crate::http::RequestHead;
use std::fmt::Write;

/// Who a member is to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    Peer,
    Removed,
    Unknown,
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Answer with it.
    Response(Response),
    /// Answer with [`stream_head`] and write the stream.
    Stream { kind: StreamKind, to: MemberId },
}

/// A whole response, but for its date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    reason: &'static str,
    pub(crate) body: String,
    /// `X-Etcd-Cluster-Id` and `X-Server-Version`: every answer of the stream's handler that got
    /// beyond its first check.
    names_server: bool,
    content_type: &'static str,
    /// One header more.
    extra: Option<(&'static str, String)>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

impl Response {
    fn new(status: u16, reason: &'static str, body: &str) -> Self {
        let body = format!("{body}\n");
        Self { status, reason, body, names_server: false, content_type: TEXT, extra: None }
    }

    fn of_stream_handler(status: u16, reason: &'static str, body: &str) -> Self {
        Self { names_server: true, ..Self::new(status, reason, body) }
    }

    pub(crate) fn bad_request(body: &str) -> Self {
        Self::new(400, "Bad Request", body)
    }

    fn not_found() -> Self {
        Self::new(404, "Not Found", "404 page not found")
    }

    /// Writes it as Go's server does. `closes`: the connection ends with it.
    pub(crate) fn write(&self, me: &Identity, date: &str, closes: bool, out: &mut Vec<u8>) {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason);
        let mut line = |name: &str, value: &str| {
            let _ = write!(head, "{name}: {value}\r\n");
        };
        if let Some((name, value)) = self.extra.as_ref().filter(|(name, _)| *name == "Allow") {
            line(name, value);
        }
        line("Content-Type", self.content_type);
        if let Some((name, value)) = self.extra.as_ref().filter(|(name, _)| *name != "Allow") {
            line(name, value);
        }
        if self.content_type == TEXT {
            line("X-Content-Type-Options", "nosniff");
        }
        if self.names_server {
            line(CLUSTER_ID, &me.cluster_text);
            line(SERVER_VERSION, &me.version_text);
        }
        line("Date", date);
        line("Content-Length", &self.body.len().to_string());
        if closes {
            line("Connection", "close");
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.body.as_bytes());
    }
}

/// Writes the head of a stream. `bare`: the requester speaks HTTP/1.0, and the body is not chunked.
pub(crate) fn stream_head(me: &Identity, date: &str, bare: bool, closes: bool, out: &mut Vec<u8>) {
    let minor = u8::from(!bare);
    let mut head = format!(
        "HTTP/1.{minor} 200 OK\r\n{CLUSTER_ID}: {}\r\n{SERVER_VERSION}: {}\r\nDate: {date}\r\n",
        me.cluster_text, me.version_text
    );
    if closes && !bare {
        head.push_str("Connection: close\r\n");
    }
    if !bare {
        head.push_str("Transfer-Encoding: chunked\r\n");
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
}

const STREAM_PREFIX: &str = "/raft/stream/";

/// Answers a request.
pub(crate) fn answer(
    request: &RequestHead,
    me: &Identity,
    membership: impl FnOnce(MemberId) -> Membership,
) -> Answer {
    match answer_or_response(request, me, membership) {
        Ok((kind, to)) => Answer::Stream { kind, to },
        Err(response) => Answer::Response(response),
    }
}

fn answer_or_response(
    request: &RequestHead,
    me: &Identity,
    membership: impl FnOnce(MemberId) -> Membership,
) -> Result<(StreamKind, MemberId), Response> {
    let path = path_of(&request.target);
    if let Some(redirect) = redirect(path, &request.method) {
        return Err(redirect);
    }
    let Some(stream) = path.strip_prefix(STREAM_PREFIX) else {
        return Err(Response::not_found());
    };
    if request.method != "GET" {
        let refused = Response::new(405, "Method Not Allowed", "Method Not Allowed");
        return Err(Response { extra: Some(("Allow", "GET".to_owned())), ..refused });
    }
    let versions = version_of(&request.headers, SERVER_VERSION)
        .zip(version_of(&request.headers, MIN_CLUSTER_VERSION));
    let Some((remote, remote_min)) = versions else {
        return Err(Response::of_stream_handler(400, "Bad Request", "invalid version"));
    };
    let precondition = |body| Response::of_stream_handler(412, "Precondition Failed", body);
    let missing = |body| Response::of_stream_handler(404, "Not Found", body);
    if !me.version.is_compatible(&remote, &remote_min) {
        return Err(precondition("incompatible version"));
    }
    if request.headers.get(CLUSTER_ID) != Some(me.cluster_text.as_bytes()) {
        return Err(precondition("cluster ID mismatch"));
    }
    let (kind, from) = stream.rsplit_once('/').unwrap_or_default();
    let Some(kind) = StreamKind::ALL.into_iter().find(|known| known.name() == kind) else {
        return Err(missing("invalid path"));
    };
    let Ok(from) = from.parse::<MemberId>() else {
        return Err(missing("invalid from"));
    };
    match membership(from) {
        Membership::Removed => {
            return Err(Response::of_stream_handler(410, "Gone", "removed member"));
        }
        Membership::Unknown => return Err(missing("error sender not found")),
        Membership::Peer => {}
    }
    if request.headers.get(RAFT_TO) != Some(me.id_text.as_bytes()) {
        return Err(precondition("to field mismatch"));
    }
    Ok((kind, from))
}

/// The path of a request's target, which may be a whole url.
fn path_of(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// Go's `ServeMux` sends paths that are not clean to those that are.
fn redirect(path: &str, method: &str) -> Option<Response> {
    let clean = clean(path);
    let location =
        if clean == STREAM_PREFIX.trim_end_matches('/') { STREAM_PREFIX } else { &clean };
    if location == path || !path.starts_with('/') {
        return None;
    }
    let mut response = Response::new(301, "Moved Permanently", "");
    response.content_type = HTML;
    response.body = match method {
        "GET" => format!("<a href=\"{}\">Moved Permanently</a>.\n\n", escaped(location)),
        _ => String::new(),
    };
    response.extra = Some(("Location", location.to_owned()));
    Some(response)
}

/// The path without empty, `.` and `..` elements.
fn clean(path: &str) -> String {
    let mut elements = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => {
                elements.pop();
            }
            element => elements.push(element),
        }
    }
    let mut clean = format!("/{}", elements.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    clean
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;")
}
