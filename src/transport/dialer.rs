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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HeadLimits;
    use crate::transport::handler::Membership;
    use crate::transport::server::{Connection, Next};
    use crate::transport::{ClusterId, Config};

    /// What etcd 3.4.23 asked for, among others.
    const TRANSCRIPTS: &str = include_str!("../../testdata/vectors/http-transcripts.txt");

    /// The member that asked: it has two addresses, given in no order.
    fn captured_member() -> Identity {
        let mut config =
            Config::new(MemberId(0x8211_f1d0_f64f_3269), ClusterId(0xcdf8_1819_4e3a_8c32));
        config.version = Version::new(3, 4, 23);
        config.urls = ["http://127.0.0.1:2380", "http://127.0.0.1:12380"]
            .map(|url| url.parse().unwrap())
            .to_vec();
        Identity::of(&config)
    }

    fn captured(kind: StreamKind) -> String {
        let start = TRANSCRIPTS.find(&format!("GET /raft/stream/{kind}/")).unwrap();
        let (head, _) = TRANSCRIPTS[start..].split_once("\n\n").unwrap();
        format!("{head}\n").replace("\\r\\n\n", "\r\n")
    }

    #[test]
    fn asks_as_etcd_does_but_for_two_headers() {
        let url = "http://127.0.0.1:33373".parse().unwrap();
        for kind in StreamKind::ALL {
            let request = request(&captured_member(), kind, MemberId(2), &url);
            let ours = format!("User-Agent: raftwire/{}\r\n", env!("CARGO_PKG_VERSION"));
            let expected = captured(kind)
                .replace("User-Agent: Go-http-client/1.1\r\n", &ours)
                .replace("Accept-Encoding: gzip\r\n", "");
            assert_eq!(String::from_utf8(request).unwrap(), expected);
        }
    }

    #[test]
    fn a_member_without_addresses_names_none() {
        let me = Identity::of(&Config::new(MemberId(1), ClusterId(2)));
        let url = "http://[::1]:2380".parse().unwrap();
        let request = request(&me, StreamKind::Message, MemberId(0xab), &url);
        let text = String::from_utf8(request).unwrap();
        assert!(!text.contains("Urls") && text.contains("\r\nHost: [::1]:2380\r\n"), "{text}");
        assert!(text.contains("\r\nX-Raft-To: ab\r\nX-Server-From: 1\r\nX-Server-Version: 3.6.0"));
    }

    #[test]
    fn our_server_opens_a_stream_to_whom_etcds_and_ours_ask() {
        let mut config = Config::new(MemberId(2), ClusterId(0xcdf8_1819_4e3a_8c32));
        config.version = Version::new(3, 4, 0);
        let server = Identity::of(&config);
        let url = "http://127.0.0.1:33373".parse().unwrap();
        for kind in StreamKind::ALL {
            let ours = request(&captured_member(), kind, MemberId(2), &url);
            for request in [captured(kind).into_bytes(), ours] {
                let mut connection = Connection::new(HeadLimits::default());
                connection.received(&request);
                let membership = |_| Membership::Peer;
                let next = connection.next(&server, membership, String::new, &mut Vec::new());
                let to = MemberId(0x8211_f1d0_f64f_3269);
                assert_eq!(next, Next::Stream { kind, to, bare: false });
            }
        }
    }

    #[test]
    fn every_answer_means_what_it_means_to_etcd() {
        let mut config = Config::new(MemberId(1), ClusterId(2));
        config.version = Version::new(3, 6, 0);
        let me = Identity::of(&config);
        for (version, status, text, meaning) in [
            (Some("3.6.0"), 200, "", "Ok(())"),
            (Some("3.6.0"), 404, "error sender not found\n", "Err(UnknownMember)"),
            (Some("3.6.0"), 404, "404 page not found\n", "Err(UnknownMember)"),
            (Some("3.6.0"), 410, "removed member\n", "Err(Removed)"),
            (Some("3.6.0"), 412, "incompatible version\n", "Err(IncompatibleVersion)"),
            (Some("3.6.0"), 412, "cluster ID mismatch\n", "Err(ClusterMismatch)"),
            // etcd calls this one by no name.
            (Some("3.6.0"), 412, "to field mismatch\n", "Err(MemberMismatch)"),
            // One line end is taken off, and only that.
            (Some("3.6.0"), 412, "cluster ID mismatch", "Err(ClusterMismatch)"),
            (Some("3.6.0"), 412, "cluster ID mismatch\n\n", "Err(Status(412))"),
            (Some("3.6.0"), 412, "cluster ID mismatch\r\n", "Err(Status(412))"),
            (Some("3.6.0"), 412, "Cluster ID mismatch\n", "Err(Status(412))"),
            (Some("3.6.0"), 412, "", "Err(Status(412))"),
            (Some("3.6.0"), 400, "invalid version\n", "Err(Status(400))"),
            (Some("3.6.0"), 405, "Method Not Allowed\n", "Err(Status(405))"),
            (Some("3.6.0"), 301, "", "Err(Status(301))"),
            (Some("3.6.0"), 204, "", "Err(Status(204))"),
            (Some("3.6.0"), 206, "", "Err(Status(206))"),
            (Some("3.6.0"), 101, "", "Err(Status(101))"),
            (Some("3.6.0"), 500, "incompatible version\n", "Err(Status(500))"),
            // Who says no version is a 2.0, and its status is not looked at.
            (None, 200, "", "Err(Unsupported(MsgApp))"),
            (None, 404, "", "Err(Unsupported(MsgApp))"),
            (None, 410, "removed member\n", "Err(Unsupported(MsgApp))"),
            (None, 412, "cluster ID mismatch\n", "Err(Unsupported(MsgApp))"),
            (Some(""), 200, "", "Err(Unsupported(MsgApp))"),
            (Some("2.0.13"), 410, "", "Err(Unsupported(MsgApp))"),
            (Some("1.9.0"), 200, "", "Err(Unsupported(MsgApp))"),
            (Some("2.1.0"), 200, "", "Ok(())"),
            (Some("3.0.0"), 410, "", "Err(Removed)"),
            // A newer one knows what it does.
            (Some("9.0.0-alpha.0+x"), 200, "", "Ok(())"),
            // etcd ends with a panic here.
            (Some("x"), 200, "", "Err(Version)"),
            (Some("3.6"), 410, "", "Err(Version)"),
            (Some("\u{e9}"), 200, "", "Err(Version)"),
        ] {
            let version = version.map(|text| format!("{SERVER_VERSION}: {text}\r\n"));
            let head = format!("HTTP/1.1 {status} x\r\n{}\r\n", version.unwrap_or_default());
            let parsed = ResponseHead::parse(head.as_bytes(), &HeadLimits::default());
            let response = parsed.unwrap().unwrap().0;
            let judged = judge(&response, text.as_bytes(), &me, StreamKind::MsgApp);
            assert_eq!(format!("{judged:?}"), meaning, "{head}{text}");
        }
    }
}
