//! The targets of the transport, which is driven by its own interface, over sockets that play what
//! the input says.
//!
//! Input of `server_connection`: two bytes of choices (limits; how the rest arrives), then what a
//! client sends. Asserted of it:
//!
//! - replies are the same whole, byte by byte and in pieces of any sizes; but what follows a request
//!   for a stream at once refuses it, and what follows later cuts it;
//! - the naive reader finds as many requests as there are replies, each well-formed, with the body it
//!   announces, and nothing behind the one that ends the connection;
//! - a stream is opened to a request that names cluster, members and a kind, and to no other;
//! - memory stays below [`server_peak_max`].
//!
//! Input of `stream_receive`: four bytes of choices (stream and framing; dialect and mode; limits;
//! how the rest arrives), then the body that follows a response's head. Asserted of it:
//!
//! - messages and end are the same whole, byte by byte and in pieces of any sizes;
//! - they are those of the plain decoder for what the naive reader takes out of the body;
//! - memory stays below [`receive_peak_max`].

use super::Env;
use super::codecs::{self, BLOCK_BYTES, Outcome, Stream};
use super::http::naive::{self, Decoded};
use super::input::Input;
use crate::buf::{LISTS_MAX, Pool, PoolConfig};
use crate::codec::{self, Limits, Mode};
use crate::http::{BodyError, BodyErrorKind, HeadLimits, RequestHead, ResponseHead};
use crate::raftpb::{Entry, Message, RESPONSES_MAX, RaftMessage};
use crate::transport::{
    BoxSocket, ClusterId, Config, Dial, Dialing, Direction, Dropped, Event, MemberId, PeerUrl,
    Raft, StreamError, StreamKind, Transport,
};
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// Where everything runs: there are no sockets but those here.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread().enable_time().build().expect("a thread needs nothing")
});

/// Waits for what needs no time at all: a task that panicked is waited for in vain.
async fn within_patience(what: impl Future<Output = ()>) {
    let waited = tokio::time::timeout(Duration::from_secs(60), what).await;
    assert!(waited.is_ok(), "it never ends");
}

/// What is shared with a socket that was handed over.
#[derive(Default)]
struct Played {
    written: Mutex<Vec<u8>>,
    is_dropped: Notify,
}

type Sizes = Box<dyn Iterator<Item = usize> + Send>;

/// A socket from which `input` comes in pieces of these sizes, and then its end.
struct Script {
    input: Vec<u8>,
    at: usize,
    sizes: Sizes,
    /// Of a piece, what was not read yet.
    left: usize,
    /// Only to who asked for this path.
    path: Option<&'static str>,
    played: Arc<Played>,
}

impl Script {
    fn new(input: Vec<u8>, sizes: Sizes, path: Option<&'static str>) -> Self {
        Self { input, at: 0, sizes, left: 0, path, played: Arc::default() }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(path) = this.path {
            let written = this.played.written.lock().unwrap_or_else(PoisonError::into_inner);
            if !written.starts_with(path.as_bytes()) {
                // Whoever else asks waits for an answer.
                return Poll::Pending;
            }
        }
        if this.left == 0 {
            this.left = this.sizes.next().unwrap_or(usize::MAX);
        }
        let count = this.left.min(buf.remaining()).min(this.input.len() - this.at);
        buf.put_slice(&this.input[this.at..this.at + count]);
        this.at += count;
        this.left -= count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut written = self.played.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.played.is_dropped.notify_one();
    }
}

/// Gives the sockets there are, and then none, ever.
struct Dialer(Mutex<Vec<BoxSocket>>);

impl Dial for Dialer {
    fn dial(&self, _: &PeerUrl) -> Dialing {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(socket) => Box::pin(async { Ok(socket) }),
            None => Box::pin(pending()),
        }
    }
}

fn sizes_of(whole: impl Iterator<Item = usize> + Send + 'static) -> Sizes {
    Box::new(whole)
}

