//! The calls a stream's writer makes, one by one, on a socket that does as it is told: what each is
//! given, what becomes of what it does not take, and when it is given up.
//!
//! Time is virtual, and goes on when every task waits.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/script.rs"]
mod script;

use bytes::{Bytes, BytesMut};
use raftwire::codec::framed::{MessageStream, MsgAppV2};
use raftwire::codec::{self, FrameKind};
use raftwire::raftpb::{Dialect, Entry, Message, MessageType, Snapshot, SnapshotMetadata};
use raftwire::transport::{
    BoxSocket, Class, ClusterId, Config, Dial, Dialing, DropReason, MemberId, PeerUrl, QueueLevel,
    Snapshots, Transport,
};
use recorder::{Recorder, append, message, settle, stream_request};
use script::Does::{Blocks, BlocksOnce, Fails, Takes, TakesAll, TakesAllBut};
use script::{Call, Script, any, plain, vectored};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tokio_util::codec::{Decoder, Encoder};

const MSGAPP: &str = "msgapp";
const MESSAGE: &str = "message";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// A link heartbeat of `msgapp`, in its chunk.
const HEARTBEAT: &[u8] = b"1\r\n\0\r\n";

/// Member 1, which writes to member 2.
struct Member {
    transport: Transport<Message>,
    raft: Arc<Recorder>,
}

impl Member {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(MemberId(1), ClusterId(7));
        set(&mut config);
        let raft = Arc::new(Recorder::default());
        let transport = Transport::start(config, raft.clone(), &Handle::current()).unwrap();
        // It dials nobody.
        transport.add_peer(MemberId(2), &[]).unwrap();
        Self { transport, raft }
    }

    fn dialing(dial: Arc<dyn Dial>) -> Self {
        let config = Config::new(MemberId(1), ClusterId(7));
        let raft = Arc::new(Recorder::default());
        let handle = Handle::current();
        let transport = Transport::start_with(config, raft.clone(), &handle, dial).unwrap();
        transport.add_peer(MemberId(2), &["http://two:2380".parse().unwrap()]).unwrap();
        Self { transport, raft }
    }

    /// Gives it the socket of `script` to write `kind` to.
    async fn attach(&self, kind: &str, script: &Script) {
        let before = self.raft.events("opened").len();
        self.transport.accept(script.socket()).unwrap();
        settle().await;
        assert_eq!(self.raft.events("opened")[before..], [format!("{kind} to 2 opened")]);
        assert!(script.head().starts_with("HTTP/1.1 200 OK\r\n"), "{}", script.head());
    }

    fn send_all(&self, messages: &[Message]) {
        for message in messages {
            self.transport.send(message);
        }
    }

    fn queue(&self, kind: &str) -> QueueLevel {
        let streams = self.transport.peer(MemberId(2)).unwrap().streams;
        streams.into_iter().find(|stream| stream.kind.name() == kind).unwrap().queue
    }

    fn ended(&self) -> Vec<String> {
        self.raft.events("ended")
    }
}

/// Reaches these sockets, each once.
struct Sockets(Mutex<Vec<BoxSocket>>);

impl Dial for Sockets {
    fn dial(&self, _: &PeerUrl) -> Dialing {
        let socket = self.0.lock().unwrap().pop();
        Box::pin(async { socket.ok_or_else(|| ErrorKind::ConnectionRefused.into()) })
    }
}

fn script(kind: &str, steps: impl IntoIterator<Item = script::Step>) -> Script {
    Script::of(&stream_request(kind, 2, 1, "HTTP/1.1"), steps)
}

/// The payloads of the chunks that `written` is whole, each with the size line Go would give it.
fn chunks(written: &[u8]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(written);
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let line = rest.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        let size = String::from_utf8(rest.split_to(line).to_vec()).unwrap();
        let len = usize::from_str_radix(&size, 16).unwrap();
        assert_eq!(size, format!("{len:x}"), "lower-case, without zeros in front");
        assert_ne!(len, 0, "the body ends");
        rest = rest.split_off(2);
        chunks.push(rest.split_to(len));
        assert_eq!(rest.split_to(2), b"\r\n"[..]);
    }
    chunks
}

fn codec_config() -> codec::Config {
    codec::Config::default().dialect(Dialect::V3_6).local(2).remote(1)
}

/// What each chunk of a whole stream holds. None holds a part of a frame.
fn frames(kind: &str, written: &[u8]) -> Vec<Vec<(FrameKind, Message)>> {
    frames_of(kind, &chunks(written))
}

fn frames_of(kind: &str, chunks: &[Bytes]) -> Vec<Vec<(FrameKind, Message)>> {
    let mut msgapp = MsgAppV2::<Message>::new(codec_config());
    let mut stream = MessageStream::<Message>::new(codec_config());
    let mut frames = Vec::new();
    for chunk in chunks {
        let mut bytes = BytesMut::from(&chunk[..]);
        let mut held = Vec::new();
        loop {
            let frame = match kind {
                MSGAPP => msgapp.decode(&mut bytes).unwrap(),
                _ => stream.decode(&mut bytes).unwrap(),
            };
            let Some(frame) = frame else { break };
            held.push((frame.kind, frame.message));
        }
        assert!(bytes.is_empty(), "a frame lies across two chunks");
        frames.push(held);
    }
    frames
}

/// Their messages alone.
fn messages(kind: &str, written: &[u8]) -> Vec<Vec<Message>> {
    let messages = |frames: Vec<(FrameKind, Message)>| {
        frames.into_iter().map(|(_, message)| message).collect()
    };
    frames(kind, written).into_iter().map(messages).collect()
}

/// Appends of one entry each that run on, of these lengths.
fn appends(lens: &[usize]) -> Vec<Message> {
    (10..).zip(lens).map(|(index, &len)| append(index, &[len])).collect()
}

