//! The targets of the two stream encoders.
//!
//! Input: the bytes of choices of the stream targets, then choices of messages. Asserted of the
//! messages they make:
//!
//! - the naive encoder writes the same frames, in both modes and each dialect;
//! - strict mode refuses what the rules forbid and nothing else, and then queues nothing and leaves
//!   its state;
//! - a frame shared by several followers is the frame each would have encoded;
//! - however a queue is written, by chunks or gathered, its bytes come out in order;
//! - what is decoded is what the frames carry.

use super::codecs::{self, BLOCK_BYTES, Stream};
use super::expected::carried;
use super::input::Input;
use super::{Env, decode, naive};
use crate::buf::{FrameCache, WriteQueue};
use crate::codec::{Config, Deviations, FrameKind, Limits, Mode, msgappv2};
use crate::error::EncodeErrorKind;
use crate::raftpb::Message;
use bytes::Buf;
use std::io::IoSlice;

/// No input makes more.
const MESSAGES_MAX: usize = 64;

pub(super) fn msgappv2(input: &[u8], env: &Env) {
    stream(Stream::MsgAppV2, input, env);
}

pub(super) fn message(input: &[u8], env: &Env) {
    stream(Stream::Message, input, env);
}

fn stream(stream: Stream, input: &[u8], env: &Env) {
    let mut input = Input(input);
    let config = decode::config(&mut input);
    let sizes = input.sizes();
    // A message follows on what strict mode has taken before it.
    let mut follows = msgappv2::Encoder::new(Config::default());
    let mut messages = Vec::new();
    while !input.is_empty() && messages.len() < MESSAGES_MAX {
        let state = follows.state();
        let message = input.message(state.term, state.index);
        let _ = follows.encode(&message, &mut WriteQueue::new());
        messages.push(message);
    }
    for mode in [Mode::Strict, Mode::AsEtcd] {
        let config = config.clone().mode(mode);
        equals_naive(stream, &config, &messages);
        let config = config.limits(Limits::default());
        let (written, bytes) = equals_naive(stream, &config, &messages);
        decodes(stream, &config, &written, &bytes, env);
        if stream == Stream::MsgAppV2 {
            shares(&config, &messages);
        }
    }
    queue_keeps_order(stream, &config, &messages, sizes);
}

type Written<'a> = Vec<(&'a Message, FrameKind)>;

/// Returns the messages that were not refused, and the bytes they became.
fn equals_naive<'a>(
    stream: Stream,
    config: &Config,
    messages: &'a [Message],
) -> (Written<'a>, Vec<u8>) {
    let mut encoder = codecs::Encoder::new(stream, config.clone());
    let mut queue = WriteQueue::new();
    let mut state = (0, 0);
    let (mut written, mut bytes) = (Vec::new(), Vec::new());
    for message in messages {
        let before = state;
        let (kind, frame) = naive::encode(stream, &mut state, message, config.dialect);
        let strict = stream == Stream::Message
            || config.mode == Mode::AsEtcd
            || naive::is_strict(before, message, config.check_entry_terms);
        let (len, slices, copied) = (queue.len(), queue.slices(), queue.copied_bytes());
        match encoder.encode(message, &mut queue) {
            Ok(found) => {
                assert_eq!(found, kind);
                assert!(strict, "strict mode refuses {message:?}");
                assert!(is_within(&config.limits, kind, frame.len() as u64));
                bytes.extend_from_slice(&frame);
                assert_eq!(queue.len(), bytes.len(), "the queue knows its length");
                written.push((message, kind));
            }
            Err(error) => {
                let limit = matches!(error.kind, EncodeErrorKind::Limit { bytes, limit }
                    if bytes > limit && bytes <= frame.len() as u64);
                assert!(limit || !strict, "{error}");
                let unchanged = (queue.len(), queue.slices(), queue.copied_bytes());
                assert_eq!(unchanged, (len, slices, copied), "{error}");
                state = before;
            }
        }
        if let codecs::Encoder::MsgAppV2(encoder) = &encoder {
            let found = encoder.state();
            assert_eq!((found.term, found.index), state);
        }
    }
    let queued = queue.copy_to_bytes(queue.len());
    assert_eq!(queued, bytes, "ours, naive");
    (written, bytes)
}