// ---------------------------------------------------------------------------------------------
// The server's side of a connection.

const ME: MemberId = MemberId(1);
const PEER: MemberId = MemberId(2);
const REMOVED: MemberId = MemberId(0xdead);
/// As in the transcripts the seeds are from.
const CLUSTER: &str = "cdf818194e3a8c32";

/// Takes everything, and knows one removed member.
struct Ignoring;

impl Raft<Message> for Ignoring {
    fn process(&self, _: MemberId, _: Message) {}

    fn unreachable(&self, _: &Dropped) {}

    fn is_removed(&self, member: MemberId) -> bool {
        member == REMOVED
    }
}

/// One transport for each choice of limits; no connection leaves a trace in it.
static SERVERS: LazyLock<[(HeadLimits, Transport<Message>); 3]> = LazyLock::new(|| {
    let limits = HeadLimits::default();
    [limits, limits.bytes_max(512).headers_max(8), limits.bytes_max(usize::MAX)].map(|limits| {
        let mut config = Config::new(ME, CLUSTER.parse().unwrap_or(ClusterId(0)));
        config.head = limits;
        let dial = Arc::new(Dialer(Mutex::default()));
        let transport = Transport::start_with(config, Arc::new(Ignoring), RUNTIME.handle(), dial)
            .expect("the settings make sense");
        transport.add_peer(PEER, &[]).expect("it is another");
        (limits, transport)
    })
});

/// The most memory one connection may take: what was received and not answered, and the replies, in
/// lists that grow by doubling (2 x 3), of which the shortest request, 18 bytes, gets one of 250; a
/// head with its headers, 40 for each byte; and a task, buffers and a room to discard into.
fn server_peak_max(bytes: &[u8]) -> usize {
    (6 + 6 * 14 + 40) * bytes.len() + (64 << 10)
}

/// What the server writes to who sends `input`.
fn serve(transport: &Transport<Message>, input: &[u8], sizes: Sizes) -> Vec<u8> {
    let script = Script::new(input.to_vec(), sizes, None);
    let played = script.played.clone();
    transport.accept(Box::new(script)).expect("it never stops");
    RUNTIME.block_on(within_patience(played.is_dropped.notified()));
    let mut written = played.written.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut written)
}

/// A reply without its date, and whether it is the last of its connection.
#[derive(Debug, PartialEq)]
struct Reply {
    head: ResponseHead,
    body: Vec<u8>,
}

impl Reply {
    fn opens_stream(&self) -> bool {
        self.head.status == 200
    }

    fn refuses_what_follows(&self) -> bool {
        self.body.starts_with(b"bytes behind the request for a stream")
    }

    fn is_last(&self) -> bool {
        self.opens_stream() || !self.head.keeps_alive()
    }
}

/// Takes the replies apart, having asserted that they are whole. `methods`: what they answer.
fn replies(mut written: &[u8], methods: &[String]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !written.is_empty() {
        let parsed = ResponseHead::parse(written, &HeadLimits::default());
        let (mut head, len) = parsed.expect("a reply is well-formed").expect("and whole");
        written = &written[len..];
        let date = head.headers.get("Date").expect("it bears a date");
        assert_eq!(date.len(), "Sat, 21 Nov 2026 02:36:36 GMT".len());
        head.headers.insert("Date", "now").expect("a value");
        let mut body = Vec::new();
        if head.status != 200 {
            let length = head
                .headers
                .get("Content-Length")
                .and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
            let length = length.expect("a refusal has a length");
            let is_head = methods.get(replies.len()).is_some_and(|method| method == "HEAD");
            if !is_head {
                body.extend_from_slice(&written[..length]);
                written = &written[length..];
            }
        }
        replies.push(Reply { head, body });
        assert!(
            written.is_empty() || !replies.last().is_some_and(Reply::is_last),
            "nothing follows the last reply: {}",
            written.escape_ascii()
        );
    }
    replies
}

