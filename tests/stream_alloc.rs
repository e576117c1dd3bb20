//! Steady state allocates nothing, end to end: no AppEntries sent by one process and processed by
//! another, nor its answer, costs either of them a call to the allocator, on any thread.
//!
//! One test in a binary of its own, with a counting allocator. It starts itself again as the
//! follower; the two talk over loopback TCP as members do, and are told what to do over pipes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test may start threads and ask the clock")]

#[path = "support/counting.rs"]
mod counting;

use bytes::Bytes;
use counting::allocations;
use raftwire::raftpb::{Entry, Message, MessageType};
use raftwire::transport::{ClusterId, Config, Driver, Dropped, MemberId, PeerUrl, Raft, Transport};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// One size of message, and how many make a round.
struct Shape {
    entries: usize,
    entry_bytes: usize,
    messages: u64,
    /// How many the follower's consumer holds.
    held: usize,
}

impl Shape {
    /// How many messages are on their way at once: 1024, or 32 MiB of them.
    fn window(&self) -> u64 {
        (WINDOW_BYTES / (self.entries * self.entry_bytes)).min(1024) as u64
    }
}

const WINDOW_BYTES: usize = 32 << 20;

const fn shape(entries: usize, entry_bytes: usize, messages: u64, held: usize) -> Shape {
    Shape { entries, entry_bytes, messages, held }
}

/// The grid. Rounds of the larger messages are of fewer.
const SHAPES: [Shape; 9] = [
    shape(1, 64, 20_000, 1000),
    shape(1, 1 << 10, 20_000, 1000),
    shape(1, 64 << 10, 2_000, 128),
    shape(8, 64, 10_000, 1000),
    shape(8, 1 << 10, 10_000, 1000),
    shape(8, 64 << 10, 300, 16),
    shape(64, 64, 3_000, 1000),
    shape(64, 1 << 10, 2_000, 128),
    shape(64, 64 << 10, 40, 4),
];

/// Buffers grow to what the two processes' timing asks of them, which differs from run to run; so
/// rounds go on until one allocates nothing. What costs something each time never gets there.
const ROUNDS_MAX: usize = 100;

/// Whoever waits for longer than this waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);

const LEADER: MemberId = MemberId(1);
const FOLLOWER: MemberId = MemberId(2);

/// A member on a thread of its own, and where it listens.
struct Member<R> {
    raft: Arc<R>,
    transport: Transport<Message>,
    port: u16,
    // Dropped last: the transport's tasks run on it.
    _driver: Driver,
}

impl<R: Raft<Message>> Member<R> {
    fn start(id: MemberId, raft: R, heartbeat: Option<Duration>) -> Self {
        let raft = Arc::new(raft);
        let driver = Driver::start().unwrap();
        let mut config = Config::new(id, ClusterId(7));
        if let Some(heartbeat) = heartbeat {
            config.timeouts.heartbeat = heartbeat;
        }
        let transport = Transport::start(config, raft.clone(), driver.handle()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        transport.serve(listener).unwrap();
        Self { raft, transport, port, _driver: driver }
    }

    fn add_peer(&self, peer: MemberId, port: u16) {
        let url: PeerUrl = format!("http://127.0.0.1:{port}").parse().unwrap();
        self.transport.add_peer(peer, &[url]).unwrap();
    }
}

// ---------------------------------------------------------------------------------------------
// The leader.

/// Sends the next message whenever one was answered.
struct Leader {
    transport: OnceLock<Transport<Message>>,
    log: Mutex<Log>,
    acknowledged: Condvar,
}

/// The entries are made once, and their payloads shared, as a log's are.
struct Log {
    message: Message,
    sent: u64,
    acknowledged: u64,
    /// How many are to be sent.
    goal: u64,
}

impl Leader {
    fn new(shape: &Shape) -> Self {
        let entry = |position| Entry {
            term: 5,
            index: 1 + position as u64,
            data: Some(Bytes::from(vec![7; shape.entry_bytes])),
            ..Entry::default()
        };
        let message = Message {
            message_type: MessageType::APP,
            from: LEADER.0,
            to: FOLLOWER.0,
            term: 5,
            log_term: 5,
            entries: (0..shape.entries).map(entry).collect(),
            ..Message::default()
        };
        let log = Log { message, sent: 0, acknowledged: 0, goal: 0 };
        Self { transport: OnceLock::new(), log: Mutex::new(log), acknowledged: Condvar::new() }
    }

    fn send_next(&self, log: &mut Log) {
        if log.sent == log.goal {
            return;
        }
        log.sent += 1;
        let message = &mut log.message;
        let count = message.entries.len() as u64;
        message.index += count;
        message.commit = message.index;
        for entry in message.entries.iter_mut() {
            entry.index += count;
        }
        self.transport.get().unwrap().send(message);
    }

