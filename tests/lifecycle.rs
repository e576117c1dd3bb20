//! How streams come and go: dialed, refused, opened, silent, replaced, cut, dialed again and
//! stopped; two members in one process, or one and a peer that does as it is told.
//!
//! But for the last tests time is virtual, and goes on when every task waits.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

#[path = "support/network.rs"]
mod network;
#[path = "support/recorder.rs"]
mod recorder;

use network::{Network, Reaches, read_head};
use raftwire::buf::{Pool, PoolConfig};
use raftwire::raftpb::{Message, MessageType, Snapshot, SnapshotMetadata};
use raftwire::transport::{
    Class, ClusterId, Config, Driver, DropReason, MemberId, PeerStats, PeerUrl, QueueLevel,
    Snapshots, StreamKind, Transport, TransportError,
};
use recorder::{Recorder, append, message, settle, stream_request};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 7\r\n\
     X-Server-Version: 3.6.0\r\nTransfer-Encoding: chunked\r\n\r\n";

fn url(text: &str) -> PeerUrl {
    format!("http://{text}:2380").parse().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A member and what it was told.
struct Member {
    transport: Transport<Message>,
    raft: Arc<Recorder>,
}

impl Member {
    fn start(id: u64, network: &Network) -> Self {
        Self::with(id, network, |_| {})
    }

    fn with(id: u64, network: &Network, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(MemberId(id), ClusterId(7));
        set(&mut config);
        let raft = Arc::new(Recorder::default());
        let dial = Arc::new(network.clone());
        let transport =
            Transport::start_with(config, raft.clone(), &Handle::current(), dial).unwrap();
        Self { transport, raft }
    }

    /// Adds a peer that is to dial, and is not dialed.
    fn lets_in(&self, peer: u64) {
        self.transport.add_peer(MemberId(peer), &[]).unwrap();
    }

    fn peer(&self, peer: u64) -> PeerStats {
        self.transport.peer(MemberId(peer)).unwrap()
    }

    /// Opens a connection to it.
    fn connect(&self) -> Client {
        let (socket, far) = tokio::io::duplex(64 << 10);
        self.transport.accept(Box::new(far)).unwrap();
        Client(socket)
    }

    /// Opens a stream from it to member 2.
    async fn open(&self, kind: &str) -> Client {
        let mut client = self.connect();
        client.ask(&stream_request(kind, 2, 1, "HTTP/1.1")).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        settle().await;
        client
    }
}

/// The other end of a connection to a member.
struct Client(DuplexStream);

impl Client {
    async fn ask(&mut self, request: &str) {
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    async fn head(&mut self) -> String {
        read_head(&mut self.0).await
    }

    /// A whole response: its first line and its body.
    async fn response(&mut self) -> (String, String) {
        let head = self.head().await;
        let line = head.lines().next().unwrap_or_default().to_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).await.unwrap();
        (line, String::from_utf8(body).unwrap())
    }

    /// What it was sent within that time, and whether the connection was closed.
    async fn read_for(&mut self, time: Duration) -> (Vec<u8>, bool) {
        let mut read = Vec::new();
        let result =
            timeout(time, async { while self.0.read_buf(&mut read).await.unwrap_or(0) > 0 {} });
        let is_closed = result.await.is_ok();
        (read, is_closed)
    }

    /// When it was closed.
    async fn closed(&mut self) -> Instant {
        while self.0.read_u8().await.is_ok() {}
        Instant::now()
    }
}

/// Two members that know each other, with all four streams open.
async fn pair(network: &Network) -> [Member; 2] {
    pair_with(network, |_| {}).await
}

async fn pair_with(network: &Network, set: impl Fn(&mut Config)) -> [Member; 2] {
    let members = [1, 2].map(|id| Member::with(id, network, &set));
    for (member, name) in members.iter().zip(["one", "two"]) {
        network.set(&url(name), Reaches::Member(member.transport.clone()));
    }
    members[0].transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    members[1].transport.add_peer(MemberId(1), &[url("one")]).unwrap();
    sleep(ms(200)).await;
    for (member, peer) in members.iter().zip([2, 1]) {
        let is_open = |member: &Member| {
            let streams = member.peer(peer).streams;
            streams.iter().all(|stream| stream.is_incoming_open && stream.is_outgoing_open)
        };
        assert!(is_open(member), "{:?}", member.peer(peer));
    }
    members
}

fn control(message_type: MessageType, from: u64, to: u64, index: u64) -> Message {
    Message { index, ..message(message_type, from, to) }
}

// ---------------------------------------------------------------------------------------------
// Messages.

#[tokio::test(start_paused = true)]
async fn messages_flow_each_way_on_both_streams() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    let types = [
        MessageType::HEARTBEAT,
        MessageType::VOTE,
        MessageType::PRE_VOTE_RESP,
        MessageType::READ_INDEX,
        MessageType::PROP,
        MessageType::TIMEOUT_NOW,
    ];
    for round in 0..20 {
        for (from, to, ids) in [(&one, &two, (1, 2)), (&two, &one, (2, 1))] {
            let mut sent = Vec::new();
            for (index, message_type) in (0..).zip(types) {
                sent.push(control(message_type, ids.0, ids.1, 10 * round + index));
            }
            for entry in 0..3 {
                let append = append(
                    100 + 3 * round + entry,
                    &[0, 3000, 70_000][..round as usize % 4 % 3 + 1],
                );
                sent.push(Message { from: ids.0, to: ids.1, ..append });
            }
            for message in &sent {
                from.transport.send(message);
            }
            settle().await;
            // Streams and lanes are in order, each for itself.
            let is_bulk = |message: &&Message| {
                matches!(message.message_type, MessageType::APP | MessageType::PROP)
            };
            let received = to.raft.messages();
            let of = |messages: &[Message], wanted: &dyn Fn(&&Message) -> bool| {
                messages.iter().filter(wanted).cloned().collect::<Vec<_>>()
            };
            for message_type in types.into_iter().chain([MessageType::APP]) {
                let wanted = |message: &&Message| message.message_type == message_type;
                assert_eq!(of(&received, &wanted), of(&sent, &wanted));
            }
            let control = |message: &&Message| !is_bulk(message);
            assert_eq!(of(&received, &control), of(&sent, &control));
            assert_eq!(received.len(), sent.len());
        }
    }
    assert_eq!(one.raft.drops(), []);
    assert_eq!(two.raft.drops(), []);
}

