//! How long encoding and decoding take, over the grid of shapes: group = operation, function = the
//! way it is done, id = parameters.
//!
//! A pass goes over a load of some messages and is what the clock brackets; criterion is told the
//! time of one message. Encoding is into one queue that is used again, decoding from pooled blocks
//! of 256 KiB, each message dropped before the next.
//!
//! Not here: other codecs (`raftwire bench`), instructions (`icount.rs`), sockets (`gather.rs`).

mod support;

use bytes::Buf;
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use raftwire::buf::{FrameCache, Pool, WriteQueue};
use raftwire::codec::{Config, Frame, message, msgappv2};
use raftwire::raftpb::{Dialect, Message};
use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};
use support::{Decode, GRID, Load, Receiver, Shape, app_resp, check, heartbeat};

/// About this much stream in a pass: it stays in the second-level cache or the third, as bytes do
/// that came from a socket a moment ago.
const PASS_BYTES: usize = 1 << 20;

/// A busy writer finds this much queued.
const FLUSH_BYTES: u64 = 256 << 10;
const FLUSH_MESSAGES_MAX: u64 = 64;

/// As many slices as tokio passes to a vectored write.
const SLICES: usize = 64;

/// The followers of clusters of 3, 5 and 7 members.
const FOLLOWERS: [usize; 3] = [2, 4, 6];

fn load(shape: Shape) -> Load {
    let count = (PASS_BYTES / (shape.entries * (shape.bytes + 24) + 17)).clamp(2, 256);
    Load::app_entries(shape, count)
}

fn small_messages() -> [(&'static str, Load); 2] {
    [("heartbeat", heartbeat()), ("app_resp", app_resp())]
        .map(|(name, message)| (name, Load::repeated(&message, 256, Dialect::default())))
}

fn time(operation: impl FnOnce()) -> Duration {
    #[allow(clippy::disallowed_methods, reason = "a bench may ask the clock")]
    let start = Instant::now();
    operation();
    start.elapsed()
}

fn throughput(load: &Load, followers: u64) -> Throughput {
    Throughput::ElementsAndBytes {
        elements: followers,
        bytes: load.bytes_per_message() * followers,
    }
}

/// Benches `pass`, which returns how long all measured messages of `load` took.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    load: &Load,
    mut pass: impl FnMut() -> Duration,
) {
    let messages = load.measured().len() as u64;
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|iterations| {
            let passes = iterations.div_ceil(messages);
            let total: Duration = (0..passes).map(|_| pass()).sum();
            total.mul_f64(iterations as f64 / (passes * messages) as f64)
        });
    });
}

/// What becomes of a queue that is full enough.
#[derive(Clone, Copy)]
enum Flush {
    /// Emptied: the time is the encoder's.
    Clear,
    /// Gathered and advanced, as by a writer whose vectored writes cost nothing.
    Gather,
}

impl Flush {
    fn flush(self, queue: &mut WriteQueue) -> usize {
        let bytes = queue.len();
        match self {
            Self::Clear => queue.clear(),
            Self::Gather => {
                while queue.has_remaining() {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let filled = queue.chunks_vectored(&mut slices);
                    let written = slices[..filled].iter().map(|slice| slice.len()).sum();
                    black_box(&slices);
                    queue.advance(written);
                }
            }
        }
        bytes
    }
}

/// Times one pass of an encoder.
fn encode_pass(
    load: &Load,
    flush: Flush,
    queue: &mut WriteQueue,
    mut encode: impl FnMut(&Message, &mut WriteQueue),
) -> Duration {
    for message in load.lead() {
        encode(message, queue);
    }
    queue.clear();
    let flush_messages = (FLUSH_BYTES / load.bytes_per_message()).clamp(1, FLUSH_MESSAGES_MAX);
    let mut bytes = 0;
    let time = time(|| {
        for batch in load.measured().chunks(flush_messages as usize) {
            for message in batch {
                encode(message, queue);
            }
            bytes += flush.flush(queue);
        }
    });
    assert_eq!(bytes, load.stream.len() - load.lead_bytes);
    time
}

fn msgappv2_encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("msgappv2_encode");
    for shape in GRID {
        let load = load(shape);
        check(&load, msgappv2::Decoder::new);
        group.throughput(throughput(&load, 1));
        for (way, flush) in [("queue", Flush::Clear), ("queue_and_gather", Flush::Gather)] {
            let mut encoder = msgappv2::Encoder::new(Config::default());
            let mut queue = WriteQueue::new();
            bench(&mut group, BenchmarkId::new(way, shape), &load, || {
                encode_pass(&load, flush, &mut queue, |message, queue| {
                    encoder.encode(message, queue).expect("a valid message");
                })
            });
        }
    }
}

