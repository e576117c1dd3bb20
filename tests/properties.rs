//! The codecs against a naive oracle, on messages nobody wrote down: both streams encoded and
//! decoded straight from the wire format, with prost for the messages (`raftwire::fuzzing::naive`).
//!
//! `PROPTEST_CASES=10000 cargo test --test properties` looks longer than the default does. Bytes a
//! fuzzer found are replayed by `corpus.rs`, malformed ones have names in `malformed.rs`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use raftwire::buf::{FrameCache, Pool, PoolConfig, ReceiveBuffer, SHARE_BYTES_MIN, WriteQueue};
use raftwire::codec::framed::{MessageStream, MsgAppV2, StreamError};
use raftwire::codec::{Config, Deviations, Frame, FrameKind, Limits, Mode, message, msgappv2};
use raftwire::error::{DecodeError, EncodeError};
use raftwire::fuzzing::Stream;
use raftwire::fuzzing::naive::{self, End};
use raftwire::raftpb::{
    ConfState, Dialect, Entry, EntryType, Message, MessageType, RaftMessage, Snapshot,
    SnapshotMetadata, Wire, plain,
};
use std::io::IoSlice;
use std::time::Instant;
use tokio_util::codec::Encoder as _;

const LOCAL: u64 = 2;
const REMOTE: u64 = 1;

// ---------------------------------------------------------------------------------------------
// Messages, and streams of them.

fn dialect() -> impl Strategy<Value = Dialect> {
    prop::sample::select(Dialect::ALL.to_vec())
}

fn stream() -> impl Strategy<Value = Stream> {
    prop::sample::select(vec![Stream::MsgAppV2, Stream::Message])
}

/// Numbers of every width on the wire.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..4u64, 2 => 0..1000u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn payload() -> impl Strategy<Value = Option<Bytes>> {
    let len = prop_oneof![8 => 0..40usize, 1 => SHARE_BYTES_MIN - 2..SHARE_BYTES_MIN + 2];
    option::of((len, any::<u8>()).prop_map(|(len, fill)| Bytes::from(vec![fill; len])))
}

fn entry_type() -> impl Strategy<Value = EntryType> {
    prop_oneof![4 => 0..3i32, 1 => any::<i32>()].prop_map(EntryType)
}

fn message_type() -> impl Strategy<Value = MessageType> {
    prop_oneof![4 => 0..24i32, 1 => any::<i32>()].prop_map(MessageType)
}

fn entry() -> impl Strategy<Value = Entry> {
    (entry_type(), number(), number(), payload())
        .prop_map(|(entry_type, term, index, data)| Entry { entry_type, term, index, data })
}

fn ids() -> impl Strategy<Value = Vec<u64>> {
    vec(number(), 0..3)
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let conf_state = (ids(), ids(), ids(), ids(), any::<bool>()).prop_map(
        |(voters, learners, voters_outgoing, learners_next, auto_leave)| ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    );
    (payload(), conf_state, number(), number()).prop_map(|(data, conf_state, index, term)| {
        Snapshot { data, metadata: SnapshotMetadata { conf_state, index, term } }
    })
}

/// A message with every field, whatever raft would make of it.
fn any_message() -> impl Strategy<Value = Message> {
    let flat = (
        (message_type(), number(), number(), number(), number(), number()),
        vec(entry(), 0..4),
        (number(), option::of(snapshot()), any::<bool>(), number(), payload(), number()),
    )
        .prop_map(|(before, entries, after)| {
            let (message_type, to, from, term, log_term, index) = before;
            let (commit, snapshot, reject, reject_hint, context, vote) = after;
            Message {
                message_type,
                to,
                from,
                term,
                log_term,
                index,
                entries: entries.into(),
                commit,
                snapshot: snapshot.map(Box::new),
                reject,
                reject_hint,
                context,
                vote,
                responses: vec![],
            }
        });
    flat.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), vec(inner, 0..3))
            .prop_map(|(message, responses)| Message { responses, ..message })
    })
}

