//! Our transport and etcd's own rafthttp, which dial each other over the loopback: whatever one end
//! sends, the other receives unchanged and in order. etcd's end is a Go program; the two compare
//! digests of what they sent and what arrived.
//!
//! Needs the programs of `perf/peers/go`, in the folder `RAFTWIRE_PEERS` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support {
    pub(crate) mod digest;
    pub(crate) mod messages;
    pub(crate) mod rafthttp;
}

use raftwire::raftpb::{Dialect, Message};
use raftwire::transport::{
    ClusterId, Config, Driver, Dropped, Event, MemberId, PeerStats, PeerUrl, Raft, StreamKind,
    Transport, Version,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::digest::Digests;
use support::messages::Messages;
use support::rafthttp::Rafthttp;
use tempfile::TempDir;

const OURS: MemberId = MemberId(1);
const ETCDS: MemberId = MemberId(2);
const CLUSTER: ClusterId = ClusterId(0xcdf8_1819_4e3a_8c32);
const SEED: u64 = 7;

const STREAMS: [StreamKind; 2] = [StreamKind::MsgApp, StreamKind::Message];

/// Of each stream, at once. rafthttp queues 4096 received messages of both streams together, and
/// drops what follows.
const BURST: u64 = 2000;

/// How long to wait for what should come at once.
const PATIENCE: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// In the place of raft: what arrived, and what was said.
#[derive(Default)]
struct Inbox {
    received: Mutex<Digests>,
    events: Mutex<Vec<String>>,
    has_removed_etcd: AtomicBool,
}

impl Raft<Message> for Inbox {
    fn process(&self, _: MemberId, message: Message) {
        if message.from != ETCDS.0 {
            self.note(format!("a message from {}", message.from));
        }
        self.received.lock().unwrap().add(&message);
    }

    fn unreachable(&self, dropped: &Dropped) {
        self.note(dropped.to_string());
    }

    fn is_removed(&self, _: MemberId) -> bool {
        self.has_removed_etcd.load(Ordering::Relaxed)
    }

    fn removed(&self, by: MemberId) {
        self.note(format!("removed by {by}"));
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            // etcd also probes its peers, which has no answer here.
            Event::Refused { status: Some(404), .. } => {}
            _ => self.note(event.to_string()),
        }
    }
}

impl Inbox {
    fn note(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }

    /// What was said since the last time, sorted.
    fn take_events(&self) -> Vec<String> {
        let mut events = std::mem::take(&mut *self.events.lock().unwrap());
        events.sort_unstable();
        events
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("last said: {:#?}", self.take_events());
        }
    }
}

/// Our end of the link.
struct Member {
    inbox: Arc<Inbox>,
    config: Config,
    messages: Messages,
    sent: Digests,
    /// Kept open, so that the port stays ours between two transports.
    listener: TcpListener,
    transport: Option<Transport<Message>>,
    driver: Driver,
}