/// The requests the naive reader finds, and whether what is behind them is none.
fn requests(mut input: &[u8], limits: &HeadLimits) -> (Vec<RequestHead>, bool) {
    let mut requests = Vec::new();
    loop {
        match naive::request(input, limits) {
            Ok(Some((head, len))) => {
                input = &input[len..];
                requests.push(head);
            }
            Ok(None) => return (requests, false),
            Err(_) => return (requests, true),
        }
    }
}

/// A request that names everything a stream needs; of the path, the checks of its parts.
fn may_open(request: &RequestHead) -> bool {
    let is = |name, value: &str| request.headers.get(name) == Some(value.as_bytes());
    let major = |name| {
        let text = request.headers.get(name).unwrap_or(b"2.0.0");
        text.first().copied().unwrap_or(b'2').wrapping_sub(b'0')
    };
    let path = request.target.split('?').next().unwrap_or_default();
    let kind = StreamKind::ALL.iter().any(|kind| path.contains(&format!("/raft/stream/{kind}/")));
    request.method == "GET"
        && kind
        && path.trim_end_matches('2').trim_end_matches('0').ends_with('/')
        && is("X-Etcd-Cluster-Id", CLUSTER)
        && is("X-Raft-To", "1")
        && (3..10).contains(&major("X-Server-Version"))
        && request.body().is_ok_and(|body| body.is_over())
}

pub(super) fn server_connection(input: &[u8], env: &Env) {
    let mut input = Input(input);
    let (limits, transport) = &SERVERS[usize::from(input.byte()) % SERVERS.len()];
    let cuts = input.sizes();
    let bytes = input.rest();

    let (requests, is_wrong) = requests(bytes, limits);
    let methods: Vec<_> = requests.iter().map(|request| request.method.clone()).collect();
    let whole = replies(&serve(transport, bytes, sizes_of(std::iter::empty())), &methods);
    let bytewise = replies(&serve(transport, bytes, sizes_of(std::iter::repeat(1))), &methods);
    let pieces = replies(&serve(transport, bytes, sizes_of(cuts.clone())), &methods);
    // Whole is in pieces of what the server reads at once.
    for found in [&whole, &pieces] {
        let refused = found.last().is_some_and(Reply::refuses_what_follows);
        let same = if refused { found.len() - 1 } else { found.len() };
        assert_eq!(found[..same], bytewise[..same], "in pieces, byte by byte");
        assert_eq!(found.len(), bytewise.len(), "in pieces, byte by byte");
        let opened =
            bytewise.last().is_some_and(|it| it.opens_stream() || it.refuses_what_follows());
        assert!(!refused || opened, "something follows a request for a stream");
    }
    for (number, reply) in bytewise.iter().enumerate() {
        match requests.get(number) {
            Some(request) if reply.opens_stream() => assert!(may_open(request), "{request:?}"),
            Some(_) => assert!([301, 400, 404, 405, 410, 412].contains(&reply.head.status)),
            None => {
                assert!(is_wrong && number == requests.len(), "a reply to nothing");
                assert_eq!(reply.head.status, 400);
                assert!(reply.is_last());
            }
        }
    }
    if !bytewise.last().is_some_and(Reply::is_last) {
        assert!(!is_wrong, "what is no request is answered");
        assert_eq!(bytewise.len(), requests.len(), "each request is answered");
    }

    for sizes in [sizes_of(std::iter::empty()), sizes_of(cuts)] {
        let mut sizes = Some(sizes);
        let peak = (env.peak_of)(&mut || {
            drop(serve(
                transport,
                bytes,
                sizes.take().unwrap_or_else(|| sizes_of(std::iter::empty())),
            ));
        });
        let max = server_peak_max(bytes);
        assert!(peak <= max, "{peak} bytes for {} bytes, {max} at most", bytes.len());
    }
}