/// One step of a leader, or of somebody who is none.
#[derive(Clone, Debug)]
enum Step {
    LinkHeartbeat,
    /// Entries that follow on what the stream carried.
    Append(Vec<(EntryType, Option<Bytes>)>, u64),
    /// A probe, a new term, a follower that fell behind.
    Jump(u64, u64),
    Any(Box<Message>),
}

fn leader_step() -> impl Strategy<Value = Step> {
    // Below the numbers at which indexes would wrap.
    let jump = (1..1u64 << 40, 0..1u64 << 50);
    prop_oneof![
        1 => Just(Step::LinkHeartbeat),
        6 => (vec((entry_type(), payload()), 0..9), number())
            .prop_map(|(entries, commit)| Step::Append(entries, commit)),
        2 => jump.prop_map(|(term, index)| Step::Jump(term, index)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => leader_step(),
        1 => any_message().prop_map(|message| Step::Any(Box::new(message))),
    ]
}

/// The messages of a stream that takes these steps.
fn messages(steps: Vec<Step>) -> Vec<Message> {
    let mut state = (0, 0);
    let step =
        |step| {
            let (term, index) = state;
            let app = Message {
                message_type: MessageType::APP,
                to: LOCAL,
                from: REMOTE,
                term,
                log_term: term,
                index,
                ..Message::default()
            };
            let message =
                match step {
                    Step::LinkHeartbeat => {
                        Message { message_type: MessageType::HEARTBEAT, ..Message::default() }
                    }
                    Step::Append(entries, commit) => {
                        let index = |position: u64| index.wrapping_add(position);
                        let entries = (1..).zip(entries).map(|(position, (entry_type, data))| {
                            Entry { entry_type, term, index: index(position), data }
                        });
                        Message { entries: entries.collect(), commit, ..app }
                    }
                    Step::Jump(term, index) => Message { term, log_term: term, index, ..app },
                    Step::Any(message) => *message,
                };
            let _ = naive::encode(Stream::MsgAppV2, &mut state, &message, Dialect::V3_4);
            message
        };
    steps.into_iter().map(step).collect()
}

fn leader_stream() -> impl Strategy<Value = Vec<Message>> {
    vec(leader_step(), 0..12).prop_map(messages)
}

fn any_stream() -> impl Strategy<Value = Vec<Message>> {
    vec(any_step(), 0..12).prop_map(messages)
}

/// The naive encoding: each frame's kind, and the bytes.
fn encode_naively(
    stream: Stream,
    messages: &[Message],
    dialect: Dialect,
) -> (Vec<FrameKind>, Vec<u8>) {
    let (mut state, mut bytes) = ((0, 0), Vec::new());
    let encode = |message| {
        let (kind, frame) = naive::encode(stream, &mut state, message, dialect);
        bytes.extend(frame);
        kind
    };
    (messages.iter().map(encode).collect(), bytes)
}

// ---------------------------------------------------------------------------------------------
// Either stream's codec.

enum Encoder {
    MsgAppV2(msgappv2::Encoder),
    Message(message::Encoder),
}

impl Encoder {
    fn new(stream: Stream, config: Config) -> Self {
        match stream {
            Stream::MsgAppV2 => Self::MsgAppV2(msgappv2::Encoder::new(config)),
            Stream::Message => Self::Message(message::Encoder::new(config)),
        }
    }

    fn encode<M: RaftMessage>(
        &mut self,
        message: &M,
        queue: &mut WriteQueue,
    ) -> Result<FrameKind, EncodeError> {
        match self {
            Self::MsgAppV2(encoder) => encoder.encode(message, queue),
            Self::Message(encoder) => encoder.encode(message, queue),
        }
    }
}

type Decoded<M> = (Vec<Frame<M>>, Result<Deviations, DecodeError>);

#[allow(clippy::disallowed_methods, reason = "an origin is needed, and no more")]
fn origin() -> Instant {
    Instant::now()
}

macro_rules! decode_with {
    ($decoder:expr, $bytes:expr, $cuts:expr) => {{
        let mut config = PoolConfig::default();
        config.block_bytes = 4 << 10;
        let (mut decoder, mut received) = ($decoder, ReceiveBuffer::new(Pool::new(config)));
        let (now, mut frames) = (origin(), Vec::new());
        'stream: for mut piece in pieces($bytes, $cuts) {
            while !piece.is_empty() {
                let space = received.space(decoder.needed(), now).expect("within the budget");
                let mut room = space.room().expect("within the budget");
                let count = room.remaining_mut().min(piece.len());
                room.put_slice(&piece[..count]);
                piece.advance(count);
                loop {
                    match decoder.decode(&mut received) {
                        Ok(Some(frame)) => frames.push(frame),
                        Ok(None) => break,
                        // `finish` says it again.
                        Err(_) => break 'stream,
                    }
                }
            }
        }
        let end = decoder.finish(&received);
        (frames, end)
    }};
}

