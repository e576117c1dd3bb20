//! The server's side of one accepted connection, up to where a stream begins. Sans-IO: received
//! bytes go in, bytes to write and what to do next come out.
//!
//! ```text
//! received ─▶ next ─▶ Read ──────▶ received ...
//!                  ├▶ Answered ──▶ next ...        the connection is kept alive
//!                  ├▶ Closing                       write, and close
//!                  └▶ Stream                        write, and the connection is the stream's
//! ```

use super::handler::{Answer, Membership, Response, answer, stream_head};
use super::identity::Identity;
use super::{MemberId, StreamKind};
use crate::http::{HeadLimits, RequestHead};

/// A connection and the requests that came over it and are not answered.
#[derive(Debug)]
pub(crate) struct Connection {
    limits: HeadLimits,
    unparsed: Vec<u8>,
}

/// What to do next; in all cases but the first after writing what was put out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read more.
    Read,
    /// The request was refused; there may be another.
    Answered(Refusal),
    /// The request was refused and the connection ends.
    Closing(Refusal),
    /// The rest of the connection is the body of this stream. `bare`: without chunks.
    Stream { kind: StreamKind, to: MemberId, bare: bool },
}

/// For logs: what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Connection {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { limits, unparsed: Vec::new() }
    }

    /// Takes what was read.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.unparsed.extend_from_slice(bytes);
    }

    /// Answers the next request, if it is there: puts what is to be written into `out`.
    pub(crate) fn next(
        &mut self,
        me: &Identity,
        membership: impl FnOnce(MemberId) -> Membership,
        date: impl FnOnce() -> String,
        out: &mut Vec<u8>,
    ) -> Next {
        let Some(parsed) = RequestHead::parse(&self.unparsed, &self.limits).transpose() else {
            return Next::Read;
        };
        let date = date();
        let mut refuse = |response: Response, has_text: bool, closes: bool| {
            response.write(me, &date, has_text, closes, out);
            let refusal = Refusal { status: response.status, text: response.body };
            if closes { Next::Closing(refusal) } else { Next::Answered(refusal) }
        };
        let checked = parsed.and_then(|(request, len)| {
            let has_body = !request.body()?.is_over();
            Ok((request, len, has_body))
        });
        let (request, len, has_body) = match checked {
            Ok(checked) => checked,
            Err(error) => return refuse(Response::bad_request(&error.to_string()), true, true),
        };
        self.unparsed.drain(..len);
        let bare = request.minor_version == 0;
        match answer(&request, me, membership) {
            // What follows the head is its body, which nobody reads.
            Answer::Response(response) => {
                let closes = has_body || !request.keeps_alive();
                refuse(response, request.method != "HEAD", closes)
            }
            Answer::Stream { .. } if has_body || !self.unparsed.is_empty() => {
                refuse(Response::bad_request("bytes behind the request for a stream"), true, true)
            }
            Answer::Stream { kind, to } => {
                stream_head(me, &date, bare, !request.keeps_alive(), out);
                Next::Stream { kind, to, bare }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ResponseHead;
    use crate::transport::{ClusterId, Config, Version};
    use std::collections::BTreeSet;

    /// What etcd 3.4.23 answered: member 1 of this cluster, which knows 2 and has removed `dead`.
    const TRANSCRIPTS: &str = include_str!("../../testdata/vectors/http-transcripts.txt");
    const DATE: &str = "Sat, 21 Nov 2026 02:36:36 GMT";

    fn me() -> Identity {
        let mut config = Config::new(MemberId(1), ClusterId(0xcdf8_1819_4e3a_8c32));
        config.version = Version::new(3, 4, 23);
        Identity::of(&config)
    }

    fn membership(id: MemberId) -> Membership {
        match id.0 {
            2 => Membership::Peer,
            0xdead => Membership::Removed,
            _ => Membership::Unknown,
        }
    }

    /// The server's replies by the name of their case, CRLF as bytes.
    fn captured() -> Vec<(&'static str, String)> {
        let (server, _) = TRANSCRIPTS.split_once("################ CLIENT").unwrap();
        let cases = server.split("\n=== ").skip(1).map(|case| {
            let (name, rest) = case.split_once('\n').unwrap();
            let (reply, _) = rest.split_once("<<(").unwrap();
            (name, reply.replace("\\r\\n\n", "\r\n"))
        });
        cases.collect()
    }

    /// The request line and the headers of a member's request that differ from the usual ones, or
    /// come to them; an empty value leaves one out.
    type Request<'a> = (&'a str, &'a [(&'a str, &'a str)]);

    fn request((line, changes): Request<'_>) -> String {
        let usual = [
            ("Host", "127.0.0.1:2380"),
            ("User-Agent", "Go-http-client/1.1"),
            ("X-Etcd-Cluster-Id", "cdf818194e3a8c32"),
            ("X-Min-Cluster-Version", "3.0.0"),
            ("X-Raft-To", "1"),
            ("X-Server-From", "2"),
            ("X-Server-Version", "3.4.23"),
            ("Accept-Encoding", "gzip"),
        ];
        let change = |name| changes.iter().find(|change| change.0 == name);
        let changed = usual.iter().map(|usual| change(usual.0).unwrap_or(usual));
        let is_new = |change: &&(&str, &str)| usual.iter().all(|usual| usual.0 != change.0);
        let mut head = format!("{line}\r\n");
        for (name, value) in changed.chain(changes.iter().filter(is_new)) {
            if !value.is_empty() {
                head += &format!("{name}: {value}\r\n");
            }
        }
        head + "\r\n"
    }

    const STREAM: Request<'_> = ("GET /raft/stream/msgapp/2 HTTP/1.1", &[]);

    /// The requests of the cases that are answered as etcd does.
    const SAME: [(&str, Request<'_>); 21] = [
        ("stream ok msgapp", STREAM),
        ("stream ok message", ("GET /raft/stream/message/2 HTTP/1.1", &[])),
        ("stream 405", ("POST /raft/stream/msgapp/2 HTTP/1.1", &[("Content-Length", "0")])),
        (
            "stream bad version low",
            (STREAM.0, &[("X-Server-Version", "2.3.8"), ("X-Min-Cluster-Version", "2.3.0")]),
        ),
        (
            "stream bad version min too high",
            (STREAM.0, &[("X-Server-Version", "3.6.0"), ("X-Min-Cluster-Version", "3.5.0")]),
        ),
        ("stream newer ok", (STREAM.0, &[("X-Server-Version", "3.8.0-alpha.0")])),
        (
            "stream no version headers",
            (STREAM.0, &[("X-Server-Version", ""), ("X-Min-Cluster-Version", "")]),
        ),
        ("stream cluster id mismatch", (STREAM.0, &[("X-Etcd-Cluster-Id", "1")])),
        ("stream bad path v1", ("GET /raft/stream/2 HTTP/1.1", &[])),
        ("stream bad path", ("GET /raft/stream/snapshot/2 HTTP/1.1", &[])),
        ("stream bad from", ("GET /raft/stream/msgapp/xyz HTTP/1.1", &[])),
        ("stream removed", ("GET /raft/stream/msgapp/dead HTTP/1.1", &[])),
        ("stream unknown", ("GET /raft/stream/msgapp/3 HTTP/1.1", &[])),
        ("stream to mismatch", (STREAM.0, &[("X-Raft-To", "5")])),
        ("stream prefix w/o slash", ("GET /raft/stream HTTP/1.1", &[])),
        ("stream trailing slash", ("GET /raft/stream/msgapp/2/ HTTP/1.1", &[])),
        ("stream double slash", ("GET /raft/stream//message/2 HTTP/1.1", &[])),
        ("unknown", ("GET /metrics HTTP/1.1", &[])),
        ("unknown under raft", ("GET /raft/metrics HTTP/1.1", &[])),
        ("http/1.0 stream", ("GET /raft/stream/msgapp/2 HTTP/1.0", &[])),
        ("conn close stream", (STREAM.0, &[("Connection", "close")])),
    ];

    /// Feeds a connection pieces that end at these places, until it closes or a stream begins, and
    /// returns what it wrote and decided.
    fn converse(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> (String, Vec<Next>) {
        converse_at(DATE, bytes, ends)
    }

    fn converse_at(
        date: &str,
        bytes: &[u8],
        ends: impl IntoIterator<Item = usize>,
    ) -> (String, Vec<Next>) {
        let (me, mut connection) = (me(), Connection::new(HeadLimits::default()));
        let (mut out, mut decided, mut at) = (Vec::new(), Vec::new(), 0);
        for end in ends {
            connection.received(&bytes[at..end]);
            at = end;
            loop {
                let before = out.len();
                let next = connection.next(&me, membership, || date.to_owned(), &mut out);
                if next == Next::Read {
                    assert_eq!(out.len(), before, "nothing is answered to half a head");
                    break;
                }
                let goes_on = matches!(next, Next::Answered(_));
                decided.push(next);
                if !goes_on {
                    return (String::from_utf8(out).unwrap(), decided);
                }
            }
        }
        (String::from_utf8(out).unwrap(), decided)
    }

    fn whole(text: &str) -> (String, Vec<Next>) {
        converse(text.as_bytes(), [text.len()])
    }

    /// The date a captured reply bears.
    fn date_of(reply: &str) -> &str {
        let (_, date) = reply.split_once("Date: ").unwrap();
        date.split_once("\r\n").unwrap().0
    }

    fn stream(kind: StreamKind, bare: bool) -> Next {
        Next::Stream { kind, to: MemberId(2), bare }
    }

    #[test]
    fn every_captured_request_is_answered_byte_for_byte_as_etcd_does() {
        let captured = captured();
        for (name, case) in SAME {
            let (_, reply) = captured.iter().find(|captured| captured.0 == name).expect(name);
            // What follows is the stream.
            let head = reply.find("\r\n\r\n").unwrap() + 4;
            let reply = if reply.contains(" 200 OK") { &reply[..head] } else { reply };
            let request = request(case);
            let (out, decided) = converse_at(date_of(reply), request.as_bytes(), [request.len()]);
            assert_eq!(out, reply, "{name}");
            let decided = decided.into_iter().next().unwrap();
            match decided {
                Next::Answered(Refusal { status, text }) => {
                    assert_eq!(&reply[9..12], status.to_string(), "{name}");
                    assert_eq!(&reply[head..], text, "{name}");
                }
                Next::Stream { kind, to, bare } => {
                    assert!(request.contains(&format!("/{kind}/{to}")), "{name}");
                    assert_eq!(bare, name.starts_with("http/1.0"), "{name}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    /// What etcd has and we do not, yet or on purpose; everything else it was asked is above.
    #[test]
    fn where_we_differ_from_etcd_is_listed() {
        let not_found = ["probing", "probing POST", "pipeline", "snapshot", "expect continue"];
        let differs = |name: &str| {
            name == "stream garbage version"
                || not_found.iter().any(|other| name.starts_with(other))
        };
        let captured = captured();
        let names: BTreeSet<_> = captured.iter().map(|case| case.0).collect();
        let same: BTreeSet<_> = SAME.iter().map(|case| case.0).collect();
        let rest: BTreeSet<_> = names.iter().copied().filter(|name| !differs(name)).collect();
        assert_eq!(same, rest);

        // etcd closes the connection without a word.
        for header in ["X-Server-Version", "X-Min-Cluster-Version"] {
            for version in ["garbage", "3", "3.4", "v3.4.0", "\u{e9}"] {
                let (out, decided) = whole(&request((STREAM.0, &[(header, version)])));
                let refusal = Refusal { status: 400, text: "invalid version\n".into() };
                assert_eq!(decided, [Next::Answered(refusal)], "{header} {version}");
                assert!(out.ends_with("Content-Length: 16\r\n\r\ninvalid version\n"), "{out}");
            }
        }
        // These endpoints are not here.
        for line in ["GET /raft/probing", "GET /raft", "GET /raft/snapshot", "GET /members"] {
            let (out, decided) = whole(&request((&format!("{line} HTTP/1.1"), &[])));
            assert!(out.starts_with("HTTP/1.1 404 Not Found\r\n"), "{line}: {out}");
            assert!(matches!(&decided[..], [Next::Answered(_)]), "{line}");
        }
        // Nor does anybody read a body, so the connection ends with it.
        for line in ["POST /raft HTTP/1.1", "POST /raft/snapshot HTTP/1.1"] {
            for framing in [("Content-Length", "5"), ("Transfer-Encoding", "chunked")] {
                let (out, decided) = whole(&request((line, &[framing])));
                assert!(out.starts_with("HTTP/1.1 404 Not Found\r\n"), "{line}: {out}");
                assert!(out.contains("\r\nContent-Length: 19\r\nConnection: close\r\n\r\n"));
                assert!(matches!(&decided[..], [Next::Closing(_)]), "{line}");
            }
        }
    }

    #[test]
    fn the_split_of_what_is_received_does_not_matter() {
        for (name, case) in SAME {
            let request = request(case);
            let expected = whole(&request);
            for cut in 0..request.len() {
                let found = converse(request.as_bytes(), [cut, request.len()]);
                assert_eq!(found, expected, "{name} cut at {cut}");
            }
            let found = converse(request.as_bytes(), 0..=request.len());
            assert_eq!(found, expected, "{name} byte by byte");
        }
    }

    #[test]
    fn requests_may_come_ahead_and_a_stream_as_the_nth() {
        let cases: Vec<_> = SAME.iter().map(|(name, case)| (*name, request(*case))).collect();
        let is_kept = |text: &str| matches!(&whole(text).1[..], [Next::Answered(_)]);
        let kept: Vec<_> = cases.iter().filter(|(_, text)| is_kept(text)).collect();
        assert_eq!(kept.len(), 16, "all but the streams");
        for (name, second) in &cases {
            let mut all = String::new();
            let (mut out, mut decided) = (String::new(), Vec::new());
            for (_, first) in &kept {
                all += first;
                let (more, next) = whole(first);
                out += &more;
                decided.extend(next);
            }
            all += second;
            let (more, next) = whole(second);
            out += &more;
            decided.extend(next);
            assert_eq!(whole(&all), (out.clone(), decided.clone()), "{name} after {}", kept.len());
            let sizes = (7..all.len()).step_by(7).chain([all.len()]);
            assert_eq!(converse(all.as_bytes(), sizes), (out, decided), "{name} in pieces");
        }
        // Nothing is answered behind a request that ends the connection.
        let close = request(("GET /metrics HTTP/1.1", &[("Connection", "close")]));
        let (_, decided) = whole(&(close + &request(STREAM)));
        assert!(matches!(&decided[..], [Next::Closing(Refusal { status: 404, .. })]));
    }

    #[test]
    fn a_stream_has_nothing_behind_its_request() {
        let good = request(STREAM);
        for (what, bytes) in [
            ("another request", good.clone() + &good),
            ("a byte", good.clone() + "x"),
            ("a length", request((STREAM.0, &[("Content-Length", "5")]))),
            ("a body", request((STREAM.0, &[("Content-Length", "5")])) + "hello"),
            ("chunks", request((STREAM.0, &[("Transfer-Encoding", "chunked")]))),
        ] {
            let (out, decided) = whole(&bytes);
            let text = "bytes behind the request for a stream\n".to_owned();
            assert_eq!(decided, [Next::Closing(Refusal { status: 400, text })], "{what}");
            assert!(out.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{what}: {out}");
            assert!(out.contains("\r\nConnection: close\r\n\r\n"), "{what}: {out}");
        }
        let (_, decided) = whole(&request((STREAM.0, &[("Content-Length", "0")])));
        assert_eq!(decided, [stream(StreamKind::MsgApp, false)]);
    }

    #[test]
    fn heads_have_16_kib_and_64_headers_at_most() {
        let with = |bytes: usize| {
            let head = request((STREAM.0, &[("A", "b")]));
            head.replace("A: b", &format!("A: {}", "b".repeat(bytes + 1 - head.len())))
        };
        assert_eq!(with(16 << 10).len(), 16 << 10);
        let (_, decided) = whole(&with(16 << 10));
        assert_eq!(decided, [stream(StreamKind::MsgApp, false)]);

        let lines = |count: usize| {
            let head = request(STREAM);
            let here = head.matches("\r\n").count() - 2;
            head.replace("\r\n\r\n", &format!("\r\n{}\r\n", "a:\r\n".repeat(count - here)))
        };
        assert_eq!(lines(64).matches("\r\n").count(), 66);
        let (_, decided) = whole(&lines(64));
        assert_eq!(decided, [stream(StreamKind::MsgApp, false)]);

        let endless = format!("GET /{}", "a".repeat(64 << 10));
        for (what, head) in [
            ("long", with((16 << 10) + 1)),
            ("many", lines(65)),
            ("endless", endless),
            ("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n".into()),
            ("TLS", "\u{16}\u{3}\u{1}".into()),
            ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
            ("two framings", request((STREAM.0, &[("Content-Length", "x")]))),
        ] {
            let (out, decided) = whole(&head);
            let [Next::Closing(Refusal { status: 400, text })] = &decided[..] else {
                panic!("{what}: {decided:?}");
            };
            let (reply, len) =
                ResponseHead::parse(out.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
            assert_eq!((reply.status, &out[len..]), (400, &text[..]), "{what}");
            assert!(!reply.keeps_alive(), "{what}");
            assert!(text.len() < 256, "{what}: the request does not come back: {text}");
        }
    }

    #[test]
    fn answers_to_head_have_no_body() {
        for target in ["/raft/stream/msgapp/2", "/raft/stream", "/metrics"] {
            let (out, _) = whole(&request((&format!("HEAD {target} HTTP/1.1"), &[])));
            assert!(out.ends_with("\r\n\r\n"), "{target}: {out}");
        }
    }
}