// ---------------------------------------------------------------------------------------------
// The client's side of a stream.

/// Keeps what is received until the stream ends.
#[derive(Default)]
struct Receiving {
    received: Mutex<Vec<Message>>,
    /// Messages are dropped as they come.
    is_dropping: bool,
    end: Mutex<Option<String>>,
    has_ended: Notify,
}

impl Raft<Message> for Receiving {
    fn process(&self, _: MemberId, message: Message) {
        if !self.is_dropping {
            self.received.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        }
    }

    fn unreachable(&self, _: &Dropped) {}

    fn is_removed(&self, _: MemberId) -> bool {
        false
    }

    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::Ended { direction: Direction::Incoming, error, .. } => format!("{error:?}"),
            Event::Failed { error, .. } => format!("not opened: {error:?}"),
            _ => return,
        };
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        self.has_ended.notify_one();
    }
}

/// How the body is framed.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Chunked,
    Length(u64),
    UntilClose,
}

impl Framing {
    fn head(self) -> String {
        let framing = match self {
            Self::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Self::Length(length) => format!("Content-Length: {length}\r\n"),
            Self::UntilClose => String::new(),
        };
        format!("HTTP/1.1 200 OK\r\nX-Server-Version: 3.6.0\r\n{framing}\r\n")
    }
}

struct Case {
    stream: Stream,
    framing: Framing,
    codec: codec::Config,
}

impl Case {
    fn read(input: &mut Input<'_>) -> Self {
        let choice = input.byte();
        let framing = match choice >> 1 {
            0..0x60 => Framing::Chunked,
            0x60..0x70 => Framing::UntilClose,
            _ => Framing::Length(input.number()),
        };
        let stream = if choice & 1 == 0 { Stream::MsgAppV2 } else { Stream::Message };
        let dialect = input.dialect();
        let mode = if input.byte() & 1 == 0 { Mode::Strict } else { Mode::AsEtcd };
        let mut limits = input.limits();
        // More than a transport accepts as a limit.
        let max = Limits::ETCD_BYTES_MAX;
        limits.entry_bytes_max = limits.entry_bytes_max.min(max);
        limits.frame_bytes_max = limits.frame_bytes_max.min(max);
        limits.message_bytes_max = limits.message_bytes_max.min(max);
        let codec = codec::Config::default().dialect(dialect).mode(mode).limits(limits);
        Self { stream, framing, codec: codec.local(ME.0).remote(PEER.0) }
    }

    /// What comes of a body that arrives in pieces of these sizes.
    fn receive(&self, body: &[u8], sizes: Sizes, is_dropping: bool) -> (Vec<Message>, String) {
        let raft = Arc::new(Receiving { is_dropping, ..Receiving::default() });
        let path = match self.stream {
            Stream::MsgAppV2 => "GET /raft/stream/msgapp/1 ",
            Stream::Message => "GET /raft/stream/message/1 ",
        };
        let input = [self.framing.head().as_bytes(), body].concat();
        let script: BoxSocket = Box::new(Script::new(input, sizes, Some(path)));
        let silent = Box::new(Script::new(Vec::new(), sizes_of(std::iter::empty()), Some("none")));
        // The reader of the msgapp stream dials first.
        let sockets = match self.stream {
            Stream::MsgAppV2 => vec![silent as BoxSocket, script],
            Stream::Message => vec![script, silent as BoxSocket],
        };
        let mut config = Config::new(ME, ClusterId(7));
        config.codec = self.codec.clone();
        config.pool = Pool::new(PoolConfig { block_bytes: BLOCK_BYTES, ..PoolConfig::default() });
        let dial = Arc::new(Dialer(Mutex::new(sockets)));
        let transport = Transport::start_with(config, raft.clone(), RUNTIME.handle(), dial)
            .expect("the settings make sense");
        let url = "http://a:1".parse().expect("it is one");
        transport.add_peer(PEER, &[url]).expect("it is another");
        RUNTIME.block_on(async {
            within_patience(raft.has_ended.notified()).await;
            transport.stop().await;
        });
        let received =
            std::mem::take(&mut *raft.received.lock().unwrap_or_else(PoisonError::into_inner));
        let end = raft.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        (received, end.expect("it ended"))
    }

