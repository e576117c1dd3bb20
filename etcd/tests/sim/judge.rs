//! What must hold at all times, whatever happens to members, disks and the network:
//!
//! - a term has one leader;
//! - a member that comes back has what it had promised by what it sent: its term, its vote, the entries
//!   it had acknowledged;
//! - a write that is acknowledged has an index above all that was acknowledged or read before it was
//!   asked for, and a read is answered by a member that has applied all that. As there is one log
//!   (`ledger.rs`), that is what linearizable means;
//! - a member never goes back while it runs, and commits no less than it applied;
//! - all members say the same of a change of the configuration.

use super::Verdict;
use super::ledger::Ledger;
use super::log_view::LogView;
use raftwire::raftpb::{MessageType, RaftMessage};
use raftwire_etcd::member::{ChangeRefused, Done, Role, Status};
use raftwire_etcd::raft::Envelope;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) ledger: Ledger,
    /// By term.
    leaders: BTreeMap<u64, u64>,
    promises: BTreeMap<u64, Promises>,
    writes: BTreeMap<u64, Asked>,
    reads: BTreeMap<u64, Asked>,
    changes: BTreeMap<u64, Result<(), ChangeRefused>>,
    stands: BTreeMap<u64, Stand>,
    /// The highest index somebody outside knows to be applied.
    pub(crate) floor: u64,
    pub(crate) counts: Counts,
}

/// What happened, to see that something does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    pub(crate) read: u64,
    pub(crate) changed: u64,
    pub(crate) elections: u64,
    pub(crate) snapshots_sent: u64,
    pub(crate) restarts: u64,
    pub(crate) crashes: u64,
    pub(crate) disk_errors: u64,
}

impl Counts {
    /// Runs in which nothing of a kind happens show nothing of it.
    pub(crate) fn check_that_all_happened(&self) {
        let Self { acknowledged, read, changed, elections, .. } = *self;
        let Self { snapshots_sent, restarts, crashes, disk_errors, .. } = *self;
        for count in [acknowledged, read, changed, elections, snapshots_sent] {
            assert!(count > 0, "{self:?}");
        }
        for count in [restarts, crashes, disk_errors] {
            assert!(count > 0, "{self:?}");
        }
    }

    pub(crate) const fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.read += other.read;
        self.changed += other.changed;
        self.elections += other.elections;
        self.snapshots_sent += other.snapshots_sent;
        self.restarts += other.restarts;
        self.crashes += other.crashes;
        self.disk_errors += other.disk_errors;
    }
}

/// What a member has promised by what it sent.
#[derive(Debug, Default)]
struct Promises {
    term: u64,
    /// For whom it voted, in which term.
    vote: (u64, u64),
    /// The last entry it acknowledged, to the leader of which term.
    appended: (u64, u64),
}

/// A request that waits.
#[derive(Debug)]
struct Asked {
    of: u64,
    floor: u64,
}

#[derive(Debug, Default)]
struct Stand {
    term: u64,
    commit: u64,
    applied: u64,
}

impl Judge {
    /// A client asks `member` for a write.
    pub(crate) fn asked_write(&mut self, member: u64, id: u64) {
        self.writes.insert(id, Asked { of: member, floor: self.floor });
    }

    /// A client asks `member` whether it may read.
    pub(crate) fn asked_read(&mut self, member: u64, id: u64) {
        self.reads.insert(id, Asked { of: member, floor: self.floor });
    }

    /// A member's message leaves it.
    pub(crate) fn sent(&mut self, member: u64, message: &Envelope) -> Verdict {
        let head = message.head();
        let promises = self.promises.entry(member).or_default();
        match head.message_type {
            // They are of a term that is not begun.
            MessageType::PRE_VOTE | MessageType::PRE_VOTE_RESP => return Ok(()),
            // They carry none, and may be somebody else's who took this member for the leader.
            MessageType::PROP | MessageType::READ_INDEX | MessageType::TRANSFER_LEADER => {
                return Ok(());
            }
            _ if head.from != member => {
                return Err(format!("member {member} sends as another: {head:?}"));
            }
            MessageType::SNAP => self.counts.snapshots_sent += 1,
            _ => {}
        }
        promises.term = promises.term.max(head.term);
        let vote = match head.message_type {
            MessageType::VOTE => Some(member),
            MessageType::VOTE_RESP if !head.reject => Some(head.to),
            _ => None,
        };
        if let Some(vote) = vote {
            let (term, before) = promises.vote;
            if term == head.term && before != vote {
                return Err(format!(
                    "member {member} votes for {before} and for {vote} in term {term}"
                ));
            }
            promises.vote = (head.term, vote);
        }
        if head.message_type == MessageType::APP_RESP && !head.reject {
            promises.appended = promises.appended.max((head.term, head.index));
        }
        Ok(())
    }

