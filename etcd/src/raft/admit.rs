//! What a peer may send. raft-rs takes its peers' word for much and ends the process where it does not
//! hold; here a message is looked at first, and one that makes no sense is not stepped.
//!
//! Not here: what depends on the log, such as a commit index beyond its end. That means that somebody
//! lost what they had promised to keep, and the member does end then.

use super::change::{self, ChangeError};
use crate::kv::Command;
use raft::eraftpb::{EntryType, Message, MessageType};
use std::fmt;

/// Why a message is not stepped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Members do not send each other this type.
    Type(MessageType),
    /// It holds no entries, or not as many as its type does.
    EntryCount(usize),
    /// Entry `position` does not follow the one before it.
    Order { position: usize },
    /// An entry to propose is no change of the configuration, though it says so.
    Change(ChangeError),
    /// An entry to propose is no request.
    Request,
    /// A snapshot message without a snapshot, or whose snapshot is of nothing.
    NoSnapshot,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(kind) => write!(f, "members do not send {kind:?}"),
            Self::EntryCount(count) => write!(f, "it holds {count} entries"),
            Self::Order { position } => {
                write!(f, "entry {position} does not follow the one before")
            }
            Self::Change(error) => write!(f, "a change of the configuration that is none: {error}"),
            Self::Request => f.write_str("a request that cannot be read"),
            Self::NoSnapshot => f.write_str("a snapshot of nothing"),
        }
    }
}

/// Looks at a message from a peer, and makes what it proposes into what raft-rs reads.
pub(crate) fn admit(message: &mut Message) -> Result<(), Refusal> {
    let count = message.entries.len();
    match message.msg_type {
        MessageType::MsgAppend => {
            let mut before = (message.index, message.log_term);
            for (position, entry) in message.entries.iter().enumerate() {
                if Some(entry.index) != before.0.checked_add(1)
                    || entry.term < before.1
                    || entry.term > message.term
                {
                    return Err(Refusal::Order { position });
                }
                before = (entry.index, entry.term);
            }
        }
        MessageType::MsgPropose => {
            if count == 0 {
                return Err(Refusal::EntryCount(count));
            }
            // Of no term until a leader takes it: raft-rs ends at passing on one that has.
            message.term = 0;
            for entry in message.entries.iter_mut() {
                change::adopt(entry).map_err(Refusal::Change)?;
                if entry.entry_type == EntryType::EntryNormal
                    && Command::decode(entry.data.clone()).is_err()
                {
                    return Err(Refusal::Request);
                }
            }
        }
        MessageType::MsgReadIndex => {
            if count == 0 {
                return Err(Refusal::EntryCount(count));
            }
            message.term = 0;
        }
        MessageType::MsgReadIndexResp => {
            if count != 1 {
                return Err(Refusal::EntryCount(count));
            }
        }
        MessageType::MsgSnapshot => {
            let metadata = message.snapshot.as_ref().map(|snapshot| snapshot.get_metadata());
            if metadata.is_none_or(|metadata| metadata.index == 0 || metadata.term == 0) {
                return Err(Refusal::NoSnapshot);
            }
        }
        MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTransferLeader
        | MessageType::MsgTimeoutNow
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse => {}
        local @ (MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum) => return Err(Refusal::Type(local)),
    }
    // raft-rs's own, which etcd's raft has not: a peer's are not listened to.
    message.request_snapshot = 0;
    message.priority = 0;
    message.deprecated_priority = 0;
    message.commit_term = 0;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn message(kind: MessageType, entries: &[(u64, u64)]) -> Message {
        let mut message = Message { index: 4, log_term: 2, term: 5, ..Message::default() };
        message.set_msg_type(kind);
        for &(index, term) in entries {
            message.entries.push(Entry { index, term, ..Entry::default() });
        }
        message
    }

    #[test]
    fn takes_entries_that_follow_each_other() {
        for entries in [&[][..], &[(5, 2)], &[(5, 3), (6, 3), (7, 5)]] {
            assert_eq!(admit(&mut message(MessageType::MsgAppend, entries)), Ok(()));
        }
        for (entries, position) in [
            (&[(6, 2)][..], 0),
            (&[(4, 2)], 0),
            (&[(5, 1)], 0),
            (&[(5, 6)], 0),
            (&[(5, 3), (7, 3)], 1),
            (&[(5, 3), (6, 2)], 1),
        ] {
            let refused = admit(&mut message(MessageType::MsgAppend, entries));
            assert_eq!(refused, Err(Refusal::Order { position }), "{entries:?}");
        }
        let mut last = message(MessageType::MsgAppend, &[(0, 2)]);
        last.index = u64::MAX;
        assert_eq!(admit(&mut last), Err(Refusal::Order { position: 0 }));
    }

    #[test]
    fn refuses_what_raft_rs_would_end_at() {
        for (kind, entries) in [
            (MessageType::MsgPropose, &[][..]),
            (MessageType::MsgReadIndex, &[]),
            (MessageType::MsgReadIndexResp, &[]),
            (MessageType::MsgReadIndexResp, &[(0, 0), (0, 0)]),
        ] {
            let refused = admit(&mut message(kind, entries));
            assert_eq!(refused, Err(Refusal::EntryCount(entries.len())), "{kind:?}");
        }
        for kind in [MessageType::MsgHup, MessageType::MsgBeat, MessageType::MsgCheckQuorum] {
            assert_eq!(admit(&mut message(kind, &[])), Err(Refusal::Type(kind)));
        }
        let refused = admit(&mut message(MessageType::MsgSnapshot, &[]));
        assert_eq!(refused, Err(Refusal::NoSnapshot));
    }

    #[test]
    fn clears_what_only_raft_rs_knows() {
        let mut vote = message(MessageType::MsgRequestVote, &[]);
        (vote.priority, vote.commit_term, vote.request_snapshot) = (9, 9, 9);
        vote.deprecated_priority = 9;
        admit(&mut vote).unwrap();
        assert_eq!(vote, message(MessageType::MsgRequestVote, &[]));
    }
}
