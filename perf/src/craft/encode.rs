//! Which frame a message becomes, and its bytes. Where the message comes from is not known here.

use crate::frame::Stream;
use bytes::Buf;
use raftwire::buf::WriteQueue;
use raftwire::codec::msgappv2::State;
use raftwire::codec::{Config, FrameKind, Mode, message, msgappv2};
use raftwire::error::EncodeError;
use raftwire::raftpb::{Dialect, Message, MessageType, RaftMessage};
use std::fmt;

/// Encodes the frames of one stream, as etcd does where it is not told otherwise.
#[derive(Debug)]
pub(crate) struct FrameEncoder {
    stream: Stream,
    config: Config,
    keep_kind: bool,
    /// Knows the state of a `msgappv2` stream.
    msgappv2: msgappv2::Encoder,
    queue: WriteQueue,
}

/// A frame, to be written before the next one is encoded.
#[derive(Debug)]
pub(crate) struct Encoded<'a> {
    pub(crate) bytes: bytes::buf::Chain<&'static [u8], &'a mut WriteQueue>,
    pub(crate) lost: Lost,
}

impl FrameEncoder {
    pub(crate) fn new(stream: Stream, dialect: Dialect, keep_kind: bool) -> Self {
        let config = Config::default().mode(Mode::AsEtcd).dialect(dialect);
        let msgappv2 = msgappv2::Encoder::new(config.clone());
        Self { stream, config, keep_kind, msgappv2, queue: WriteQueue::new() }
    }

    /// Encodes `message`, of which it is known that it was, or is to be, a frame of kind `named`.
    ///
    /// The frame gets the kind that etcd's encoder gives it. With one exception, so that a stream
    /// that carried a message whole, though it need not have, is not made one that carries less: a
    /// frame named `MsgApp` stays one if another kind would lose a part of the message.
    pub(crate) fn encode(
        &mut self,
        message: &Message,
        named: Option<FrameKind>,
    ) -> Result<Encoded<'_>, FrameError> {
        self.queue.clear();
        let kind = self.kind(message, named)?;
        let lost = self.lost(message, kind);
        let prefix: &[u8] = if self.stream == Stream::Message {
            message::Encoder::new(self.config.clone()).encode(message, &mut self.queue)?;
            &[]
        } else if kind == self.msgappv2.kind(&message.head()) {
            self.msgappv2.encode(message, &mut self.queue)?;
            &[]
        } else {
            self.encode_as(message, kind)?
        };
        Ok(Encoded { bytes: prefix.chain(&mut self.queue), lost })
    }

    fn kind(&self, message: &Message, named: Option<FrameKind>) -> Result<FrameKind, FrameError> {
        let derived = match self.stream {
            Stream::Message => FrameKind::Message,
            Stream::Msgappv2 => self.msgappv2.kind(&message.head()),
        };
        let Some(named) = named else {
            return Ok(derived);
        };
        if !self.keep_kind {
            let keep = named == FrameKind::MsgApp
                && self.stream == Stream::Msgappv2
                && !self.lost(message, derived).is_empty();
            return Ok(if keep { named } else { derived });
        }
        if (named == FrameKind::Message) != (self.stream == Stream::Message) {
            return Err(FrameError::Kind(named));
        }
        Ok(named)
    }

    /// Encodes a frame of another kind than the state suggests, behind the bytes it returns.
    fn encode_as(
        &mut self,
        message: &Message,
        kind: FrameKind,
    ) -> Result<&'static [u8], EncodeError> {
        let State { term, index } = self.msgappv2.state();
        match kind {
            FrameKind::LinkHeartbeat => Ok(&[0]),
            FrameKind::AppEntries => {
                // The same entries and commit on a message that follows on the state.
                let mut follows = message.clone();
                (follows.term, follows.log_term, follows.index) = (term, term, index);
                if follows.head().is_link_heartbeat() {
                    follows.message_type = MessageType::APP;
                }
                self.msgappv2.encode(&follows, &mut self.queue)?;
                Ok(&[])
            }
            FrameKind::MsgApp | FrameKind::Message => {
                message::Encoder::new(self.config.clone()).encode(message, &mut self.queue)?;
                let index = message.entries.last().map_or(message.index, |entry| entry.index);
                self.msgappv2 = encoder_at(&self.config, State { term: message.term, index })?;
                // A MsgApp frame is a frame of the message stream behind its kind.
                Ok(&[2])
            }
        }
    }

    /// The keys of `message` that a frame of this kind does not carry. What is made of an
    /// AppEntries' ids is for the connection to say.
    fn lost(&self, message: &Message, kind: FrameKind) -> Lost {
        let state = self.msgappv2.state();
        let carries_ids_and_entries = kind != FrameKind::LinkHeartbeat;
        let carried = match kind {
            FrameKind::LinkHeartbeat => {
                Message { message_type: MessageType::HEARTBEAT, ..Message::default() }
            }
            FrameKind::AppEntries => Message {
                message_type: MessageType::APP,
                term: state.term,
                log_term: state.term,
                index: state.index,
                ..Message::default()
            },
            FrameKind::MsgApp | FrameKind::Message => {
                let old = self.config.dialect == Dialect::V3_4;
                return Lost::new([
                    ("vote", old && message.vote != 0),
                    ("responses", old && !message.responses.is_empty()),
                ]);
            }
        };
        Lost::new([
            ("type", message.message_type != carried.message_type),
            ("to", !carries_ids_and_entries && message.to != 0),
            ("from", !carries_ids_and_entries && message.from != 0),
            ("term", message.term != carried.term),
            ("logTerm", message.log_term != carried.log_term),
            ("index", message.index != carried.index),
            ("entries", !carries_ids_and_entries && !message.entries.is_empty()),
            ("commit", !carries_ids_and_entries && message.commit != 0),
            ("snapshot", message.snapshot.is_some()),
            ("reject", message.reject),
            ("rejectHint", message.reject_hint != 0),
            ("context", message.context.is_some()),
            ("vote", message.vote != 0),
            ("responses", !message.responses.is_empty()),
        ])
    }
}

/// An encoder in the state `state`: one that has just carried a message that leads there.
fn encoder_at(config: &Config, state: State) -> Result<msgappv2::Encoder, EncodeError> {
    let leads_there = Message {
        message_type: MessageType::APP,
        term: state.term,
        // Never the term, so that it is carried whole whatever the state is.
        log_term: !state.term,
        index: state.index,
        ..Message::default()
    };
    let mut encoder = msgappv2::Encoder::new(config.clone());
    encoder.encode(&leads_there, &mut WriteQueue::new())?;
    Ok(encoder)
}

/// The keys of a message that are not in its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost(Vec<&'static str>);

impl Lost {
    fn new<const N: usize>(keys: [(&'static str, bool); N]) -> Self {
        Self(keys.into_iter().filter(|(_, lost)| *lost).map(|(key, _)| key).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the frame does not carry {}", self.0.join(", "))
    }
}

/// A message that cannot be a frame of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The encoder refuses it.
    Encode(EncodeError),
    /// The stream has no frames of the kind that is to be kept.
    Kind(FrameKind),
}

impl From<EncodeError> for FrameError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::Kind(kind) => write!(f, "`kind`: the stream has no {kind} frames"),
        }
    }
}

impl std::error::Error for FrameError {}
