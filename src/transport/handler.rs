//! What a request on the peer port is answered: the checks of a stream's handler, in etcd's order,
//! and their statuses and texts. Sans-IO: a head goes in, an answer or a stream comes out.
//!
//! Source: etcd 3.4 to 3.7, `rafthttp/http.go` (`streamHandler.ServeHTTP`); answers compared with
//! those of 3.4.23 in `testdata/vectors/http-transcripts.txt`.
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

    /// Writes it as Go's server does. `has_text`: not for HEAD, whose answer is a head. `closes`: the
    /// connection ends with it.
    pub(crate) fn write(
        &self,
        me: &Identity,
        date: &str,
        has_text: bool,
        closes: bool,
        out: &mut Vec<u8>,
    ) {
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
        if has_text {
            out.extend_from_slice(self.body.as_bytes());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeadLimits;
    use crate::transport::{ClusterId, Config, Version};

    fn me() -> Identity {
        let mut config = Config::new(MemberId(0x1a), ClusterId(0xcdf8));
        config.version = Version::new(3, 4, 23);
        Identity::of(&config)
    }

    fn membership(id: MemberId) -> Membership {
        match id.0 {
            0x2b => Membership::Peer,
            0xdead => Membership::Removed,
            _ => Membership::Unknown,
        }
    }

    fn answer_to(method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let head = RequestHead::parse(text.as_bytes(), &HeadLimits::default());
        answer(&head.unwrap().unwrap().0, &me(), membership)
    }

    const GOOD: [(&str, &str); 4] = [
        ("X-Server-Version", "3.4.23"),
        ("X-Min-Cluster-Version", "3.0.0"),
        ("X-Etcd-Cluster-ID", "cdf8"),
        ("X-Raft-To", "1a"),
    ];

    fn status_and_text(answer: Answer) -> (u16, String) {
        match answer {
            Answer::Response(response) => (response.status, response.body),
            Answer::Stream { .. } => (200, String::new()),
        }
    }

    /// A request with everything wrong is mended one fault after the other.
    #[test]
    fn checks_in_etcds_order() {
        let mut headers = [
            ("X-Server-Version", "x"),
            ("X-Min-Cluster-Version", "3.5.0"),
            ("X-Etcd-Cluster-ID", "cdf9"),
            ("X-Raft-To", "1b"),
        ];
        let (mut method, mut target) = ("PUT", "/raft/stream/other/x".to_owned());
        for (mends, status, text) in [
            ("", 405, "Method Not Allowed\n"),
            ("method", 400, "invalid version\n"),
            ("version", 412, "incompatible version\n"),
            ("minimum", 412, "cluster ID mismatch\n"),
            ("cluster", 404, "invalid path\n"),
            ("path", 404, "invalid from\n"),
            ("removed", 410, "removed member\n"),
            ("unknown", 404, "error sender not found\n"),
            ("from", 412, "to field mismatch\n"),
            ("to", 200, ""),
        ] {
            match mends {
                "method" => method = "GET",
                "version" => headers[0].1 = GOOD[0].1,
                "minimum" => headers[1].1 = GOOD[1].1,
                "cluster" => headers[2].1 = GOOD[2].1,
                "path" => target = "/raft/stream/msgapp/x".into(),
                "removed" => target = "/raft/stream/msgapp/dead".into(),
                "unknown" => target = "/raft/stream/msgapp/3".into(),
                "from" => target = "/raft/stream/msgapp/2b".into(),
                "to" => headers[3].1 = GOOD[3].1,
                _ => {}
            }
            let found = status_and_text(answer_to(method, &target, &headers));
            assert_eq!(found, (status, text.to_owned()), "{mends}");
        }
    }

    #[test]
    fn ids_in_a_path_may_be_padded_and_those_in_headers_may_not() {
        for from in ["2b", "2B", "002b", "000000000000002b"] {
            let found = answer_to("GET", &format!("/raft/stream/message/{from}"), &GOOD);
            let stream = Answer::Stream { kind: StreamKind::Message, to: MemberId(0x2b) };
            assert_eq!(found, stream, "{from}");
        }
        for from in ["0x2b", "+2b", "-2b", "", "2b%20", "1000000000000002b", "2g"] {
            let found = answer_to("GET", &format!("/raft/stream/message/{from}"), &GOOD);
            assert_eq!(status_and_text(found), (404, "invalid from\n".to_owned()), "{from}");
        }
        for (position, wrong) in [(2, "CDF8"), (2, "0cdf8"), (2, ""), (3, "1A"), (3, "01a")] {
            let mut headers = GOOD;
            headers[position].1 = wrong;
            let found = answer_to("GET", "/raft/stream/message/2b", &headers);
            assert_eq!(status_and_text(found).0, 412, "{wrong}");
        }
    }

    #[test]
    fn versions_that_are_missing_or_empty_are_those_of_2_0() {
        for left_out in 0..2 {
            for empty in [false, true] {
                let mut headers = GOOD.to_vec();
                headers[left_out].1 = "";
                if !empty {
                    headers.remove(left_out);
                }
                let found = status_and_text(answer_to("GET", "/raft/stream/message/2b", &headers));
                // Who needs no more than 2.0 of others gets along with us.
                let status = if left_out == 0 { 412 } else { 200 };
                assert_eq!(found.0, status, "{} {empty}", GOOD[left_out].0);
            }
        }
    }

    #[test]
    fn targets_may_be_whole_urls_and_have_a_query() {
        for target in [
            "/raft/stream/msgapp/2b?a=b",
            "/raft/stream/msgapp/2b?",
            "/raft/stream/msgapp/2b?a=/../..",
            "http://10.0.0.1:2380/raft/stream/msgapp/2b",
            "http://a/raft/stream/msgapp/2b?a=http://b/c",
        ] {
            let found = answer_to("GET", target, &GOOD);
            let stream = Answer::Stream { kind: StreamKind::MsgApp, to: MemberId(0x2b) };
            assert_eq!(found, stream, "{target}");
        }
        for target in ["*", "http://a", "http://", "://", "raft/stream/msgapp/2b", "?", "/"] {
            let (status, text) = status_and_text(answer_to("GET", target, &GOOD));
            assert_eq!((status, &text[..]), (404, "404 page not found\n"), "{target}");
        }
    }

    #[test]
    fn paths_that_are_not_clean_are_redirected_to_those_that_are() {
        for (path, location) in [
            ("/raft/stream", "/raft/stream/"),
            ("//raft/stream", "/raft/stream/"),
            ("/raft//stream/", "/raft/stream/"),
            ("/raft/stream/./msgapp/2b", "/raft/stream/msgapp/2b"),
            ("/raft/stream/x/../msgapp/2b", "/raft/stream/msgapp/2b"),
            ("/../../raft/stream/msgapp/2b", "/raft/stream/msgapp/2b"),
            ("/raft/stream/msgapp/2b//", "/raft/stream/msgapp/2b/"),
            ("//", "/"),
            ("/..", "/"),
            ("//evil.example/x", "/evil.example/x"),
        ] {
            let Answer::Response(response) = answer_to("GET", path, &[]) else {
                panic!("{path}");
            };
            assert_eq!(response.status, 301, "{path}");
            assert_eq!(response.extra, Some(("Location", location.to_owned())), "{path}");
            let text = format!("<a href=\"{location}\">Moved Permanently</a>.\n\n");
            assert_eq!(response.body, text, "{path}");
        }
        let Answer::Response(response) = answer_to("GET", "//<a>&\"b\"", &[]) else {
            panic!("a stream");
        };
        assert!(response.body.contains("\"/&lt;a&gt;&amp;&#34;b&#34;\""), "{}", response.body);
    }

    #[test]
    fn a_member_that_is_removed_hears_so_though_it_is_a_peer_still() {
        let text = "GET /raft/stream/msgapp/2b HTTP/1.1\r\nX-Server-Version: 3.4.23\r\n\
            X-Min-Cluster-Version: 3.0.0\r\nx-etcd-cluster-id: cdf8\r\n\r\n";
        let head = RequestHead::parse(text.as_bytes(), &HeadLimits::default());
        let mut asked = None;
        let answer = answer(&head.unwrap().unwrap().0, &me(), |id| {
            asked = Some(id);
            Membership::Removed
        });
        assert_eq!(asked, Some(MemberId(0x2b)));
        assert_eq!(status_and_text(answer), (410, "removed member\n".to_owned()));
    }
}
