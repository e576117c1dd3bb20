//! What a message becomes on its way through a stream: the one list of what is lost, and why.

use crate::codec::FrameKind;
use crate::raftpb::{Dialect, Message, MessageType, Snapshot};

/// What decoding gives of `message`, encoded as a frame of this kind.
#[must_use]
pub fn carried(
    message: &Message,
    kind: FrameKind,
    dialect: Dialect,
    local: u64,
    remote: u64,
) -> Message {
    match kind {
        // The frame is one byte.
        FrameKind::LinkHeartbeat => {
            Message { message_type: MessageType::HEARTBEAT, ..Message::default() }
        }
        // The frame has entries and commit; the rest is the stream's state, and the connection's.
        FrameKind::AppEntries => Message {
            message_type: MessageType::APP,
            to: local,
            from: remote,
            term: message.term,
            log_term: message.log_term,
            index: message.index,
            entries: message.entries.clone(),
            commit: message.commit,
            ..Message::default()
        },
        FrameKind::MsgApp | FrameKind::Message => written(message, dialect),
    }
}

/// What decoding gives of `message`, encoded by itself.
pub(super) fn written(message: &Message, dialect: Dialect) -> Message {
    let mut written = message.clone();
    if dialect == Dialect::V3_4 {
        // raft 3.6's fields.
        written.vote = 0;
        written.responses.clear();
    }
    for response in &mut written.responses {
        *response = self::written(response, dialect);
    }
    let empty = written.snapshot.as_deref().is_some_and(Snapshot::is_empty);
    if written.message_type != MessageType::SNAP && empty {
        // An empty snapshot stands for none.
        written.snapshot = None;
    } else if written.message_type == MessageType::SNAP && dialect == Dialect::V3_4 {
        // It is always there, and in a MsgSnap it stands for itself.
        written.snapshot.get_or_insert_default();
    }
    written
}