fn message_encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message_encode");
    for (name, load) in small_messages() {
        check(&load, message::Decoder::new);
        group.throughput(throughput(&load, 1));
        let mut encoder = message::Encoder::new(Config::default());
        let mut queue = WriteQueue::new();
        bench(&mut group, BenchmarkId::new("queue", name), &load, || {
            encode_pass(&load, Flush::Clear, &mut queue, |message, queue| {
                encoder.encode(message, queue).expect("a valid message");
            })
        });
    }
}

/// Benches decoding from a block that was filled before, and with the copy into the block: from a
/// socket that copy is the kernel's, but a codec that reads from an `io::Read` makes one of its own.
fn decode<D: Decode>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    load: &Load,
    make: impl Fn(Config) -> D,
) {
    check(load, &make);
    group.throughput(throughput(load, 1));
    let (lead, stream) = load.stream.split_at(load.lead_bytes);

    let mut receiver = Receiver::new(&make, Pool::default());
    let id = BenchmarkId::new("filled_block", name);
    bench(group, id, load, || {
        synchronise(&mut receiver, lead);
        let mut rest = stream;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            receiver.fill(&mut rest);
            total += time(|| receiver.drain(consume));
        }
        total
    });

    let mut receiver = Receiver::new(&make, Pool::default());
    let id = BenchmarkId::new("with_copy", name);
    bench(group, id, load, || {
        synchronise(&mut receiver, lead);
        let mut rest = stream;
        time(|| {
            while !rest.is_empty() {
                receiver.fill(&mut rest);
                receiver.drain(consume);
            }
        })
    });
}

/// The message is dropped before the next is decoded.
#[inline]
fn consume(frame: Frame<Message>) {
    black_box(&frame);
}

fn synchronise<D: Decode>(receiver: &mut Receiver<D>, mut lead: &[u8]) {
    while !lead.is_empty() {
        receiver.fill(&mut lead);
        receiver.drain(drop);
    }
}

fn msgappv2_decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("msgappv2_decode");
    for shape in GRID {
        let load = load(shape);
        decode(&mut group, &shape.to_string(), &load, msgappv2::Decoder::new);
    }
}

fn message_decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message_decode");
    for (name, load) in small_messages() {
        decode(&mut group, name, &load, message::Decoder::new);
    }
}

/// A leader's side of one message to all followers.
struct Leader {
    shares: bool,
    cache: FrameCache,
    followers: Vec<(msgappv2::Encoder, WriteQueue)>,
}

impl Leader {
    fn new(followers: usize, shares: bool) -> Self {
        let follower = || (msgappv2::Encoder::new(Config::default()), WriteQueue::new());
        Self {
            shares,
            cache: FrameCache::new(),
            followers: std::iter::repeat_with(follower).take(followers).collect(),
        }
    }

    fn encode(&mut self, message: &Message) {
        let mut sharing = self.cache.share(message);
        for (encoder, queue) in &mut self.followers {
            let encoded = if self.shares {
                encoder.encode_shared(message, &mut sharing, queue)
            } else {
                encoder.encode(message, queue)
            };
            encoded.expect("a valid message");
        }
    }

    fn pass(&mut self, load: &Load) -> Duration {
        for message in load.lead() {
            self.encode(message);
        }
        self.clear();
        let flush_messages = (FLUSH_BYTES / load.bytes_per_message()).clamp(1, FLUSH_MESSAGES_MAX);
        time(|| {
            for batch in load.measured().chunks(flush_messages as usize) {
                for message in batch {
                    self.encode(message);
                }
                self.clear();
            }
        })
    }

    fn clear(&mut self) {
        for (_, queue) in &mut self.followers {
            queue.clear();
        }
    }

    /// Every follower must get the whole stream.
    fn check(&mut self, load: &Load) {
        for message in &load.messages {
            self.encode(message);
        }
        for (_, queue) in &mut self.followers {
            let bytes = queue.copy_to_bytes(queue.remaining());
            assert!(bytes == load.stream, "a follower's stream differs");
        }
    }
}

fn msgappv2_fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("msgappv2_fan_out");
    for shape in GRID {
        let load = load(shape);
        for followers in FOLLOWERS {
            group.throughput(throughput(&load, followers as u64));
            for (way, shares) in [("shared", true), ("apart", false)] {
                let mut leader = Leader::new(followers, shares);
                leader.check(&load);
                let id = BenchmarkId::new(way, format!("followers_{followers}_{shape}"));
                bench(&mut group, id, &load, || leader.pass(&load));
            }
        }
    }
}

fn criterion() -> Criterion {
    // Short: these operations repeat a million times a second, and there are many of them.
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1000))
        .sample_size(20)
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = msgappv2_encode, msgappv2_decode, message_encode, message_decode, msgappv2_fan_out
}
criterion_main!(benches);
