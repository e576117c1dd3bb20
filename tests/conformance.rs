//! Bytes written by etcd's own encoders, decoded and encoded again, byte for byte, in three
//! dialects, however the stream is cut.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test may ask the clock")]

mod support;

use bytes::{Buf, BufMut, Bytes};
use raftwire::buf::{Pool, PoolConfig, ReceiveBuffer, WriteQueue};
use raftwire::codec::{Config, Deviations, Frame, FrameKind, Mode, message, msgappv2};
use raftwire::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
use raftwire::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
    Dialect, Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata, Wire,
};
use std::time::Instant;
use support::{Session, hex, sessions};

enum Decoder {
    MsgAppV2(msgappv2::Decoder<Message>),
    Message(message::Decoder<Message>),
}

impl Decoder {
    fn of(session: &Session, mode: Mode) -> Self {
        let config = Config::default().mode(mode).local(session.local).remote(session.remote);
        if session.msgappv2 {
            Self::MsgAppV2(msgappv2::Decoder::new(config))
        } else {
            Self::Message(message::Decoder::new(config))
        }
    }

    fn needed(&self) -> usize {
        match self {
            Self::MsgAppV2(decoder) => decoder.needed(),
            Self::Message(decoder) => decoder.needed(),
        }
    }

    fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<Message>>, DecodeError> {
        match self {
            Self::MsgAppV2(decoder) => decoder.decode(received),
            Self::Message(decoder) => decoder.decode(received),
        }
    }

    fn finish(&self, received: &ReceiveBuffer) -> Result<Deviations, DecodeError> {
        match self {
            Self::MsgAppV2(decoder) => decoder.finish(received),
            Self::Message(decoder) => decoder.finish(received),
        }
    }
}

/// Decodes a stream that arrives in `pieces`.
fn decode<'a>(
    session: &Session,
    mode: Mode,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Frame<Message>>, DecodeError> {
    let mut decoder = Decoder::of(session, mode);
    let mut received = ReceiveBuffer::new(Pool::new(PoolConfig::default()));
    let mut frames = Vec::new();
    let now = Instant::now();
    for piece in pieces {
        let mut piece = piece;
        while !piece.is_empty() {
            let mut room = received.space(decoder.needed(), now)?.room().unwrap();
            let count = room.remaining_mut().min(piece.len());
            room.put_slice(&piece[..count]);
            piece.advance(count);
            while let Some(frame) = decoder.decode(&mut received)? {
                frames.push(frame);
            }
        }
    }
    assert_eq!(decoder.finish(&received)?, Deviations::default());
    Ok(frames)
}

fn assert_frames(session: &Session, frames: &[Frame<Message>], how: &str) {
    let context = format!("{} {:?} {how}", session.name, session.dialect);
    assert_eq!(frames.len(), session.frames.len(), "{context}");
    let mut offset = 0;
    for (frame, golden) in frames.iter().zip(&session.frames) {
        assert_eq!(frame.kind.name(), golden.kind, "{context}");
        assert_eq!(&frame.message, golden.expected(), "{context}");
        assert_eq!((frame.offset, frame.len), (offset, golden.bytes.len() as u64), "{context}");
        offset += frame.len;
    }
}

fn mode_for(session: &Session) -> Mode {
    if session.is_quirk() { Mode::AsEtcd } else { Mode::Strict }
}

#[test]
fn decodes_every_session_whole_split_anywhere_and_byte_by_byte() {
    for session in sessions() {
        let bytes = session.bytes();
        let mode = mode_for(&session);
        let frames = decode(&session, mode, [&bytes[..]]).unwrap();
        assert_frames(&session, &frames, "whole");
        for at in 0..=bytes.len() {
            let (one, other) = bytes.split_at(at);
            let frames = decode(&session, mode, [one, other]).unwrap();
            assert_frames(&session, &frames, &format!("split at {at}"));
        }
        let frames = decode(&session, mode, bytes.chunks(1)).unwrap();
        assert_frames(&session, &frames, "byte by byte");
        let deviates = frames.iter().any(|frame| !frame.deviations.is_empty());
        assert_eq!(deviates, session.is_quirk(), "{}", session.name);
    }
}