    /// What a member has on its disk when it begins again.
    pub(crate) fn reopened(&mut self, member: u64, view: &LogView, status: &Status) -> Verdict {
        self.stands.remove(&member);
        let read = (status.term, status.last_index);
        if read != (view.hard_state.term, view.last_index) {
            return Err(format!("member {member} reads {status:?} from {:?}", view.end()));
        }
        let state = &view.hard_state;
        let Some(promises) = self.promises.get(&member) else { return Ok(()) };
        if state.term < promises.term {
            return Err(format!(
                "member {member} comes back in term {}, and was in {}",
                state.term, promises.term
            ));
        }
        let (term, vote) = promises.vote;
        if term == state.term && vote != state.vote {
            return Err(format!(
                "member {member} comes back with its vote of term {term} for {}, and had voted for \
                 {vote}",
                state.vote
            ));
        }
        // In a later term a leader may have had it replace what it had.
        let (term, index) = promises.appended;
        if term == state.term && view.last_index < index {
            return Err(format!(
                "member {member} comes back with entries up to {}, and had acknowledged {index} in \
                 term {term}",
                view.last_index
            ));
        }
        Ok(())
    }

    /// How a member stands behind a turn.
    pub(crate) fn stands(&mut self, member: u64, status: &Status) -> Verdict {
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.term).or_insert_with(|| {
                self.counts.elections += 1;
                member
            });
            if leader != member {
                let term = status.term;
                return Err(format!("members {leader} and {member} lead in term {term}"));
            }
        }
        let stand = self.stands.entry(member).or_default();
        let (term, commit, applied) = (status.term, status.commit, status.applied);
        if term < stand.term || commit < stand.commit || applied < stand.applied {
            return Err(format!("member {member} goes back from {stand:?} to {status:?}"));
        }
        if applied > commit || commit > status.last_index {
            return Err(format!("member {member} is ahead of itself: {status:?}"));
        }
        *stand = Stand { term, commit, applied };
        Ok(())
    }

    /// What a member tells those who asked it, having applied so much.
    pub(crate) fn done(&mut self, member: u64, applied: u64, done: &Done) -> Verdict {
        for &(id, told) in &done.applied {
            let Some(asked) = self.writes.get(&id) else {
                return Err(format!("member {member} tells of request {id:x}, which nobody made"));
            };
            if asked.of != member {
                let of = asked.of;
                return Err(format!("member {member} tells of request {id:x}, made to {of}"));
            }
            if told.index <= asked.floor || told.index > applied {
                return Err(format!(
                    "request {id:x} was applied at {}: {} was known when it was made, and {applied} \
                     is applied",
                    told.index, asked.floor
                ));
            }
            self.ledger.acknowledge(id, told.index, told.version)?;
            self.floor = self.floor.max(told.index);
            self.counts.acknowledged += 1;
        }
        for id in &done.readable {
            let Some(asked) = self.reads.remove(id) else {
                return Err(format!("member {member} answers read {id:x}, which nobody waits for"));
            };
            if asked.of != member || applied < asked.floor {
                return Err(format!(
                    "member {member} answers a read at {applied}; {} was known when it was asked",
                    asked.floor
                ));
            }
            self.floor = self.floor.max(applied);
            self.counts.read += 1;
        }
        for &(id, result) in &done.changed {
            let first = *self.changes.entry(id).or_insert_with(|| {
                self.counts.changed += 1;
                result
            });
            if first != result && id != 0 {
                return Err(format!(
                    "member {member} has change {id:x} end as {result:?}, another as {first:?}"
                ));
            }
        }
        Ok(())
    }

    /// A member's process ended: nobody waits for its answers any more.
    pub(crate) fn ended(&mut self, member: u64) {
        self.reads.retain(|_, asked| asked.of != member);
    }
}