fn is_within(limits: &Limits, kind: FrameKind, len: u64) -> bool {
    match kind {
        FrameKind::LinkHeartbeat => true,
        FrameKind::AppEntries => len <= limits.frame_bytes_max,
        FrameKind::MsgApp => len - 9 <= limits.message_bytes_max,
        FrameKind::Message => len - 8 <= limits.message_bytes_max,
    }
}

fn decodes(stream: Stream, config: &Config, written: &Written<'_>, bytes: &[u8], env: &Env) {
    let sizes = std::iter::repeat(BLOCK_BYTES);
    let outcome = codecs::decode(stream, config, bytes, sizes, env.now);
    assert_eq!(outcome.end, Ok(Deviations::default()));
    assert_eq!(outcome.frames.len(), written.len());
    for (frame, (message, kind)) in outcome.frames.iter().zip(written) {
        assert_eq!(frame.kind, *kind);
        let expected = carried(message, *kind, config.dialect, config.local, config.remote);
        assert_eq!(frame.message, expected);
    }
}

/// Three followers, one of which is told of every other message only and so falls out of step.
fn shares(config: &Config, messages: &[Message]) {
    struct Follower {
        encoder: msgappv2::Encoder,
        queue: WriteQueue,
    }
    let follower =
        |_| Follower { encoder: msgappv2::Encoder::new(config.clone()), queue: WriteQueue::new() };
    let mut cache = FrameCache::new();
    let (mut sharing, mut alone) = ([1, 2, 3].map(follower), [1, 2, 3].map(follower));
    for (position, message) in messages.iter().enumerate() {
        // Each follower's message names it, but for link heartbeats; what they share is the frame.
        let to = |to| if message.to == 0 { 0 } else { to };
        let messages = [1, 2, 3].map(|id| Message { to: to(id), ..message.clone() });
        let mut shared = cache.share(&messages[0]);
        for (id, message) in messages.iter().enumerate() {
            if id == 2 && position % 2 == 1 {
                continue;
            }
            let Follower { encoder, queue } = &mut sharing[id];
            let result = encoder.encode_shared(message, &mut shared, queue);
            let Follower { encoder, queue } = &mut alone[id];
            assert_eq!(result, encoder.encode(message, queue));
            assert_eq!(sharing[id].encoder.state(), encoder.state());
        }
    }
    for (sharing, alone) in sharing.iter_mut().zip(&mut alone) {
        assert_eq!(sharing.queue.len(), alone.queue.len());
        let expected = alone.queue.copy_to_bytes(alone.queue.len());
        assert!(sharing.queue.copy_to_bytes(expected.len()) == expected, "shared, alone");
    }
}

fn queue_keeps_order(
    stream: Stream,
    config: &Config,
    messages: &[Message],
    mut sizes: impl Iterator<Item = usize>,
) {
    let config = config.clone().mode(Mode::AsEtcd).limits(Limits::default());
    let mut encoder = codecs::Encoder::new(stream, config.clone());
    let mut queue = WriteQueue::new();
    let (mut written, mut expected, mut state) = (Vec::new(), Vec::new(), (0, 0));
    for message in messages {
        let (_, frame) = naive::encode(stream, &mut state, message, config.dialect);
        expected.extend(frame);
        assert!(encoder.encode(message, &mut queue).is_ok());
        // What is not written now is written behind the next message.
        let size = sizes.next().unwrap_or_default();
        write(&mut queue, size, &mut written);
    }
    while !queue.is_empty() {
        write(&mut queue, sizes.next().unwrap_or(1), &mut written);
    }
    assert!(written == expected, "the queue keeps its order");
    assert_eq!((queue.slices(), queue.chunk()), (0, &[][..]));
}

/// Writes up to `size` bytes as a socket would that takes no more, from up to 4 slices.
fn write(queue: &mut WriteQueue, size: usize, out: &mut Vec<u8>) {
    assert_eq!(queue.is_empty(), queue.chunk().is_empty());
    let mut slices = [IoSlice::new(&[]); 4];
    let count = queue.chunks_vectored(&mut slices);
    assert!(count <= queue.slices());
    assert_eq!(slices.first().map(|slice| &slice[..]), Some(queue.chunk()));
    let mut left = size.min(queue.len());
    let before = out.len();
    for slice in &slices[..count] {
        let taken = left.min(slice.len());
        out.extend_from_slice(&slice[..taken]);
        left -= taken;
    }
    queue.advance(out.len() - before);
}
