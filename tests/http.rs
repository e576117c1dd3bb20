//! Heads and bodies that etcd and Go wrote, and ones nobody wrote down against a naive reader of
//! the grammar (`raftwire::fuzzing::http::naive`).
//!
//! `PROPTEST_CASES=10000 cargo test --test http` looks longer than the default does. Malformed ones
//! have names in `src/http/`, those a fuzzer found are replayed by `corpus.rs`.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use raftwire::fuzzing::http::{Outcome, chunked, decode, expected, naive};
use raftwire::http::{
    Body, BodyError, BodyErrorKind, HeadError, HeadLimits, Headers, RequestHead, ResponseHead,
};
use std::fmt::Debug;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

fn testdata(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(file)
}

// ---------------------------------------------------------------------------------------------
// What etcd 3.4.23 wrote.

/// The messages of the transcripts, by name: what a server answered, and what a client asked.
struct Transcripts {
    responses: Vec<(String, Vec<u8>)>,
    requests: Vec<(String, Vec<u8>)>,
}

/// CRLF stands in the file as `\r\n`, other line ends as they are.
fn transcripts() -> Transcripts {
    let text = fs::read(testdata("vectors/http-transcripts.txt")).expect("the transcripts");
    let text = String::from_utf8_lossy(&text);
    let (server, client) = text.split_once("################ CLIENT").expect("two parts");
    let bytes = |lines: &str| {
        let line = |line: &str| {
            line.strip_suffix("\\r\\n\n").map_or_else(|| line.into(), |line| format!("{line}\r\n"))
        };
        lines.split_inclusive('\n').map(line).collect::<String>().into_bytes()
    };
    let responses = server.split("\n=== ").skip(1).map(|case| {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (answer, _) = rest.split_once("<<(").expect("an end");
        (name.to_owned(), bytes(answer))
    });
    let requests = client.split("] conn ").filter_map(|event| {
        let (name, rest) = event.split_once(":\n")?;
        let (head, _) = rest.split_once("\n\n")?;
        Some((name.to_owned(), bytes(&format!("{head}\n"))))
    });
    Transcripts { responses: responses.collect(), requests: requests.collect() }
}

type Parsed<H> = Result<Option<(H, usize)>, HeadError>;

/// Reads the head of a message however it arrives, and returns it and what is behind it.
fn head<H: Debug + PartialEq>(
    message: &[u8],
    parse: impl Fn(&[u8], &HeadLimits) -> Parsed<H>,
    write: impl Fn(&H, &mut Vec<u8>) -> Result<(), HeadError>,
) -> (H, &[u8]) {
    let limits = HeadLimits::default();
    let (head, len) = parse(message, &limits).expect("it is a head").expect("it is whole");
    for end in 0..len {
        assert_eq!(parse(&message[..end], &limits), Ok(None), "{end} of {len} bytes");
    }
    let alone = parse(&message[..len], &limits).expect("it is a head");
    assert_eq!(alone.as_ref(), Some(&(head, len)));
    let (head, len) = alone.expect("it is whole");
    let mut written = Vec::new();
    write(&head, &mut written).expect("it was read as one");
    assert_eq!(written.escape_ascii().to_string(), message[..len].escape_ascii().to_string());
    (head, &message[len..])
}

/// Decodes a body whole, in two pieces cut at every byte, and byte by byte.
fn decode_cut(body: &Body, raw: &[u8]) -> Outcome {
    let whole = decode(body.clone(), raw, iter::empty());
    for cut in 0..raw.len() {
        assert_eq!(decode(body.clone(), raw, iter::once(cut)), whole, "{cut}");
    }
    assert_eq!(decode(body.clone(), raw, iter::repeat(1)), whole);
    whole
}

#[test]
fn reads_and_writes_every_response_of_etcd_alike() {
    let responses = transcripts().responses;
    let mut counts = [0; 4];
    for (name, message) in &responses {
        let Some(first) = message.first() else {
            // Where etcd answered nothing.
            continue;
        };
        assert_eq!(*first, b'H', "{name}");
        let (head, raw) = head(message, ResponseHead::parse, ResponseHead::write);
        let body = head.body("GET").unwrap();
        if body.is_until_close() {
            // HTTP/1.0; its bytes are not in the transcript.
            assert!(!head.keeps_alive());
            counts[0] += 1;
            continue;
        }
        let outcome = decode_cut(&body, raw);
        assert_eq!(outcome.consumed, raw.len(), "{name}");
        let chunked = head.headers.get("Transfer-Encoding").is_some();
        if !chunked {
            assert_eq!((outcome.end, &*outcome.payload), (Ok(()), raw), "{name}");
            counts[1] += 1;
            continue;
        }
        // Streams that go on, and a body that etcd gives up.
        let BodyError { kind, offset, .. } = outcome.end.unwrap_err();
        assert_eq!((kind, offset), (BodyErrorKind::Truncated, raw.len() as u64), "{name}");
        if !raw.is_empty() {
            assert_eq!(outcome.payload, b"error processing raft message\n");
            counts[2] += 1;
        }
        assert_eq!(head.keeps_alive(), head.headers.get("Connection").is_none());
        counts[3] += 1;
    }
    // HTTP/1.0, whole, given up, in chunks.
    assert_eq!(counts, [1, 34, 2, 6]);
}

