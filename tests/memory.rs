//! What a stream may make this process hold, and for how long: the pool's blocks, the budget, and what
//! happens at it. Malformed input is `malformed.rs`'s, and that nothing is allocated `alloc.rs`'s.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test may ask the clock")]

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raftwire::buf::{Pool, PoolConfig, ReceiveBuffer, Space, WriteQueue};
use raftwire::codec::framed::{MessageStream, MsgAppV2, StreamError};
use raftwire::codec::{Config, Deviations, Frame, Limits, Mode, message};
use raftwire::error::{DecodeError, DecodeErrorKind, Fault};
use raftwire::raftpb::{Message, MessageType};
use std::time::{Duration, Instant};
use tokio_util::codec::Decoder as _;

const BLOCK: usize = 4 << 10;

fn pool(budget_bytes: usize) -> Pool {
    let mut config = PoolConfig::default();
    config.block_bytes = BLOCK;
    config.budget_bytes = budget_bytes;
    config.free_bytes_max = 16 * BLOCK;
    Pool::new(config)
}

struct Stream {
    received: ReceiveBuffer,
    decoder: message::Decoder<Message>,
    now: Instant,
}

/// What came of some bytes.
#[derive(Debug, PartialEq)]
enum Outcome {
    Frames(Vec<Message>),
    Waits,
    Fails(DecodeError),
}

impl Stream {
    fn new(pool: &Pool, config: Config) -> Self {
        let received = ReceiveBuffer::new(pool.clone());
        Self { received, decoder: message::Decoder::new(config), now: Instant::now() }
    }

    fn receive(&mut self, mut bytes: &[u8]) -> Outcome {
        let mut frames = Vec::new();
        // A decoder that is asked again and again must get somewhere.
        for _ in 0..100_000 {
            let mut more = || -> Result<Option<Frame<Message>>, DecodeError> {
                self.decoder.decode(&mut self.received)
            };
            match more() {
                Ok(Some(frame)) => {
                    frames.push(frame.message);
                    continue;
                }
                Ok(None) => {}
                Err(error) => return Outcome::Fails(error),
            }
            match self.received.space(self.decoder.needed(), self.now) {
                Ok(Space::Room(_)) if bytes.is_empty() => return Outcome::Frames(frames),
                Ok(Space::Room(mut room)) => {
                    let count = room.remaining_mut().min(bytes.len());
                    room.put_slice(&bytes[..count]);
                    bytes.advance(count);
                }
                Ok(Space::Wait { .. }) => return Outcome::Waits,
                Ok(_) => {}
                Err(error) => return Outcome::Fails(error),
            }
        }
        panic!("neither a frame nor an error");
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u64).to_be_bytes()[..], body].concat()
}

fn with_context(len: usize) -> (Message, Vec<u8>) {
    let context = Some(Bytes::from(vec![7; len]));
    let message = Message { message_type: MessageType::READ_INDEX, context, ..Message::default() };
    let (mut encoder, mut queue) = (message::Encoder::new(Config::default()), WriteQueue::new());
    encoder.encode(&message, &mut queue).unwrap();
    let bytes = queue.copy_to_bytes(queue.remaining()).to_vec();
    (message, bytes)
}

/// `count` empty entries, and `count` more in a nested response: 4 bytes on the wire for two lists.
fn two_lists(count: usize) -> Vec<u8> {
    let entries = [0x3a, 0].repeat(count);
    let mut length = Vec::new();
    prost::encoding::encode_varint(entries.len() as u64, &mut length);
    framed(&[&entries[..], &[0x72], &length, &entries].concat())
}

#[test]
fn lists_that_can_never_fit_the_budget_are_an_error_and_no_livelock() {
    let pool = pool(1 << 20);
    let mut stream = Stream::new(&pool, Config::default());
    // Either list fits the budget, both do not.
    let Outcome::Fails(error) = stream.receive(&two_lists(12_000)) else { panic!("no error") };
    let DecodeErrorKind::Limit { announced, limit } = error.kind else { panic!("{error}") };
    assert!(announced > limit && limit == 1 << 20);
    assert_eq!(error.fault(), Fault::Peer);
    drop(stream);
    let stats = pool.stats();
    assert_eq!((stats.pinned_bytes, stats.allocated_bytes), (0, stats.free_bytes));
}

#[test]
fn lists_wait_for_memory_all_together_and_then_the_message_is_whole() {
    let pool = pool(2 << 20);
    let mut holder = Stream::new(&pool, Config::default());
    let (_, large) = with_context(900 << 10);
    let Outcome::Frames(held) = holder.receive(&large) else { panic!("it fits") };
    let mut stream = Stream::new(&pool, Config::default());
    assert_eq!(stream.receive(&two_lists(12_000)), Outcome::Waits);
    assert_eq!(stream.receive(&[]), Outcome::Waits, "and goes on waiting");
    drop((holder, held));
    let Outcome::Frames(frames) = stream.receive(&[]) else { panic!("there is memory") };
    assert_eq!((frames.len(), frames[0].entries.len()), (1, 12_000));
    assert_eq!(frames[0].responses[0].entries.len(), 12_000);
}

