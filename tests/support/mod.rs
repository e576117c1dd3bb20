//! The golden vectors as messages and bytes, for the tests that compare with etcd.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use bytes::Bytes;
use raftwire::raftpb::{
    ConfState, Dialect, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata,
};
use serde_json::Value;

/// One connection's frames, in order.
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    /// `msgappv2`, else `message`.
    pub msgappv2: bool,
    pub(crate) local: u64,
    pub(crate) remote: u64,
    pub(crate) frames: Vec<GoldenFrame>,
}

pub(crate) struct GoldenFrame {
    pub(crate) kind: String,
    pub(crate) message: Message,
    /// What decoding gives, where that is not `message`.
    pub(crate) decoded: Option<Message>,
    pub(crate) bytes: Vec<u8>,
}

impl Session {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect()
    }

    /// Streams no etcd writes, which strict mode refuses.
    pub(crate) fn is_quirk(&self) -> bool {
        self.name.ends_with("-quirk")
    }
}

impl GoldenFrame {
    pub(crate) fn expected(&self) -> &Message {
        self.decoded.as_ref().unwrap_or(&self.message)
    }
}

pub(crate) const FILES: [(&str, Dialect); 3] = [
    (include_str!("../../testdata/vectors/golden-vectors.json"), Dialect::V3_4),
    (include_str!("../../testdata/vectors/golden-vectors-3.6.json"), Dialect::V3_6),
    (include_str!("../../testdata/vectors/golden-vectors-3.7.json"), Dialect::V3_7),
];

pub(crate) fn sessions() -> Vec<Session> {
    let mut sessions = Vec::new();
    for (text, dialect) in FILES {
        let file: Value = serde_json::from_str(text).unwrap();
        sessions.extend(file.as_array().unwrap().iter().map(|value| session(value, dialect)));
    }
    assert_eq!(sessions.len(), 63, "21 sessions in each dialect");
    assert_eq!(sessions.iter().map(|session| session.frames.len()).sum::<usize>(), 192);
    sessions
}

fn session(value: &Value, dialect: Dialect) -> Session {
    Session {
        name: value["name"].as_str().unwrap().to_owned(),
        dialect,
        msgappv2: value["stream"] == "msgappv2",
        local: value["local"].as_u64().unwrap(),
        remote: value["remote"].as_u64().unwrap(),
        frames: value["frames"].as_array().unwrap().iter().map(frame).collect(),
    }
}

fn frame(value: &Value) -> GoldenFrame {
    GoldenFrame {
        kind: value["kind"].as_str().unwrap().to_owned(),
        message: message(&value["message"]),
        decoded: value.get("decoded").map(message),
        bytes: hex(value["hex"].as_str().unwrap()),
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(number).collect()
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(pair).collect()
}

fn payload(value: &Value) -> Option<Bytes> {
    value.as_str().map(|text| hex(text).into())
}

fn message(value: &Value) -> Message {
    let entries = value["entries"].as_array().unwrap().iter();
    let snapshot = snapshot(&value["snapshot"]);
    Message {
        message_type: MessageType::from_name(value["type"].as_str().unwrap()).unwrap(),
        to: number(&value["to"]),
        from: number(&value["from"]),
        term: number(&value["term"]),
        log_term: number(&value["logTerm"]),
        index: number(&value["index"]),
        entries: entries
            .map(|entry| Entry {
                entry_type: EntryType::from_name(entry["type"].as_str().unwrap()).unwrap(),
                term: number(&entry["term"]),
                index: number(&entry["index"]),
                data: payload(&entry["data"]),
            })
            .collect(),
        commit: number(&value["commit"]),
        snapshot: snapshot.filter(|snapshot| !snapshot.is_empty()).map(Box::new),
        reject: value["reject"].as_bool().unwrap(),
        reject_hint: number(&value["rejectHint"]),
        context: payload(&value["context"]),
        ..Message::default()
    }
}

fn snapshot(value: &Value) -> Option<Snapshot> {
    let metadata = value.as_object()?.get("metadata")?;
    let state = &metadata["conf_state"];
    Some(Snapshot {
        data: payload(&value["data"]),
        metadata: SnapshotMetadata {
            conf_state: ConfState {
                voters: numbers(&state["voters"]),
                learners: numbers(&state["learners"]),
                voters_outgoing: numbers(&state["voters_outgoing"]),
                learners_next: numbers(&state["learners_next"]),
                auto_leave: state["auto_leave"].as_bool().unwrap(),
            },
            index: number(&metadata["index"]),
            term: number(&metadata["term"]),
        },
    })
}
