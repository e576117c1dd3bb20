//! Two members over loopback TCP whose connections are cut again and again, at random bytes and at
//! random moments: what comes of the messages meanwhile, and that all is well afterwards.
//!
//! Not reported as dropped, and not received either, are messages the system had taken when the
//! connection was cut: nobody knows of those. So what is asserted is that there are none in the middle
//! of a connection.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test may wait")]

use bytes::Bytes;
use fastrand::Rng;
use raftwire::raftpb::{Entry, Message, MessageType};
use raftwire::transport::{
    BoxSocket, Class, ClusterId, Config, Dial, Dialing, Direction, Driver, DropReason, Dropped,
    Event, MemberId, PeerUrl, Raft, StreamKind, Transport,
};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Shutdown, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Whoever waits for longer than this waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);

// ---------------------------------------------------------------------------------------------
// Connections that are cut.

/// Dials over TCP. The connections it makes break by themselves, and when they are told to.
struct Killer {
    random: Mutex<Rng>,
    is_on: Arc<AtomicBool>,
    live: Mutex<Vec<(std::net::TcpStream, Weak<()>)>>,
    /// What is left of those that were told to.
    dying: Mutex<Vec<Weak<()>>>,
}

impl Killer {
    fn new(seed: u64) -> Arc<Self> {
        let is_on = Arc::new(AtomicBool::new(true));
        let random = Mutex::new(Rng::with_seed(seed));
        Arc::new(Self { random, is_on, live: Mutex::default(), dying: Mutex::default() })
    }

    /// Cuts one of the connections, in the middle of whatever is going on there.
    fn kill_one(&self) {
        let mut live = self.live.lock().unwrap();
        if !live.is_empty() {
            let victim = self.random.lock().unwrap().usize(..live.len());
            let (socket, life) = live.swap_remove(victim);
            // It may have ended by itself.
            let _ = socket.shutdown(Shutdown::Both);
            self.dying.lock().unwrap().push(life);
        }
    }

    /// Cuts no more, and waits until nobody uses a connection that was.
    fn stop(&self) {
        self.is_on.store(false, Ordering::SeqCst);
        self.live.lock().unwrap().clear();
        let dying = self.dying.lock().unwrap();
        wait_until("those that are cut are given up", || {
            dying.iter().all(|life| life.strong_count() == 0)
        });
    }

    fn socket(&self, socket: TcpStream) -> io::Result<BoxSocket> {
        let socket = socket.into_std()?;
        let life = Arc::new(());
        self.live.lock().unwrap().push((socket.try_clone()?, Arc::downgrade(&life)));
        let mut random = self.random.lock().unwrap();
        let bytes_max = [600, 10_000, 1 << 20, 8 << 20][random.usize(..4)];
        let left = random.usize(..bytes_max);
        let is_clean = random.bool();
        let is_on = self.is_on.clone();
        let socket = TcpStream::from_std(socket)?;
        Ok(Box::new(Mortal { socket, left, is_clean, is_on, _life: life }))
    }
}

/// A `Dial` is handed over, and the killer kept.
struct KillingDial(Arc<Killer>);

impl Dial for KillingDial {
    fn dial(&self, url: &PeerUrl) -> Dialing {
        let (killer, address) = (self.0.clone(), url.authority().to_owned());
        Box::pin(async move { killer.socket(TcpStream::connect(address).await?) })
    }
}

/// A socket that ends after so many bytes: as if the peer had closed it, or with an error.
struct Mortal {
    socket: TcpStream,
    left: usize,
    is_clean: bool,
    is_on: Arc<AtomicBool>,
    _life: Arc<()>,
}