#[test]
fn reads_and_writes_every_request_of_etcd_alike() {
    let requests = transcripts().requests;
    let mut bodies = Vec::new();
    for (name, message) in &requests {
        let (head, rest) = head(message, RequestHead::parse, RequestHead::write);
        assert!(rest.is_empty() && head.keeps_alive(), "{name}");
        assert_eq!(head.headers.get("user-agent"), Some(&b"Go-http-client/1.1"[..]));
        bodies.push((head.target.clone(), head.body().unwrap()));
    }
    let of = |target: &str| bodies.iter().find(|(found, _)| found == target).unwrap().1.clone();
    assert_eq!(of("/raft/stream/msgapp/8211f1d0f64f3269"), Body::none());
    assert_eq!(of("/raft"), Body::length(39));
    assert_eq!(of("/raft/snapshot"), Body::chunked());
    assert_eq!(of("/raft/probing"), Body::none());
    assert_eq!(requests.len(), 10);
}

#[test]
fn takes_the_captured_streams_out_of_their_chunks_however_they_arrive() {
    for file in ["leader-message.bin", "follower-message.bin", "leader-msgapp.bin"] {
        let capture = fs::read(testdata("captures").join(file)).unwrap();
        let (head, raw) = head(&capture, ResponseHead::parse, ResponseHead::write);
        let body = head.body("GET").unwrap();
        assert_eq!(body, Body::chunked());
        let naive = expected(raw);
        assert_eq!((naive.consumed, naive.end), (raw.len(), Ok(())), "{file}");
        if raw.len() < 10_000 {
            assert_eq!(decode_cut(&body, raw), naive);
        }
        for size in [1, 2, 3, 7, 64, 1000, 4096, 65_537] {
            assert_eq!(decode(body.clone(), raw, iter::repeat(size)), naive, "{file}, {size}");
        }
    }
}

// ---------------------------------------------------------------------------------------------
// What nobody wrote down.

fn payload() -> impl Strategy<Value = Vec<u8>> {
    // The bytes of framing, too.
    vec(prop_oneof![any::<u8>(), prop::sample::select(b"\r\n0a;:".to_vec())], 0..300)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![3 => 1..20usize, 1 => 1..200usize], 1..20)
}

fn text(max: usize) -> impl Strategy<Value = String> {
    prop::string::string_regex(&format!("[\t -~]{{0,{max}}}")).expect("a regex")
}

fn token() -> impl Strategy<Value = String> {
    prop::string::string_regex("[!#-'*+.^_`|~0-9A-Za-z-]{1,12}").expect("a regex")
}

/// How one size line may be written.
#[derive(Clone, Debug)]
struct Spelling {
    zeros: usize,
    upper: bool,
    spaces: String,
    extension: Option<String>,
}

fn spelling() -> impl Strategy<Value = Spelling> {
    let spaces = prop::sample::select(vec!["", "", " ", "\t "]).prop_map(str::to_owned);
    (0..9usize, any::<bool>(), spaces, option::of(text(20)))
        .prop_map(|(zeros, upper, spaces, extension)| Spelling { zeros, upper, spaces, extension })
}

