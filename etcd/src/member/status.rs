//! How a member stands.

use super::Member;
use raft::StateRole;
use raftwire::transport::MemberId;
use std::fmt;

/// What a member is to raft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "raft's roles")]
pub enum Role {
    /// It follows a leader, or waits for one.
    #[default]
    Follower,
    /// It asks whether it would be voted for.
    PreCandidate,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

impl Role {
    /// Returns its name, in small letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a member stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Which member.
    pub id: MemberId,
    /// What it is to raft.
    pub role: Role,
    /// Who leads, as far as it knows.
    pub leader: Option<MemberId>,
    /// The term.
    pub term: u64,
    /// The index up to which it knows entries to be committed.
    pub commit: u64,
    /// Up to which they are applied.
    pub applied: u64,
    /// The first entry it still has.
    pub first_index: u64,
    /// The last.
    pub last_index: u64,
    /// Up to which the newest snapshot on its disk reaches.
    pub snapshot_index: u64,
    /// The members that vote.
    pub voters: Vec<u64>,
    /// Those that voted before a joint change that has not been left.
    pub voters_outgoing: Vec<u64>,
    /// Those that only learn.
    pub learners: Vec<u64>,
}

impl Member {
    /// Brings `status` up to date.
    pub fn update_status(&self, status: &mut Status) {
        let raft = &self.raft;
        status.id = self.config.id;
        status.role = match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        status.leader = (raft.leader_id != 0).then_some(MemberId(raft.leader_id));
        status.term = raft.term;
        status.commit = raft.raft_log.committed;
        status.applied = self.applied.index;
        status.first_index = raft.raft_log.first_index();
        status.last_index = raft.raft_log.last_index();
        status.snapshot_index = self.snapshot.index;
    }

    /// Brings the lists of voters and learners in `status` up to date, which change with changes of the
    /// configuration only.
    pub(crate) fn update_voters(&self, status: &mut Status) {
        let state = self.conf_state();
        let sorted = |mut ids: Vec<u64>| {
            ids.sort_unstable();
            ids
        };
        status.voters = sorted(state.voters);
        status.voters_outgoing = sorted(state.voters_outgoing);
        status.learners = sorted(state.learners);
    }
}
