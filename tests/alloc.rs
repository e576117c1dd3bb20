//! Steady state allocates nothing: no AppEntries, encoded or decoded, costs a call to the allocator,
//! anywhere in the process, while a consumer holds the last messages and drops them on a thread of
//! its own.
//!
//! One test in a binary of its own, with a counting allocator: what another test did beside it would
//! be counted too.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/counting.rs"]
mod counting;
#[path = "support/kept.rs"]
mod kept;

use bytes::{Buf, BufMut, Bytes};
use counting::allocations;
use kept::Kept;
use raftwire::buf::{FrameCache, Pool, PoolConfig, ReceiveBuffer, WriteQueue};
use raftwire::codec::{Config, FrameKind, msgappv2};
use raftwire::raftpb::{Entry, Message, MessageType, RaftMessage};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Instant;

/// One size of message, and how many go through.
struct Shape {
    entries: usize,
    entry_bytes: usize,
    messages: u64,
    /// How many the consumer holds.
    held: usize,
}

impl Shape {
    fn frame_bytes(&self) -> usize {
        self.entries * (self.entry_bytes + 20)
    }
}

const fn shape(entries: usize, entry_bytes: usize, messages: u64, held: usize) -> Shape {
    Shape { entries, entry_bytes, messages, held }
}

/// The grid. Of the largest messages there are fewer, and fewer are held: 64 x 64 KiB is 4 MiB, and a
/// test must fit in time and memory.
const SHAPES: [Shape; 9] = [
    shape(1, 64, 100_000, 1000),
    shape(1, 1 << 10, 100_000, 1000),
    shape(1, 64 << 10, 100_000, 1000),
    shape(8, 64, 100_000, 1000),
    shape(8, 1 << 10, 100_000, 1000),
    shape(8, 64 << 10, 100_000, 200),
    shape(64, 64, 100_000, 1000),
    shape(64, 1 << 10, 100_000, 1000),
    shape(64, 64 << 10, 2_000, 32),
];

/// A leader's messages: the entries are made once, and their payloads shared, as a log's are.
struct Leader {
    message: Message,
}

impl Leader {
    fn new(shape: &Shape) -> Self {
        let entry = |_| Entry {
            term: 5,
            data: Some(Bytes::from(vec![7; shape.entry_bytes])),
            ..Entry::default()
        };
        let mut entries: Vec<_> = (0..shape.entries).map(entry).collect();
        for (position, entry) in entries.iter_mut().enumerate() {
            entry.index = 1 + position as u64;
        }
        let message = Message {
            message_type: MessageType::APP,
            term: 5,
            log_term: 5,
            entries: entries.into(),
            ..Message::default()
        };
        Self { message }
    }

    fn next(&mut self) -> &Message {
        let message = &mut self.message;
        let count = message.entries.len() as u64;
        message.index += count;
        message.commit = message.index;
        for entry in message.entries.iter_mut() {
            entry.index += count;
        }
        message
    }
}

/// How many messages may be on their way to the consumer: few enough that their blocks, free all at
/// once, are fewer than the pool keeps.
fn on_the_way(held: usize) -> usize {
    (held / 4).min(64)
}

/// How many messages the consumer holds at the most in the warm-up: some more than later, and those of
/// a whole block more, so that whatever the two threads' timing is then, and wherever blocks begin, no
/// more memory is in use than there was.
fn held_warming_up(shape: &Shape) -> usize {
    let per_block = PoolConfig::default().block_bytes / shape.frame_bytes();
    shape.held + shape.held / 8 + per_block + 8
}

/// A bounded channel that allocates when it is made and never again, not even where a thread waits
/// for the first time, as the standard library's does.
struct Channel<M> {
    queue: Mutex<(VecDeque<M>, bool)>,
    changed: Condvar,
    bound: usize,
}

impl<M> Channel<M> {
    fn new(bound: usize) -> Self {
        let queue = Mutex::new((VecDeque::with_capacity(bound), false));
        Self { queue, changed: Condvar::new(), bound }
    }

    fn send(&self, message: M) {
        let queue = self.queue.lock().unwrap();
        let mut queue = self.changed.wait_while(queue, |it| it.0.len() == self.bound).unwrap();
        queue.0.push_back(message);
        self.changed.notify_all();
    }