fn control(message_type: MessageType, index: u64) -> Message {
    Message { index, ..message(message_type, 1, 2) }
}

fn proposal(len: usize) -> Message {
    let entry = Entry { data: Some(Bytes::from(vec![b'p'; len])), ..Entry::default() };
    Message { entries: vec![entry].into(), ..message(MessageType::PROP, 1, 2) }
}

// ---------------------------------------------------------------------------------------------
// Calls and chunks.

#[tokio::test(start_paused = true)]
async fn an_idle_stream_writes_each_message_in_one_call() {
    let member = Member::new();
    let script = script(MSGAPP, []);
    member.attach(MSGAPP, &script).await;
    let sent = appends(&[0, 1, 53, 1000, 4000]);
    let mut written = Vec::new();
    for message in &sent {
        script.push(plain(TakesAll));
        member.transport.send(message);
        settle().await;
        let bytes = script.written();
        let call = Call { slices: None, offered: bytes.len(), taken: bytes.len() };
        assert_eq!(script.calls(), [call]);
        assert_eq!(chunks(&bytes).len(), 1);
        written.extend(bytes);
    }
    let one_each: Vec<_> = sent.iter().map(|message| vec![message.clone()]).collect();
    assert_eq!(messages(MSGAPP, &written), one_each);
    let kinds: Vec<_> = frames(MSGAPP, &written).iter().map(|frames| frames[0].0).collect();
    let then = FrameKind::AppEntries;
    assert_eq!(kinds, [FrameKind::MsgApp, then, then, then, then]);
    script.finish();
    assert_eq!(member.queue(MSGAPP), QueueLevel::default());
}

#[tokio::test(start_paused = true)]
async fn messages_sent_together_leave_as_one_chunk_in_one_call() {
    let member = Member::new();
    let script = script(MSGAPP, [plain(TakesAll)]);
    member.attach(MSGAPP, &script).await;
    let sent = appends(&[100; 64]);
    member.send_all(&sent);
    settle().await;
    assert_eq!(messages(MSGAPP, &script.written()), [sent]);
    script.finish();
    let stats = member.transport.peer(MemberId(2)).unwrap().streams[0];
    assert_eq!((stats.write_calls, stats.written_messages), (1, 64));
}

