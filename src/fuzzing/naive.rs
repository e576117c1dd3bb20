//! The oracle: both streams written straight from the wire format, with prost for the messages, a
//! `Vec` for every buffer, and no thought of speed. It takes what etcd takes.

use super::Stream;
use crate::codec::{FrameKind, Limits};
use crate::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, Dialect, Entry, HardState, Message,
    MessageType, Snapshot, SnapshotMetadata, plain,
};
use prost::Message as _;

/// What both ends of a `msgappv2` stream know: term and index.
pub type State = (u64, u64);

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "private")]
pub enum End {
    /// Between two frames.
    Clean,
    /// Between two fields of a frame.
    BetweenFields,
    /// Inside a field.
    InsideField,
    /// In something nobody can read.
    Malformed,
    /// In a message that is nested deeper than prost goes.
    TooDeep,
}

/// Encodes one frame, and moves the state.
#[must_use]
pub fn encode(
    stream: Stream,
    state: &mut State,
    message: &Message,
    dialect: Dialect,
) -> (FrameKind, Vec<u8>) {
    let body = plain_message(message, dialect).encode_to_vec();
    let length = (body.len() as u64).to_be_bytes();
    if stream == Stream::Message {
        return (FrameKind::Message, [&length[..], &body].concat());
    }
    let is_heartbeat = message.message_type == MessageType::HEARTBEAT;
    if is_heartbeat && message.from == 0 && message.to == 0 {
        return (FrameKind::LinkHeartbeat, vec![0]);
    }
    if *state == (message.log_term, message.index) && message.log_term == message.term {
        let mut bytes = vec![1];
        bytes.extend((message.entries.len() as u64).to_be_bytes());
        for entry in &message.entries {
            let entry = plain_entry(entry, dialect, message.message_type).encode_to_vec();
            bytes.extend((entry.len() as u64).to_be_bytes());
            bytes.extend(entry);
        }
        bytes.extend(message.commit.to_be_bytes());
        state.1 = state.1.wrapping_add(message.entries.len() as u64);
        return (FrameKind::AppEntries, bytes);
    }
    let last = message.entries.last();
    *state = (message.term, last.map_or(message.index, |entry| entry.index));
    (FrameKind::MsgApp, [&[2], &length[..], &body].concat())
}

/// Whether strict mode carries `message` from this state.
#[must_use]
pub fn is_strict(state: State, message: &Message, check_entry_terms: bool) -> bool {
    let heartbeat = message.message_type == MessageType::HEARTBEAT;
    if heartbeat && message.from == 0 && message.to == 0 {
        return true;
    }
    let follows = state == (message.log_term, message.index) && message.log_term == message.term;
    let mut index = u128::from(message.index);
    message.message_type == MessageType::APP
        && message.entries.iter().all(|entry| {
            index += 1;
            u128::from(entry.index) == index
                && (!follows || !check_entry_terms || entry.term == state.0)
        })
}

