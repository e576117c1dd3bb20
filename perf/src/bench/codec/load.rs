//! What one measurement works on: messages to encode and the stream they make, either steady
//! AppEntries of one shape or the messages of a captured stream. Every contender of a shape gets
//! the same load. Not here: encoding and decoding (`contender`).

use std::path::Path;

use bytes::Bytes;
use raftwire::raftpb::plain::{ConfState, Entry, Message, Snapshot, SnapshotMetadata};
use serde::{Deserialize, Serialize};

use super::contender::plain;
use crate::bench::error::BenchError;
use crate::bench::payload::{FIRST_INDEX, TERM, payloads};
use crate::bench::shape::Shape;

/// The socket read that fills a block, and the size of the blocks.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;

/// A pass repeats the same few messages: about 1 MiB of stream, which stays in the second-level
/// cache or the third, as bytes do that came from a socket a moment ago.
const PASS_BYTES: usize = 1024 * 1024;
const PASS_MESSAGES_MIN: usize = 4;
const PASS_MESSAGES_MAX: usize = 256;

/// How much one flush takes: what a busy writer finds queued.
const QUEUE_BYTES: usize = 256 * 1024;
const QUEUE_MESSAGES_MAX: usize = 64;

pub(crate) const MSG_APP: i32 = 3;

/// Which of the two streams of etcd's peer transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StreamKind {
    Msgappv2,
    Message,
}

/// What a pass saw go by, compared with what it must see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) entries: u64,
    pub(crate) payload_bytes: u64,
}

impl Tally {
    pub(crate) fn of(messages: &[Message]) -> Self {
        let mut tally = Self::default();
        for message in messages {
            let data =
                message.entries.iter().map(|entry| entry.data.as_ref().map_or(0, Bytes::len));
            tally.add(message.entries.len(), data.sum());
        }
        tally
    }

    pub(crate) fn add(&mut self, entries: usize, payload_bytes: usize) {
        self.messages += 1;
        self.entries += entries as u64;
        self.payload_bytes += payload_bytes as u64;
    }
}

/// One load. The first `lead` messages bring both ends into step and are never timed.
#[derive(Debug)]
pub(crate) struct Load {
    /// The shape, or the name of the captured file.
    pub(crate) input: String,
    pub(crate) shape: Option<Shape>,
    pub(crate) kind: StreamKind,
    pub(crate) messages: Vec<Message>,
    pub(crate) lead: usize,
    pub(crate) stream: Bytes,
    pub(crate) lead_bytes: usize,
    /// How many messages one flush takes.
    pub(crate) queue_messages: usize,
    /// Of the messages after the lead.
    pub(crate) expected: Tally,
}

impl Load {
    /// Steady AppEntries of one shape, behind one MsgApp that sets the stream's state.
    pub(crate) fn steady(shape: Shape, seed: u64) -> Self {
        let Shape { entries, bytes } = shape;
        let payloads = payloads(shape, seed);
        let pass_messages = (PASS_BYTES / (entries * (bytes + 24) + 17))
            .clamp(PASS_MESSAGES_MIN, PASS_MESSAGES_MAX);

        let mut messages = vec![msg_app(FIRST_INDEX - 1, Vec::new())];
        let mut index = FIRST_INDEX - 1;
        for _ in 0..pass_messages {
            let run = payloads.iter().zip(index + 1..);
            messages.push(msg_app(index, run.map(|(data, index)| entry(index, data)).collect()));
            index += entries as u64;
        }
        let kind = StreamKind::Msgappv2;
        let lead_bytes = plain::encode_stream(kind, &messages[..1]).len();
        let stream = plain::encode_stream(kind, &messages);
        Self::new(shape.to_string(), Some(shape), kind, messages, 1, stream, lead_bytes)
    }