#[tokio::test(start_paused = true)]
async fn payloads_from_4_kib_on_are_written_by_reference() {
    for (lens, step) in [
        (&[4095][..], plain(TakesAll)),
        (&[4096][..], vectored(3, TakesAll)),
        (&[4096, 10, 5000][..], vectored(5, TakesAll)),
        (&[4096, 4096, 4096][..], vectored(7, TakesAll)),
    ] {
        let member = Member::new();
        let script = script(MSGAPP, [step]);
        member.attach(MSGAPP, &script).await;
        let sent = appends(lens);
        member.send_all(&sent);
        settle().await;
        assert_eq!(messages(MSGAPP, &script.written()), [sent], "{lens:?}");
        script.finish();
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_without_vectored_writes_gets_plain_ones() {
    let member = Member::new();
    let script = script(MSGAPP, [plain(TakesAll)]).not_vectored();
    member.attach(MSGAPP, &script).await;
    let sent = appends(&[4096, 10, 5000]);
    member.send_all(&sent);
    settle().await;
    assert_eq!(messages(MSGAPP, &script.written()), [sent]);
    script.finish();
}

#[tokio::test(start_paused = true)]
async fn a_write_goes_on_where_the_last_one_ended() {
    let member = Member::new();
    let sent = appends(&[20, 4096, 0, 4097, 60]);
    let mut expected = Vec::new();
    // Whole, then with each of two calls taking a part, then with many.
    let whole = script(MSGAPP, [vectored(5, TakesAll)]);
    member.attach(MSGAPP, &whole).await;
    member.send_all(&sent);
    settle().await;
    expected.extend(whole.written());
    assert_eq!(messages(MSGAPP, &expected), [&sent[..]]);
    whole.finish();

    let len = expected.len();
    let starts = 1..200;
    let slices = 4050..4300;
    let ends = len - 200..len;
    for first in starts.chain(slices).chain((300..len).step_by(997)).chain(ends) {
        for vectored in [true, false] {
            let steps = [any(Takes(first))];
            let script = script(MSGAPP, steps).then_always(TakesAll);
            let script = if vectored { script } else { script.not_vectored() };
            member.attach(MSGAPP, &script).await;
            member.send_all(&sent);
            settle().await;
            let written = script.written();
            // What follows is the end of the body, as the next connection replaces this one.
            assert!(written == expected, "cut at {first}, vectored: {vectored}");
            script.check();
        }
    }
    for does in [Takes(1), Takes(2), Takes(3), Takes(4095), TakesAllBut(1), TakesAllBut(4100)] {
        let script = script(MSGAPP, []).then_always(does);
        member.attach(MSGAPP, &script).await;
        member.send_all(&sent);
        settle().await;
        assert!(script.written() == expected, "{does:?} at a time");
        script.check();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_while_a_batch_is_written_is_the_next_chunk() {
    let member = Member::new();
    let script = script(MSGAPP, [any(Takes(7)), any(Blocks), any(TakesAll), plain(TakesAll)]);
    member.attach(MSGAPP, &script).await;
    let sent = appends(&[5000, 2, 3, 4]);
    member.send_all(&sent[..1]);
    settle().await;
    for message in &sent[1..] {
        member.transport.send(message);
        settle().await;
    }
    assert_eq!(member.queue(MSGAPP).messages, 4);
    script.release();
    settle().await;
    let expected = [sent[..1].to_vec(), sent[1..].to_vec()];
    assert_eq!(messages(MSGAPP, &script.written()), expected);
    assert_eq!(script.calls().len(), 3);
    script.finish();
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_in_bytes() {
    const BATCH_BYTES_MAX: usize = 1 << 20;
    for len in [500, 10_000, 100_000, 300_000] {
        let member = Member::new();
        let script = script(MSGAPP, []).then_always(TakesAll);
        member.attach(MSGAPP, &script).await;
        let sent = appends(&vec![len; (8_000_000 / len).min(4000)]);
        member.send_all(&sent);
        settle().await;
        let written = script.written();
        let chunks = chunks(&written);
        let frame = len + 100;
        for chunk in &chunks {
            assert!(chunk.len() < BATCH_BYTES_MAX + frame, "{} of {len}", chunk.len());
        }
        for chunk in &chunks[..chunks.len() - 1] {
            assert!(chunk.len() >= BATCH_BYTES_MAX, "{} of {len}", chunk.len());
        }
        assert!(messages(MSGAPP, &written).concat() == sent, "{len}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_is_given_no_more_than_1024_slices() {
    let member = Member::new();
    let script = script(MSGAPP, []).then_always(TakesAll);
    member.attach(MSGAPP, &script).await;
    let sent = [append(10, &[4096; 3000]), append(3010, &[4096; 2])];
    member.send_all(&sent);
    settle().await;
    let calls = script.calls();
    assert!(calls.iter().all(|call| call.slices.unwrap() <= 1024), "{calls:?}");
    assert_eq!(messages(MSGAPP, &script.written()).concat(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_leaves_the_stream_as_it_was() {
    // Copied, and by reference; first in its batch, or not.
    for (refused_len, before) in [(1001, 0), (1001, 1), (5000, 0), (5000, 1)] {
        let limits = |config: &mut Config| {
            config.codec.limits.entry_bytes_max = 1000;
            config.codec.limits.message_bytes_max = 1000;
        };
        let member = Member::with(limits);
        let script = script(MSGAPP, []);
        member.attach(MSGAPP, &script).await;
        let sent = appends(&[20, 30, 40]);
        // Refused as MsgApp, then as AppEntries.
        let mut written = Vec::new();
        let mut index = 10;
        for message in &sent {
            let refused = append(index, &[3, refused_len]);
            if before == 0 {
                member.transport.send(&refused);
                settle().await;
                assert_eq!(script.written(), b"");
            }
            script.push(plain(TakesAll));
            member.transport.send(message);
            index += 1;
            if before == 1 {
                member.transport.send(&append(index, &[3, refused_len]));
            }
            settle().await;
            written.extend(script.written());
        }
        assert_eq!(messages(MSGAPP, &written).concat(), sent);
        let drops = member.raft.drops();
        assert!(drops.iter().all(|drop| *drop == (Class::Append, DropReason::Refused, 1)));
        assert_eq!(drops.len(), 3);
        assert_eq!(member.queue(MSGAPP), QueueLevel::default());
        script.finish();
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_leaves_no_empty_chunk() {
    let limit = |config: &mut Config| config.codec.limits.message_bytes_max = 1000;
    let member = Member::with(limit);
    let script = script(MESSAGE, [any(Blocks), any(TakesAll)]);
    let start = Instant::now();
    member.attach(MESSAGE, &script).await;
    let sent = control(MessageType::VOTE, 1);
    member.transport.send(&sent);
    settle().await;
    // What would be next holds nothing.
    member.transport.send(&proposal(1001));
    script.release();
    settle().await;
    assert_eq!(messages(MESSAGE, &script.written()), [[sent]]);
    // Nor does it keep heartbeats back.
    member.transport.send(&proposal(1001));
    script.push(any(TakesAll));
    tokio::time::sleep_until(start + Duration::from_millis(1670)).await;
    assert_eq!(messages(MESSAGE, &script.written()).len(), 1);
    script.finish();
    assert_eq!(member.ended(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_http_1_0_has_no_chunks() {
    let member = Member::new();
    let script = Script::of(&stream_request(MSGAPP, 2, 1, "HTTP/1.0"), [plain(TakesAll)]);
    member.transport.accept(script.socket()).unwrap();
    settle().await;
    assert!(script.head().starts_with("HTTP/1.0 200 OK\r\n"), "{}", script.head());
    assert!(!script.head().contains("Transfer-Encoding"), "{}", script.head());
    let sent = appends(&[20, 30]);
    member.send_all(&sent);
    settle().await;
    let written = Bytes::from(script.written());
    let frames = frames_of(MSGAPP, &[written]);
    assert_eq!(frames[0].iter().map(|(_, message)| message.clone()).collect::<Vec<_>>(), sent);
    member.transport.stop().await;
    assert!(script.is_dropped());
    script.finish();
}

#[tokio::test(start_paused = true)]
async fn answers_to_what_came_together_leave_together() {
    let pairs = [(); 2].map(|()| tokio::io::duplex(64 << 10));
    let (near, far): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let boxed = near.into_iter().map(|socket| Box::new(socket) as BoxSocket).collect();
    let member = Member::dialing(Arc::new(Sockets(Mutex::new(boxed))));
    let script = script(MESSAGE, [plain(TakesAll)]);
    member.attach(MESSAGE, &script).await;
    let transport = member.transport.clone();
    member.raft.on_process(move |heartbeat| {
        let index = heartbeat.index;
        transport.send(&control(MessageType::HEARTBEAT_RESP, index));
    });
    // 100 heartbeats in as many chunks.
    let mut codec = MessageStream::<Message>::new(codec_config());
    let mut stream = BytesMut::new();
    for index in 0..100 {
        let mut frame = BytesMut::new();
        let heartbeat = Message { index, ..message(MessageType::HEARTBEAT, 2, 1) };
        codec.encode(&heartbeat, &mut frame).unwrap();
        stream.extend_from_slice(format!("{:x}\r\n", frame.len()).as_bytes());
        stream.extend_from_slice(&frame);
        stream.extend_from_slice(b"\r\n");
    }
    for mut socket in far {
        let mut request = vec![0; 1000];
        let len = socket.read(&mut request).await.unwrap();
        if request[..len].starts_with(b"GET /raft/stream/message/") {
            let head: &[u8] = b"HTTP/1.1 200 OK\r\nX-Server-Version: 3.6.0\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
            for bytes in [head, &stream] {
                socket.write_all(bytes).await.unwrap();
                settle().await;
            }
        }
    }
    let sent: Vec<_> = (0..100).map(|index| control(MessageType::HEARTBEAT_RESP, index)).collect();
    assert!(messages(MESSAGE, &script.written()) == [sent]);
    script.finish();
    // The transport is held by its own raft.
    member.transport.stop().await;
}

// ---------------------------------------------------------------------------------------------
// The message stream.

#[tokio::test(start_paused = true)]
async fn control_messages_overtake_proposals() {
    let member = Member::new();
    let script = script(MESSAGE, [any(Blocks)]).then_always(TakesAll);
    member.attach(MESSAGE, &script).await;
    let first = control(MessageType::HEARTBEAT, 0);
    member.transport.send(&first);
    settle().await;
    let proposals = [proposal(4 << 20), proposal(3 << 20)];
    let types = [
        MessageType::HEARTBEAT,
        MessageType::HEARTBEAT_RESP,
        MessageType::VOTE,
        MessageType::APP_RESP,
        MessageType::READ_INDEX,
    ];
    let controls: Vec<_> = (1..).zip(types).map(|(index, kind)| control(kind, index)).collect();
    member.send_all(&proposals);
    member.send_all(&controls);
    script.release();
    settle().await;
    let [one, two] = proposals.clone();
    let expected = [vec![first], controls, vec![one], vec![two]];
    assert!(messages(MESSAGE, &script.written()) == expected);
}

#[tokio::test(start_paused = true)]
async fn control_messages_wait_for_no_more_than_the_batch_that_is_written() {
    let member = Member::new();
    let script = script(MESSAGE, [any(Takes(100)), any(Blocks)]).then_always(TakesAll);
    member.attach(MESSAGE, &script).await;
    let proposals = [proposal(4 << 20), proposal(3 << 20)];
    member.send_all(&proposals);
    settle().await;
    let controls: Vec<_> = (1..=3).map(|index| control(MessageType::HEARTBEAT, index)).collect();
    member.send_all(&controls);
    script.release();
    settle().await;
    let [one, two] = proposals.clone();
    assert!(messages(MESSAGE, &script.written()) == [vec![one], controls, vec![two]]);
}

#[tokio::test(start_paused = true)]
async fn appends_take_the_message_stream_while_there_is_no_other() {
    let member = Member::new();
    let on_message = script(MESSAGE, [plain(TakesAll)]);
    member.attach(MESSAGE, &on_message).await;
    let sent = appends(&[10, 20, 30, 40]);
    member.send_all(&sent[..2]);
    settle().await;
    assert_eq!(messages(MESSAGE, &on_message.written()), [&sent[..2]]);
    let on_msgapp = script(MSGAPP, [plain(TakesAll)]);
    member.attach(MSGAPP, &on_msgapp).await;
    member.send_all(&sent[2..]);
    settle().await;
    assert_eq!(messages(MSGAPP, &on_msgapp.written()), [&sent[2..]]);
    on_message.finish();
    on_msgapp.finish();
}

#[tokio::test(start_paused = true)]
async fn the_raft_is_told_of_a_batch_when_the_socket_has_taken_all_of_it() {
    let member = Member::new();
    let script = Arc::new(script(MSGAPP, [any(Takes(7)), any(Blocks), any(Takes(9))]));
    member.attach(MSGAPP, &script).await;
    let taken = Arc::new(Mutex::new(Vec::new()));
    member.raft.on_moment({
        let (script, taken) = (script.clone(), taken.clone());
        move |_| {
            let calls = script.calls();
            taken.lock().unwrap().push(calls.iter().map(|call| call.taken).sum::<usize>());
        }
    });
    let sent = appends(&[100, 200, 300, 5000, 6000]);
    member.send_all(&sent[..3]);
    settle().await;
    member.send_all(&sent[3..]);
    assert_eq!(member.raft.moments(), [""; 0], "a part was taken");
    script.push(any(TakesAll));
    script.push(any(TakesAll));
    script.release();
    settle().await;
    assert_eq!(member.raft.moments(), ["wrote 3 msgapp to 2", "wrote 2 msgapp to 2"]);
    let written = script.written();
    let first = written.len() - taken.lock().unwrap()[1];
    let expected = [sent[..3].to_vec(), sent[3..].to_vec()];
    assert_eq!(messages(MSGAPP, &written), expected);
    assert_eq!(messages(MSGAPP, &written[..first]), expected[..1], "told between the two");
    script.finish();
}

#[tokio::test(start_paused = true)]
async fn the_raft_is_told_neither_of_heartbeats_of_the_link_nor_of_what_was_not_written() {
    let member = Member::new();
    let steps = [plain(TakesAll), any(Takes(50)), any(Fails(ErrorKind::BrokenPipe))];
    let script = script(MSGAPP, steps);
    member.attach(MSGAPP, &script).await;
    sleep(Duration::from_millis(1700)).await;
    assert_eq!(script.written(), HEARTBEAT);
    member.send_all(&appends(&[100, 200]));
    settle().await;
    assert_eq!(member.ended().len(), 1);
    assert_eq!(member.raft.moments(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_raft_that_panics_of_a_written_batch_loses_that_connection() {
    let member = Member::new();
    let script = script(MSGAPP, [any(TakesAll)]);
    member.attach(MSGAPP, &script).await;
    member.raft.on_moment(|moment| panic!("of {moment}, as the test wants"));
    member.transport.send(&append(10, &[10]));
    settle().await;
    assert_eq!(member.ended(), ["msgapp to 2 ended: Panicked"]);
    assert_eq!(member.raft.drops(), [], "it was written");
    assert_eq!(member.queue(MSGAPP), QueueLevel::default());
    assert!(script.is_dropped());
}

// ---------------------------------------------------------------------------------------------
// Snapshots.

fn snapshot(index: u64, len: usize) -> Message {
    let snapshot = Snapshot {
        data: Some(Bytes::from(vec![b's'; len])),
        metadata: SnapshotMetadata { index, term: 3, ..SnapshotMetadata::default() },
    };
    Message { snapshot: Some(Box::new(snapshot)), ..message(MessageType::SNAP, 1, 2) }
}

fn snapshots_over_the_stream(config: &mut Config) {
    config.snapshots = Snapshots::Stream;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_dropped_unless_the_stream_is_chosen_for_it() {
    for chosen in [false, true] {
        let member = Member::with(|config| {
            if chosen {
                snapshots_over_the_stream(config);
            }
        });
        let script = script(MESSAGE, []).then_always(TakesAll);
        member.attach(MESSAGE, &script).await;
        let sent = snapshot(9, 5000);
        member.transport.send(&sent);
        settle().await;
        if chosen {
            assert_eq!(messages(MESSAGE, &script.written()), [[sent]]);
            assert_eq!(member.raft.drops(), []);
        } else {
            assert_eq!(script.written(), b"");
            let dropped = (Class::Snapshot, DropReason::NoPipeline, 1);
            assert_eq!(member.raft.drops(), [dropped]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_pass_a_snapshot_that_waits_and_wait_for_one_that_is_written() {
    let member = Member::with(snapshots_over_the_stream);
    let steps = [any(Blocks), any(TakesAll), any(Takes(1 << 20)), any(Blocks)];
    let script = script(MESSAGE, steps).then_always(TakesAll);
    member.attach(MESSAGE, &script).await;
    let heartbeats: Vec<_> = (0..4).map(|index| control(MessageType::HEARTBEAT, index)).collect();
    member.transport.send(&heartbeats[0]);
    settle().await;
    let sent = [proposal(300 << 10), snapshot(9, 20 << 20), proposal(10)];
    member.send_all(&sent);
    member.transport.send(&heartbeats[1]);
    script.release();
    settle().await;
    member.send_all(&heartbeats[2..3]);
    settle().await;
    script.release();
    settle().await;
    let [one, snapshot, two] = sent;
    let first = vec![heartbeats[0].clone()];
    let passing = vec![heartbeats[1].clone()];
    let behind = vec![heartbeats[2].clone()];
    let expected = [first, passing, vec![one], behind, vec![snapshot], vec![two]];
    let written = messages(MESSAGE, &script.written());
    let kinds = |batches: &[Vec<Message>]| -> Vec<Vec<(MessageType, u64)>> {
        let kind = |message: &Message| (message.message_type, message.index);
        batches.iter().map(|batch| batch.iter().map(kind).collect()).collect()
    };
    assert_eq!(kinds(&written), kinds(&expected));
    assert!(written == expected);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_larger_than_the_limit_goes_when_no_proposal_waits() {
    for waits in [false, true] {
        let member = Member::with(|config| {
            snapshots_over_the_stream(config);
            config.queue.bytes_max = 64 << 10;
        });
        let script = script(MESSAGE, [any(Blocks)]).then_always(TakesAll);
        member.attach(MESSAGE, &script).await;
        let first = if waits { proposal(10) } else { control(MessageType::HEARTBEAT, 1) };
        let sent = snapshot(9, 100_000);
        member.send_all(&[first.clone(), sent.clone()]);
        settle().await;
        let full = (Class::Snapshot, DropReason::QueueFull, 1);
        assert_eq!(member.raft.drops(), if waits { vec![full] } else { vec![] });
        script.release();
        settle().await;
        let written = messages(MESSAGE, &script.written()).concat();
        assert!(written == if waits { vec![first] } else { vec![first, sent] }, "{waits}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_beyond_the_codec_s_limit_is_refused() {
    let member = Member::with(|config| {
        snapshots_over_the_stream(config);
        config.codec.limits.message_bytes_max = 1 << 20;
    });
    let script = script(MESSAGE, [any(TakesAll)]);
    member.attach(MESSAGE, &script).await;
    member.send_all(&[snapshot(9, 1 << 20), snapshot(9, 1 << 19)]);
    settle().await;
    assert_eq!(member.raft.drops(), [(Class::Snapshot, DropReason::Refused, 1)]);
    assert!(messages(MESSAGE, &script.written()) == [[snapshot(9, 1 << 19)]]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_lost_with_its_stream_is_reported_and_one_that_was_written_is_not() {
    let broken = Fails(ErrorKind::BrokenPipe);
    for (steps, reported) in [
        // Written in part; not begun; waiting behind another; and written whole.
        (vec![any(Takes(1 << 20)), any(Blocks), any(broken)], 3),
        (vec![any(Blocks), any(broken)], 3),
        (vec![any(TakesAll), any(Blocks), any(broken)], 2),
        (vec![any(TakesAll), any(TakesAll), any(TakesAllBut(1)), any(Blocks), any(broken)], 1),
    ] {
        let member = Member::with(snapshots_over_the_stream);
        let script = script(MESSAGE, steps);
        member.attach(MESSAGE, &script).await;
        for index in 1..=3 {
            member.transport.send(&snapshot(index, 2 << 20));
            settle().await;
        }
        assert_eq!(member.raft.drops(), []);
        script.release();
        settle().await;
        assert_eq!(member.ended().len(), 1);
        let closed = (Class::Snapshot, DropReason::StreamClosed, reported);
        assert_eq!(member.raft.drops(), [closed]);
        // And without a stream.
        member.transport.send(&snapshot(4, 10));
        settle().await;
        assert_eq!(member.raft.drops(), [(Class::Snapshot, DropReason::NoStream, 1)]);
    }
}

// ---------------------------------------------------------------------------------------------
// A task that yields.

/// Is polled again behind every task that is ready now.
async fn go_behind() {
    let mut has_yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Member 1 with both streams to each of these, none of which it dials.
async fn attach_all(member: &Member, peers: &[u64]) -> Vec<(u64, &'static str, Script)> {
    let mut scripts = Vec::new();
    for &peer in peers {
        if peer != 2 {
            member.transport.add_peer(MemberId(peer), &[]).unwrap();
        }
        for kind in [MSGAPP, MESSAGE] {
            let script = Script::of(&stream_request(kind, peer, 1, "HTTP/1.1"), []);
            member.transport.accept(script.socket()).unwrap();
            settle().await;
            assert!(script.head().starts_with("HTTP/1.1 200 OK\r\n"), "{}", script.head());
            scripts.push((peer, kind, script.then_always(TakesAll)));
        }
    }
    scripts
}

#[tokio::test(start_paused = true)]
async fn what_a_task_sent_to_many_peers_is_with_the_sockets_when_it_has_yielded_once() {
    const PEERS: [u64; 6] = [2, 3, 4, 5, 6, 7];
    let member = Member::new();
    let scripts = attach_all(&member, &PEERS).await;
    let transport = member.transport.clone();
    let leader = tokio::spawn(async move {
        for round in 0..50 {
            for to in PEERS {
                let rounds = 10 + 3 * round;
                for index in rounds..rounds + 3 {
                    transport.send(&Message { to, ..append(index, &[500 * to as usize]) });
                }
                transport.send(&Message { to, ..control(MessageType::HEARTBEAT, round) });
                // Of both lanes.
                transport.send(&Message { to, ..proposal(5000) });
            }
            assert!(scripts.iter().all(|(_, _, script)| script.written().is_empty()));
            match round % 2 {
                0 => go_behind().await,
                _ => tokio::task::yield_now().await,
            }
            for (peer, kind, script) in &scripts {
                let level = transport.peer(MemberId(*peer)).unwrap().streams;
                assert!(level.iter().all(|stream| stream.queue == QueueLevel::default()));
                let written = chunks(&script.written());
                let expected = if *kind == MSGAPP { 1 } else { 2 };
                assert_eq!(written.len(), expected, "{kind} to {peer} in round {round}");
            }
        }
    });
    leader.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn four_batches_of_a_stream_leave_before_a_task_that_yields_and_the_fifth_behind_it() {
    for batches in [4, 5] {
        let member = Member::new();
        let scripts = attach_all(&member, &[2, 3]).await;
        let transport = member.transport.clone();
        let leader = tokio::spawn(async move {
            for to in [2, 3] {
                for message in appends(&vec![1 << 20; batches]) {
                    transport.send(&Message { to, ..message });
                }
            }
            for expected in [batches.min(4), batches.saturating_sub(4)] {
                go_behind().await;
                for (peer, _, script) in scripts.iter().filter(|(_, kind, _)| *kind == MSGAPP) {
                    assert_eq!(chunks(&script.written()).len(), expected, "to {peer}");
                }
            }
        });
        leader.await.unwrap();
    }
}

// ---------------------------------------------------------------------------------------------
// Queues.

#[tokio::test(start_paused = true)]
async fn a_queue_holds_4096_messages() {
    let member = Member::new();
    let script = script(MSGAPP, [any(Takes(1)), any(Blocks)]).then_always(TakesAll);
    member.attach(MSGAPP, &script).await;
    let sent = appends(&[10; 5000]);
    // What is being written counts.
    member.send_all(&sent[..100]);
    settle().await;
    member.send_all(&sent[100..]);
    assert_eq!(member.queue(MSGAPP).messages, 4096);
    settle().await;
    assert_eq!(member.raft.drops(), [(Class::Append, DropReason::QueueFull, 904)]);
    script.release();
    settle().await;
    assert_eq!(messages(MSGAPP, &script.written()).concat(), sent[..4096]);
    assert_eq!(member.queue(MSGAPP), QueueLevel::default());
}

#[tokio::test(start_paused = true)]
async fn a_queue_holds_64_mib() {
    let member = Member::new();
    let script = script(MSGAPP, []).then_always(Blocks);
    member.attach(MSGAPP, &script).await;
    let len = 1 << 20;
    let data = Some(Bytes::from(vec![1; len]));
    let mut sent = appends(&[0; 70]);
    for message in &mut sent {
        message.entries[0].data = data.clone();
    }
    member.send_all(&sent);
    settle().await;
    let level = member.queue(MSGAPP);
    assert!(level.bytes <= 64 << 20, "{level:?}");
    // Frames are a little longer than their payloads.
    assert_eq!(level.messages, 63);
    assert_eq!(member.raft.drops(), [(Class::Append, DropReason::QueueFull, 7)]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_would_pass_the_limit_is_dropped() {
    let member = Member::with(|config| config.queue.bytes_max = 64 << 10);
    let script = script(MSGAPP, []).then_always(Blocks);
    member.attach(MSGAPP, &script).await;
    member.send_all(&appends(&[40_000, 40_000, 10_000]));
    settle().await;
    assert_eq!(member.raft.drops().first(), Some(&(Class::Append, DropReason::QueueFull, 1)));
    assert!(member.queue(MSGAPP).bytes <= 64 << 10, "{:?}", member.queue(MSGAPP));
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_the_limit_goes_when_nothing_else_waits() {
    let member = Member::with(|config| config.queue.bytes_max = 64 << 10);
    let script = script(MSGAPP, [any(Blocks)]).then_always(TakesAll);
    member.attach(MSGAPP, &script).await;
    let sent = appends(&[100_000, 10]);
    member.send_all(&sent);
    settle().await;
    assert_eq!(member.raft.drops(), [(Class::Append, DropReason::QueueFull, 1)]);
    script.release();
    settle().await;
    assert_eq!(messages(MSGAPP, &script.written()), [&sent[..1]]);
}

// ---------------------------------------------------------------------------------------------
// Link heartbeats and deadlines.

#[tokio::test(start_paused = true)]
async fn an_idle_stream_heartbeats_every_1666_ms() {
    for kind in [MSGAPP, MESSAGE] {
        let member = Member::new();
        let script = script(kind, []).then_always(TakesAll);
        let start = Instant::now();
        member.attach(kind, &script).await;
        for heartbeat in 1..100 {
            let due = start + heartbeat * Duration::from_millis(1666);
            tokio::time::sleep_until(due - Duration::from_millis(1)).await;
            assert_eq!(script.written(), b"", "before heartbeat {heartbeat}");
            tokio::time::sleep_until(due + Duration::from_millis(3)).await;
            let written = script.written();
            assert_eq!(script.calls().len(), 1, "heartbeat {heartbeat}");
            let frames = frames(kind, &written);
            let [chunk] = &frames[..] else { panic!("{frames:?}") };
            let [(frame_kind, message)] = &chunk[..] else { panic!("{chunk:?}") };
            assert!(message.message_type == MessageType::HEARTBEAT);
            assert_eq!((message.from, message.to), (0, 0));
            if kind == MSGAPP {
                assert_eq!(*frame_kind, FrameKind::LinkHeartbeat);
                assert_eq!(written, HEARTBEAT);
            }
        }
        assert_eq!(member.queue(kind), QueueLevel::default());
        assert_eq!(member.ended(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_heartbeat_goes_while_something_is_queued() {
    let member = Member::new();
    let script = script(MSGAPP, [any(Takes(1)), any(Blocks)]).then_always(TakesAll);
    member.attach(MSGAPP, &script).await;
    let sent = appends(&[10, 20, 30]);
    member.send_all(&sent[..1]);
    settle().await;
    member.send_all(&sent[1..]);
    sleep(Duration::from_millis(4900)).await;
    script.release();
    settle().await;
    let expected = [sent[..1].to_vec(), sent[1..].to_vec()];
    assert_eq!(messages(MSGAPP, &script.written()), expected);
    // At the third tick: the first two were while something was queued.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(script.written(), HEARTBEAT);
}

#[tokio::test(start_paused = true)]
async fn a_message_sent_when_a_heartbeat_is_due_goes_instead() {
    let member = Member::new();
    let script = script(MSGAPP, [any(TakesAll)]);
    let start = Instant::now();
    member.attach(MSGAPP, &script).await;
    tokio::time::sleep_until(start + Duration::from_millis(1666)).await;
    let sent = appends(&[10]);
    member.send_all(&sent);
    settle().await;
    assert_eq!(messages(MSGAPP, &script.written()), [sent]);
    script.finish();
}

#[tokio::test(start_paused = true)]
async fn a_write_that_trickles_is_not_given_up() {
    let member = Member::new();
    let script = script(MSGAPP, []).then_always(Blocks);
    member.attach(MSGAPP, &script).await;
    let sent = appends(&[1 << 20]);
    member.send_all(&sent);
    for _ in 0..60 {
        settle().await;
        script.push(any(Takes(1)));
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(member.ended(), [""; 0]);
    assert_eq!(script.calls().len(), 60);
    script.now_always(TakesAll);
    settle().await;
    assert!(messages(MSGAPP, &script.written()) == [sent]);
    assert_eq!(member.raft.drops(), []);
}

#[tokio::test(start_paused = true)]
async fn a_byte_every_4_9_seconds_is_progress_and_every_6_3_is_not() {
    for (every, survives) in [(4900, true), (6300, false)] {
        let member = Member::new();
        let script = script(MSGAPP, []).then_always(Blocks);
        member.attach(MSGAPP, &script).await;
        member.send_all(&appends(&[5000]));
        for _ in 0..20 {
            settle().await;
            script.push(any(Takes(1)));
            sleep(Duration::from_millis(every)).await;
        }
        assert_eq!(member.ended().is_empty(), survives, "{every} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_nothing_is_cut_after_5_seconds() {
    for offset in (0..=1600).step_by(100) {
        let member = Member::new();
        let script = script(MSGAPP, []).then_always(Blocks);
        member.attach(MSGAPP, &script).await;
        sleep(Duration::from_millis(offset)).await;
        let sent = Instant::now();
        member.send_all(&appends(&[5000, 10]));
        sleep(Duration::from_secs(7)).await;
        let ended = member.raft.timed_events("ended");
        let [(at, text)] = &ended[..] else { panic!("{ended:?}") };
        assert_eq!(text, "msgapp to 2 ended: WriteTimeout(5s)");
        let after = (*at - sent).as_millis();
        // Timers go by whole milliseconds.
        assert!((5000..=6252).contains(&after), "after {after} ms");
        assert_eq!(member.raft.drops(), [(Class::Append, DropReason::StreamClosed, 2)]);
        assert!(script.is_dropped());
        assert_eq!(script.written(), b"", "not even the end of the body");
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_not_taken_is_a_silent_peer_too() {
    let member = Member::new();
    let script = script(MESSAGE, []).then_always(Blocks);
    member.attach(MESSAGE, &script).await;
    sleep(Duration::from_secs(8)).await;
    assert_eq!(member.ended(), ["message to 2 ended: WriteTimeout(5s)"]);
    assert_eq!(member.raft.drops(), []);
}

// ---------------------------------------------------------------------------------------------
// Ends.

#[tokio::test(start_paused = true)]
async fn a_failed_write_ends_the_stream_and_reports_what_was_not_written() {
    for (does, error) in
        [(Takes(0), "Io(Kind(WriteZero))"), (Fails(ErrorKind::BrokenPipe), "Io(Kind(BrokenPipe))")]
    {
        for taken in [None, Some(50)] {
            let member = Member::new();
            let steps = taken.map(|bytes| any(Takes(bytes))).into_iter();
            let script = script(MESSAGE, steps.chain([any(Blocks), any(does)]));
            member.attach(MESSAGE, &script).await;
            let types = [MessageType::HEARTBEAT, MessageType::HEARTBEAT, MessageType::VOTE];
            // Three are in flight; two more are queued in each lane.
            member.send_all(&types.map(|kind| control(kind, 1)));
            settle().await;
            member.send_all(&[control(MessageType::HEARTBEAT, 2), proposal(10), proposal(5000)]);
            member.transport.send(&control(MessageType::PRE_VOTE, 2));
            assert_eq!(member.queue(MESSAGE).messages, 7);
            script.release();
            settle().await;
            assert_eq!(member.ended(), [format!("message to 2 ended: {error}")]);
            let closed = DropReason::StreamClosed;
            let drops = [
                (Class::Heartbeat, closed, 3),
                (Class::Election, closed, 2),
                (Class::Proposal, closed, 2),
            ];
            assert_eq!(member.raft.drops(), drops);
            assert_eq!(member.queue(MESSAGE), QueueLevel::default());
            assert_eq!(member.transport.peer(MemberId(2)).unwrap().dropped_messages, 7);
            assert!(script.is_dropped());
            script.written();
            script.finish();
            // There is no stream any more.
            member.transport.send(&control(MessageType::VOTE, 3));
            settle().await;
            assert_eq!(member.raft.drops(), [(Class::Election, DropReason::NoStream, 1)]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_anything_or_leaves_ends_the_stream() {
    let member = Member::new();
    let script1 = script(MSGAPP, []);
    member.attach(MSGAPP, &script1).await;
    script1.receive(b"GET");
    settle().await;
    assert_eq!(member.ended(), ["msgapp to 2 ended: UnexpectedBytes"]);
    let script2 = script(MSGAPP, []);
    member.attach(MSGAPP, &script2).await;
    script2.end_input();
    settle().await;
    assert_eq!(member.ended()[1..], ["msgapp to 2 ended: Closed"]);
    script1.finish();
    script2.finish();
}

#[tokio::test(start_paused = true)]
async fn stop_ends_the_body_of_an_idle_stream() {
    let member = Member::new();
    let scripts = [MSGAPP, MESSAGE].map(|kind| script(kind, [plain(TakesAll)]));
    member.attach(MSGAPP, &scripts[0]).await;
    member.attach(MESSAGE, &scripts[1]).await;
    let start = Instant::now();
    member.transport.stop().await;
    assert!(start.elapsed() < Duration::from_millis(50), "{:?}", start.elapsed());
    for script in scripts {
        assert_eq!(script.written(), LAST_CHUNK);
        assert!(script.is_dropped());
        script.finish();
    }
    assert_eq!(member.ended(), ["msgapp to 2 ended: Stopped", "message to 2 ended: Stopped"]);
}

#[tokio::test(start_paused = true)]
async fn stop_does_not_wait_for_a_socket_that_takes_nothing() {
    for steps in [&[][..], &[any(Takes(30))][..]] {
        let member = Member::new();
        let script = script(MSGAPP, steps.iter().copied()).then_always(Blocks);
        member.attach(MSGAPP, &script).await;
        let sent = appends(&[100, 100, 100]);
        member.send_all(&sent[..1]);
        settle().await;
        member.send_all(&sent[1..]);
        let start = Instant::now();
        member.transport.stop().await;
        assert!(start.elapsed() <= Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(script.is_dropped());
        assert_eq!(member.raft.drops(), [(Class::Append, DropReason::StreamClosed, 3)]);
        assert_eq!(member.ended(), ["msgapp to 2 ended: Stopped"]);
    }
}

/// What ends the body must not stand within a chunk: `0 CR LF` would be taken for the last bytes of
/// a frame that lacks three, and the CR LF behind it for the end of the chunk.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_closed_within_a_chunk_gets_no_end() {
    for missing in 1..=20 {
        for is_replaced in [true, false] {
            let member = Member::new();
            // The socket takes bytes again just when the stream is closed.
            let steps = [any(TakesAllBut(missing)), any(BlocksOnce)];
            let script1 = script(MSGAPP, steps).then_always(TakesAll);
            member.attach(MSGAPP, &script1).await;
            let sent = appends(&[100]);
            member.send_all(&sent);
            settle().await;
            let whole = script1.written();
            let script2 = script(MSGAPP, []).then_always(TakesAll);
            if is_replaced {
                member.attach(MSGAPP, &script2).await;
            } else {
                member.transport.stop().await;
            }
            let written = script1.written();
            let rest = written.strip_suffix(LAST_CHUNK).unwrap_or(&written);
            if rest.is_empty() {
                assert_eq!(written, b"", "{missing} bytes of {whole:?} missing");
            } else {
                assert_eq!(rest.len(), missing);
                assert_eq!(messages(MSGAPP, &[&whole, rest].concat()), [sent]);
            }
        }
    }
}