impl Member {
    fn new(dialect: Dialect) -> Self {
        let mut config = Config::new(OURS, CLUSTER);
        config.codec = config.codec.dialect(dialect);
        config.version = match dialect {
            Dialect::V3_4 => Version::new(3, 4, 23),
            Dialect::V3_6 => Version::new(3, 6, 0),
            Dialect::V3_7 => Version::new(3, 7, 0),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        config.urls = vec![url_of(&listener)];
        Self {
            inbox: Arc::default(),
            config,
            messages: Messages::new(OURS, ETCDS, SEED),
            sent: Digests::default(),
            listener,
            transport: None,
            driver: Driver::start().unwrap(),
        }
    }

    fn url(&self) -> &PeerUrl {
        &self.config.urls[0]
    }

    fn start(&mut self, etcd: &PeerUrl) {
        let handle = self.driver.handle();
        let transport = Transport::start(self.config.clone(), self.inbox.clone(), handle).unwrap();
        transport.add_peer(ETCDS, std::slice::from_ref(etcd)).unwrap();
        transport.serve(self.listener.try_clone().unwrap()).unwrap();
        self.transport = Some(transport);
    }

    fn transport(&self) -> &Transport<Message> {
        self.transport.as_ref().unwrap()
    }

    fn stats(&self) -> PeerStats {
        self.transport().peer(ETCDS).unwrap()
    }

    /// Waits until all four streams are open.
    fn wait_open(&self) {
        wait_until("four open streams", || {
            let [msgapp, message] = self.stats().streams;
            [msgapp, message]
                .iter()
                .all(|stream| stream.is_incoming_open && stream.is_outgoing_open)
        });
    }

    /// Sends so many messages of each stream.
    fn send(&mut self, count: u64) {
        for _ in 0..count {
            for kind in STREAMS {
                let message = self.messages.next(kind);
                self.sent.add(&message);
                self.transport.as_ref().unwrap().send(&message);
            }
        }
    }

    fn received(&self, kind: StreamKind) -> u64 {
        self.inbox.received.lock().unwrap().count(kind)
    }

    /// Cuts all connections.
    fn cut(&mut self) {
        self.transport = None;
    }

    fn stop(&self) {
        self.driver.handle().block_on(self.transport().stop());
    }
}

fn url_of(listener: &TcpListener) -> PeerUrl {
    format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
}

/// The two ends, and how many messages of each stream went each way.
struct Link {
    ours: Member,
    etcd: Rafthttp,
    exchanged: u64,
}

impl Link {
    fn open(release: &str, dialect: Dialect) -> Self {
        let mut ours = Member::new(dialect);
        let mut etcd = Rafthttp::start(release, ETCDS, OURS, CLUSTER);
        ours.start(&etcd.url);
        etcd.connect(ours.url());
        ours.wait_open();
        Self { ours, etcd, exchanged: 0 }
    }

    /// Sends so many messages of each stream, each way at the same time, and waits for them.
    fn exchange(&mut self, count: u64) {
        let until = self.exchanged + count;
        while self.exchanged < until {
            let burst = BURST.min(until - self.exchanged);
            let Self { ours, etcd, exchanged } = self;
            thread::scope(|scope| {
                scope.spawn(|| ours.send(burst));
                for kind in STREAMS {
                    etcd.send(kind, SEED, *exchanged, burst);
                }
            });
            *exchanged += burst;
            for kind in STREAMS {
                wait_until("all that etcd sent", || ours.received(kind) >= *exchanged);
                wait_until("all that we sent", || etcd.received(kind).count >= *exchanged);
            }
        }
        self.check();
    }

    /// What was sent is what arrived, nothing else and nothing less.
    fn check(&mut self) {
        let Self { ours, etcd, exchanged } = self;
        for kind in STREAMS {
            assert_eq!(ours.sent.count(kind), *exchanged);
            assert_eq!(etcd.received(kind), ours.sent.of(kind), "{kind}: from us to etcd");
            let received = ours.inbox.received.lock().unwrap().of(kind);
            assert_eq!(received, etcd.sent(kind), "{kind}: from etcd to us");
        }
        assert_eq!(etcd.dropped(), 0);
        wait_until("nothing queued", || {
            ours.stats().streams.iter().all(|stream| stream.queue.messages == 0)
        });
        assert_eq!(ours.stats().dropped_messages, 0);
        assert!(ours.stats().streams.iter().all(|stream| stream.rejected_messages == 0));
    }

    /// The counters of our transport, which has exchanged so many of each stream since it started.
    fn check_counters(&self, since_start: u64) {
        for kind in STREAMS {
            let stream = || self.ours.stats().streams[kind as usize];
            wait_until("a turn's end", || stream().received_messages >= since_start);
            let found = (stream().received_messages, stream().written_messages);
            assert_eq!(found, (since_start, since_start), "each took its own stream: {kind}");
        }
    }

    /// etcd's end cuts the streams it writes, and ours dials again.
    fn etcd_cuts(&mut self) {
        self.etcd.kill_connections();
        self.etcd.connect(self.ours.url());
        self.ours.wait_open();
    }