#[tokio::test(start_paused = true)]
async fn messages_to_others_and_local_ones_are_not_delivered() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    let client = |message_type, to| control(message_type, 1, to, 5);
    // To member 2's connection, as only a broken peer would.
    for local in [MessageType::HUP, MessageType::BEAT, MessageType::UNREACHABLE] {
        one.transport.send(&client(local, 2));
    }
    one.transport.send(&client(MessageType::HEARTBEAT, 2));
    // To nobody, to itself, and to one that is no peer.
    for to in [0, 1, 3] {
        one.transport.send(&client(MessageType::HEARTBEAT, to));
    }
    one.transport.send(&client(MessageType::SNAP, 2));
    settle().await;
    assert_eq!(two.raft.messages(), [client(MessageType::HEARTBEAT, 2)]);
    assert_eq!(one.raft.messages(), []);
    let streams = two.peer(1).streams;
    let rejected: u64 = streams.iter().map(|stream| stream.rejected_messages).sum();
    assert_eq!(rejected, 3);
    assert_eq!(one.raft.drops(), [(Class::Snapshot, DropReason::NoPipeline, 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_with_the_head_belongs_to_the_stream() {
    // Two frames of `msgapp`, link heartbeats around an append without entries.
    let mut answer = STREAM_HEAD.as_bytes().to_vec();
    answer.extend_from_slice(b"1\r\n\0\r\n12\r\n\x01");
    answer.extend_from_slice(&[0; 8]);
    answer.extend_from_slice(&9u64.to_be_bytes());
    answer.extend_from_slice(b"\0\r\n");
    for cut in 0..=answer.len() {
        let network = Network::default();
        let member = Member::start(2, &network);
        network.set(&url("one"), Reaches::Pieces(answer.clone(), cut));
        member.transport.add_peer(MemberId(1), &[url("one")]).unwrap();
        sleep(ms(3)).await;
        // The message stream is given the same, and cannot read it.
        let expected = Message { term: 0, commit: 9, ..message(MessageType::APP, 1, 2) };
        assert_eq!(member.raft.messages(), [expected], "cut at {cut}");
        assert_eq!(member.raft.events("msgapp from 1"), ["msgapp from 1 opened"], "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_raft_is_told_of_a_read_before_what_it_brought_is_processed() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    for member in [&one, &two] {
        assert_eq!(member.raft.moments(), [""; 0]);
    }
    let sent = [append(10, &[20]), append(11, &[30, 40]), append(13, &[])];
    for message in &sent {
        one.transport.send(message);
    }
    settle().await;
    let expected = [
        "received msgapp from 1",
        "APP 10 from 1",
        "APP 11 from 1",
        "APP 13 from 1",
        "processed from 1",
    ];
    assert_eq!(two.raft.moments(), expected.map(|moment| moment.replace("APP", "MsgApp")));
    assert_eq!(one.raft.moments(), ["wrote 3 msgapp to 2"]);
    two.transport.send(&control(MessageType::APP_RESP, 2, 1, 13));
    settle().await;
    let expected = ["received message from 2", "MsgAppResp 13 from 2", "processed from 2"];
    assert_eq!(one.raft.moments(), expected);
    assert_eq!(two.raft.moments(), ["wrote 1 message to 1"]);
    // A read that brings nothing but a sign of life is one as well.
    sleep(ms(1700)).await;
    assert_eq!(one.raft.moments().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_read_before_a_message_is_the_one_that_made_it_whole() {
    let mut answer = STREAM_HEAD.as_bytes().to_vec();
    let head = answer.len();
    answer.extend_from_slice(b"11\r\n\x01");
    answer.extend_from_slice(&[0; 8]);
    answer.extend_from_slice(&9u64.to_be_bytes());
    let whole = answer.len();
    answer.extend_from_slice(b"\r\n");
    for cut in 1..answer.len() {
        let network = Network::default();
        let member = Member::start(2, &network);
        network.set(&url("one"), Reaches::Pieces(answer.clone(), cut));
        member.transport.add_peer(MemberId(1), &[url("one")]).unwrap();
        sleep(ms(3)).await;
        let mut moments = member.raft.moments();
        // The message stream is given the same, and cannot read it.
        moments.retain(|moment| moment != "received message from 1");
        let received = "received msgapp from 1";
        let mut expected = vec![received, "MsgApp 0 from 1", "processed from 1"];
        if cut > head && cut < whole {
            expected.insert(0, received);
        } else if cut >= whole {
            expected.push(received);
        }
        assert_eq!(moments, expected, "cut at {cut} of {head} and {whole}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_raft_that_panics_of_a_read_loses_that_stream_and_is_dialed_again() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    let once = AtomicBool::new(true);
    two.raft.on_moment(move |moment| {
        assert!(!once.swap(false, Ordering::Relaxed), "of {moment}, as the test wants");
    });
    one.transport.send(&append(10, &[20]));
    settle().await;
    assert_eq!(two.raft.events("ended"), ["msgapp from 1 ended: Panicked"]);
    assert_eq!(two.raft.messages(), []);
    sleep(ms(2000)).await;
    one.transport.send(&append(10, &[20]));
    settle().await;
    assert_eq!(two.raft.messages(), [append(10, &[20])]);
}

fn snapshot(len: usize) -> Message {
    let snapshot = Snapshot {
        data: Some((0..len).map(|at| (at / 7) as u8).collect()),
        metadata: SnapshotMetadata { index: 9, term: 3, ..SnapshotMetadata::default() },
    };
    Message { snapshot: Some(Box::new(snapshot)), ..message(MessageType::SNAP, 1, 2) }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_lost_with_its_stream_is_reported_however_that_ends() {
    for how in ["cut", "removed", "stopped"] {
        let network = Network::default();
        let [one, two] = pair_with(&network, |config| config.snapshots = Snapshots::Stream).await;
        // More than the sockets and a block of the reader's hold: it is being written.
        two.raft.be_busy(true);
        one.transport.send(&snapshot(4 << 20));
        one.transport.send(&snapshot(10));
        settle().await;
        assert_eq!(one.raft.drops(), [], "{how}");
        assert_eq!(one.raft.moments(), [""; 0], "{how}");
        match how {
            "cut" => network.cut(),
            "removed" => one.transport.remove_peer(MemberId(2)).unwrap(),
            _ => one.transport.stop().await,
        }
        settle().await;
        // One may be told before the other.
        let drops = one.raft.drops();
        let is_snapshot =
            |drop: &&_| matches!(drop, (Class::Snapshot, DropReason::StreamClosed, _));
        let lost: u64 = drops.iter().filter(is_snapshot).map(|(_, _, count)| count).sum();
        assert_eq!(lost, 2, "{how}: {drops:?}");
        assert!(drops.iter().all(|drop| is_snapshot(&drop)), "{how}: {drops:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_was_written_and_not_delivered_is_not_reported() {
    let network = Network::default();
    let [one, two] = pair_with(&network, |config| config.snapshots = Snapshots::Stream).await;
    two.raft.be_busy(true);
    // What lies in the sockets is nobody's.
    one.transport.send(&snapshot(1000));
    settle().await;
    assert_eq!(one.raft.moments(), ["wrote 1 message to 2"]);
    network.cut();
    settle().await;
    assert_eq!(one.raft.drops(), []);
    assert!(!one.raft.events("message to 2 ended").is_empty());
    assert_eq!(two.raft.messages(), []);
}

#[tokio::test(start_paused = true)]
async fn more_may_come_with_the_head_than_a_block_holds() {
    const BLOCK_BYTES: usize = 4 << 10;
    let network = Network::default();
    let member = Member::with(2, &network, |config| {
        let mut pool = PoolConfig::default();
        pool.block_bytes = BLOCK_BYTES;
        config.pool = Pool::new(pool);
    });
    // A long head makes for long reads.
    let padding = format!("Padding: {}\r\n\r\n", "x".repeat(9000));
    let mut answer = STREAM_HEAD.trim_end().as_bytes().to_vec();
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(padding.as_bytes());
    let mut expected = Vec::new();
    for commit in 0..1000u64 {
        answer.extend_from_slice(b"11\r\n\x01\0\0\0\0\0\0\0\0");
        answer.extend_from_slice(&commit.to_be_bytes());
        answer.extend_from_slice(b"\r\n");
        expected.push(Message { term: 0, commit, ..message(MessageType::APP, 1, 2) });
    }
    network.set(&url("one"), Reaches::Answer(answer, None));
    member.transport.add_peer(MemberId(1), &[url("one")]).unwrap();
    settle().await;
    assert!(member.raft.messages() == expected);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_idle_streams_alive() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    sleep(Duration::from_secs(600)).await;
    for member in [one, two] {
        assert_eq!(member.raft.events("ended"), [""; 0]);
        assert_eq!(member.raft.events("opened").len(), 4);
        assert_eq!(member.raft.messages(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_raft_that_is_busy_is_not_read_for_and_no_silence_is_its_peer_s() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    two.raft.be_busy(true);
    settle().await;
    let mut sent = Vec::new();
    for second in 0..60 {
        let heartbeat = control(MessageType::HEARTBEAT, 1, 2, second);
        one.transport.send(&heartbeat);
        sent.push(heartbeat);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(two.raft.messages(), []);
    }
    assert_eq!(two.raft.events("ended"), [""; 0]);
    two.raft.be_busy(false);
    settle().await;
    assert_eq!(two.raft.messages(), sent);
    assert_eq!(two.raft.events("ended"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_raft_that_stays_busy_stops_its_peer() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    two.raft.be_busy(true);
    // More than the socket holds.
    for index in 0..100 {
        one.transport.send(&append(index, &[4000]));
    }
    sleep(Duration::from_secs(7)).await;
    assert_eq!(one.raft.events("ended"), ["msgapp to 2 ended: WriteTimeout(5s)"]);
    two.raft.be_busy(false);
    settle().await;
    // What had arrived is delivered, in order.
    let received = two.raft.messages();
    assert!((10..100).contains(&received.len()), "{}", received.len());
    assert!((0..).zip(&received).all(|(index, message)| message.index == index));
}

// ---------------------------------------------------------------------------------------------
// Dialing.

/// When each stream asked, from the first time on.
fn asked(network: &Network, kind: &str) -> Vec<Duration> {
    let requests = network.requests();
    let path = format!("/{kind}/");
    let of = requests.iter().filter(|(_, line)| line.contains(&path)).map(|(at, _)| *at);
    let times: Vec<_> = of.collect();
    times.iter().map(|at| *at - times[0]).collect()
}

/// Checks that the dials behind the first two waited as they should.
fn check_waits(times: &[Duration], mut wait: u64, took: Duration) {
    for pair in times.windows(2) {
        let waited = pair[1] - pair[0] - took;
        // Timers go by whole milliseconds, rounded up.
        let range = ms(wait / 2)..=ms(wait + 1);
        assert!(range.contains(&waited), "{waited:?} is not in {range:?}: {times:?}");
        wait = (2 * wait).min(1000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_opened_is_dialed_at_once_and_then_ever_slower() {
    let network = Network::default();
    network.set(&url("two"), Reaches::Answer(Vec::new(), Some(Duration::ZERO)));
    let member = Member::start(1, &network);
    member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    sleep(Duration::from_secs(60)).await;
    let mut jittered = Vec::new();
    for kind in ["msgapp", "message"] {
        let times = asked(&network, kind);
        assert!(times[1] <= ms(1), "not at once: {times:?}");
        check_waits(&times[1..], 100, Duration::ZERO);
        // From when waits are a second, down to half of one.
        assert!((60..=125).contains(&times.len()), "{} dials", times.len());
        jittered.push(times);
    }
    assert_ne!(jittered[0], jittered[1], "in step");
    // Told once.
    let failed = member.raft.sorted_events("failed");
    let expected = ["message", "msgapp"].map(|kind| format!("{kind} from 2 failed: HeadTruncated"));
    assert_eq!(failed, expected);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_refuses_connections_is_dialed_no_more_often() {
    let network = Network::default();
    let member = Member::start(1, &network);
    member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    sleep(Duration::from_secs(60)).await;
    let dials = network.dials().len();
    assert!((120..=250).contains(&dials), "{dials} dials");
    assert_eq!(member.raft.events("failed").len(), 2);
    assert!(member.raft.events("failed")[0].contains("Dial("));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lived_is_dialed_again_at_once() {
    let network = Network::default();
    let answer = STREAM_HEAD.as_bytes().to_vec();
    network.set(&url("two"), Reaches::Answer(answer, Some(ms(1500))));
    let member = Member::start(1, &network);
    member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    sleep(Duration::from_secs(30)).await;
    for kind in ["msgapp", "message"] {
        let times = asked(&network, kind);
        for pair in times.windows(2) {
            assert!(pair[1] - pair[0] <= ms(1502), "{times:?}");
        }
        assert!((19..=21).contains(&times.len()), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_live_is_dialed_ever_slower() {
    let network = Network::default();
    let answer = STREAM_HEAD.as_bytes().to_vec();
    network.set(&url("two"), Reaches::Answer(answer, Some(ms(500))));
    let member = Member::start(1, &network);
    member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    sleep(Duration::from_secs(30)).await;
    for kind in ["msgapp", "message"] {
        let times = asked(&network, kind);
        assert!(times[1] <= ms(502), "{times:?}");
        let took = ms(500);
        check_waits(&times[1..], 100, took);
    }
    // Then it lives, and begins anew.
    let answer = STREAM_HEAD.as_bytes().to_vec();
    network.set(&url("two"), Reaches::Answer(answer, Some(ms(1500))));
    sleep(Duration::from_secs(10)).await;
    let times = asked(&network, "msgapp");
    let [.., before, last] = times[..] else { panic!("{times:?}") };
    assert!(last - before <= ms(1502), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_s_addresses_are_tried_in_turn_and_none_is_skipped() {
    let network = Network::default();
    let member = Member::start(1, &network);
    let names = ["a", "b", "c"];
    let urls = names.map(url);
    member.transport.add_peer(MemberId(2), &urls).unwrap();
    sleep(Duration::from_secs(20)).await;
    let dials: Vec<_> = network.dials().into_iter().map(|(_, dialed)| dialed).collect();
    let texts = urls.map(|url| url.to_string());
    assert_eq!(dials[..4], [&texts[0], &texts[0], &texts[1], &texts[1]].map(Clone::clone));
    let number = |dialed: &String| texts.iter().position(|text| text == dialed).unwrap();
    for pair in dials.windows(2) {
        let step = (number(&pair[1]) + 3 - number(&pair[0])) % 3;
        assert!(step < 2, "one was skipped: {dials:?}");
    }
    for text in &texts {
        let times = dials.iter().filter(|dialed| *dialed == text).count();
        assert!(times >= dials.len() / 4, "{text}: {times} of {}", dials.len());
    }
}

#[tokio::test(start_paused = true)]
async fn both_streams_find_the_address_that_works() {
    let network = Network::default();
    let [one, two] = [1, 2].map(|id| Member::start(id, &network));
    two.lets_in(1);
    network.set(&url("b"), Reaches::Member(two.transport.clone()));
    one.transport.add_peer(MemberId(2), &[url("c"), url("b"), url("a")]).unwrap();
    settle().await;
    assert!(one.peer(2).streams.iter().all(|stream| stream.is_incoming_open));
    assert_eq!(network.dials().len(), 4);
    // It stays with it.
    network.cut();
    settle().await;
    let dials = network.dials();
    assert!(dials[4..].iter().all(|(_, dialed)| *dialed == url("b").to_string()), "{dials:?}");
}

#[tokio::test(start_paused = true)]
async fn connecting_times_out_after_2_seconds() {
    let network = Network::default();
    network.set(&url("two"), Reaches::Void);
    let member = Member::start(1, &network);
    let start = Instant::now();
    member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    sleep(Duration::from_secs(60)).await;
    let failed = member.raft.timed_events("failed");
    assert_eq!(failed.len(), 2, "{failed:?}");
    for (at, text) in failed {
        assert!(text.ends_with("failed: DialTimeout(2s)"), "{text}");
        assert!((2000..=2002).contains(&(at - start).as_millis()), "{:?}", at - start);
    }
    let dials = network.dials();
    // Each takes 2 s and then up to 1 s.
    assert!((2 * 20..=2 * 26).contains(&dials.len()), "{}", dials.len());
}

#[tokio::test(start_paused = true)]
async fn an_answer_times_out_after_5_seconds() {
    let network = Network::default();
    // Nothing; or part of a head.
    let part = STREAM_HEAD.as_bytes()[..STREAM_HEAD.len() - 2].to_vec();
    for reaches in [Reaches::Silence, Reaches::Answer(part, None)] {
        network.set(&url("two"), reaches);
        let member = Member::start(1, &network);
        let start = Instant::now();
        member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
        sleep(Duration::from_secs(30)).await;
        let failed = member.raft.timed_events("failed");
        assert_eq!(failed.len(), 2, "{failed:?}");
        for (at, text) in failed {
            assert!(text.ends_with("failed: DialTimeout(5s)"), "{text}");
            assert!((5000..=5002).contains(&(at - start).as_millis()), "{:?}", at - start);
        }
        member.transport.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_which_nothing_comes_is_cut_and_dialed_again() {
    for offset in (0..1700).step_by(170) {
        let network = Network::default();
        let [one, two] = pair(&network).await;
        sleep(ms(1000 + offset)).await;
        let start = Instant::now();
        network.swallow();
        sleep(Duration::from_secs(7)).await;
        for (member, peer) in [(&one, 2), (&two, 1)] {
            let cut = member.raft.timed_events("ended: ReadTimeout(5s)");
            assert_eq!(cut.len(), 2, "{cut:?}");
            for (at, _) in cut {
                // The last heartbeat may be 1.666 s old.
                let after = (at - start).as_millis();
                assert!((5000 - 1670..=6255).contains(&after), "after {after} ms");
            }
            let opened = member.raft.events(&format!("from {peer} opened"));
            assert_eq!(opened.len(), 4, "{opened:?}");
        }
        one.transport.send(&control(MessageType::HEARTBEAT, 1, 2, 1));
        one.transport.send(&append(1, &[5]));
        settle().await;
        assert_eq!(two.raft.messages().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_reset_is_dialed_again_at_once() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    sleep(Duration::from_secs(3)).await;
    network.cut();
    settle().await;
    for (member, peer) in [(&one, 2), (&two, 1)] {
        let ended = member.raft.events("ended: Io(Kind(ConnectionReset))");
        assert_eq!(ended.len(), 4, "{ended:?}");
        assert!(member.peer(peer).streams.iter().all(|stream| stream.is_incoming_open));
    }
    one.transport.send(&control(MessageType::HEARTBEAT, 1, 2, 1));
    settle().await;
    assert_eq!(two.raft.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_update_changes_what_is_dialed_next() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    network.set(&url("moved"), Reaches::Member(two.transport.clone()));
    one.transport.update_peer(MemberId(2), &[url("moved")]).unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(one.raft.events("ended"), [""; 0], "streams that are open stay so");
    let before = network.dials().len();
    network.cut();
    settle().await;
    let dials: Vec<_> = network.dials()[before..].iter().map(|(_, to)| to.clone()).collect();
    assert!(dials.contains(&url("moved").to_string()), "{dials:?}");
    assert!(!dials.contains(&url("two").to_string()), "{dials:?}");
    let unknown = one.transport.update_peer(MemberId(3), &[]);
    assert!(matches!(unknown, Err(TransportError::UnknownPeer)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_an_address_is_dialed_once_it_has_one() {
    let network = Network::default();
    let [one, two] = [1, 2].map(|id| Member::start(id, &network));
    two.lets_in(1);
    one.lets_in(2);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(one.raft.events("failed: NoUrl").len(), 2);
    network.set(&url("two"), Reaches::Member(two.transport.clone()));
    one.transport.update_peer(MemberId(2), &[url("two")]).unwrap();
    sleep(ms(1002)).await;
    assert!(one.peer(2).streams.iter().all(|stream| stream.is_incoming_open));
}

// ---------------------------------------------------------------------------------------------
// Answers.

fn refusal(status: &str, version: &str, body: &str) -> Reaches {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{version}X-Etcd-Cluster-Id: 7\r\nContent-Length: {length}\r\n\r\n"
    );
    Reaches::Answer(format!("{head}{body}").into_bytes(), None)
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_its_error_told_once_while_it_is_repeated() {
    let server = "X-Server-Version: 3.6.0\r\n";
    let precondition = "412 Precondition Failed";
    for (status, version, body, error) in [
        ("404 Not Found", server, "error sender not found\n", "UnknownMember"),
        ("410 Gone", server, "removed member\n", "Removed"),
        (precondition, server, "incompatible version\n", "IncompatibleVersion"),
        (precondition, server, "cluster ID mismatch\n", "ClusterMismatch"),
        (precondition, server, "to field mismatch\n", "MemberMismatch"),
        (precondition, server, "to field mismatch", "MemberMismatch"),
        (precondition, server, "something else\n", "Status(412)"),
        (precondition, server, "", "Status(412)"),
        ("500 Internal Server Error", server, "oh\n", "Status(500)"),
        ("101 Switching Protocols", server, "", "Status(101)"),
        ("204 No Content", server, "", "Status(204)"),
        ("200 OK", "", "", "Unsupported(KIND)"),
        ("404 Not Found", "", "404 page not found\n", "Unsupported(KIND)"),
        ("200 OK", "X-Server-Version: 2.0.9\r\n", "", "Unsupported(KIND)"),
        ("200 OK", "X-Server-Version: \r\n", "", "Unsupported(KIND)"),
        ("200 OK", "X-Server-Version: 3.x\r\n", "", "Version"),
        ("200 OK", "X-Server-Version: \u{fc}\r\n", "", "Version"),
        ("410 Gone", "X-Server-Version: 99999999999999999999.0.0\r\n", "", "Version"),
    ] {
        let network = Network::default();
        network.set(&url("two"), refusal(status, version, body));
        let member = Member::start(1, &network);
        member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
        sleep(Duration::from_secs(20)).await;
        let failed = member.raft.sorted_events("failed");
        let expected = [("message", "Message"), ("msgapp", "MsgApp")].map(|(kind, variant)| {
            format!("{kind} from 2 failed: {}", error.replace("KIND", variant))
        });
        assert_eq!(failed, expected, "{status} {version} {body}");
        assert!(network.requests().len() > 40, "it goes on dialing");
        let removals = if error == "Removed" { 2 } else { 0 };
        assert_eq!(member.raft.removals().len(), removals);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_http_is_an_error() {
    for (answer, error) in [
        (&b"HTTP/2.0 200 OK\r\n\r\n"[..], "Head("),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "Head("),
        (b"HTTP/1.1 200 OK\r\nX-Server-Version: 3.6.0\r\nTransfer-Encoding: gzip\r\n\r\n", "Head("),
    ] {
        let network = Network::default();
        network.set(&url("two"), Reaches::Answer(answer.to_vec(), None));
        let member = Member::start(1, &network);
        member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
        sleep(Duration::from_secs(4)).await;
        let failed = member.raft.events("failed");
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed[0].contains(error), "{failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_told_again_after_something_else() {
    let network = Network::default();
    let gone = || refusal("410 Gone", "X-Server-Version: 3.6.0\r\n", "removed member\n");
    network.set(&url("two"), gone());
    let member = Member::start(1, &network);
    member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(member.raft.removals(), [MemberId(2); 2], "once for each stream");
    let answer = STREAM_HEAD.as_bytes().to_vec();
    network.set(&url("two"), Reaches::Answer(answer, Some(ms(100))));
    sleep(Duration::from_secs(3)).await;
    network.set(&url("two"), gone());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(member.raft.removals(), [MemberId(2); 4]);
}

// ---------------------------------------------------------------------------------------------
// Accepted connections.

#[tokio::test(start_paused = true)]
async fn the_newest_connection_is_the_stream() {
    let network = Network::default();
    let member = Member::start(1, &network);
    member.lets_in(2);
    for kind in ["msgapp", "message"] {
        let mut first = member.open(kind).await;
        let mut second = member.open(kind).await;
        let (bytes, is_closed) = first.read_for(ms(5)).await;
        assert_eq!((&bytes[..], is_closed), (LAST_CHUNK, true), "{kind}");
        member.transport.send(&append(5, &[100]));
        member.transport.send(&control(MessageType::HEARTBEAT, 1, 2, 1));
        let (bytes, is_closed) = second.read_for(ms(5)).await;
        assert!(bytes.len() > 20 && !is_closed, "{kind}: {bytes:?}");
        let ended = member.raft.events("ended");
        assert_eq!(ended.last(), Some(&format!("{kind} to 2 ended: Replaced")));
        // It ends, and leaves no stream behind.
        drop(second);
        settle().await;
        assert!(!member.peer(2).streams.iter().any(|stream| stream.is_outgoing_open));
        member.raft.drops();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_for_a_replaced_connection_is_dropped() {
    let network = Network::default();
    let member = Member::start(1, &network);
    member.lets_in(2);
    let _first = member.open("msgapp").await;
    // More than the socket holds.
    for index in 0..40 {
        member.transport.send(&append(index, &[4000]));
    }
    settle().await;
    for index in 40..50 {
        member.transport.send(&append(index, &[4000]));
    }
    let mut second = member.open("msgapp").await;
    let drops = member.raft.drops();
    assert_eq!(drops, [(Class::Append, DropReason::StreamClosed, 50)]);
    assert_eq!(member.peer(2).streams[0].queue.messages, 0);
    member.transport.send(&append(50, &[10]));
    let (bytes, _) = second.read_for(ms(5)).await;
    // A chunk whose first frame is a whole message: the encoder is new.
    let start = bytes.windows(2).position(|bytes| bytes == b"\r\n").unwrap() + 2;
    assert_eq!(bytes[start], 2, "{bytes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removed_peer_is_cut_both_ways_and_let_in_no_more() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    let dials = |to: &str| {
        network.dials().iter().filter(|(_, dialed)| *dialed == url(to).to_string()).count()
    };
    let before = dials("two");
    one.transport.remove_peer(MemberId(2)).unwrap();
    assert!(one.transport.peer(MemberId(2)).is_none());
    settle().await;
    // Member 2 sees the ends of both its streams and that nobody reads its own.
    let ended = two.raft.events("ended");
    assert_eq!(ended.iter().filter(|text| text.contains("from 1 ended: Closed")).count(), 2);
    assert_eq!(ended.iter().filter(|text| text.contains("to 1 ended")).count(), 2, "{ended:?}");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(dials("two"), before, "it is not dialed");
    let failed = two.raft.events("failed: UnknownMember");
    assert_eq!(failed.len(), 2, "{failed:?}");
    // Once it is known to be gone for good it learns of that.
    one.raft.remove(MemberId(2));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(two.raft.removals(), [MemberId(1); 2]);
    let again = one.transport.remove_peer(MemberId(2));
    assert!(matches!(again, Err(TransportError::UnknownPeer)));
    one.transport.send(&control(MessageType::HEARTBEAT, 1, 2, 1));
    settle().await;
    assert_eq!(one.raft.drops(), []);
}

#[tokio::test(start_paused = true)]
async fn what_was_queued_for_a_removed_peer_is_reported() {
    let network = Network::default();
    let member = Member::start(1, &network);
    member.lets_in(2);
    let _client = member.open("msgapp").await;
    for index in 0..40 {
        member.transport.send(&append(index, &[4000]));
    }
    settle().await;
    member.transport.send(&append(40, &[4000]));
    member.transport.remove_peer(MemberId(2)).unwrap();
    settle().await;
    assert_eq!(member.raft.drops(), [(Class::Append, DropReason::StreamClosed, 41)]);
    assert_eq!(member.raft.events("ended"), ["msgapp to 2 ended: Stopped"]);
    // It may come back.
    member.lets_in(2);
    let mut client = member.open("msgapp").await;
    member.transport.send(&append(1, &[10]));
    let (bytes, _) = client.read_for(ms(5)).await;
    assert!(bytes.len() > 20);
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_no_stream_are_bounded() {
    let network = Network::default();
    let member = Member::with(1, &network, |config| config.connections_max = 3);
    member.lets_in(2);
    let mut held: Vec<_> = (0..3).map(|_| member.connect()).collect();
    settle().await;
    let start = Instant::now();
    let mut refused = member.connect();
    assert!(refused.closed().await - start <= ms(1));
    let told = member.raft.events("refused");
    assert_eq!(told, ["refused None: too many connections"]);
    // A stream does not count.
    let mut stream = held.pop().unwrap();
    stream.ask(&stream_request("message", 2, 1, "HTTP/1.1")).await;
    assert!(stream.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
    settle().await;
    let mut other = member.connect();
    other.ask("GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(other.response().await.0, "HTTP/1.1 404 Not Found");
    // Nor one that has ended.
    drop(other);
    settle().await;
    let mut other = member.connect();
    other.ask("GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(other.response().await.0, "HTTP/1.1 404 Not Found");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_that_asks_nothing() {
    let network = Network::default();
    let member = Member::start(1, &network);
    let start = Instant::now();
    let mut client = member.connect();
    let after = (client.closed().await - start).as_millis();
    assert!((5000..=5002).contains(&after), "after {after} ms");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_trickles_is_given_5_seconds() {
    let network = Network::default();
    let member = Member::start(1, &network);
    member.lets_in(2);
    let request = stream_request("message", 2, 1, "HTTP/1.1");
    for (every, is_answered) in [(10, true), (100, false)] {
        let start = Instant::now();
        let mut client = member.connect();
        let mut is_cut = false;
        for byte in request.as_bytes() {
            if client.0.write_all(&[*byte]).await.is_err() {
                is_cut = true;
                break;
            }
            sleep(ms(every)).await;
        }
        assert_eq!(!is_cut, is_answered, "a byte each {every} ms");
        if is_cut {
            let after = start.elapsed().as_millis();
            assert!((5000..=5202).contains(&after), "after {after} ms");
        } else {
            assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_kept_alive_is_closed_after_15_seconds() {
    let network = Network::default();
    let member = Member::start(1, &network);
    let mut client = member.connect();
    for _ in 0..3 {
        client.ask("GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.response().await.0, "HTTP/1.1 404 Not Found");
        sleep(ms(14_900)).await;
    }
    client.ask("GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response().await.0, "HTTP/1.1 404 Not Found");
    let start = Instant::now();
    let after = (client.closed().await - start).as_millis();
    assert!((15_000..=15_002).contains(&after), "after {after} ms");
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_asked_for_after_refusals() {
    let network = Network::default();
    let member = Member::start(1, &network);
    member.lets_in(2);
    let mut client = member.connect();
    let asks = |kind, from, to| stream_request(kind, from, to, "HTTP/1.1");
    for (request, status, body) in [
        (asks("msgapp", 3, 1), "404 Not Found", "error sender not found\n"),
        (asks("snapshot", 2, 1), "404 Not Found", "invalid path\n"),
        (asks("msgapp", 2, 5), "412 Precondition Failed", "to field mismatch\n"),
        (
            asks("msgapp", 2, 1).replace("Id: 7", "Id: 8"),
            "412 Precondition Failed",
            "cluster ID mismatch\n",
        ),
        (
            asks("msgapp", 2, 1).replace("3.6.0", "2.3.0"),
            "412 Precondition Failed",
            "incompatible version\n",
        ),
        (asks("msgapp", 2, 1).replace("3.6.0", "x"), "400 Bad Request", "invalid version\n"),
    ] {
        client.ask(&request).await;
        let expected = (format!("HTTP/1.1 {status}"), body.to_owned());
        assert_eq!(client.response().await, expected);
    }
    member.raft.remove(MemberId(4));
    client.ask(&asks("msgapp", 4, 1)).await;
    assert_eq!(client.response().await.1, "removed member\n");
    client.ask(&asks("msgapp", 2, 1)).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
    settle().await;
    member.transport.send(&append(1, &[5]));
    let (bytes, is_closed) = client.read_for(ms(5)).await;
    assert!(bytes.len() > 5 && !is_closed);
    assert_eq!(member.raft.events("refused").len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_none_is_answered_and_the_connection_closed() {
    let network = Network::default();
    let member = Member::start(1, &network);
    member.lets_in(2);
    let stream = stream_request("msgapp", 2, 1, "HTTP/1.1");
    for request in [
        "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(),
        format!("{stream}x"),
        format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(20_000)),
    ] {
        let mut client = member.connect();
        client.ask(&request).await;
        assert_eq!(client.response().await.0, "HTTP/1.1 400 Bad Request");
        let start = Instant::now();
        assert!(client.closed().await - start <= ms(502));
    }
    assert_eq!(member.raft.events("opened"), [""; 0]);
}

// ---------------------------------------------------------------------------------------------
// The end.

#[tokio::test(start_paused = true)]
async fn a_stop_ends_whatever_goes_on() {
    for reaches in [
        Reaches::Nobody,
        Reaches::Void,
        Reaches::Silence,
        Reaches::Answer(STREAM_HEAD.as_bytes().to_vec(), None),
        Reaches::Answer(STREAM_HEAD.as_bytes()[..9].to_vec(), None),
    ] {
        let network = Network::default();
        network.set(&url("two"), reaches);
        let member = Member::start(1, &network);
        member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
        sleep(ms(1500)).await;
        let mut waiting = member.connect();
        let blocked = member.open("msgapp").await;
        for index in 0..40 {
            member.transport.send(&append(index, &[4000]));
        }
        settle().await;
        let start = Instant::now();
        member.transport.stop().await;
        assert!(start.elapsed() <= Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(member.raft.drops(), [(Class::Append, DropReason::StreamClosed, 40)]);
        assert!(waiting.closed().await - start <= Duration::from_secs(1));
        drop(blocked);
        let dials = network.dials().len();
        sleep(Duration::from_secs(20)).await;
        assert_eq!(network.dials().len(), dials, "it still dials");
        // A second stop has nothing to do.
        member.transport.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_members_stop_one_after_the_other() {
    let network = Network::default();
    let [one, two] = pair(&network).await;
    sleep(Duration::from_secs(2)).await;
    one.transport.stop().await;
    settle().await;
    let ended = two.raft.events("from 1 ended: Closed");
    assert_eq!(ended.len(), 2, "{:?}", two.raft.events("ended"));
    assert!(!two.peer(1).is_active());
    two.transport.stop().await;
    assert!(!one.peer(2).is_active(), "{:?}", one.peer(2));
    assert!(!two.peer(1).is_active());
}

#[tokio::test(start_paused = true)]
async fn a_stop_reports_what_was_dropped_just_before() {
    let member = Member::start(1, &Network::default());
    member.lets_in(2);
    member.transport.send(&append(1, &[1]));
    member.transport.stop().await;
    assert_eq!(member.raft.drops(), [(Class::Append, DropReason::NoStream, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_transport_takes_nothing() {
    let network = Network::default();
    let [one, _two] = pair(&network).await;
    one.transport.stop().await;
    assert!(matches!(one.transport.add_peer(MemberId(3), &[]), Err(TransportError::Stopped)));
    let (socket, _far) = tokio::io::duplex(10);
    assert!(matches!(one.transport.accept(Box::new(socket)), Err(TransportError::Stopped)));
    one.transport.send(&control(MessageType::HEARTBEAT, 1, 2, 1));
    one.transport.send(&append(1, &[1]));
    settle().await;
    assert_eq!(one.peer(2).dropped_messages, 2);
    assert_eq!(one.raft.drops(), [], "nobody is left to report them");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_cuts_everything() {
    let network = Network::default();
    let member = Member::start(1, &network);
    network.set(&url("two"), Reaches::Answer(STREAM_HEAD.as_bytes().to_vec(), None));
    member.transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    let mut stream = member.open("message").await;
    let mut waiting = member.connect();
    let clone = member.transport.clone();
    drop(member.transport);
    settle().await;
    clone.send(&control(MessageType::HEARTBEAT, 1, 2, 1));
    let (bytes, is_closed) = stream.read_for(ms(5)).await;
    assert!(!bytes.is_empty() && !is_closed);
    drop(clone);
    let start = Instant::now();
    assert!(stream.closed().await - start <= ms(1));
    assert!(waiting.closed().await - start <= ms(1));
    let dials = network.dials().len();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(network.dials().len(), dials);
}

/// Whoever follows which streams are open must not be left with one.
#[tokio::test(start_paused = true)]
async fn each_stream_that_was_opened_is_told_to_end() {
    for is_removed in [true, false] {
        let network = Network::default();
        let [one, _two] = pair(&network).await;
        if is_removed {
            one.transport.remove_peer(MemberId(2)).unwrap();
        } else {
            one.transport.stop().await;
        }
        settle().await;
        let [opened, ended] = ["opened", "ended"].map(|what| one.raft.events(what).len());
        assert_eq!((opened, ended), (4, 4), "{:?}", one.raft.events(""));
    }
}

/// A request that is answered while the transport stops opens no stream.
#[tokio::test(start_paused = true)]
async fn a_stream_asked_for_during_a_stop_is_told_to_open_and_end_or_neither() {
    let network = Network::default();
    let member = Member::start(1, &network);
    member.lets_in(2);
    let _stream = member.open("msgapp").await;
    // Its socket takes a part of the answer.
    let (mut client, far) = tokio::io::duplex(10);
    member.transport.accept(Box::new(far)).unwrap();
    client.write_all(stream_request("message", 2, 1, "HTTP/1.1").as_bytes()).await.unwrap();
    settle().await;
    let ((), head) = tokio::join!(member.transport.stop(), read_head(&mut client));
    settle().await;
    let [opened, ended] = ["message to 2 opened", "message to 2 ended"];
    let [opened, ended] = [opened, ended].map(|what| member.raft.events(what).len());
    assert_eq!(opened, ended, "{:?}, {head}", member.raft.events(""));
}

#[tokio::test]
async fn a_stop_without_patience_reports_what_was_queued_all_the_same() {
    let network = Network::default();
    let member = Member::with(1, &network, |config| config.timeouts.stop = Duration::ZERO);
    member.lets_in(2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    member.transport.serve(listener).unwrap();
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client.write_all(stream_request("msgapp", 2, 1, "HTTP/1.1").as_bytes()).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 200 OK\r\n"));
    while !member.peer(2).streams[0].is_outgoing_open {
        sleep(ms(1)).await;
    }
    // More than the system's buffers hold.
    let data = Some(bytes::Bytes::from(vec![1; 8 << 20]));
    let mut sent = append(1, &[0]);
    sent.entries[0].data = data;
    for index in 1..=5 {
        sent.index = index;
        sent.entries[0].index = index + 1;
        member.transport.send(&sent);
    }
    sleep(ms(20)).await;
    member.transport.send(&append(6, &[5]));
    let written = member.peer(2).streams[0].written_messages;
    member.transport.stop().await;
    let dropped = 6 - written;
    assert_eq!(member.raft.drops(), [(Class::Append, DropReason::StreamClosed, dropped)]);
}

/// What was sent to a peer was written to it or reported as dropped, and is not queued any more,
/// whatever became of the connections.
#[tokio::test(start_paused = true)]
async fn every_message_is_written_or_reported() {
    for seed in 1..=20u64 {
        // xorshift64
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let network = Network::default();
        let member = Member::with(1, &network, |config| {
            config.queue.messages_max = 50;
            config.codec.limits.entry_bytes_max = 9000;
            config.codec.limits.message_bytes_max = 9000;
        });
        member.lets_in(2);
        let mut clients: Vec<Client> = Vec::new();
        let mut sent = 0;
        for _ in 0..300 {
            match random(10) {
                0 => {
                    let mut client = member.connect();
                    let kind = ["msgapp", "message"][random(2) as usize];
                    client.ask(&stream_request(kind, 2, 1, "HTTP/1.1")).await;
                    clients.push(client);
                }
                1 if !clients.is_empty() => {
                    clients.swap_remove(random(clients.len() as u64) as usize);
                }
                2 | 3 if !clients.is_empty() => {
                    let client = random(clients.len() as u64) as usize;
                    clients[client].read_for(ms(1)).await;
                }
                4 => sleep(ms(random(100))).await,
                5 if random(8) == 0 => sleep(ms(random(7000))).await,
                _ => {
                    for _ in 0..random(20) {
                        let types = [MessageType::HEARTBEAT, MessageType::SNAP, MessageType::PROP];
                        let message = match random(8) {
                            kind @ 0..3 => control(types[kind as usize], 1, 2, 1),
                            _ => append(random(5), &[random(10_000) as usize]),
                        };
                        member.transport.send(&message);
                        sent += 1;
                    }
                }
            }
        }
        clients.clear();
        settle().await;
        let stats = member.peer(2);
        let written: u64 = stats.streams.iter().map(|stream| stream.written_messages).sum();
        let reported: u64 = member.raft.drops().iter().map(|(.., count)| count).sum();
        assert_eq!(reported, stats.dropped_messages, "seed {seed}");
        assert_eq!(written + reported, sent, "seed {seed}: {stats:?}");
        for stream in stats.streams {
            assert_eq!(stream.queue, QueueLevel::default(), "seed {seed}");
        }
    }
}

/// One thread removes it, another adds it: whoever is last wins, and a peer that is there is dialed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_comes_back_while_it_is_removed_is_dialed() {
    let network = Network::default();
    for round in 0..200 {
        let member = Member::start(1, &network);
        member.lets_in(2);
        let [removing, adding] = [(); 2].map(|()| member.transport.clone());
        let is_removed = Arc::new(AtomicBool::new(false));
        let until = is_removed.clone();
        let added = tokio::task::spawn_blocking(move || {
            while !until.load(Ordering::Relaxed) {
                adding.add_peer(MemberId(2), &[url("two")])?;
            }
            adding.add_peer(MemberId(2), &[url("two")])
        });
        let removed = tokio::task::spawn_blocking(move || {
            let removed = removing.remove_peer(MemberId(2));
            is_removed.store(true, Ordering::Relaxed);
            removed
        });
        removed.await.unwrap().unwrap();
        added.await.unwrap().unwrap();
        let failing = async {
            while member.raft.events("failed: Dial").len() < 2 {
                sleep(ms(1)).await;
            }
        };
        assert!(timeout(Duration::from_secs(5), failing).await.is_ok(), "round {round}");
    }
}

// ---------------------------------------------------------------------------------------------
// Settings.

fn start_with(set: impl FnOnce(&mut Config)) -> Result<Transport<Message>, TransportError> {
    let mut config = Config::new(MemberId(1), ClusterId(7));
    set(&mut config);
    let raft = Arc::new(Recorder::default());
    Transport::start_with(config, raft, &Handle::current(), Arc::new(Network::default()))
}

#[tokio::test(start_paused = true)]
async fn settings_that_make_no_sense_are_refused() {
    type Set = fn(&mut Config);
    let cases: &[(Set, &str)] = &[
        (|config| config.id = MemberId(0), "id is 0"),
        (|config| config.timeouts.connect = Duration::ZERO, "connect timeout is 0"),
        (|config| config.timeouts.head = Duration::ZERO, "head timeout is 0"),
        (|config| config.timeouts.idle = Duration::ZERO, "idle timeout is 0"),
        (|config| config.timeouts.read = Duration::ZERO, "read timeout is 0"),
        (|config| config.timeouts.write = Duration::ZERO, "write timeout is 0"),
        (|config| config.timeouts.heartbeat = Duration::ZERO, "heartbeat period is 0"),
        (|config| config.timeouts.heartbeat = config.timeouts.read, "no more frequent"),
        (|config| config.queue.messages_max = 0, "queue holds nothing"),
        (|config| config.queue.bytes_max = 0, "queue holds nothing"),
        (|config| config.redial.wait_min = Duration::ZERO, "without a wait"),
        (|config| config.redial.wait_min = Duration::from_secs(2), "longer than the longest"),
        (|config| config.codec.limits.message_bytes_max = u64::MAX, "larger than 2 GiB"),
        (|config| config.codec.limits.frame_bytes_max = (2 << 30) + 1, "larger than 2 GiB"),
        (|config| config.connections_max = 0, "no connection is accepted"),
    ];
    for (set, what) in cases {
        match start_with(set) {
            Err(TransportError::Config(why)) => assert!(why.contains(what), "{why}: {what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let edge = |config: &mut Config| {
        config.timeouts.stop = Duration::ZERO;
        config.codec.limits.message_bytes_max = 2 << 30;
        config.redial.wait_min = config.redial.wait_max;
    };
    let transport = start_with(edge).unwrap();
    for id in [0, 1] {
        let added = transport.add_peer(MemberId(id), &[]);
        assert!(matches!(added, Err(TransportError::InvalidPeer)), "{id}: {added:?}");
    }
    // A peer that is there stays as it is.
    transport.add_peer(MemberId(2), &[]).unwrap();
    transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    assert_eq!(transport.stats().len(), 1);
    transport.stop().await;
}

/// Without end is how an embedder switches a deadline off.
async fn is_refused_or_works_without_end(set: impl FnOnce(&mut Config)) {
    let network = Network::default();
    let mut config = Config::new(MemberId(1), ClusterId(7));
    set(&mut config);
    let raft = Arc::new(Recorder::default());
    let dial = Arc::new(network.clone());
    let started = Transport::start_with(config, raft.clone(), &Handle::current(), dial);
    let Ok(transport) = started else { return };
    network.set(&url("two"), Reaches::Answer(STREAM_HEAD.as_bytes().to_vec(), Some(ms(50))));
    transport.add_peer(MemberId(2), &[url("two")]).unwrap();
    let member = Member { transport, raft };
    let mut client = member.open("message").await;
    member.transport.send(&control(MessageType::HEARTBEAT, 1, 2, 1));
    let (bytes, is_closed) = client.read_for(ms(5)).await;
    assert!(!bytes.is_empty() && !is_closed, "the writer is gone");
    sleep(ms(1000)).await;
    assert!(network.requests().len() >= 6, "a reader is gone");
    let stopping = member.transport.stop();
    assert!(timeout(Duration::from_secs(5), stopping).await.is_ok(), "no stop");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_without_end_is_refused_or_works() {
    is_refused_or_works_without_end(|config| config.timeouts.connect = Duration::MAX).await;
    is_refused_or_works_without_end(|config| config.timeouts.head = Duration::MAX).await;
    is_refused_or_works_without_end(|config| config.timeouts.idle = Duration::MAX).await;
    is_refused_or_works_without_end(|config| config.timeouts.read = Duration::MAX).await;
    is_refused_or_works_without_end(|config| config.timeouts.write = Duration::MAX).await;
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_period_without_end_is_refused_or_works() {
    is_refused_or_works_without_end(|config| {
        config.timeouts.read = Duration::MAX;
        config.timeouts.heartbeat = Duration::MAX - ms(1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_end_is_refused_or_works() {
    is_refused_or_works_without_end(|config| config.timeouts.stop = Duration::MAX).await;
}

#[tokio::test(start_paused = true)]
async fn a_redial_without_end_is_refused_or_works() {
    is_refused_or_works_without_end(|config| config.redial.wait_max = Duration::MAX).await;
    // The second wait is twice the first.
    is_refused_or_works_without_end(|config| {
        config.redial.wait_min = ms(1);
        config.redial.wait_max = Duration::MAX;
    })
    .await;
}

// ---------------------------------------------------------------------------------------------
// Real sockets.

/// Two members with all streams open, and where they listen.
async fn pair_over_tcp(set: impl Fn(&mut Config)) -> (Vec<Member>, Vec<PeerUrl>) {
    let mut members = Vec::new();
    let mut urls = Vec::new();
    for id in [1, 2] {
        let raft = Arc::new(Recorder::default());
        let mut config = Config::new(MemberId(id), ClusterId(7));
        set(&mut config);
        let transport = Transport::start(config, raft.clone(), &Handle::current()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        urls.push(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        transport.serve(listener).unwrap();
        members.push(Member { transport, raft });
    }
    members[0].transport.add_peer(MemberId(2), &urls[1..]).unwrap();
    members[1].transport.add_peer(MemberId(1), &urls[..1]).unwrap();
    let all_open = |member: &Member| {
        let streams = member.transport.stats()[0].streams;
        streams.iter().all(|stream| stream.is_incoming_open && stream.is_outgoing_open)
    };
    let opening = async {
        while !members.iter().all(all_open) {
            sleep(ms(1)).await;
        }
    };
    timeout(Duration::from_secs(30), opening).await.unwrap();
    (members, urls)
}

#[tokio::test]
async fn snapshots_of_20_mib_arrive_over_tcp_among_the_heartbeats_of_both_sides() {
    const SNAPSHOTS: usize = 3;
    let (members, _) = pair_over_tcp(|config| config.snapshots = Snapshots::Stream).await;
    let [one, two] = &members[..] else { panic!("a pair") };
    let sent = snapshot(20 << 20);
    let types = [MessageType::HEARTBEAT_RESP, MessageType::HEARTBEAT];
    let mut received = [0, 0];
    let (mut rounds, mut snapshots, mut answers_meanwhile) = (0, 0, 0);
    let exchanging = async {
        let mut sent_snapshots = 0;
        while snapshots < SNAPSHOTS || received != [rounds; 2] {
            if snapshots == sent_snapshots && sent_snapshots < SNAPSHOTS {
                one.transport.send(&sent);
                sent_snapshots += 1;
            }
            if snapshots < SNAPSHOTS {
                rounds += 1;
                one.transport.send(&control(types[1], 1, 2, rounds));
                two.transport.send(&control(types[0], 2, 1, rounds));
            }
            sleep(ms(1)).await;
            for (number, member) in members.iter().enumerate() {
                for message in member.raft.messages() {
                    if message.message_type == MessageType::SNAP {
                        assert!(message == sent);
                        snapshots += 1;
                        continue;
                    }
                    received[number] += 1;
                    let from = 2 - number as u64;
                    let expected = control(types[number], from, 3 - from, received[number]);
                    assert_eq!(message, expected, "none is lost, or overtakes another");
                    answers_meanwhile += usize::from(number == 0 && snapshots < sent_snapshots);
                }
            }
        }
    };
    timeout(Duration::from_secs(60), exchanging).await.unwrap();
    assert!(answers_meanwhile > 0);
    for member in &members {
        assert_eq!(member.raft.events("ended"), [""; 0]);
        assert_eq!(member.raft.drops(), []);
    }
}

#[test]
fn what_a_task_sent_is_on_its_way_after_one_yield_though_it_blocks_the_thread_then() {
    const PEERS: [u64; 4] = [2, 3, 4, 5];
    let driver = Driver::start().unwrap();
    let raft = Arc::new(Recorder::default());
    let config = Config::new(MemberId(1), ClusterId(7));
    let transport = Transport::start(config, raft.clone(), driver.handle()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    transport.serve(listener).unwrap();
    let mut sockets = Vec::new();
    for peer in PEERS {
        transport.add_peer(MemberId(peer), &[]).unwrap();
        for kind in ["msgapp", "message"] {
            let mut socket = std::net::TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let request = stream_request(kind, peer, 1, "HTTP/1.1");
            socket.write_all(request.as_bytes()).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
            sockets.push(socket);
        }
    }
    let leader = driver.handle().spawn(async move {
        // The heads were read; the writers are attached a moment later.
        let attached = |peer| {
            let streams = transport.peer(MemberId(peer)).unwrap().streams;
            streams.iter().all(|stream| stream.is_outgoing_open)
        };
        while !PEERS.into_iter().all(attached) {
            sleep(ms(1)).await;
        }
        for round in 0..100 {
            for to in PEERS {
                transport.send(&Message { to, ..append(10 + round, &[1000 * to as usize]) });
                transport.send(&control(MessageType::HEARTBEAT, 1, to, round));
            }
            let mut has_yielded = false;
            std::future::poll_fn(|cx| {
                if std::mem::replace(&mut has_yielded, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            // As an fsync would, these block the only thread there is.
            for socket in &mut sockets {
                let mut line = Vec::new();
                while !line.ends_with(b"\r\n") {
                    let mut byte = [0];
                    socket.read_exact(&mut byte).unwrap();
                    line.extend(byte);
                }
                let size = std::str::from_utf8(&line).unwrap().trim_end();
                let mut chunk = vec![0; usize::from_str_radix(size, 16).unwrap() + 2];
                socket.read_exact(&mut chunk).unwrap();
            }
        }
    });
    driver.handle().block_on(leader).unwrap();
    assert_eq!(raft.drops(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_on_many_threads_talk_over_tcp() {
    const MESSAGES: u64 = 2000;
    let (members, urls) = pair_over_tcp(|_| {}).await;
    // From two threads at a time.
    let mut senders = Vec::new();
    for (from, to) in [(1, 2), (2, 1)] {
        let transport = members[from as usize - 1].transport.clone();
        senders.push(tokio::spawn(async move {
            for index in 1..=MESSAGES {
                let append = Message { from, to, ..append(index, &[index as usize % 9000]) };
                transport.send(&append);
                transport.send(&control(MessageType::HEARTBEAT, from, to, index));
                if index % 100 == 0 {
                    sleep(ms(1)).await;
                }
            }
        }));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let mut received = [Vec::new(), Vec::new()];
    let receiving = async {
        while received.iter().any(|received| received.len() < 2 * MESSAGES as usize) {
            for (member, received) in members.iter().zip(&mut received) {
                received.extend(member.raft.messages());
            }
            sleep(ms(1)).await;
        }
    };
    timeout(Duration::from_secs(60), receiving).await.unwrap();
    for received in received {
        for message_type in [MessageType::APP, MessageType::HEARTBEAT] {
            let of = received.iter().filter(|message| message.message_type == message_type);
            assert!(of.map(|message| message.index).eq(1..=MESSAGES));
        }
    }
    for member in &members {
        let start = Instant::now();
        member.transport.stop().await;
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(member.raft.drops(), []);
    }
    for url in &urls {
        let authority = PeerUrl::authority(url).to_owned();
        let connected = tokio::net::TcpStream::connect(authority).await;
        assert!(connected.is_err(), "it still listens");
    }
    let kinds = members[0].transport.stats()[0].streams.map(|stream| stream.kind);
    assert_eq!(kinds, [StreamKind::MsgApp, StreamKind::Message]);
}
