//! How many instructions encoding and decoding take, counted by callgrind: the same number in every
//! run, so that CI can hold it. `icount.sh` runs this and compares with what is expected.
//!
//! Each bench does one operation on [`MESSAGES`] messages; what it needs is set up, and what it
//! leaves is dropped, outside of what is counted. All memory has been used before, as in a stream's
//! steady state, so nothing is allocated either.
//!
//! Not here: time (`codec.rs`).

#![allow(unused_qualifications, reason = "what gungraun's macros expand to")]

mod support;

use gungraun::{
    Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use raftwire::buf::{FrameCache, Pool, PoolConfig, WriteQueue};
use raftwire::codec::{Config, Frame, message, msgappv2};
use raftwire::raftpb::{Dialect, Message};
use std::hint::black_box;
use support::{
    Decode, Load, Receiver, Shape, app_resp, app_resp_long_ids, check, heartbeat, heartbeat_resp,
};

/// The messages of a bench. `icount.sh` divides by it.
const MESSAGES: usize = 8;

/// The followers of a cluster of five.
const FOLLOWERS: usize = 4;

/// A warm encoder in step, with its messages and an empty queue.
struct Sender<E> {
    encoder: E,
    queue: WriteQueue,
    messages: Vec<Message>,
}

impl<E> Sender<E> {
    fn new(load: Load, encoder: E, encode: impl Fn(&mut E, &Message, &mut WriteQueue)) -> Self {
        let mut sender = Self { encoder, queue: WriteQueue::new(), messages: load.messages };
        // The first time the queue gets its memory; the lead of the second sets the stream's state.
        for message in &sender.messages {
            encode(&mut sender.encoder, message, &mut sender.queue);
        }
        for message in sender.messages.drain(..load.lead) {
            encode(&mut sender.encoder, &message, &mut sender.queue);
        }
        sender.queue.clear();
        sender
    }
}

fn msgappv2_sender(entries: usize, bytes: usize) -> Sender<msgappv2::Encoder> {
    let load = Load::app_entries(Shape::new(entries, bytes), MESSAGES);
    let encoder = msgappv2::Encoder::new(Config::default());
    Sender::new(load, encoder, |encoder, message, queue| {
        encoder.encode(message, queue).expect("a valid message");
    })
}

#[library_benchmark(setup = msgappv2_sender)]
#[bench::entries_1_bytes_64(1, 64)]
#[bench::entries_1_bytes_1024(1, 1024)]
#[bench::entries_1_bytes_65536(1, 65536)]
#[bench::entries_8_bytes_1024(8, 1024)]
#[bench::entries_64_bytes_64(64, 64)]
#[bench::entries_64_bytes_1024(64, 1024)]
#[bench::entries_64_bytes_65536(64, 65536)]
fn msgappv2_encode(mut sender: Sender<msgappv2::Encoder>) -> Sender<msgappv2::Encoder> {
    for message in &sender.messages {
        let encoded = sender.encoder.encode(message, &mut sender.queue);
        let _ = black_box(encoded);
    }
    sender
}

fn message_sender(message: Message, dialect: Dialect) -> Sender<message::Encoder> {
    let load = Load::repeated(&message, MESSAGES, dialect);
    let encoder = message::Encoder::new(Config::default().dialect(dialect));
    Sender::new(load, encoder, |encoder, message, queue| {
        encoder.encode(message, queue).expect("a valid message");
    })
}

#[library_benchmark(setup = message_sender)]
#[bench::heartbeat(heartbeat(), Dialect::V3_4)]
#[bench::heartbeat_3_6(heartbeat(), Dialect::V3_6)]
#[bench::heartbeat_3_7(heartbeat(), Dialect::V3_7)]
#[bench::heartbeat_resp(heartbeat_resp(), Dialect::V3_4)]
#[bench::heartbeat_resp_3_6(heartbeat_resp(), Dialect::V3_6)]
#[bench::heartbeat_resp_3_7(heartbeat_resp(), Dialect::V3_7)]
#[bench::app_resp(app_resp(), Dialect::V3_4)]
#[bench::app_resp_3_6(app_resp(), Dialect::V3_6)]
#[bench::app_resp_3_7(app_resp(), Dialect::V3_7)]
#[bench::app_resp_long_ids(app_resp_long_ids(), Dialect::V3_4)]
fn message_encode(mut sender: Sender<message::Encoder>) -> Sender<message::Encoder> {
    for message in &sender.messages {
        let encoded = sender.encoder.encode(message, &mut sender.queue);
        let _ = black_box(encoded);
    }
    sender
}

/// A leader whose followers are in step.
struct Leader {
    cache: FrameCache,
    followers: Vec<(msgappv2::Encoder, WriteQueue)>,
    messages: Vec<Message>,
}

impl Leader {
    #[inline]
    fn encode(&mut self, message: &Message) {
        let mut sharing = self.cache.share(message);
        for (encoder, queue) in &mut self.followers {
            let encoded = encoder.encode_shared(message, &mut sharing, queue);
            let _ = black_box(encoded);
        }
    }
}

fn leader(entries: usize, bytes: usize) -> Leader {
    let load = Load::app_entries(Shape::new(entries, bytes), MESSAGES);
    let follower = || (msgappv2::Encoder::new(Config::default()), WriteQueue::new());
    let mut leader = Leader {
        cache: FrameCache::new(),
        followers: std::iter::repeat_with(follower).take(FOLLOWERS).collect(),
        messages: Vec::new(),
    };
    // Twice, since a frame's memory moves on with each message; then the lead, which sets the state.
    for messages in [&load.messages, &load.messages, load.lead()] {
        for message in messages {
            leader.encode(message);
        }
        for (_, queue) in &mut leader.followers {
            queue.clear();
        }
    }
    leader.messages = load.measured().to_vec();
    leader
}

#[library_benchmark(setup = leader)]
#[bench::followers_4_entries_1_bytes_64(1, 64)]
#[bench::followers_4_entries_64_bytes_64(64, 64)]
#[bench::followers_4_entries_64_bytes_1024(64, 1024)]
fn msgappv2_fan_out(mut leader: Leader) -> Leader {
    let messages = std::mem::take(&mut leader.messages);
    for message in &messages {
        leader.encode(message);
    }
    leader.messages = messages;
    leader
}

/// A warm decoder in step, and its stream in one block.
fn filled<D: Decode>(load: &Load, make: impl Fn(Config) -> D) -> Receiver<D> {
    check(load, &make);
    let mut config = PoolConfig::default();
    // The stream twice over, and the room below which a block counts as full.
    config.block_bytes = config.block_bytes.max(3 * load.stream.len());
    let mut receiver = Receiver::new(make, Pool::new(config));
    receiver.fill(&mut &load.stream[..]);
    // All at once, so that there are as many lists of entries as will be wanted.
    let mut decoded = Vec::new();
    receiver.drain(|frame| decoded.push(frame));
    assert_eq!(decoded.len(), load.messages.len());
    receiver.fill(&mut &load.stream[..]);
    for _ in load.lead() {
        let lead = receiver.next();
        assert!(matches!(lead, Ok(Some(_))));
    }
    receiver
}

#[inline]
fn decode<D: Decode>(receiver: &mut Receiver<D>) {
    for _ in 0..MESSAGES {
        let decoded = receiver.next();
        black_box(&decoded);
        // To drop it, or to move it, is not to decode it.
        std::mem::forget(decoded);
    }
}

fn msgappv2_filled(entries: usize, bytes: usize) -> Receiver<msgappv2::Decoder<Message>> {
    let load = Load::app_entries(Shape::new(entries, bytes), MESSAGES);
    filled(&load, msgappv2::Decoder::new)
}

#[library_benchmark(setup = msgappv2_filled)]
#[bench::entries_1_bytes_64(1, 64)]
#[bench::entries_1_bytes_1024(1, 1024)]
#[bench::entries_1_bytes_65536(1, 65536)]
#[bench::entries_8_bytes_1024(8, 1024)]
#[bench::entries_64_bytes_64(64, 64)]
#[bench::entries_64_bytes_1024(64, 1024)]
#[bench::entries_64_bytes_65536(64, 65536)]
fn msgappv2_decode(
    mut receiver: Receiver<msgappv2::Decoder<Message>>,
) -> Receiver<msgappv2::Decoder<Message>> {
    decode(&mut receiver);
    receiver
}

fn message_filled(message: Message, dialect: Dialect) -> Receiver<message::Decoder<Message>> {
    filled(&Load::repeated(&message, MESSAGES, dialect), message::Decoder::new)
}

#[library_benchmark(setup = message_filled)]
#[bench::heartbeat(heartbeat(), Dialect::V3_4)]
#[bench::heartbeat_3_6(heartbeat(), Dialect::V3_6)]
#[bench::heartbeat_3_7(heartbeat(), Dialect::V3_7)]
#[bench::heartbeat_resp(heartbeat_resp(), Dialect::V3_4)]
#[bench::heartbeat_resp_3_6(heartbeat_resp(), Dialect::V3_6)]
#[bench::heartbeat_resp_3_7(heartbeat_resp(), Dialect::V3_7)]
#[bench::app_resp(app_resp(), Dialect::V3_4)]
#[bench::app_resp_3_6(app_resp(), Dialect::V3_6)]
#[bench::app_resp_3_7(app_resp(), Dialect::V3_7)]
#[bench::app_resp_long_ids(app_resp_long_ids(), Dialect::V3_4)]
fn message_decode(
    mut receiver: Receiver<message::Decoder<Message>>,
) -> Receiver<message::Decoder<Message>> {
    decode(&mut receiver);
    receiver
}

/// Frames, and the receiver that their memory goes back to.
type Decoded<D> = (Vec<Frame<Message>>, Receiver<D>);

fn decoded<D: Decode>(mut receiver: Receiver<D>) -> Decoded<D> {
    let mut frames = Vec::new();
    receiver.drain(|frame| frames.push(frame));
    assert_eq!(frames.len(), MESSAGES);
    (frames, receiver)
}

fn msgappv2_decoded(entries: usize, bytes: usize) -> Decoded<msgappv2::Decoder<Message>> {
    decoded(msgappv2_filled(entries, bytes))
}

// What the consumer pays for what was decoded: reference counts, and lists that go home.
#[library_benchmark(setup = msgappv2_decoded)]
#[bench::entries_1_bytes_64(1, 64)]
#[bench::entries_64_bytes_64(64, 64)]
fn msgappv2_drop(
    mut decoded: Decoded<msgappv2::Decoder<Message>>,
) -> Decoded<msgappv2::Decoder<Message>> {
    decoded.0.clear();
    decoded
}

fn message_decoded(message: Message, dialect: Dialect) -> Decoded<message::Decoder<Message>> {
    decoded(message_filled(message, dialect))
}

#[library_benchmark(setup = message_decoded)]
#[bench::heartbeat(heartbeat(), Dialect::V3_4)]
#[bench::app_resp(app_resp(), Dialect::V3_4)]
fn message_drop(
    mut decoded: Decoded<message::Decoder<Message>>,
) -> Decoded<message::Decoder<Message>> {
    decoded.0.clear();
    decoded
}

library_benchmark_group!(
    name = icount,
    benchmarks = [
        msgappv2_encode,
        msgappv2_fan_out,
        msgappv2_decode,
        msgappv2_drop,
        message_encode,
        message_decode,
        message_drop
    ]
);

/// glibc picks its `memcpy` by the processor, and each takes a number of instructions of its own.
/// Without these features it picks the plain SSE2 one on every x86-64, so that counts made on one
/// machine hold on another.
const MEMCPY: &str = "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-ERMS,-SSSE3";

fn config() -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.env("GLIBC_TUNABLES", MEMCPY).tool(Callgrind::with_args(["--cache-sim=no"]));
    config
}

main!(config = config(), library_benchmark_groups = icount);