/// Decodes a whole stream, which is then closed.
#[must_use]
pub fn decode(
    stream: Stream,
    bytes: &[u8],
    limits: &Limits,
    local: u64,
    remote: u64,
) -> (Vec<(FrameKind, Message)>, End) {
    let mut reader = Reader { rest: bytes };
    let mut state = (0, 0);
    let mut frames = Vec::new();
    while !reader.rest.is_empty() {
        let frame = match stream {
            Stream::MsgAppV2 => reader.msgappv2(&mut state, limits, local, remote),
            Stream::Message => reader.message(limits).map(|message| (FrameKind::Message, message)),
        };
        match frame {
            Ok(frame) => frames.push(frame),
            Err(end) => return (frames, end),
        }
    }
    (frames, End::Clean)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], End> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let between = self.rest.is_empty();
            return Err(if between { End::BetweenFields } else { End::InsideField });
        };
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, End> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn message(&mut self, limits: &Limits) -> Result<Message, End> {
        let length = self.number()?;
        if length > limits.message_bytes_max {
            return Err(End::Malformed);
        }
        let message = plain::Message::decode(self.take(length)?);
        message.map(Into::into).map_err(|error| malformed(&error))
    }

    fn msgappv2(
        &mut self,
        state: &mut State,
        limits: &Limits,
        local: u64,
        remote: u64,
    ) -> Result<(FrameKind, Message), End> {
        match self.take(1)?[0] {
            0 => {
                let message_type = MessageType::HEARTBEAT;
                Ok((FrameKind::LinkHeartbeat, Message { message_type, ..Message::default() }))
            }
            1 => {
                let count = self.number()?;
                // A frame holds its kind, its count, a length for each entry, and a commit index.
                let mut frame_bytes = 17 + 8 * u128::from(count);
                if frame_bytes > u128::from(limits.frame_bytes_max) {
                    return Err(End::Malformed);
                }
                let mut entries = Vec::new();
                for _ in 0..count {
                    let length = self.number()?;
                    frame_bytes += u128::from(length);
                    if length > limits.entry_bytes_max
                        || frame_bytes > u128::from(limits.frame_bytes_max)
                    {
                        return Err(End::Malformed);
                    }
                    let entry = plain::Entry::decode(self.take(length)?);
                    entries.push(entry.map_err(|error| malformed(&error))?.into());
                }
                let message = Message {
                    message_type: MessageType::APP,
                    to: local,
                    from: remote,
                    term: state.0,
                    log_term: state.0,
                    index: state.1,
                    entries: entries.into(),
                    commit: self.number()?,
                    ..Message::default()
                };
                state.1 = state.1.wrapping_add(count);
                Ok((FrameKind::AppEntries, message))
            }
            2 => {
                let message = self.message(limits)?;
                let last = message.entries.last();
                *state = (message.term, last.map_or(message.index, |entry| entry.index));
                Ok((FrameKind::MsgApp, message))
            }
            _ => Err(End::Malformed),
        }
    }
}

fn malformed(error: &prost::DecodeError) -> End {
    if super::raftpb::is_too_deep(error) { End::TooDeep } else { End::Malformed }
}

/// The fields this dialect writes: gogo protobuf all that are not pointers, 3.7 those that are set.
#[must_use]
pub fn plain_message(message: &Message, dialect: Dialect) -> plain::Message {
    use MessageType as T;
    let zeros = dialect != Dialect::V3_7;
    let kind = message.message_type;
    let heartbeat = kind == T::HEARTBEAT && message.from == 0 && message.to == 0;
    let untouched = *message == Message::default();
    let rejects = kind == T::APP_RESP && message.reject;
    // 3.7: raft sets type, to and from always; the others as the message needs them.
    let some = |value: u64, sets: bool| {
        let sets = sets && !heartbeat && !untouched;
        (zeros || value != 0 || sets).then_some(value)
    };
    let votes = matches!(kind, T::VOTE | T::PRE_VOTE);
    let app = kind == T::APP;
    let since_3_6 = dialect != Dialect::V3_4;
    let empty_snapshot = || (dialect == Dialect::V3_4).then(Snapshot::default);
    plain::Message {
        r#type: (zeros || kind.0 != 0 || !untouched).then_some(kind.0),
        to: some(message.to, true),
        from: some(message.from, true),
        term: some(message.term, !matches!(kind, T::PROP | T::READ_INDEX)),
        log_term: some(message.log_term, app || votes || rejects),
        index: some(
            message.index,
            app || votes || matches!(kind, T::APP_RESP | T::READ_INDEX_RESP),
        ),
        entries: message.entries.iter().map(|entry| plain_entry(entry, dialect, kind)).collect(),
        commit: some(message.commit, app || kind == T::HEARTBEAT),
        snapshot: message
            .snapshot
            .as_deref()
            .cloned()
            .or_else(empty_snapshot)
            .map(|snapshot| plain_snapshot(&snapshot, dialect)),
        reject: (zeros || message.reject).then_some(message.reject),
        reject_hint: some(message.reject_hint, rejects),
        context: message.context.clone(),
        vote: some(message.vote, false).filter(|_| since_3_6),
        responses: message
            .responses
            .iter()
            .filter(|_| since_3_6)
            .map(|response| plain_message(response, dialect))
            .collect(),
    }
}

