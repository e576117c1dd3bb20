//! What a peer may send. raft-rs takes its peers' word for much and ends the process where it does not
//! hold; here a message is looked at first, and one that makes no sense is not stepped.
//!
//! Not here: what depends on the log, such as a commit index beyond its end. That means that somebody
//! lost what they had promised to keep, and the member does end then.

use super::change::{self, ChangeError};
use crate::kv::Command;
use raft::eraftpb::{ConfState, EntryType, Message, MessageType};
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
    /// A term, an index or a commit index is none that a cluster ever reaches, or a term is missing.
    Number,
    /// The configuration in a snapshot is none.
    Configuration,
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
            Self::Number => f.write_str("a term or index that cannot be"),
            Self::Configuration => f.write_str("the snapshot's configuration is none"),
            Self::Request => f.write_str("a request that cannot be read"),
            Self::NoSnapshot => f.write_str("a snapshot of nothing"),
        }
    }
}

/// The largest term or index that is believed. No cluster gets there, and raft-rs may add to it.
const NUMBER_MAX: u64 = 1 << 62;

/// Looks at a message from a peer, and makes what it proposes into what raft-rs reads.
pub(crate) fn admit(message: &mut Message) -> Result<(), Refusal> {
    let count = message.entries.len();
    let numbers =
        [message.term, message.log_term, message.index, message.commit, message.reject_hint];
    if numbers.iter().any(|number| *number > NUMBER_MAX) {
        return Err(Refusal::Number);
    }
    // raft-rs takes what has no term for this member's own.
    let has_none = matches!(message.msg_type, MessageType::MsgPropose | MessageType::MsgReadIndex);
    if message.term == 0 && !has_none {
        return Err(Refusal::Number);
    }
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
            if metadata.is_some_and(|metadata| metadata.index.max(metadata.term) > NUMBER_MAX) {
                return Err(Refusal::Number);
            }
            if metadata.is_some_and(|metadata| !is_possible(metadata.get_conf_state())) {
                return Err(Refusal::Configuration);
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

/// Whether a configuration is one that raft can have: somebody votes, and nobody is two things at once.
fn is_possible(state: &ConfState) -> bool {
    let is_once = |ids: &[u64]| {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.windows(2).all(|pair| pair[0] != pair[1]) && sorted.first() != Some(&0)
    };
    let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave, .. } = state;
    let votes = |id: &u64| voters.contains(id) || voters_outgoing.contains(id);
    [voters, learners, voters_outgoing, learners_next].into_iter().all(|ids| is_once(ids))
        && !voters.is_empty()
        && !learners.iter().any(votes)
        && learners_next.iter().all(|id| voters_outgoing.contains(id) && !voters.contains(id))
        && (!auto_leave || !voters_outgoing.is_empty())
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
        assert_eq!(admit(&mut last), Err(Refusal::Number));
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
        for (kind, term, index) in [
            (MessageType::MsgRequestVote, u64::MAX, 1),
            (MessageType::MsgAppendResponse, 5, u64::MAX),
            (MessageType::MsgReadIndexResp, 0, 5),
            (MessageType::MsgHeartbeat, 0, 0),
        ] {
            let mut odd = message(kind, &[(1, 1)]);
            (odd.term, odd.index) = (term, index);
            assert_eq!(admit(&mut odd), Err(Refusal::Number), "{kind:?}");
        }
        let refused = admit(&mut message(MessageType::MsgSnapshot, &[]));
        assert_eq!(refused, Err(Refusal::NoSnapshot));
    }

    #[test]
    fn takes_snapshots_of_configurations_that_can_be() {
        let state = |voters: &[u64], learners: &[u64], outgoing: &[u64], next: &[u64]| {
            let mut snapshot = message(MessageType::MsgSnapshot, &[]);
            let metadata = snapshot.mut_snapshot().mut_metadata();
            (metadata.index, metadata.term) = (9, 3);
            let state = metadata.mut_conf_state();
            (state.voters, state.learners) = (voters.to_vec(), learners.to_vec());
            (state.voters_outgoing, state.learners_next) = (outgoing.to_vec(), next.to_vec());
            admit(&mut snapshot)
        };
        assert_eq!(state(&[1, 2], &[3], &[], &[]), Ok(()));
        assert_eq!(state(&[1, 2], &[4], &[2, 3], &[3]), Ok(()));
        for refused in [
            state(&[], &[1], &[], &[]),
            state(&[1, 1], &[], &[], &[]),
            state(&[1, 2], &[2], &[], &[]),
            state(&[1, 0], &[], &[], &[]),
            state(&[1], &[2], &[2], &[]),
            state(&[1], &[], &[2], &[3]),
            state(&[1, 2], &[], &[2], &[2]),
        ] {
            assert_eq!(refused, Err(Refusal::Configuration));
        }
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