    /// Sends so many more, with so many on their way at once, until all are answered.
    fn run(&self, messages: u64, window: u64) {
        let mut log = self.log.lock().unwrap();
        log.goal += messages;
        for _ in 0..window {
            self.send_next(&mut log);
        }
        let unanswered = |log: &mut Log| log.acknowledged < log.goal;
        let (log, waited) =
            self.acknowledged.wait_timeout_while(log, PATIENCE, unanswered).unwrap();
        assert!(!waited.timed_out(), "{} of {} answered", log.acknowledged, log.goal);
    }
}

impl Raft<Message> for Leader {
    fn process(&self, _: MemberId, message: Message) {
        assert_eq!(message.message_type, MessageType::APP_RESP);
        let mut log = self.log.lock().unwrap();
        log.acknowledged += 1;
        self.send_next(&mut log);
        if log.acknowledged == log.goal {
            self.acknowledged.notify_all();
        }
    }

    fn unreachable(&self, dropped: &Dropped) {
        panic!("{dropped}");
    }

    fn is_removed(&self, _: MemberId) -> bool {
        false
    }
}

/// The other process.
struct Other {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    line: String,
}

/// What marks an answer among the lines of the test harness.
const MARK: char = '@';

impl Other {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "app_entries_cost_no_allocation_end_to_end", "--nocapture"])
            .env(IS_FOLLOWER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, commands, answers, line: String::with_capacity(1 << 10) }
    }

    /// Tells the follower something and returns the number it answers.
    fn ask(&mut self, command: &str, number: usize) -> u64 {
        writeln!(self.commands, "{command} {number}").unwrap();
        loop {
            self.line.clear();
            assert!(self.answers.read_line(&mut self.line).unwrap() > 0, "the follower is gone");
            if let Some((_, answer)) = self.line.split_once(MARK) {
                return answer.trim_end().parse().unwrap();
            }
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Starts both members, and waits for their streams.
fn meet(number: usize, shape: &Shape, other: &mut Other) -> Member<Leader> {
    let heartbeat = (number == IDLE).then_some(IDLE_HEARTBEAT);
    let leader = Member::start(LEADER, Leader::new(shape), heartbeat);
    assert!(leader.raft.transport.set(leader.transport.clone()).is_ok());
    other.ask("shape", number);
    let port = other.ask("port", leader.port.into());
    leader.add_peer(FOLLOWER, u16::try_from(port).unwrap());
    wait_until("all streams are open", || {
        let streams = leader.transport.peer(FOLLOWER).unwrap().streams;
        streams.iter().all(|stream| stream.is_outgoing_open && stream.is_incoming_open)
    });
    leader
}

/// Goes on until a round of messages allocates nothing.
fn lead(number: usize, other: &mut Other) {
    let shape = &SHAPES[number];
    let leader = meet(number, shape, other);
    let mut rounds = Vec::new();
    loop {
        other.ask("begin", 0);
        let before = allocations();
        leader.raft.run(shape.messages, shape.window());
        let ours = allocations() - before;
        let theirs = other.ask("end", 0);
        rounds.push((ours, theirs));
        if (ours, theirs) == (0, 0) {
            break;
        }
        let what = format!("{} x {} B", shape.entries, shape.entry_bytes);
        assert!(rounds.len() < ROUNDS_MAX, "{what}: {rounds:?}");
    }
    println!(
        "{:>2} x {:>5} B: 0 and 0 allocations in {} messages, {} on their way, after {:?}",
        shape.entries,
        shape.entry_bytes,
        shape.messages,
        shape.window(),
        &rounds[..rounds.len() - 1],
    );
    let stats = leader.transport.peer(FOLLOWER).unwrap();
    assert_eq!(stats.dropped_messages, 0);
    assert_eq!(stats.streams[0].written_messages, rounds.len() as u64 * shape.messages);
    let processed = other.ask("stop", 0);
    assert_eq!(processed, rounds.len() as u64 * shape.messages);
}

/// Instead of a shape's number: streams over which nothing goes but link heartbeats.
const IDLE: usize = SHAPES.len();
const IDLE_HEARTBEAT: Duration = Duration::from_millis(2);

/// Goes on until some link heartbeats in a row cost no allocation.
fn idle(other: &mut Other) {
    let leader = meet(IDLE, &SHAPES[0], other);
    let bytes = || {
        let streams = leader.transport.peer(FOLLOWER).unwrap().streams;
        streams.map(|stream| (stream.written_bytes, stream.read_bytes))
    };
    let mut rounds = Vec::new();
    loop {
        other.ask("begin", 0);
        let (before, start) = (allocations(), bytes());
        // On the msgapp stream a heartbeat is a chunk of one byte, 6 with its framing.
        wait_until("50 heartbeats both ways", || {
            let passed = |(now, then): (&(u64, u64), &(u64, u64))| {
                now.0 - then.0 >= 50 * 6 && now.1 - then.1 >= 50 * 6
            };
            bytes().iter().zip(&start).all(passed)
        });
        let ours = allocations() - before;
        let theirs = other.ask("end", 0);
        rounds.push((ours, theirs));
        if (ours, theirs) == (0, 0) {
            break;
        }
        assert!(rounds.len() < ROUNDS_MAX, "heartbeats: {rounds:?}");
    }
    println!("heartbeats: 0 and 0 allocations, after {:?}", &rounds[..rounds.len() - 1]);
    assert_eq!(other.ask("stop", 0), 0);
}

// ---------------------------------------------------------------------------------------------
// The follower.

/// Where it is set, this process is the follower.
const IS_FOLLOWER: &str = "RAFTWIRE_STREAM_ALLOC_FOLLOWER";

/// The way of messages to their consumer. It allocates when it is made and never again.
struct Inbox {
    state: Mutex<InboxState>,
    changed: Condvar,
}

struct InboxState {
    messages: VecDeque<Message>,
    /// Of the reader that waits for room.
    waker: Option<Waker>,
    is_closed: bool,
}

/// From this many on the stream is not read.
const INBOX_MESSAGES_MAX: usize = 64;

/// How many may come in a turn that began below.
const TURN_MESSAGES_MAX: usize = 256;

impl Inbox {
    fn new() -> Self {
        let messages = VecDeque::with_capacity(INBOX_MESSAGES_MAX + 2 * TURN_MESSAGES_MAX);
        let state = InboxState { messages, waker: None, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn receive(&self) -> Option<Message> {
        let is_waiting = |state: &mut InboxState| state.messages.is_empty() && !state.is_closed;
        let state = self.state.lock().unwrap();
        let mut state = self.changed.wait_while(state, is_waiting).unwrap();
        let message = state.messages.pop_front();
        let has_room = state.messages.len() < INBOX_MESSAGES_MAX;
        let waker = if has_room { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        message
    }

    fn close(&self) {
        self.state.lock().unwrap().is_closed = true;
        self.changed.notify_all();
    }
}

/// Answers each message, and hands it on.
struct Follower {
    transport: OnceLock<Transport<Message>>,
    inbox: Inbox,
    processed: AtomicU64,
}

impl Raft<Message> for Follower {
    fn process(&self, _: MemberId, message: Message) {
        self.processed.fetch_add(1, Ordering::Relaxed);
        let last = message.index + message.entries.len() as u64;
        self.transport.get().unwrap().send(&Message {
            message_type: MessageType::APP_RESP,
            from: FOLLOWER.0,
            to: LEADER.0,
            term: message.term,
            index: last,
            ..Message::default()
        });
        self.inbox.state.lock().unwrap().messages.push_back(message);
        self.inbox.changed.notify_one();
    }

    fn poll_ready(&self, _: MemberId, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.inbox.state.lock().unwrap();
        if state.messages.len() < INBOX_MESSAGES_MAX {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn unreachable(&self, dropped: &Dropped) {
        panic!("{dropped}");
    }

    fn is_removed(&self, _: MemberId) -> bool {
        false
    }
}

/// Holds the last messages, and drops the older ones on its own thread.
fn consume(follower: &Follower, shape: &Shape) {
    let mut last = VecDeque::with_capacity(shape.held + 1);
    while let Some(message) = follower.inbox.receive() {
        let bytes: usize = message.entries.iter().map(|it| it.data.as_ref().unwrap().len()).sum();
        assert_eq!(bytes, shape.entries * shape.entry_bytes);
        last.push_back(message);
        if last.len() > shape.held {
            last.pop_front();
        }
    }
}

/// A follower, and its consumer's thread.
type Following = (Member<Follower>, thread::JoinHandle<()>);

fn follow() {
    let mut commands = std::io::stdin().lock();
    let mut line = String::with_capacity(1 << 10);
    let mut following: Option<Following> = None;
    let mut before = 0;
    while commands.read_line(&mut line).unwrap() > 0 {
        let now = allocations();
        let (command, number) = line.trim_end().split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        let answer = match command {
            "shape" => {
                let (transport, inbox) = (OnceLock::new(), Inbox::new());
                let raft = Follower { transport, inbox, processed: AtomicU64::new(0) };
                let heartbeat = (number == IDLE).then_some(IDLE_HEARTBEAT);
                let member = Member::start(FOLLOWER, raft, heartbeat);
                assert!(member.raft.transport.set(member.transport.clone()).is_ok());
                let raft = member.raft.clone();
                let shape = SHAPES.get(number).unwrap_or(&SHAPES[0]);
                let consumer = thread::spawn(move || consume(&raft, shape));
                following = Some((member, consumer));
                0
            }
            "port" => {
                let (member, _) = following.as_ref().unwrap();
                member.add_peer(LEADER, u16::try_from(number).unwrap());
                member.port.into()
            }
            "begin" => 0,
            "end" => now - before,
            "stop" => {
                let (member, consumer) = following.take().unwrap();
                member.raft.inbox.close();
                consumer.join().unwrap();
                member.raft.processed.load(Ordering::Relaxed)
            }
            other => panic!("{other}"),
        };
        line.clear();
        // Behind what the harness writes there without ending its line.
        println!("{MARK}{answer}");
        before = allocations();
    }
}

#[test]
fn app_entries_cost_no_allocation_end_to_end() {
    if std::env::var_os(IS_FOLLOWER).is_some() {
        return follow();
    }
    let mut other = Other::start();
    for number in 0..SHAPES.len() {
        lead(number, &mut other);
    }
    idle(&mut other);
}