    /// Our end cuts all streams and comes back at the same address.
    fn we_cut(&mut self) {
        self.ours.cut();
        // It notices only when it writes; this has it wait for new streams.
        self.etcd.kill_connections();
        self.ours.start(&self.etcd.url);
        self.etcd.connect(self.ours.url());
        self.ours.wait_open();
    }
}

const OPENED: [&str; 4] = [
    "message stream from 2 opened",
    "message stream to 2 opened",
    "msgapp stream from 2 opened",
    "msgapp stream to 2 opened",
];

fn exchanges(release: &str, dialect: Dialect) {
    let started = Instant::now();
    let mut link = Link::open(release, dialect);
    link.exchange(10_000);
    link.check_counters(10_000);
    assert_eq!(link.ours.inbox.take_events(), OPENED, "not a stream was lost");

    link.etcd_cuts();
    link.exchange(1000);
    link.check_counters(11_000);
    let events = link.ours.inbox.take_events();
    assert!(events.len() == 4 && events.iter().all(|event| event.contains("from 2")), "{events:?}");

    link.we_cut();
    link.exchange(1000);
    link.check_counters(1000);
    let mut events = link.ours.inbox.take_events();
    events.retain(|event| event.contains("opened"));
    assert_eq!(events, OPENED);

    link.ours.stop();
    assert_eq!(link.ours.stats().dropped_messages, 0);
    let stopped = [
        "message stream from 2 ended: stopped",
        "message stream to 2 ended: stopped",
        "msgapp stream from 2 ended: stopped",
        "msgapp stream to 2 ended: stopped",
    ];
    assert_eq!(link.ours.inbox.take_events(), stopped);
    println!(
        "etcd {}, our dialect {dialect:?}: {} messages of each stream each way in {:.1} s, equal",
        link.etcd.version,
        link.exchanged,
        started.elapsed().as_secs_f64(),
    );
    link.etcd.stop();
}

#[test]
#[ignore = "needs the Go peers: .ci/run interop"]
fn etcd_3_6_exchanges_messages_with_our_3_4() {
    exchanges("3.6", Dialect::V3_4);
}

#[test]
#[ignore = "needs the Go peers: .ci/run interop"]
fn etcd_3_6_exchanges_messages_with_our_3_6() {
    exchanges("3.6", Dialect::V3_6);
}

#[test]
#[ignore = "needs the Go peers: .ci/run interop"]
fn etcd_3_6_exchanges_messages_with_our_3_7() {
    exchanges("3.6", Dialect::V3_7);
}

#[test]
#[ignore = "needs the Go peers: .ci/run interop"]
fn etcd_3_7_exchanges_messages_with_our_3_4() {
    exchanges("3.7", Dialect::V3_4);
}

#[test]
#[ignore = "needs the Go peers: .ci/run interop"]
fn etcd_3_7_exchanges_messages_with_our_3_6() {
    exchanges("3.7", Dialect::V3_6);
}

#[test]
#[ignore = "needs the Go peers: .ci/run interop"]
fn etcd_3_7_exchanges_messages_with_our_3_7() {
    exchanges("3.7", Dialect::V3_7);
}

#[test]
#[ignore = "needs the Go peers: .ci/run interop"]
fn etcd_learns_that_it_was_removed() {
    for (release, dialect) in [("3.6", Dialect::V3_6), ("3.7", Dialect::V3_7)] {
        let mut link = Link::open(release, dialect);
        link.exchange(1);
        link.ours.inbox.has_removed_etcd.store(true, Ordering::Relaxed);
        link.ours.cut();
        link.ours.start(&link.etcd.url);
        // rafthttp says so on the channel at whose word etcd stops.
        let mut said = String::new();
        wait_until("a critical error", || {
            match link.etcd.try_ask(&json!({"op": "received", "stream": "msgapp"})) {
                Ok(_) => false,
                Err(error) => {
                    said = error;
                    true
                }
            }
        });
        assert_eq!(said, "the member has been permanently removed from the cluster");
        wait_until("our own word for it", || {
            let events = link.ours.inbox.take_events();
            events.iter().any(|event| {
                event.starts_with("refused a request with 410")
                    && event.ends_with(": removed member")
            })
        });
        link.ours.stop();
        link.etcd.stop();
    }
}

/// Each end cuts a stream that is silent for 5 s.
#[test]
#[ignore = "needs the Go peers: .ci/run interop"]
fn an_idle_link_stays_open() {
    for (release, dialect) in [("3.6", Dialect::V3_6), ("3.7", Dialect::V3_7)] {
        let mut link = Link::open(release, dialect);
        link.exchange(10);
        thread::sleep(Duration::from_secs(7));
        link.exchange(10);
        assert_eq!(link.ours.inbox.take_events(), OPENED);
        link.ours.stop();
        link.etcd.stop();
    }
}

/// `raftwire tap` in front of one end.
struct Tap {
    child: Child,
    url: PeerUrl,
    out: TempDir,
}

impl Tap {
    fn start(to: &PeerUrl) -> Self {
        let out = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_raftwire"))
            .args(["tap", "--listen", "127.0.0.1:0", "--to", to.authority(), "--out"])
            .arg(out.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap();
        Self { child, url: format!("http://{address}").parse().unwrap(), out }
    }

    /// Ends it, and returns the frames of the `msgapp` stream that passed.
    fn msgapps(mut self, reader: MemberId, writer: MemberId, dialect: &str) -> Vec<Value> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        let index = std::fs::read_to_string(self.out.path().join("index.jsonl")).unwrap();
        let lines = index.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let streams: Vec<_> = lines
            .filter(|line| {
                let request = line["request"].as_str().unwrap_or_default();
                // Who is left dials again, and gets no answer.
                let is_answered =
                    line["to_client"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0);
                request.starts_with("GET /raft/stream/msgapp/") && is_answered
            })
            .collect();
        assert_eq!(streams.len(), 1, "{index}");
        let file = self.out.path().join(streams[0]["to_client"]["file"].as_str().unwrap());
        frames(&file, &reader.to_string(), &writer.to_string(), dialect)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Already ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `raftwire inspect` makes of a recorded `msgapp` stream, without link heartbeats. Who stops
/// cuts the streams it reads, so the recording may lack its end.
fn frames(file: &Path, reader: &str, writer: &str, dialect: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_raftwire"))
        .args(["inspect", "--http", "--strict", "--format", "json", "--stream", "msgappv2"])
        .args(["--local", reader, "--remote", writer, "--dialect", dialect])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let frames = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    frames.filter(|frame| frame["kind"] != "linkHeartbeat").collect()
}

/// Both ends compress the same messages, and write the same bytes for them.
#[test]
#[ignore = "needs the Go peers: .ci/run interop"]
fn both_ends_compress_msgapps() {
    const COUNT: u64 = 1000;
    for (release, dialect) in [("3.6", Dialect::V3_6), ("3.7", Dialect::V3_7)] {
        let mut ours = Member::new(dialect);
        let mut etcd = Rafthttp::start(release, ETCDS, OURS, CLUSTER);
        let (before_us, before_etcd) = (Tap::start(ours.url()), Tap::start(&etcd.url));
        ours.start(&before_etcd.url);
        etcd.connect(&before_us.url);
        ours.wait_open();
        let mut link = Link { ours, etcd, exchanged: 0 };
        link.exchange(COUNT);
        link.ours.stop();
        link.etcd.stop();
        for (from, frames) in [
            ("etcd", before_etcd.msgapps(OURS, ETCDS, release)),
            ("us", before_us.msgapps(ETCDS, OURS, release)),
        ] {
            assert_eq!(frames.len() as u64, COUNT, "from {from}");
            let inexact = frames.iter().find(|frame| frame["exact"] == false);
            assert!(inexact.is_none(), "from {from}: {}", inexact.unwrap());
            let compressed = frames.iter().filter(|frame| frame["kind"] == "AppEntries").count();
            println!("etcd {release}, from {from}: {compressed} of {COUNT} MsgApps compressed");
            assert!(compressed as u64 > COUNT / 2, "from {from}: {compressed}");
        }
    }
}