impl Spelling {
    fn write(&self, size: usize, out: &mut Vec<u8>) {
        let size = if self.upper { format!("{size:X}") } else { format!("{size:x}") };
        out.extend(iter::repeat_n(b'0', self.zeros));
        out.extend_from_slice(size.as_bytes());
        out.extend_from_slice(self.spaces.as_bytes());
        if let Some(extension) = &self.extension {
            out.push(b';');
            out.extend_from_slice(extension.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// A body, and its payload.
fn spelled() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let trailers = vec((token(), text(20)), 0..3);
    (payload(), sizes(), vec(spelling(), 1..6), trailers).prop_map(
        |(payload, sizes, spellings, trailers)| {
            let (mut out, mut rest) = (Vec::new(), &payload[..]);
            let (mut sizes, mut spellings) = (sizes.iter().cycle(), spellings.iter().cycle());
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at(rest.len().min(*sizes.next().expect("some")));
                spellings.next().expect("some").write(chunk.len(), &mut out);
                out.extend_from_slice(chunk);
                out.extend_from_slice(b"\r\n");
                rest = behind;
            }
            spellings.next().expect("some").write(0, &mut out);
            for (name, value) in trailers {
                out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
            (out, payload)
        },
    )
}

fn headers() -> impl Strategy<Value = Headers> {
    let name = prop_oneof![
        token(),
        prop::sample::select(vec!["Content-Length", "Transfer-Encoding", "Connection"])
            .prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        text(20).prop_map(String::into_bytes),
        prop::sample::select(vec!["chunked", "5", "close", "keep-alive, x"])
            .prop_map(|value| value.as_bytes().to_vec()),
        vec(0x80..=0xffu8, 0..5),
    ];
    vec((name, value), 0..8).prop_map(|list| {
        let mut headers = Headers::new();
        for (name, value) in list {
            headers.append(&name, value).expect("it is one");
        }
        headers
    })
}

fn request() -> impl Strategy<Value = RequestHead> {
    let target = prop::string::string_regex("[!-~]{1,30}").expect("a regex");
    (token(), target, 0..2u8, headers()).prop_map(|(method, target, minor_version, headers)| {
        RequestHead { method, target, minor_version, headers }
    })
}

fn response() -> impl Strategy<Value = ResponseHead> {
    (100..1000u16, text(20), 0..2u8, headers()).prop_map(
        |(status, reason, minor_version, headers)| ResponseHead {
            status,
            reason,
            minor_version,
            headers,
        },
    )
}

/// One byte put in the place of some.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, Option<u8>)> {
    let byte = prop_oneof![prop::sample::select(b"\r\n\0 \t:;0af\x80".to_vec()), any::<u8>()];
    (any::<prop::sample::Index>(), 0..3usize, option::of(byte))
}

fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, usize, Option<u8>)]) -> Vec<u8> {
    for (at, count, byte) in changes {
        let at = at.index(bytes.len() + 1);
        let end = bytes.len().min(at + count);
        bytes.splice(at..end, *byte);
    }
    bytes
}

proptest! {
    #[test]
    fn a_body_comes_out_of_its_chunks((raw, payload) in spelled(), behind in payload(), cuts in sizes()) {
        let all = [&raw[..], &behind].concat();
        let found = decode(Body::chunked(), &all, cuts.into_iter().cycle());
        prop_assert_eq!(&found, &expected(&all));
        prop_assert_eq!(found, Outcome { payload, consumed: raw.len(), end: Ok(()) });
    }

    #[test]
    fn what_is_put_in_chunks_comes_out_of_them(payload in payload(), sizes in sizes(), cuts in sizes()) {
        let raw = chunked(&payload, sizes.into_iter().cycle());
        let found = decode(Body::chunked(), &raw, cuts.into_iter().cycle());
        prop_assert_eq!(found, Outcome { payload, consumed: raw.len(), end: Ok(()) });
    }

    #[test]
    fn a_body_that_was_changed_is_seen_as_the_grammar_has_it(
        (raw, _) in spelled(),
        changes in vec(change(), 1..4),
        cuts in sizes(),
    ) {
        let raw = changed(raw, &changes);
        let found = decode(Body::chunked(), &raw, cuts.into_iter().cycle());
        prop_assert_eq!(found.independent(), expected(&raw));
    }

    #[test]
    fn a_request_is_read_as_it_was_written(head in request()) {
        let mut written = Vec::new();
        head.write(&mut written).unwrap();
        let found = RequestHead::parse(&written, &HeadLimits::default());
        prop_assert_eq!(&found, &naive::request(&written, &HeadLimits::default()));
        prop_assert_eq!(found, Ok(Some((head, written.len()))));
    }

    #[test]
    fn a_response_is_read_as_it_was_written(head in response()) {
        let mut written = Vec::new();
        head.write(&mut written).unwrap();
        let found = ResponseHead::parse(&written, &HeadLimits::default());
        prop_assert_eq!(&found, &naive::response(&written, &HeadLimits::default()));
        prop_assert_eq!(found, Ok(Some((head, written.len()))));
    }

    #[test]
    fn a_head_that_was_changed_is_seen_as_the_grammar_has_it(
        request in request(),
        response in response(),
        changes in vec(change(), 1..4),
        bytes_max in 0..300usize,
        headers_max in 0..8usize,
    ) {
        let limits = HeadLimits::default().bytes_max(bytes_max).headers_max(headers_max);
        let mut written = Vec::new();
        request.write(&mut written).unwrap();
        let written = changed(written, &changes);
        for limits in [HeadLimits::default(), limits] {
            prop_assert_eq!(RequestHead::parse(&written, &limits), naive::request(&written, &limits));
        }
        let mut written = Vec::new();
        response.write(&mut written).unwrap();
        let written = changed(written, &changes);
        for limits in [HeadLimits::default(), limits] {
            prop_assert_eq!(ResponseHead::parse(&written, &limits), naive::response(&written, &limits));
        }
    }
}
