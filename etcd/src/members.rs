//! Who is in the cluster, by the log: ids, addresses, who only learns, who was removed for good.
//!
//! It changes with the entries that are applied, so it is the same on all members at the same index.
//! Who votes is raft's own affair (`ConfState`); the two agree.

use crate::raft::Change;
use prost::Message;
use raftwire::transport::{MemberId, PeerUrl};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A member, as a snapshot holds it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct MemberRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, repeated, tag = "2")]
    pub(crate) urls: Vec<String>,
    #[prost(bool, tag = "3")]
    pub(crate) is_learner: bool,
    #[prost(bool, tag = "4")]
    pub(crate) is_leaving: bool,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) urls: Vec<PeerUrl>,
    pub(crate) is_learner: bool,
    /// A joint change removes it, and has not been left: until then it still has its say.
    pub(crate) is_leaving: bool,
}

/// Why a change of the configuration that was committed changes nothing. All members say so alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeRefused {
    /// The member was removed before: an id is used once.
    Removed(MemberId),
    /// There is such a member.
    Exists(MemberId),
    /// There is no such member.
    Unknown(MemberId),
    /// Another member is reached at one of the addresses.
    UrlTaken(MemberId),
    /// It is no learner.
    NotLearner(MemberId),
    /// Another change has not been applied yet, or a joint one not been left.
    Pending,
    /// raft has it that this cannot be: nobody would be left to vote.
    Impossible,
}

impl fmt::Display for ChangeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed(id) => write!(f, "member {id} was removed; an id is used once"),
            Self::Exists(id) => write!(f, "member {id} is there already"),
            Self::Unknown(id) => write!(f, "there is no member {id}"),
            Self::UrlTaken(id) => write!(f, "member {id} is reached at that address"),
            Self::NotLearner(id) => write!(f, "member {id} is no learner"),
            Self::Pending => f.write_str("another change is not done yet"),
            Self::Impossible => f.write_str("nobody would be left to vote"),
        }
    }
}

impl std::error::Error for ChangeRefused {}

/// How changes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// At once.
    Simple,
    /// What is removed goes when the joint change is left.
    Joint,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    known: BTreeMap<u64, Known>,
    removed: BTreeSet<u64>,
}

impl Members {
    pub(crate) fn of(records: Vec<MemberRecord>, removed: Vec<u64>) -> Self {
        let known = records.into_iter().map(|record| {
            // They were addresses when they were written; what is none any more is not dialed.
            let urls = record.urls.iter().filter_map(|url| url.parse().ok()).collect();
            let MemberRecord { id, is_learner, is_leaving, .. } = record;
            (id, Known { urls, is_learner, is_leaving })
        });
        Self { known: known.collect(), removed: removed.into_iter().collect() }
    }

    pub(crate) fn records(&self) -> (Vec<MemberRecord>, Vec<u64>) {
        let records = self.known.iter().map(|(&id, known)| MemberRecord {
            id,
            urls: known.urls.iter().map(PeerUrl::to_string).collect(),
            is_learner: known.is_learner,
            is_leaving: known.is_leaving,
        });
        (records.collect(), self.removed.iter().copied().collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (MemberId, &Known)> {
        self.known.iter().map(|(&id, known)| (MemberId(id), known))
    }

    pub(crate) fn removed(&self) -> &BTreeSet<u64> {
        &self.removed
    }

    pub(crate) fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id.0)
    }

    /// Makes all of `changes`, or none.
    pub(crate) fn apply(&mut self, changes: &[Change], kind: Kind) -> Result<(), ChangeRefused> {
        let mut changed = self.clone();
        for change in changes {
            changed.apply_one(change, kind)?;
        }
        *self = changed;
        Ok(())
    }

    /// Removes those that a joint change removes, now that it is left.
    pub(crate) fn leave_joint(&mut self) -> Vec<MemberId> {
        let leaving = self.known.iter().filter(|(_, known)| known.is_leaving);
        let gone: Vec<_> = leaving.map(|(id, _)| *id).collect();
        self.known.retain(|_, known| !known.is_leaving);
        self.removed.extend(&gone);
        gone.into_iter().map(MemberId).collect()
    }