    /// What is to come of it, and how it ends where bytes behind the body are not seen.
    fn expected(&self, body: &[u8], env: &Env) -> (Vec<Message>, String, bool) {
        let (payload, framed) = match self.framing {
            Framing::Chunked => {
                let Decoded { payload, end } = naive::chunked(body);
                (payload, end)
            }
            Framing::UntilClose => (body.to_vec(), Ok(Some(body.len()))),
            Framing::Length(length) => match usize::try_from(length) {
                Ok(length) if length <= body.len() => (body[..length].to_vec(), Ok(Some(length))),
                _ => (body.to_vec(), Ok(None)),
            },
        };
        let outcome =
            codecs::decode(self.stream, &self.codec, &payload, std::iter::empty(), env.now);
        let Outcome { frames, end: decoded, .. } = outcome;
        let truncated = BodyError { kind: BodyErrorKind::Truncated, offset: body.len() as u64 };
        let end = match (decoded, framed) {
            (Err(error), _) if error.kind != crate::error::DecodeErrorKind::Truncated => {
                StreamError::Decode(error)
            }
            (_, Err(error)) => StreamError::Body(error),
            (_, Ok(None)) => StreamError::Body(truncated),
            (Err(error), Ok(Some(_))) => StreamError::Decode(error),
            (Ok(_), Ok(Some(_))) => StreamError::Closed,
        };
        let has_rest = matches!(framed, Ok(Some(len)) if len < body.len());
        let travels = |message: &Message| {
            let number = message.message_type.0;
            !message.head().is_link_heartbeat()
                && message.to == ME.0
                && matches!(number, 2..=9 | 13..=18)
        };
        let messages = frames.into_iter().map(|frame| frame.message).filter(travels).collect();
        (messages, format!("{end:?}"), has_rest)
    }
}

/// The most memory a stream may take: what a decoder may (`peak_max` in `decode.rs`), the bytes once
/// more in the script, and a transport.
fn receive_peak_max(bytes: &[u8]) -> usize {
    let keys = bytes.iter().filter(|byte| **byte & 0x7f == 14 << 3 | 2).count();
    let responses = 3 * size_of::<Message>() * keys.min(RESPONSES_MAX);
    let store = LISTS_MAX * (size_of::<Vec<Entry>>() + size_of::<usize>());
    42 * bytes.len() + responses + 2 * BLOCK_BYTES + store + (64 << 10)
}

pub(super) fn stream_receive(input: &[u8], env: &Env) {
    let mut input = Input(input);
    let case = Case::read(&mut input);
    let cuts = input.sizes();
    let body = input.rest();

    let (messages, end, has_rest) = case.expected(body, env);
    for sizes in
        [sizes_of(std::iter::empty()), sizes_of(std::iter::repeat(1)), sizes_of(cuts.clone())]
    {
        let (found, found_end) = case.receive(body, sizes, false);
        assert_eq!(found, messages, "{:?}", case.framing);
        let saw_rest = has_rest && found_end == format!("{:?}", StreamError::UnexpectedBytes);
        assert!(found_end == end || saw_rest, "{found_end}, {end} was expected");
    }

    for sizes in [sizes_of(std::iter::empty()), sizes_of(cuts)] {
        let mut sizes = Some(sizes);
        let peak = (env.peak_of)(&mut || {
            let sizes = sizes.take().unwrap_or_else(|| sizes_of(std::iter::empty()));
            drop(case.receive(body, sizes, true));
        });
        let max = receive_peak_max(body);
        assert!(peak <= max, "{peak} bytes for {} bytes, {max} at most", body.len());
    }
}