/// 3.7: an appended entry has term and index, a proposed one what is not zero.
#[must_use]
pub fn plain_entry(entry: &Entry, dialect: Dialect, of: MessageType) -> plain::Entry {
    use MessageType as T;
    let zeros = dialect != Dialect::V3_7;
    let appended = !matches!(of, T::PROP | T::READ_INDEX | T::READ_INDEX_RESP);
    plain::Entry {
        r#type: (zeros || entry.entry_type.0 != 0).then_some(entry.entry_type.0),
        term: (zeros || appended || entry.term != 0).then_some(entry.term),
        index: (zeros || appended || entry.index != 0).then_some(entry.index),
        data: entry.data.clone(),
    }
}

/// Of what is not on the streams' hot path, 3.7 writes nothing if nothing is set, else all.
#[must_use]
pub fn plain_snapshot(snapshot: &Snapshot, dialect: Dialect) -> plain::Snapshot {
    let sets = dialect != Dialect::V3_7 || snapshot.metadata != SnapshotMetadata::default();
    plain::Snapshot {
        data: snapshot.data.clone(),
        metadata: sets.then(|| plain::SnapshotMetadata {
            conf_state: (dialect != Dialect::V3_7
                || snapshot.metadata.conf_state != ConfState::default())
            .then(|| plain_conf_state(&snapshot.metadata.conf_state, dialect)),
            index: Some(snapshot.metadata.index),
            term: Some(snapshot.metadata.term),
        }),
    }
}

/// See [`plain_snapshot`].
#[must_use]
pub fn plain_conf_state(state: &ConfState, dialect: Dialect) -> plain::ConfState {
    let sets = dialect != Dialect::V3_7 || *state != ConfState::default();
    plain::ConfState {
        voters: state.voters.clone(),
        learners: state.learners.clone(),
        voters_outgoing: state.voters_outgoing.clone(),
        learners_next: state.learners_next.clone(),
        auto_leave: sets.then_some(state.auto_leave),
    }
}

/// See [`plain_snapshot`].
#[must_use]
pub fn plain_hard_state(state: &HardState, dialect: Dialect) -> plain::HardState {
    let sets = dialect != Dialect::V3_7 || *state != HardState::default();
    plain::HardState {
        term: sets.then_some(state.term),
        vote: sets.then_some(state.vote),
        commit: sets.then_some(state.commit),
    }
}

/// See [`plain_snapshot`].
#[must_use]
pub fn plain_conf_change(change: &ConfChange, dialect: Dialect) -> plain::ConfChange {
    let sets = dialect != Dialect::V3_7 || *change != ConfChange::default();
    plain::ConfChange {
        id: sets.then_some(change.id),
        r#type: sets.then_some(change.change_type.0),
        node_id: sets.then_some(change.node_id),
        context: change.context.clone(),
    }
}

/// See [`plain_snapshot`].
#[must_use]
pub fn plain_conf_change_v2(change: &ConfChangeV2, dialect: Dialect) -> plain::ConfChangeV2 {
    let zeros = dialect != Dialect::V3_7;
    let single = |change: &ConfChangeSingle| {
        let sets = zeros || *change != ConfChangeSingle::default();
        plain::ConfChangeSingle {
            r#type: sets.then_some(change.change_type.0),
            node_id: sets.then_some(change.node_id),
        }
    };
    let sets = zeros || *change != ConfChangeV2::default();
    plain::ConfChangeV2 {
        transition: sets.then_some(change.transition.0),
        changes: change.changes.iter().map(single).collect(),
        context: change.context.clone(),
    }
}