    fn apply_one(&mut self, change: &Change, kind: Kind) -> Result<(), ChangeRefused> {
        match change {
            Change::AddVoter { id, urls } | Change::AddLearner { id, urls } => {
                if self.is_removed(*id) {
                    return Err(ChangeRefused::Removed(*id));
                }
                if self.known.contains_key(&id.0) {
                    return Err(ChangeRefused::Exists(*id));
                }
                self.check_urls(*id, urls)?;
                let is_learner = matches!(change, Change::AddLearner { .. });
                self.known
                    .insert(id.0, Known { urls: urls.clone(), is_learner, is_leaving: false });
            }
            Change::Promote { id } => {
                let known = self.member(*id)?;
                if !known.is_learner {
                    return Err(ChangeRefused::NotLearner(*id));
                }
                known.is_learner = false;
            }
            Change::Update { id, urls } => {
                self.check_urls(*id, urls)?;
                self.member(*id)?.urls.clone_from(urls);
            }
            Change::Remove { id } => {
                let known = self.member(*id)?;
                if kind == Kind::Joint {
                    known.is_leaving = true;
                } else {
                    self.known.remove(&id.0);
                    self.removed.insert(id.0);
                }
            }
            // What they hold was taken apart.
            Change::Joint(_) | Change::LeaveJoint => {}
        }
        Ok(())
    }

    fn member(&mut self, id: MemberId) -> Result<&mut Known, ChangeRefused> {
        if self.is_removed(id) {
            return Err(ChangeRefused::Removed(id));
        }
        self.known.get_mut(&id.0).ok_or(ChangeRefused::Unknown(id))
    }

    fn check_urls(&self, id: MemberId, urls: &[PeerUrl]) -> Result<(), ChangeRefused> {
        let taken = self.known.iter().find(|(other, known)| {
            **other != id.0 && known.urls.iter().any(|url| urls.contains(url))
        });
        taken.map_or(Ok(()), |(other, _)| Err(ChangeRefused::UrlTaken(MemberId(*other))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(port: u16) -> Vec<PeerUrl> {
        vec![format!("http://127.0.0.1:{port}").parse().unwrap()]
    }

    fn two() -> Members {
        let mut members = Members::default();
        let voter = Change::AddVoter { id: MemberId(1), urls: urls(1) };
        let learner = Change::AddLearner { id: MemberId(2), urls: urls(2) };
        members.apply(&[voter, learner], Kind::Simple).unwrap();
        members
    }

    #[test]
    fn refuses_what_etcd_refuses() {
        let (one, two_, three) = (MemberId(1), MemberId(2), MemberId(3));
        let mut members = two();
        let add = Change::AddVoter { id: three, urls: urls(3) };
        members.apply(&[add, Change::Remove { id: three }], Kind::Simple).unwrap();
        for (change, refused) in [
            (Change::AddVoter { id: one, urls: urls(9) }, ChangeRefused::Exists(one)),
            (Change::AddLearner { id: three, urls: urls(9) }, ChangeRefused::Removed(three)),
            (Change::AddVoter { id: MemberId(4), urls: urls(2) }, ChangeRefused::UrlTaken(two_)),
            (Change::Promote { id: one }, ChangeRefused::NotLearner(one)),
            (Change::Promote { id: MemberId(4) }, ChangeRefused::Unknown(MemberId(4))),
            (Change::Update { id: one, urls: urls(2) }, ChangeRefused::UrlTaken(two_)),
            (Change::Update { id: three, urls: urls(7) }, ChangeRefused::Removed(three)),
            (Change::Remove { id: MemberId(4) }, ChangeRefused::Unknown(MemberId(4))),
            (Change::Remove { id: three }, ChangeRefused::Removed(three)),
        ] {
            let before = members.clone();
            let changes = std::slice::from_ref(&change);
            assert_eq!(members.apply(changes, Kind::Simple), Err(refused), "{change:?}");
            assert_eq!(members, before);
        }
    }

    #[test]
    fn makes_all_of_a_joint_change_or_none() {
        let mut members = two();
        let good = Change::Promote { id: MemberId(2) };
        let bad = Change::Promote { id: MemberId(1) };
        assert!(members.apply(&[good.clone(), bad], Kind::Joint).is_err());
        assert_eq!(members, two());
        members.apply(&[good, Change::Remove { id: MemberId(1) }], Kind::Joint).unwrap();
        assert!(!members.is_removed(MemberId(1)));
        let (records, removed) = members.records();
        assert_eq!(Members::of(records, removed), members);
        assert_eq!(members.leave_joint(), [MemberId(1)]);
        let left: Vec<_> = members.iter().map(|(id, known)| (id.0, known.is_learner)).collect();
        assert_eq!(left, [(2, false)]);
        assert!(members.is_removed(MemberId(1)));
    }

    #[test]
    fn may_be_updated_to_its_own_address() {
        let mut members = two();
        let update = Change::Update { id: MemberId(1), urls: urls(1) };
        members.apply(&[update], Kind::Simple).unwrap();
        let (records, removed) = members.records();
        assert_eq!(Members::of(records, removed), members);
    }
}