fn encode(session: &Session, config: Config) -> Result<Vec<Vec<u8>>, EncodeError> {
    let mut msgappv2 = msgappv2::Encoder::new(config.clone());
    let mut stream = message::Encoder::new(config);
    let mut queue = WriteQueue::new();
    let mut frames = Vec::new();
    for golden in &session.frames {
        let kind = if session.msgappv2 {
            msgappv2.encode(&golden.message, &mut queue)?
        } else {
            stream.encode(&golden.message, &mut queue)?
        };
        assert_eq!(kind.name(), golden.kind, "{}", session.name);
        frames.push(queue.copy_to_bytes(queue.remaining()).to_vec());
    }
    Ok(frames)
}

#[test]
fn encodes_every_session_byte_for_byte() {
    for session in sessions() {
        let config = Config::default().mode(mode_for(&session)).dialect(session.dialect);
        let frames = encode(&session, config).unwrap();
        for (frame, golden) in frames.iter().zip(&session.frames) {
            assert_eq!(frame, &golden.bytes, "{} {:?}", session.name, session.dialect);
        }
    }
}

#[test]
fn strict_mode_refuses_the_quirk_sessions_both_ways() {
    let mut refused = 0;
    for session in sessions().iter().filter(|session| session.is_quirk()) {
        let config = Config::default().dialect(session.dialect);
        let encoded = encode(session, config).unwrap_err().kind;
        let decoded = decode(session, Mode::Strict, [&session.bytes()[..]]).unwrap_err();
        match session.name.as_str() {
            "v2-non-msgapp-type-quirk" => {
                let found = MessageType::APP_RESP;
                assert_eq!(encoded, EncodeErrorKind::NotMsgApp(found));
                assert_eq!(decoded.kind, DecodeErrorKind::NotMsgApp(found));
                assert_eq!((decoded.field, decoded.offset), ("Message.type", 9));
            }
            "v2-noncontiguous-entry-index-quirk" => {
                let (expected, found) = (11, 90);
                assert_eq!(encoded, EncodeErrorKind::EntryIndex { expected, found });
                assert_eq!(decoded.kind, DecodeErrorKind::EntryIndex { expected, found });
                let first = session.frames[0].bytes.len() as u64;
                assert_eq!((decoded.field, decoded.offset), ("Entry.Index", first + 17));
            }
            other => panic!("unknown quirk {other}"),
        }
        refused += 1;
    }
    assert_eq!(refused, 6);
}

#[test]
fn message_bodies_survive_by_themselves() {
    for session in sessions() {
        for golden in &session.frames {
            let body = match golden.kind.as_str() {
                "MsgApp" => &golden.bytes[9..],
                "message" => &golden.bytes[8..],
                _ => continue,
            };
            let body = Bytes::copy_from_slice(body);
            let message = Message::decode(&body).unwrap();
            assert_eq!(message, golden.message, "{}", session.name);
            assert_eq!(message.encode(session.dialect), body, "{}", session.name);
        }
    }
}

/// Frames whose length is all that facts give of them: one entry of n bytes of `a`.
#[test]
fn large_entries_have_etcds_lengths() {
    for (data_bytes, entry_len, frame_len) in [
        (1_048_563, 0xf_fffd, 1_048_598),
        (1_048_564, 0xf_fffe, 1_048_599),
        (1_048_576, 0x10_000a, 1_048_611),
        (3_145_728, 0x30_000b, 3_145_764u64),
    ] {
        let app = |index, entries: Vec<Entry>| Message {
            message_type: MessageType::APP,
            term: 1,
            log_term: 1,
            index,
            commit: 1,
            entries: entries.into(),
            ..Message::default()
        };
        let data = Some(Bytes::from(vec![b'a'; data_bytes]));
        let entry = Entry { term: 1, index: 2, data, ..Entry::default() };
        let mut encoder = msgappv2::Encoder::new(Config::default());
        let mut queue = WriteQueue::new();
        encoder.encode(&app(1, vec![]), &mut queue).unwrap();
        queue.clear();
        let message = app(1, vec![entry]);
        assert_eq!(encoder.encode(&message, &mut queue).unwrap(), FrameKind::AppEntries);
        assert_eq!(queue.len() as u64, frame_len);
        let bytes = queue.copy_to_bytes(queue.remaining());
        assert_eq!(u64::from_be_bytes(bytes[9..17].try_into().unwrap()), entry_len);
    }
}

/// Decodes, and encodes what that gave.
type Again = Box<dyn Fn(&Bytes) -> Vec<u8>>;

