//! One line of `craft`'s input: a frame as `inspect` prints it, or a bare message. Cutting lines
//! from a file is not done here.

use super::form::{Read, forget_empty_snapshot};
use super::value::items;
use crate::frame::KindName;
use raftwire::codec::FrameKind;
use raftwire::raftpb::Message;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// What a line holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The frame's kind, where the line is a frame that says so.
    pub kind: Option<FrameKind>,
    /// The message.
    pub message: Message,
}

impl Line {
    /// Reads one line.
    ///
    /// # Errors
    ///
    /// When the line is not JSON, or not of the form described in [`json`](super).
    pub fn read(text: &[u8]) -> Result<Self, LineError> {
        // Only a frame has this key, and payloads are hex: it is nowhere inside a bare message.
        let is_frame = text.windows(MESSAGE_KEY.len()).any(|window| window == MESSAGE_KEY);
        let mut line = if is_frame {
            let frame: Frame = read(text)?;
            Self { kind: frame.kind, message: frame.message }
        } else {
            Self { kind: None, message: read::<Read>(text)?.0 }
        };
        forget_empty_snapshot(&mut line.message);
        Ok(line)
    }
}

const MESSAGE_KEY: &[u8] = br#""message""#;

struct Frame {
    kind: Option<FrameKind>,
    message: Message,
}

/// The keys of a frame that say nothing a message does not: `inspect` prints the first row, the
/// test vectors have the second.
const BESIDE: &[&str] =
    &["offset", "len", "state", "file_offset", "exact", "deviations", "hex", "note", "decoded"];

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FrameVisitor)
    }
}

struct FrameVisitor;

impl<'de> Visitor<'de> for FrameVisitor {
    type Value = Frame;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Frame, A::Error> {
        use serde::de::Error;
        let (mut kind, mut message) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "kind" if kind.is_none() => kind = Some(map.next_value::<KindName>()?.0),
                "message" if message.is_none() => message = Some(map.next_value::<Read>()?.0),
                "kind" => return Err(Error::duplicate_field("kind")),
                "message" => return Err(Error::duplicate_field("message")),
                beside if BESIDE.contains(&beside) => {
                    map.next_value::<IgnoredAny>()?;
                }
                unknown => return Err(Error::unknown_field(unknown, &["kind", "message"])),
            }
        }
        let message = message.ok_or_else(|| Error::missing_field("message"))?;
        Ok(Frame { kind, message })
    }
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, LineError> {
    let deserializer = || {
        items::begin();
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        // `responses` has its own limit, and nothing else nests.
        deserializer.disable_recursion_limit();
        deserializer
    };
    let mut whole = deserializer();
    let value = T::deserialize(&mut whole).map_err(|error| {
        // Keeping track of keys takes time, so it is done only where one is to be named.
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer()) {
            Err(error) => LineError::new(&error.path().to_string(), error.inner()),
            Ok(_) => LineError::new("", &error),
        }
    })?;
    whole.end().map_err(|error| LineError::new("", &error))?;
    Ok(value)
}

/// A line that is not a message: what is wrong, at which key, in which column.
///
/// The line's number is for whoever cut it from the file to add.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineError {
    /// The path to the value, as in `message.entries[0].term`; empty where the line is no object.
    pub key: String,
    /// The column, counted in bytes from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

impl LineError {
    fn new(path: &str, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Self {
            key: shortened(if path == "." { "" } else { path }),
            column: error.column(),
            reason: shortened(text.strip_suffix(&place).unwrap_or(&text)),
        }
    }
}

/// A text that quotes the input, short enough for a terminal.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: ", self.column)?;
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for LineError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{LIST_ITEMS_MAX, Written};
    use bytes::Bytes;
    use raftwire::raftpb::{Entry, NESTING_MAX, RESPONSES_MAX, Snapshot};

    fn read_back(message: &Message) -> Message {
        let line = Line::read(&serde_json::to_vec(&Written(message)).unwrap()).unwrap();
        assert_eq!(line.kind, None);
        line.message
    }

    #[test]
    fn tells_nil_from_empty() {
        let data = |data| Entry { data, ..Entry::default() };
        let message = Message {
            entries: vec![data(None), data(Some(Bytes::new())), data(Some(Bytes::from("a")))]
                .into(),
            context: Some(Bytes::new()),
            ..Message::default()
        };
        assert_eq!(read_back(&message), message);
    }

    #[test]
    fn only_a_snapshot_message_keeps_an_empty_snapshot() {
        let with = |message_type| Message {
            message_type,
            snapshot: Some(Box::new(Snapshot::default())),
            ..Message::default()
        };
        use raftwire::raftpb::MessageType;
        assert_eq!(read_back(&with(MessageType::SNAP)), with(MessageType::SNAP));
        assert_eq!(read_back(&with(MessageType::APP)).snapshot, None);
        let absent = br#"{"type":"MsgSnap","snapshot":null}"#;
        assert_eq!(Line::read(absent).unwrap().message.snapshot, None);
    }

    #[test]
    fn reads_messages_nested_as_the_codec_has_them() {
        let nested = |levels: u32| {
            let levels = levels as usize;
            format!("{}{{}}{}", r#"{"responses":["#.repeat(levels), "]}".repeat(levels))
        };
        assert!(Line::read(nested(NESTING_MAX).as_bytes()).is_ok());
        let error = Line::read(nested(NESTING_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(error.reason, "messages nested too deep");
        let many = |count: usize| format!(r#"{{"responses":[{{}}{}]}}"#, ",{}".repeat(count - 1));
        assert!(Line::read(many(RESPONSES_MAX).as_bytes()).is_ok());
        let error = Line::read(many(RESPONSES_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(error.reason, "too many nested messages");
        // The level is counted down again.
        assert!(Line::read(nested(NESTING_MAX).as_bytes()).is_ok());
    }

    #[test]
    fn bounds_the_items_of_all_lists_together() {
        let ids = |count: usize| format!("[1{}]", ",1".repeat(count - 1));
        // An entry and two lists of ids.
        let line = |count: usize| {
            format!(
                r#"{{"entries":[{{}}],"snapshot":{{"metadata":{{"conf_state":
                {{"voters":{},"learners":{}}}}}}}}}"#,
                ids(count - 2),
                ids(1)
            )
        };
        let error = Line::read(line(LIST_ITEMS_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(error.reason, "more than 16777216 items in lists");
        assert_eq!(error.key, "snapshot.metadata.conf_state.learners[0]");
        // Each line is counted anew.
        assert!(Line::read(line(LIST_ITEMS_MAX).as_bytes()).is_ok());
    }

    #[test]
    fn quotes_little_of_a_bad_line() {
        let line = format!(r#"{{"{}":1}}"#, "k".repeat(100_000));
        assert!(Line::read(line.as_bytes()).unwrap_err().to_string().len() < 2000);
    }
}