    /// The messages of a captured stream, whatever they are; a short one several times over.
    pub(crate) fn captured(path: &Path, kind: StreamKind) -> Result<Self, BenchError> {
        let bytes = std::fs::read(path).map_err(|source| BenchError::io(path, source))?;
        let refuse = |reason: String| BenchError::Capture { path: path.to_owned(), reason };
        let mut stream = Bytes::from(bytes);
        let mut messages = plain::decode_stream(kind, &stream).map_err(refuse)?;
        if messages.is_empty() {
            return Err(refuse("it holds no message".to_owned()));
        }
        // A pass of a microsecond would measure the clock. A stream can begin again wherever it
        // stopped, unless it begins with an AppEntries frame, which follows on what was before.
        let again = kind == StreamKind::Message || stream[0] != plain::APP_ENTRIES;
        let times = (PASS_BYTES / stream.len()).min(PASS_MESSAGES_MAX / messages.len());
        if again && times > 1 {
            stream = stream.repeat(times).into();
            messages = vec![messages; times].concat();
        }
        let input = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self::new(input, None, kind, messages, 0, stream, 0))
    }

    fn new(
        input: String,
        shape: Option<Shape>,
        kind: StreamKind,
        messages: Vec<Message>,
        lead: usize,
        stream: Bytes,
        lead_bytes: usize,
    ) -> Self {
        let expected = Tally::of(&messages[lead..]);
        let frame_bytes = ((stream.len() - lead_bytes) / (messages.len() - lead)).max(1);
        let queue_messages = (QUEUE_BYTES / frame_bytes).clamp(1, QUEUE_MESSAGES_MAX);
        Self { input, shape, kind, messages, lead, stream, lead_bytes, queue_messages, expected }
    }

    /// The messages that are timed.
    pub(crate) fn timed(&self) -> &[Message] {
        &self.messages[self.lead..]
    }

    /// Stream bytes for each timed message, in the mean.
    pub(crate) fn stream_bytes_per_message(&self) -> f64 {
        (self.stream.len() - self.lead_bytes) as f64 / self.expected.messages as f64
    }
}

/// A MsgApp as the leader's raft hands it over, with every field etcd 3.4 and 3.5 write.
fn msg_app(index: u64, entries: Vec<Entry>) -> Message {
    let empty = Snapshot {
        metadata: Some(SnapshotMetadata {
            conf_state: Some(ConfState { auto_leave: Some(false), ..ConfState::default() }),
            index: Some(0),
            term: Some(0),
        }),
        ..Snapshot::default()
    };
    Message {
        r#type: Some(MSG_APP),
        to: Some(2),
        from: Some(1),
        term: Some(TERM),
        log_term: Some(TERM),
        index: Some(index),
        entries,
        commit: Some(index),
        snapshot: Some(empty),
        reject: Some(false),
        reject_hint: Some(0),
        ..Message::default()
    }
}

fn entry(index: u64, data: &Bytes) -> Entry {
    Entry { r#type: Some(0), term: Some(TERM), index: Some(index), data: Some(data.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_the_stream() {
        let shape = Shape::new(8, 100);
        let [one, same, other] = [1, 1, 2].map(|seed| Load::steady(shape, seed).stream);
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(one.len(), other.len());
    }

    #[test]
    fn a_pass_holds_a_few_messages_of_any_shape() {
        for (shape, messages) in [("1x64", 256), ("64x1KiB", 15), ("64x64KiB", 4)] {
            let load = Load::steady(shape.parse().unwrap(), 1);
            assert_eq!(load.expected.messages, messages, "{shape}");
            assert_eq!(load.messages.len() as u64, messages + 1);
            assert!(load.queue_messages >= 1);
        }
    }

    #[test]
    fn a_steady_frame_has_the_length_of_etcds() {
        // 1 kind, 8 count, 8 length, 2 + 2 + 4 + 2 + 64 entry, 8 commit.
        assert_eq!(Load::steady(Shape::new(1, 64), 1).stream_bytes_per_message(), 99.0);
    }
}