    fn close(&self) {
        self.queue.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn receive(&self) -> Option<M> {
        let queue = self.queue.lock().unwrap();
        let mut queue = self.changed.wait_while(queue, |it| it.0.is_empty() && !it.1).unwrap();
        self.changed.notify_all();
        queue.0.pop_front()
    }
}

/// Holds the last messages, and drops the older ones on its own thread.
///
/// It stops once it holds what it holds at the most, until `go`: by then the way to it is full too.
fn consumer<M: RaftMessage + Send + 'static>(
    held: usize,
    most: usize,
) -> (Arc<Channel<M>>, mpsc::Sender<()>, std::thread::JoinHandle<u64>) {
    let channel = Arc::new(Channel::<M>::new(on_the_way(held)));
    let receiver = channel.clone();
    let (go, wait) = mpsc::channel();
    let consume = move || {
        let mut last = VecDeque::with_capacity(most + 1);
        let mut bytes = 0;
        let mut warm = false;
        while let Some(message) = receiver.receive() {
            bytes += message
                .entries()
                .iter()
                .map(|entry| M::entry(entry).data.map_or(0, |data| data.len() as u64))
                .sum::<u64>();
            last.push_back(message);
            if !warm && last.len() == most {
                wait.recv().unwrap();
                warm = true;
                last.drain(..most - held);
            }
            if warm && last.len() > held {
                last.pop_front();
            }
        }
        bytes
    };
    #[allow(clippy::disallowed_methods, reason = "a test may start a thread")]
    (channel, go, std::thread::spawn(consume))
}

fn peak_rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
}

#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Sends `shape` through encoder, queue, block and decoder, into messages of type `M`, and returns how
/// many allocations the messages after the warm-up cost.
fn run<M: RaftMessage + Send + 'static>(shape: &Shape) -> u64 {
    let pool = Pool::new(PoolConfig::default());
    let mut leader = Leader::new(shape);
    let mut encoder = msgappv2::Encoder::new(Config::default());
    let mut queue = WriteQueue::new();
    let mut decoder = msgappv2::Decoder::<M>::new(Config::default());
    let mut received = ReceiveBuffer::new(pool.clone());
    let (channel, go, consumer) = consumer::<M>(shape.held, held_warming_up(shape));
    let full = (held_warming_up(shape) + on_the_way(shape.held)) as u64;
    // More than that, so that every recycled list has once held a message, and that the stream is
    // past its first blocks.
    let blocks = 4 * (pool.config().block_bytes / shape.frame_bytes()) as u64;
    let lists = M::lists().ready() as u64;
    let warm_up = 2 * full + blocks + lists;
    let mut sent = 0;
    let mut app_entries = 0;
    let mut before = 0;
    let now = now();
    for number in 0..warm_up + shape.messages {
        if number == warm_up {
            before = allocations();
        }
        encoder.encode(leader.next(), &mut queue).unwrap();
        // The socket: what is queued is copied into the other side's block.
        while queue.has_remaining() {
            let mut room = received.space(decoder.needed(), now).unwrap().room().unwrap();
            let count = room.remaining_mut().min(queue.chunk().len());
            room.put_slice(&queue.chunk()[..count]);
            queue.advance(count);
            while let Some(frame) = decoder.decode(&mut received).unwrap() {
                app_entries += u64::from(frame.kind == FrameKind::AppEntries);
                channel.send(frame.message);
                sent += 1;
                if sent == full {
                    go.send(()).unwrap();
                }
            }
        }
    }
    let allocations = allocations() - before;
    let stats = pool.stats();
    channel.close();
    let bytes = consumer.join().unwrap();
    assert_eq!(sent, warm_up + shape.messages);
    assert_eq!(app_entries, sent - 1, "all but the first are AppEntries");
    assert_eq!(bytes, sent * (shape.entries * shape.entry_bytes) as u64);
    println!(
        "{:>2} x {:>5} B{}: {allocations} allocations in {} messages, {} held; pool {} KiB in {} \
         blocks, {} KiB pinned, {} KiB live, peak RSS {} MiB",
        shape.entries,
        shape.entry_bytes,
        if M::KEEPS_ENCODING { ", encodings kept" } else { "" },
        shape.messages,
        shape.held,
        stats.allocated_bytes >> 10,
        stats.blocks_allocated,
        stats.pinned_bytes >> 10,
        stats.live_bytes >> 10,
        peak_rss_kib() >> 10,
    );
    allocations
}

/// One frame for four followers: encoded into memory that comes back.
fn run_shared(shape: &Shape) -> u64 {
    let mut leader = Leader::new(shape);
    let follower = || (msgappv2::Encoder::new(Config::default()), WriteQueue::new());
    let mut followers: Vec<_> = (0..4).map(|_| follower()).collect();
    let mut frames = FrameCache::new();
    let mut before = 0;
    for number in 0..2_000 {
        if number == 100 {
            before = allocations();
        }
        let message = leader.next();
        let mut sharing = frames.share(message);
        for (encoder, queue) in &mut followers {
            encoder.encode_shared(message, &mut sharing, queue).unwrap();
        }
        for (_, queue) in &mut followers {
            queue.advance(queue.remaining());
        }
    }
    allocations() - before
}

// Without libtest: its main thread allocates when a test takes long, in the middle of a count.
fn main() {
    for shape in &SHAPES {
        assert_eq!(run::<Message>(shape), 0, "{} x {}", shape.entries, shape.entry_bytes);
        assert_eq!(run::<Kept>(shape), 0, "kept {} x {}", shape.entries, shape.entry_bytes);
        assert_eq!(run_shared(shape), 0, "shared {} x {}", shape.entries, shape.entry_bytes);
    }
}