fn decode<M: RaftMessage>(
    stream: Stream,
    config: Config,
    bytes: &[u8],
    cuts: &[usize],
) -> Decoded<M> {
    match stream {
        Stream::MsgAppV2 => decode_with!(msgappv2::Decoder::<M>::new(config), bytes, cuts),
        Stream::Message => decode_with!(message::Decoder::<M>::new(config), bytes, cuts),
    }
}

/// `bytes` in pieces of these sizes, again and again.
fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in cuts.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![4 => 1..30usize, 1 => 1..10_000usize], 1..8)
}

fn config(mode: Mode, dialect: Dialect) -> Config {
    Config::default().mode(mode).dialect(dialect).local(LOCAL).remote(REMOTE)
}

fn drain(queue: &mut WriteQueue) -> Bytes {
    queue.copy_to_bytes(queue.len())
}

/// Bytes some of whose bits are wrong.
fn damaged(mut bytes: Vec<u8>, damage: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (at, flip) in damage {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
    }
    bytes
}

fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    vec(any::<(prop::sample::Index, u8)>(), 0..3)
}

// ---------------------------------------------------------------------------------------------
// The properties.

proptest! {
    #[test]
    fn encodes_as_the_naive_encoder(
        stream in stream(), messages in any_stream(), dialect in dialect(),
    ) {
        let mut encoder = Encoder::new(stream, config(Mode::AsEtcd, dialect));
        let mut queue = WriteQueue::new();
        let mut state = (0, 0);
        for message in &messages {
            let (kind, expected) = naive::encode(stream, &mut state, message, dialect);
            prop_assert_eq!(encoder.encode(message, &mut queue), Ok(kind));
            // The length is known before a byte is written.
            prop_assert_eq!(queue.len(), expected.len());
            prop_assert_eq!(drain(&mut queue), expected);
        }
    }

    #[test]
    fn strict_mode_refuses_what_the_rules_forbid_and_nothing_else(
        messages in any_stream(), dialect in dialect(), check_entry_terms in any::<bool>(),
    ) {
        let config = config(Mode::Strict, dialect).check_entry_terms(check_entry_terms);
        let mut encoder = msgappv2::Encoder::new(config);
        let mut queue = WriteQueue::new();
        for message in &messages {
            let before = (encoder.state().term, encoder.state().index);
            let mut after = before;
            let (kind, frame) = naive::encode(Stream::MsgAppV2, &mut after, message, dialect);
            let result = encoder.encode(message, &mut queue);
            let state = (encoder.state().term, encoder.state().index);
            if naive::is_strict(before, message, check_entry_terms) {
                prop_assert_eq!((result, state), (Ok(kind), after));
                prop_assert_eq!(drain(&mut queue), frame);
            } else {
                prop_assert!(result.is_err());
                prop_assert_eq!((state, queue.len()), (before, 0));
            }
        }
    }

    #[test]
    fn a_leaders_stream_arrives_as_it_was_sent(
        messages in leader_stream(), dialect in dialect(), cuts in cuts(),
    ) {
        let config = config(Mode::Strict, dialect);
        let mut encoder = msgappv2::Encoder::new(config.clone());
        let mut queue = WriteQueue::new();
        for message in &messages {
            encoder.encode(message, &mut queue).unwrap();
        }
        let bytes = drain(&mut queue);
        let (frames, end) = decode::<Message>(Stream::MsgAppV2, config, &bytes, &cuts);
        prop_assert_eq!(end, Ok(Deviations::default()));
        let received: Vec<_> = frames.into_iter().map(|frame| frame.message).collect();
        prop_assert_eq!(received, messages);
    }

    #[test]
    fn decodes_as_the_naive_decoder_however_the_stream_is_cut(
        stream in stream(), messages in any_stream(), dialect in dialect(),
        damage in damage(), cuts in cuts(),
    ) {
        let (_, bytes) = encode_naively(stream, &messages, dialect);
        let bytes = damaged(bytes, &damage);
        let (expected, expected_end) =
            naive::decode(stream, &bytes, &Limits::default(), LOCAL, REMOTE);
        let lenient = config(Mode::AsEtcd, dialect);
        let (frames, end) = decode::<Message>(stream, lenient, &bytes, &cuts);
        let ours: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.message.clone())).collect();
        prop_assert_eq!(ours, expected);
        match expected_end {
            End::Clean => prop_assert_eq!(end, Ok(Deviations::default())),
            End::BetweenFields => prop_assert_eq!(end, Ok(Deviations::END_INSIDE_FRAME)),
            _ => prop_assert!(end.is_err(), "{:?}", expected_end),
        }
        let mut offset = 0;
        for frame in &frames {
            prop_assert_eq!(frame.offset, offset);
            offset += frame.len;
        }
    }

    #[test]
    fn a_message_by_itself_is_encoded_as_prost_does(
        message in any_message(), dialect in dialect(),
    ) {
        let encoded = Bytes::from(message.encode(dialect));
        let plain = naive::plain_message(&message, dialect);
        prop_assert_eq!(&encoded, &plain.encode_to_vec());
        let read: Message = plain::Message::decode(&encoded[..]).unwrap().into();
        prop_assert_eq!(Message::decode(&encoded).unwrap(), read);
    }

    /// Fields that are absent, doubled, and of later versions.
    #[test]
    fn a_message_is_read_as_prost_does(
        one in any_message(), other in any_message(), dialect in dialect(), damage in damage(),
    ) {
        let unknown = [0x78, 1, 0x7a, 2, 0, 0, 0x7b, 0x10, 1, 0x7c];
        let bytes = [&one.encode(dialect)[..], &unknown, &other.encode(Dialect::V3_7)].concat();
        let bytes = damaged(bytes, &damage);
        let ours = Message::decode(&bytes.clone().into());
        let plain = plain::Message::decode(&bytes[..]);
        match (ours, plain) {
            (Ok(ours), Ok(plain)) => prop_assert_eq!(ours, Message::from(plain)),
            (ours, plain) => prop_assert!(ours.is_err() && plain.is_err()),
        }
    }

    #[test]
    fn a_shared_frame_is_what_each_follower_would_have_encoded(
        messages in any_stream(), dialect in dialect(), followers in 1..4u64,
        skips in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let config = config(Mode::AsEtcd, dialect);
        let encoder = |_| (msgappv2::Encoder::new(config.clone()), WriteQueue::new());
        let mut shared: Vec<_> = (0..followers).map(encoder).collect();
        let mut alone: Vec<_> = (0..followers).map(encoder).collect();
        let mut cache = FrameCache::new();
        for (position, message) in messages.iter().enumerate() {
            let copies: Vec<_> =
                (0..followers).map(|to| Message { to, ..message.clone() }).collect();
            let mut sharing = cache.share(&copies[0]);
            for (follower, message) in copies.iter().enumerate() {
                // Some follower misses a message, and falls out of step with the others.
                let skip = skips.get(follower).map(|skip| skip.index(messages.len()));
                if skip == Some(position) {
                    continue;
                }
                let (encoder, queue) = &mut shared[follower];
                let result = encoder.encode_shared(message, &mut sharing, queue);
                let (expected, expected_queue) = &mut alone[follower];
                prop_assert_eq!(result, expected.encode(message, expected_queue));
                prop_assert_eq!(encoder.state(), expected.state());
            }
        }
        for ((_, shared), (_, alone)) in shared.iter_mut().zip(&mut alone) {
            prop_assert_eq!(drain(shared), drain(alone));
        }
    }

    #[test]
    fn a_queue_is_written_in_order_however_little_the_socket_takes(
        messages in any_stream(), sizes in vec(0..6000usize, 1..20), slices in 1..6usize,
    ) {
        let (_, expected) = encode_naively(Stream::MsgAppV2, &messages, Dialect::V3_4);
        let mut encoder = msgappv2::Encoder::new(config(Mode::AsEtcd, Dialect::V3_4));
        let mut queue = WriteQueue::new();
        let mut sizes = sizes.iter().copied().chain([1000]).cycle();
        let mut written = Vec::new();
        let mut write = |queue: &mut WriteQueue| {
            let size = sizes.next().unwrap_or(1).min(queue.len());
            let mut out = vec![IoSlice::new(&[]); slices];
            let count = queue.chunks_vectored(&mut out);
            let before = written.len();
            for slice in &out[..count] {
                let left = size - (written.len() - before);
                written.extend_from_slice(&slice[..left.min(slice.len())]);
            }
            let taken = written.len() - before;
            queue.advance(taken);
        };
        for message in &messages {
            encoder.encode(message, &mut queue).unwrap();
            write(&mut queue);
        }
        while !queue.is_empty() {
            write(&mut queue);
        }
        prop_assert_eq!(written, expected);
        prop_assert_eq!((queue.len(), queue.slices()), (0, 0));
    }

    #[test]
    fn the_adapters_do_as_the_core(
        stream in stream(), messages in any_stream(), dialect in dialect(),
        damage in damage(), cuts in cuts(), strict in any::<bool>(),
    ) {
        let (_, bytes) = encode_naively(stream, &messages, dialect);
        let damaged = damaged(bytes.clone(), &damage);
        let config = config(if strict { Mode::Strict } else { Mode::AsEtcd }, dialect);
        let (expected, end) = decode::<Message>(stream, config.clone(), &damaged, &cuts);
        let lenient = config.clone().mode(Mode::AsEtcd);
        let mut encoded = BytesMut::new();
        let (frames, adapters_end) = match stream {
            Stream::MsgAppV2 => {
                let mut codec = MsgAppV2::<Message>::new(lenient);
                for message in &messages {
                    codec.encode(message, &mut encoded).unwrap();
                }
                decode_framed(&mut MsgAppV2::<Message>::new(config), &damaged, &cuts)
            }
            Stream::Message => {
                let mut codec = MessageStream::<Message>::new(lenient);
                for message in &messages {
                    codec.encode(message, &mut encoded).unwrap();
                }
                decode_framed(&mut MessageStream::<Message>::new(config), &damaged, &cuts)
            }
        };
        prop_assert_eq!(&encoded[..], bytes);
        prop_assert_eq!(frames, expected);
        prop_assert_eq!(adapters_end, end.err());
    }
}