#[test]
fn a_budget_error_names_the_byte_of_the_stream() {
    let pool = pool(64 << 10);
    let mut stream = Stream::new(&pool, Config::default());
    let (_, small) = with_context(100);
    let many = small.repeat(200);
    assert!(matches!(stream.receive(&many), Outcome::Frames(frames) if frames.len() == 200));
    let (_, large) = with_context(100 << 10);
    assert_eq!(stream.receive(&large), Outcome::Waits);
    stream.now += pool.config().wait_max;
    let Outcome::Fails(error) = stream.receive(&[]) else { panic!("the wait is over") };
    assert_eq!(error.offset, many.len() as u64);
    assert_eq!(error.fault(), Fault::Local);
}

#[test]
fn an_endless_wait_is_a_setting() {
    let mut config = *pool(64 << 10).config();
    config.wait_max = Duration::MAX;
    let mut stream = Stream::new(&Pool::new(config), Config::default());
    let (_, large) = with_context(100 << 10);
    assert_eq!(stream.receive(&large), Outcome::Waits);
    stream.now += Duration::from_secs(1 << 20);
    assert_eq!(stream.receive(&[]), Outcome::Waits);
}

#[test]
fn a_message_at_the_limit_is_received_within_twice_the_limit() {
    const LIMIT: usize = 1 << 20;
    let mut limits = Limits::default();
    limits.message_bytes_max = LIMIT as u64;
    let overhead = with_context(LIMIT).1.len() - 8 - LIMIT;
    for (body, fits) in [(LIMIT - 8, true), (LIMIT, true), (LIMIT + 1, false)] {
        let pool = pool(2 * LIMIT);
        let mut stream = Stream::new(&pool, Config::default().limits(limits));
        let (message, bytes) = with_context(body - overhead);
        match stream.receive(&bytes) {
            Outcome::Frames(frames) => assert!(fits && frames == [message], "{body}"),
            Outcome::Fails(error) => {
                let kind = DecodeErrorKind::Limit { announced: body as u64, limit: LIMIT as u64 };
                assert!(!fits && error.kind == kind, "{body}: {error}");
            }
            Outcome::Waits => panic!("{body} does not fit the budget"),
        }
    }
}

#[test]
fn the_block_of_a_large_message_is_not_kept_by_its_stream() {
    let pool = pool(64 << 20);
    let (_, large) = with_context(8 << 20);
    let (_, small) = with_context(2000);
    let mut streams: Vec<_> = (0..4).map(|_| Stream::new(&pool, Config::default())).collect();
    let mut kept = Vec::new();
    for stream in &mut streams {
        assert!(matches!(stream.receive(&large), Outcome::Frames(frames) if frames.len() == 1));
        let Outcome::Frames(frames) = stream.receive(&small) else { panic!("there is memory") };
        kept.extend(frames);
    }
    // A block each that is being filled, and what lies ready.
    let most = streams.len() * 2 * BLOCK + pool.config().free_bytes_max;
    let stats = pool.stats();
    assert!(stats.allocated_bytes <= most, "{stats:?}");
    assert!(stats.free_bytes <= pool.config().free_bytes_max, "{stats:?}");
}

#[test]
fn a_framed_read_buffer_counts_against_the_budget() {
    let pool = pool(1 << 20);
    let mut codec = MessageStream::<Message>::with_pool(Config::default(), pool.clone());
    let mut buffer = BytesMut::new();
    buffer.put_u64(4 << 20);
    let mut most = 0;
    let error = loop {
        match codec.decode(&mut buffer) {
            Ok(frame) => assert!(frame.is_none()),
            Err(StreamError::Decode(error)) => break error,
            Err(other) => panic!("{other}"),
        }
        let room = buffer.capacity() - buffer.len();
        buffer.put_bytes(0, room.min(64 << 10));
        most = pool.stats().allocated_bytes.max(most);
    };
    assert_eq!(error.kind, DecodeErrorKind::Budget { waited: Duration::ZERO });
    assert!(most > 512 << 10 && most <= 1 << 20, "{most}");
    drop(codec);
    assert_eq!(pool.stats().allocated_bytes, 0);
}

#[test]
fn a_framed_stream_reports_how_it_ended() {
    let mut codec = MsgAppV2::<Message>::new(Config::default().mode(Mode::AsEtcd));
    assert!(codec.decode_eof(&mut BytesMut::from(&[1][..])).unwrap().is_none());
    assert_eq!(codec.deviations_at_end(), Deviations::END_INSIDE_FRAME);
    let mut codec = MsgAppV2::<Message>::new(Config::default());
    assert!(codec.decode_eof(&mut BytesMut::from(&[1][..])).is_err());
}
