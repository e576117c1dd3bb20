//! The classes of messages: what drops are counted by, and what decides which lane of a stream a
//! message takes.

use crate::raftpb::MessageType;
use std::fmt;

/// What a message is about, for whoever must know what was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// `MsgApp`.
    Append,
    /// `MsgAppResp`.
    AppendResponse,
    /// `MsgHeartbeat`.
    Heartbeat,
    /// `MsgHeartbeatResp`.
    HeartbeatResponse,
    /// `MsgVote`, `MsgPreVote` and their answers, `MsgTransferLeader` and `MsgTimeoutNow`.
    Election,
    /// `MsgReadIndex` and `MsgReadIndexResp`.
    ReadIndex,
    /// `MsgProp`.
    Proposal,
    /// `MsgSnap`.
    Snapshot,
    /// Everything else: what no member should send another.
    Other,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 9] = [
        Self::Append,
        Self::AppendResponse,
        Self::Heartbeat,
        Self::HeartbeatResponse,
        Self::Election,
        Self::ReadIndex,
        Self::Proposal,
        Self::Snapshot,
        Self::Other,
    ];

    /// Returns the class of messages of type `message_type`.
    #[must_use]
    #[inline]
    pub const fn of(message_type: MessageType) -> Self {
        match message_type {
            MessageType::APP => Self::Append,
            MessageType::APP_RESP => Self::AppendResponse,
            MessageType::HEARTBEAT => Self::Heartbeat,
            MessageType::HEARTBEAT_RESP => Self::HeartbeatResponse,
            MessageType::VOTE
            | MessageType::VOTE_RESP
            | MessageType::PRE_VOTE
            | MessageType::PRE_VOTE_RESP
            | MessageType::TRANSFER_LEADER
            | MessageType::TIMEOUT_NOW => Self::Election,
            MessageType::READ_INDEX | MessageType::READ_INDEX_RESP => Self::ReadIndex,
            MessageType::PROP => Self::Proposal,
            MessageType::SNAP => Self::Snapshot,
            _ => Self::Other,
        }
    }

    /// Whether messages of this class may be megabytes long: on the message stream the others go
    /// before them.
    pub(crate) const fn is_bulk(self) -> bool {
        matches!(self, Self::Append | Self::Proposal | Self::Snapshot | Self::Other)
    }

    /// Returns its name, as in `append response`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::AppendResponse => "append response",
            Self::Heartbeat => "heartbeat",
            Self::HeartbeatResponse => "heartbeat response",
            Self::Election => "election",
            Self::ReadIndex => "read index",
            Self::Proposal => "proposal",
            Self::Snapshot => "snapshot",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a member may send another a message of this type; the others are local to a raft, and
/// must not come from outside.
pub(crate) const fn may_travel(message_type: MessageType) -> bool {
    !matches!(Class::of(message_type), Class::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_number() {
        for (number, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, number, "{class}");
        }
    }

    #[test]
    fn local_messages_do_not_travel() {
        let travel: Vec<_> = (0..24).filter(|&number| may_travel(MessageType(number))).collect();
        assert_eq!(travel, [2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 18]);
    }
}