impl AsyncRead for Mortal {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_on = this.is_on.load(Ordering::SeqCst);
        if is_on && this.left == 0 {
            let error = if this.is_clean { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) };
            return Poll::Ready(error);
        }
        let most = buf.remaining().min(if is_on { this.left } else { usize::MAX });
        let mut room = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut this.socket).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        this.left = this.left.saturating_sub(count);
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Mortal {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

// ---------------------------------------------------------------------------------------------
// Messages that can be told apart, and checked.

/// What is sent: each class is numbered by itself. Proposals wait in a lane of their own.
const TYPES: [MessageType; 4] =
    [MessageType::APP, MessageType::APP_RESP, MessageType::HEARTBEAT, MessageType::PROP];

/// A payload that belongs to this number and no other.
fn payload(number: u64, bytes: usize) -> Bytes {
    let mut random = Rng::with_seed(number);
    let mut payload = Vec::with_capacity(bytes + 8);
    payload.extend_from_slice(&number.to_be_bytes());
    payload.extend_from_slice(&(bytes as u64).to_be_bytes());
    let pattern = random.u64(..).to_be_bytes();
    payload.extend(pattern.iter().cycle().take(bytes));
    payload.into()
}

fn assert_payload(number: u64, found: &Bytes) {
    let bytes = u64::from_be_bytes(found[8..16].try_into().unwrap());
    let expected = payload(number, usize::try_from(bytes).unwrap());
    assert!(*found == expected, "the payload of {number} is another");
}

fn message(kind: MessageType, from: u64, number: u64, bytes: usize) -> Message {
    let mut message = Message {
        message_type: kind,
        from,
        to: 3 - from,
        term: 5,
        index: number,
        ..Message::default()
    };
    let entry =
        |index, term| Entry { index, term, data: Some(payload(number, bytes)), ..Entry::default() };
    match kind {
        MessageType::APP => {
            message.log_term = 5;
            message.commit = number;
            // One entry each: what follows without a loss continues the log.
            message.entries = vec![entry(number + 1, 5)].into();
        }
        MessageType::PROP => message.entries = vec![entry(0, 0), entry(0, 0)].into(),
        MessageType::HEARTBEAT => message.context = Some(payload(number, bytes.min(1 << 10))),
        _ => {}
    }
    message
}

// ---------------------------------------------------------------------------------------------
// A member.

#[derive(Default)]
struct Log {
    /// The numbers of each class, and where a connection of the message stream began.
    received: HashMap<Class, Vec<u64>>,
    /// Of each class: how many had been received when a message stream was opened.
    openings: HashMap<Class, Vec<usize>>,
    opened: usize,
    dropped: HashMap<(Class, DropReason), u64>,
}

/// Notes and checks what it is told.
#[derive(Default)]
struct Recorder(Mutex<Log>);

impl Raft<Message> for Recorder {
    fn process(&self, _: MemberId, message: Message) {
        let number = message.index;
        for entry in message.entries.iter() {
            assert_payload(number, entry.data.as_ref().unwrap());
        }
        if let Some(context) = &message.context {
            assert_payload(number, context);
        }
        if message.message_type == MessageType::APP {
            assert_eq!((message.commit, message.log_term), (number, 5));
            assert_eq!((message.entries.len(), message.entries[0].index), (1, number + 1));
        }
        assert_eq!((message.from, message.term), (3 - message.to, 5));
        let class = Class::of(message.message_type);
        self.0.lock().unwrap().received.entry(class).or_default().push(number);
    }

    fn unreachable(&self, dropped: &Dropped) {
        let cell = (dropped.class, dropped.reason);
        *self.0.lock().unwrap().dropped.entry(cell).or_default() += dropped.count;
    }

    fn is_removed(&self, _: MemberId) -> bool {
        false
    }

    fn event(&self, event: &Event<'_>) {
        let Event::Opened { kind, direction: Direction::Incoming, .. } = event else {
            return;
        };
        let mut log = self.0.lock().unwrap();
        log.opened += 1;
        if *kind == StreamKind::Message {
            for kind in TYPES {
                let class = Class::of(kind);
                let count = log.received.get(&class).map_or(0, Vec::len);
                log.openings.entry(class).or_default().push(count);
            }
        }
    }
}

struct Member {
    id: u64,
    raft: Arc<Recorder>,
    transport: Transport<Message>,
    killer: Arc<Killer>,
    url: PeerUrl,
    /// How many of each class were sent; the last one's number.
    sent: HashMap<Class, u64>,
    // Dropped last: the transport's tasks run on it.
    driver: Driver,
}

impl Member {
    fn start(id: u64, seed: u64) -> Self {
        let mut config = Config::new(MemberId(id), ClusterId(7));
        config.redial.wait_min = Duration::from_millis(1);
        config.redial.wait_max = Duration::from_millis(4);
        let raft = Arc::new(Recorder::default());
        let driver = Driver::start().unwrap();
        let killer = Killer::new(seed);
        let dial = Arc::new(KillingDial(killer.clone()));
        let transport = Transport::start_with(config, raft.clone(), driver.handle(), dial).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        transport.serve(listener).unwrap();
        Self { id, raft, transport, killer, url, sent: HashMap::new(), driver }
    }

    fn peer(&self) -> MemberId {
        MemberId(3 - self.id)
    }

    fn send(&mut self, kind: MessageType, bytes: usize) {
        let number = self.sent.entry(Class::of(kind)).or_default();
        *number += 1;
        self.transport.send(&message(kind, self.id, *number, bytes));
    }

    fn has_all_streams(&self) -> bool {
        let streams = self.transport.peer(self.peer()).unwrap().streams;
        streams.iter().all(|stream| stream.is_incoming_open && stream.is_outgoing_open)
    }

    /// Whether its queues are short enough that nothing is dropped because they are full.
    fn has_room(&self) -> bool {
        let streams = self.transport.peer(self.peer()).unwrap().streams;
        let short = |bytes, messages| bytes < 16 << 20 && messages < 1000;
        streams.iter().all(|stream| short(stream.queue.bytes, stream.queue.messages))
    }

    fn received(&self, class: Class) -> Vec<u64> {
        self.raft.0.lock().unwrap().received.get(&class).cloned().unwrap_or_default()
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether `numbers` are two increasing sequences, merged.
fn is_merged(numbers: &[u64]) -> bool {
    let (mut greater, mut smaller) = (0, 0);
    numbers.iter().all(|&number| {
        if number > greater {
            greater = number;
            return true;
        }
        let increases = number > smaller;
        smaller = number;
        increases
    })
}

/// Asserts of what `to` received that it is what `from` sent, in order.
fn check(from: &Member, to: &Member) {
    let log = to.raft.0.lock().unwrap();
    let reported = from.raft.0.lock().unwrap().dropped.clone();
    for kind in TYPES {
        let class = Class::of(kind);
        let (sent, received) = (from.sent[&class], &log.received[&class]);
        let context = format!("{class} from {}", from.id);
        let distinct: BTreeSet<_> = received.iter().collect();
        assert_eq!(distinct.len(), received.len(), "{context}: none is received twice");
        assert!(received.iter().all(|number| (1..=sent).contains(number)), "{context}");
        if class == Class::Append {
            // While there is no msgapp stream they take the other; between the two is no order.
            assert!(is_merged(received), "{context}: {received:?}");
            continue;
        }
        assert!(received.is_sorted(), "{context}: {received:?}");
        // A connection loses nothing but at its end.
        let openings = log.openings[&class].iter().copied();
        let ends = openings.clone().skip(1).chain([received.len()]);
        for (start, end) in openings.zip(ends) {
            let epoch = &received[start..end];
            let is_whole = epoch.windows(2).all(|two| two[0] + 1 == two[1]);
            assert!(is_whole, "{context}: {epoch:?}");
        }
        let dropped: u64 =
            reported.iter().filter(|(cell, _)| cell.0 == class).map(|(_, count)| count).sum();
        assert!(dropped <= sent, "{context}: {dropped} of {sent} are reported");
    }
    let reasons: BTreeSet<_> = reported.keys().map(|cell| cell.1.name()).collect();
    let expected =
        BTreeSet::from([DropReason::NoStream, DropReason::StreamClosed].map(DropReason::name));
    assert!(reasons.is_subset(&expected), "{reasons:?}");
    // Each was written whole or reported, never both; some of those may have arrived in part of a
    // batch.
    let stats = from.transport.peer(from.peer()).unwrap();
    let written: u64 = stats.streams.iter().map(|stream| stream.written_messages).sum();
    let all: u64 = from.sent.values().sum();
    assert_eq!(written + stats.dropped_messages, all, "{} sent by {}", all, from.id);
    assert_eq!(reported.values().sum::<u64>(), stats.dropped_messages, "all drops are reported");
    let arrived: usize = log.received.values().map(Vec::len).sum();
    println!(
        "{} -> {}: {all} sent, {arrived} received, {} dropped, {} connections",
        from.id, to.id, stats.dropped_messages, log.opened
    );
    assert!(log.opened > 10 && arrived as u64 > all / 4, "{} {arrived}", log.opened);
}

fn run(seed: u64) {
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let mut members = [1, 2].map(|id| Member::start(id, seed ^ id));
    for at in 0..2 {
        let url = members[1 - at].url.clone();
        members[at].transport.add_peer(members[at].peer(), &[url]).unwrap();
    }
    for number in 0..4000 {
        if number % 40 == 0 {
            wait_until("streams are opened between the kills", || {
                members.iter().all(Member::has_all_streams)
            });
        }
        let member = &mut members[random.usize(..2)];
        wait_until("the queue is written, or the stream ends", || member.has_room());
        let bytes = match random.u32(..100) {
            0 => 1 << 20,
            1..10 => random.usize(..100 << 10),
            _ => random.usize(..200),
        };
        member.send(TYPES[random.usize(..4)], bytes);
        if random.u32(..60) == 0 {
            member.killer.kill_one();
        }
    }
    for member in &members {
        member.killer.stop();
    }
    // Now that nothing is cut any more a message gets through, and from then on all do.
    let before = members.each_ref().map(|member| member.sent.clone());
    wait_until("something gets through again", || {
        for member in &mut members {
            TYPES.iter().for_each(|kind| member.send(*kind, 100));
        }
        let gets_through = |from: usize| {
            let last = |kind: &MessageType| members[1 - from].received(Class::of(*kind)).pop();
            TYPES.iter().all(|kind| last(kind) > Some(before[from][&Class::of(*kind)]))
        };
        (0..2).all(gets_through)
    });
    for _ in 0..100 {
        for member in &mut members {
            TYPES.iter().for_each(|kind| member.send(*kind, 100));
        }
    }
    for (from, to) in [(0, 1), (1, 0)] {
        let (from, to) = (&members[from], &members[to]);
        for kind in TYPES {
            let class = Class::of(kind);
            let last = from.sent[&class];
            wait_until("the last are received", || {
                let received = to.received(class);
                (last - 99..=last).all(|number| received.contains(&number))
            });
        }
    }
    for member in &members {
        member.driver.handle().block_on(member.transport.stop());
    }
    check(&members[0], &members[1]);
    check(&members[1], &members[0]);
}

#[test]
fn connections_that_are_cut_lose_their_last_messages_and_no_others() {
    for seed in 1..=4 {
        run(seed);
    }
}