/// What `Framed` does with what it reads.
fn decode_framed<C>(
    codec: &mut C,
    bytes: &[u8],
    cuts: &[usize],
) -> (Vec<Frame<Message>>, Option<DecodeError>)
where
    C: tokio_util::codec::Decoder<Item = Frame<Message>, Error = StreamError>,
{
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    let pieces = pieces(bytes, cuts).into_iter().map(Some).chain([None]);
    for piece in pieces {
        buffer.extend_from_slice(piece.unwrap_or_default());
        loop {
            let decoded = match piece {
                Some(_) => codec.decode(&mut buffer),
                None => codec.decode_eof(&mut buffer),
            };
            match decoded {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(StreamError::Decode(error)) => return (frames, Some(error)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    (frames, None)
}

// ---------------------------------------------------------------------------------------------
// raft-rs's messages.

mod raft_rs {
    use super::*;
    use protobuf::{ProtobufEnum, SingularPtrField};
    use raft_proto::eraftpb;

    /// What raft-rs has of a message that raft could send: types it knows, no nil payloads.
    fn message(message: &Message) -> eraftpb::Message {
        let entry = |entry: &Entry| eraftpb::Entry {
            entry_type: eraftpb::EntryType::from_i32(entry.entry_type.0).unwrap_or_default(),
            term: entry.term,
            index: entry.index,
            data: entry.data.clone().unwrap_or_default(),
            ..eraftpb::Entry::default()
        };
        let known = eraftpb::MessageType::from_i32(message.message_type.0);
        // An empty snapshot stands for none, but in a MsgSnap.
        let is_snap = message.message_type == MessageType::SNAP;
        let snapshot = message.snapshot.clone().filter(|snapshot| is_snap || !snapshot.is_empty());
        eraftpb::Message {
            msg_type: known.unwrap_or_default(),
            to: message.to,
            from: message.from,
            term: message.term,
            log_term: message.log_term,
            index: message.index,
            entries: message.entries.iter().map(entry).collect::<Vec<_>>().into(),
            commit: message.commit,
            snapshot: match snapshot {
                Some(snapshot) => SingularPtrField::some((*snapshot).into()),
                None => SingularPtrField::none(),
            },
            reject: message.reject,
            reject_hint: message.reject_hint,
            context: message.context.clone().unwrap_or_default(),
            ..eraftpb::Message::default()
        }
    }

    proptest! {
            #[test]
        fn messages_survive_the_message_stream(
            messages in any_stream(), dialect in dialect(), cuts in cuts(),
        ) {
            let config = config(Mode::Strict, dialect);
            let mut encoder = message::Encoder::new(config.clone());
            let mut queue = WriteQueue::new();
            let sent: Vec<_> = messages.iter().map(message).collect();
            for message in &sent {
                encoder.encode(message, &mut queue).unwrap();
            }
            let bytes = drain(&mut queue);
            let (frames, end) = decode::<eraftpb::Message>(Stream::Message, config, &bytes, &cuts);
            prop_assert_eq!(end, Ok(Deviations::default()));
            prop_assert_eq!(frames.len(), sent.len());
            for (frame, mut sent) in frames.into_iter().zip(sent) {
                // 3.4 writes a snapshot into every message, and in a MsgSnap it stands for itself.
                if sent.msg_type == eraftpb::MessageType::MsgSnapshot && sent.snapshot.is_none() {
                    prop_assert_eq!(frame.message.snapshot.is_some(), dialect == Dialect::V3_4);
                    sent.snapshot = frame.message.snapshot.clone();
                }
                prop_assert_eq!(frame.message, sent);
            }
        }

        #[test]
        fn messages_are_written_as_our_own(messages in leader_stream(), dialect in dialect()) {
            let config = config(Mode::Strict, dialect);
            let mut ours = msgappv2::Encoder::new(config.clone());
            let mut theirs = msgappv2::Encoder::new(config);
            let (mut queue, mut expected) = (WriteQueue::new(), WriteQueue::new());
            for sent in messages {
                // Their entry types are three, and their payloads are never empty and present.
                let mut sent = sent;
                for entry in sent.entries.iter_mut() {
                    entry.entry_type = EntryType(entry.entry_type.0.rem_euclid(3));
                    entry.data = entry.data.take().filter(|data| !data.is_empty());
                }
                let kind = ours.encode(&sent, &mut expected);
                prop_assert_eq!(theirs.encode(&message(&sent), &mut queue), kind);
                prop_assert_eq!(drain(&mut queue), drain(&mut expected));
            }
        }
    }
}
