//! Who changes the cluster: adds learners, promotes and removes members, one at a time or jointly.
//!
//! It knows what members said of changes, and is careful as an operator must be: a member that goes
//! never comes back, so it removes a voter only while three others are left even if every removal it
//! has heard nothing of takes effect.

use fastrand::Rng;
use raftwire::transport::{MemberId, PeerUrl};
use raftwire_etcd::raft::Change;
use std::collections::{BTreeMap, BTreeSet};

/// As many members there are at most at a time.
const MEMBERS_MAX: usize = 7;
/// Voters that are left at least.
const VOTERS_MIN: usize = 3;

#[derive(Debug, Default)]
pub(crate) struct Operator {
    pub(crate) voters: BTreeSet<u64>,
    pub(crate) learners: BTreeSet<u64>,
    pub(crate) is_joint: bool,
    /// Asked for, with nothing heard of it.
    unresolved: BTreeMap<u64, Change>,
    next_member: u64,
}

pub(crate) fn urls(member: u64, port: u64) -> Vec<PeerUrl> {
    let url = format!("http://10.0.{}.{}:{}", member / 200, member % 200, port);
    vec![url.parse().expect("an address")]
}

impl Operator {
    pub(crate) fn new(founders: u64) -> Self {
        Self { voters: (1..=founders).collect(), next_member: founders + 1, ..Self::default() }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = u64> {
        self.voters.iter().chain(&self.learners).copied()
    }

    /// Picks a change.
    pub(crate) fn pick(&mut self, id: u64, random: &mut Rng) -> Option<Change> {
        let change = self.think(random)?;
        self.unresolved.insert(id, change.clone());
        Some(change)
    }

    fn think(&mut self, random: &mut Rng) -> Option<Change> {
        if self.is_joint {
            return Some(Change::LeaveJoint);
        }
        match random.u32(..10) {
            0..3 => self.add(random),
            3..5 => self.promote(random),
            5..7 => self.remove(random),
            7 => {
                let id = one_of(self.voters.iter(), random)?;
                Some(Change::Update { id: MemberId(id), urls: urls(id, random.u64(1..60_000)) })
            }
            _ => self.change_jointly(random),
        }
    }

    /// Several at once. Those that go say so only when the change is left, but are gone then: a majority
    /// of the old voters has to be among the new ones, or whoever has not heard of it by then never
    /// elects anybody.
    fn change_jointly(&mut self, random: &mut Rng) -> Option<Change> {
        let mut parts = Vec::new();
        for _ in 0..random.u32(0..3) {
            parts.extend(self.promote(random));
        }
        if random.bool() {
            parts.extend(self.add(random));
        }
        let mut seen = BTreeSet::new();
        parts.retain(|part| seen.insert(member_of(part)));
        let coming = parts.iter().filter(|part| !matches!(part, Change::AddLearner { .. })).count();
        let leaving = self.unresolved.values().map(removals).sum::<usize>();
        let old = self.voters.len();
        let going = (old - (old / 2 + 1))
            .min((old + coming).saturating_sub(VOTERS_MIN))
            .saturating_sub(leaving);
        let mut voters: Vec<_> = self.voters.iter().copied().collect();
        random.shuffle(&mut voters);
        voters.truncate(random.usize(0..=going));
        parts.extend(voters.into_iter().map(|id| Change::Remove { id: MemberId(id) }));
        (!parts.is_empty()).then_some(Change::Joint(parts))
    }

    fn add(&mut self, random: &mut Rng) -> Option<Change> {
        if self.members().count() >= MEMBERS_MAX {
            return None;
        }
        let id = self.next_member;
        self.next_member += 1;
        // A voter that is added while others are away may take the quorum with it until they are back.
        let (id, urls) = (MemberId(id), urls(id, 2380));
        Some(match random.u32(..4) {
            0 => Change::AddVoter { id, urls },
            _ => Change::AddLearner { id, urls },
        })
    }

    fn promote(&self, random: &mut Rng) -> Option<Change> {
        Some(Change::Promote { id: MemberId(one_of(self.learners.iter(), random)?) })
    }

    fn remove(&self, random: &mut Rng) -> Option<Change> {
        if random.bool()
            && let Some(learner) = one_of(self.learners.iter(), random)
            && !self.unresolved.values().any(|change| promotes(change, learner))
        {
            return Some(Change::Remove { id: MemberId(learner) });
        }
        let leaving = self.unresolved.values().map(removals).sum::<usize>();
        if self.voters.len() < VOTERS_MIN + 1 + leaving {
            return None;
        }
        Some(Change::Remove { id: MemberId(one_of(self.voters.iter(), random)?) })
    }

    /// A change was made, as some member says for the first time. Returns who is new.
    pub(crate) fn changed(&mut self, id: u64) -> Vec<u64> {
        let Some(change) = self.unresolved.remove(&id) else { return Vec::new() };
        self.apply(&change)
    }

    /// A change was refused, or never proposed.
    pub(crate) fn refused(&mut self, id: u64) {
        self.unresolved.remove(&id);
    }

    fn apply(&mut self, change: &Change) -> Vec<u64> {
        match change {
            Change::AddVoter { id, .. } => {
                self.voters.insert(id.0);
                return vec![id.0];
            }
            Change::AddLearner { id, .. } => {
                self.learners.insert(id.0);
                return vec![id.0];
            }
            Change::Promote { id } => {
                self.learners.remove(&id.0);
                self.voters.insert(id.0);
            }
            Change::Remove { id } => {
                self.learners.remove(&id.0);
                self.voters.remove(&id.0);
            }
            Change::Joint(parts) => {
                self.is_joint = true;
                return parts.iter().flat_map(|part| self.apply(part)).collect();
            }
            Change::LeaveJoint => self.is_joint = false,
            _ => {}
        }
        Vec::new()
    }
}

fn member_of(change: &Change) -> u64 {
    match change {
        Change::AddVoter { id, .. }
        | Change::AddLearner { id, .. }
        | Change::Promote { id }
        | Change::Remove { id } => id.0,
        _ => 0,
    }
}

fn promotes(change: &Change, member: u64) -> bool {
    match change {
        Change::Promote { id } => id.0 == member,
        Change::Joint(parts) => parts.iter().any(|part| promotes(part, member)),
        _ => false,
    }
}

fn removals(change: &Change) -> usize {
    match change {
        Change::Remove { .. } => 1,
        Change::Joint(parts) => parts.iter().map(removals).sum(),
        _ => 0,
    }
}

fn one_of<'a>(ids: impl Iterator<Item = &'a u64>, random: &mut Rng) -> Option<u64> {
    let ids: Vec<_> = ids.copied().collect();
    if ids.is_empty() { None } else { Some(ids[random.usize(..ids.len())]) }
}