/// The standalone encodings of `pb-vectors.json`, by name.
fn standalone(name: &str, dialect: Dialect) -> (Vec<u8>, Again) {
    fn both<T: Wire + Clone + PartialEq + std::fmt::Debug + 'static>(
        value: T,
        dialect: Dialect,
    ) -> (Vec<u8>, Again) {
        let bytes = value.encode(dialect);
        let again = move |bytes: &Bytes| {
            let decoded = T::decode(bytes).unwrap();
            assert_eq!(decoded, value);
            decoded.encode(dialect)
        };
        (bytes, Box::new(again))
    }
    let data = |text: &'static str| Some(Bytes::from(text));
    let entry = |entry_type, term, index, data| Entry { entry_type, term, index, data };
    let normal = EntryType::NORMAL;
    let change =
        |id, change_type, node_id, context| ConfChange { id, change_type, node_id, context };
    let single = |change_type, node_id| ConfChangeSingle { change_type, node_id };
    match name {
        "Entry{}" => both(Entry::default(), dialect),
        "Entry{term:2,index:12,data:\"hello\"}" => {
            both(entry(normal, 2, 12, data("hello")), dialect)
        }
        "Entry{term:2,index:12,data:empty}" => both(entry(normal, 2, 12, data("")), dialect),
        "Entry{type:EntryConfChange,term:1,index:1,data:0x00}" => {
            both(entry(EntryType::CONF_CHANGE, 1, 1, data("\0")), dialect)
        }
        "HardState{}" => both(HardState::default(), dialect),
        "HardState{term:5,vote:2,commit:300}" => {
            both(HardState { term: 5, vote: 2, commit: 300 }, dialect)
        }
        "ConfState{}" => both(ConfState::default(), dialect),
        "ConfState{voters:[1,2,300],learners:[4]}" => both(
            ConfState { voters: vec![1, 2, 300], learners: vec![4], ..ConfState::default() },
            dialect,
        ),
        "ConfState{voters:[1],voters_outgoing:[1,2],learners_next:[2],auto_leave:true}" => both(
            ConfState {
                voters: vec![1],
                voters_outgoing: vec![1, 2],
                learners_next: vec![2],
                auto_leave: true,
                ..ConfState::default()
            },
            dialect,
        ),
        "SnapshotMetadata{}" => both(SnapshotMetadata::default(), dialect),
        "Snapshot{}" => both(Snapshot::default(), dialect),
        "Snapshot{data:\"x\",metadata:{index:10,term:2,conf_state:{voters:[1,2,3]}}}" => both(
            Snapshot {
                data: data("x"),
                metadata: SnapshotMetadata {
                    conf_state: ConfState { voters: vec![1, 2, 3], ..ConfState::default() },
                    index: 10,
                    term: 2,
                },
            },
            dialect,
        ),
        "ConfChange{}" => both(ConfChange::default(), dialect),
        "ConfChange{id:7,type:ConfChangeAddLearnerNode,node_id:3}" => {
            both(change(7, ConfChangeType::ADD_LEARNER_NODE, 3, None), dialect)
        }
        "ConfChange{id:1,type:ConfChangeRemoveNode,node_id:2,context:\"c\"}" => {
            both(change(1, ConfChangeType::REMOVE_NODE, 2, data("c")), dialect)
        }
        "ConfChangeSingle{}" => both(ConfChangeSingle::default(), dialect),
        "ConfChangeV2{}" => both(ConfChangeV2::default(), dialect),
        "ConfChangeV2{transition:JointExplicit,changes:[{AddNode,4},{RemoveNode,1}],context:\"ctx\"}" => {
            both(
                ConfChangeV2 {
                    transition: ConfChangeTransition::JOINT_EXPLICIT,
                    changes: vec![
                        single(ConfChangeType::ADD_NODE, 4),
                        single(ConfChangeType::REMOVE_NODE, 1),
                    ],
                    context: data("ctx"),
                },
                dialect,
            )
        }
        "Message{}" => both(Message::default(), dialect),
        other => panic!("no message for the vector {other}"),
    }
}

#[test]
fn standalone_messages_match_in_every_dialect() {
    let text = include_str!("../testdata/vectors/pb-vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 19);
    let keys = ["gogo_3_4", "gogo_3_6", "protobuf_3_7"];
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        for (key, dialect) in keys.into_iter().zip(Dialect::ALL) {
            let expected = hex(vector[key].as_str().unwrap());
            let (bytes, again) = standalone(name, dialect);
            assert_eq!(bytes, expected, "{name} {dialect:?}");
            assert_eq!(again(&expected.clone().into()), expected, "{name} {dialect:?}");
        }
    }
}
