//! The log of the whole cluster, as far as it is committed, and what it makes of the state machine: a
//! model that every member is held against.
//!
//! It grows with what stands in members' logs on disk below the commit index they know
//! ([`Ledger::take`]), and what stands there once stands there for ever. What members say of
//! themselves is compared at once where the ledger reaches that far, or as soon as it does.

use super::Verdict;
use super::log_view::LogView;
use super::request::Request;
use bytes::Bytes;
use raftwire::raftpb::{Entry, EntryType};
use raftwire_etcd::kv::Digest;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The entry of index 1 first.
    committed: Vec<Committed>,
    /// Where each request stands.
    indexes: BTreeMap<u64, u64>,
    /// Keys, with their values and versions.
    values: BTreeMap<Bytes, (Bytes, u64)>,
    /// Requests that were said never to be proposed.
    dropped: BTreeSet<u64>,
    /// By index: which request, and the version it was told.
    acknowledged: BTreeMap<u64, (u64, u64)>,
    /// By index: the state a member had there.
    observed: BTreeMap<u64, (State, u64)>,
}

#[derive(Debug)]
struct Committed {
    entry: Entry,
    /// Who was the first to say so.
    by: u64,
    request: Option<u64>,
    /// The version of its key behind it.
    version: u64,
    state: State,
}

/// A digest but for its index: hash, keys, versions.
type State = (u64, u64, u64);

impl Ledger {
    /// How far it reaches.
    pub(crate) fn last_index(&self) -> u64 {
        self.committed.len() as u64
    }

    /// Takes what `member` has in its log up to `commit`.
    pub(crate) fn take(&mut self, member: u64, view: &LogView, commit: u64) -> Verdict {
        for entry in view.entries.range(..=commit).map(|(_, entry)| entry) {
            let index = entry.index;
            let known = usize::try_from(index - 1).ok().and_then(|at| self.committed.get(at));
            match known {
                Some(known) if known.entry == *entry => {}
                Some(Committed { entry: known, by, .. }) => {
                    return Err(format!(
                        "member {member} has {entry:?} committed, member {by} had {known:?}"
                    ));
                }
                None if index == self.last_index() + 1 => self.push(member, entry)?,
                // Behind a snapshot: others have what is in between.
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn push(&mut self, by: u64, entry: &Entry) -> Verdict {
        let index = entry.index;
        let data = entry.data.clone().unwrap_or_default();
        let is_request = entry.entry_type == EntryType::NORMAL && !data.is_empty();
        let request = if is_request { Request::decode(data) } else { None };
        if is_request && request.is_none() {
            return Err(format!("{entry:?} is committed, and nobody's request"));
        }
        let version = match &request {
            None => 0,
            Some(Request { id, key, value }) => {
                if let Some(before) = self.indexes.insert(*id, index) {
                    return Err(format!("request {id:x} is committed at {before} and at {index}"));
                }
                if self.dropped.contains(id) {
                    return Err(format!("request {id:x} was dropped, and is committed at {index}"));
                }
                self.apply(key, value.as_ref())
            }
        };
        let request = request.map(|request| request.id);
        let (entry, state) = (entry.clone(), self.state());
        self.committed.push(Committed { entry, by, request, version, state });
        self.check_acknowledged(index)?;
        self.check_observed(index)
    }

    fn apply(&mut self, key: &Bytes, value: Option<&Bytes>) -> u64 {
        let Some(value) = value else {
            self.values.remove(key);
            return 0;
        };
        let held = self.values.entry(key.clone()).or_default();
        *held = (value.clone(), held.1 + 1);
        held.1
    }

    fn state(&self) -> State {
        let fnv = |hash: u64, bytes: &[u8]| {
            let step =
                |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            bytes.iter().fold(hash, step)
        };
        let (mut hash, mut versions) = (0xcbf2_9ce4_8422_2325, 0);
        for (key, (value, version)) in &self.values {
            hash = fnv(fnv(hash, key), value);
            versions += version;
        }
        (hash, self.values.len() as u64, versions)
    }

    /// Learns that a request was dropped.
    pub(crate) fn drop_request(&mut self, id: u64) -> Verdict {
        self.dropped.insert(id);
        match self.indexes.get(&id) {
            Some(index) => Err(format!("request {id:x} was dropped, and is committed at {index}")),
            None => Ok(()),
        }
    }

    /// Learns that a request was acknowledged.
    pub(crate) fn acknowledge(&mut self, id: u64, index: u64, version: u64) -> Verdict {
        match self.acknowledged.insert(index, (id, version)) {
            Some(before) if before != (id, version) => {
                let (other, before) = before;
                Err(format!(
                    "entry {index} was acknowledged as {other:x}, version {before}, and now as \
                     {id:x}, version {version}"
                ))
            }
            _ => self.check_acknowledged(index),
        }
    }

    fn check_acknowledged(&self, index: u64) -> Verdict {
        let Some(&(id, version)) = self.acknowledged.get(&index) else { return Ok(()) };
        let known = usize::try_from(index - 1).ok().and_then(|at| self.committed.get(at));
        match known {
            Some(known) if (known.request, known.version) != (Some(id), version) => Err(format!(
                "request {id:x} was acknowledged at {index} as version {version}; there stands \
                 {:x?}, version {}",
                known.request, known.version
            )),
            _ => Ok(()),
        }
    }

    /// Learns what state a member has.
    pub(crate) fn observe(&mut self, member: u64, digest: Digest) -> Verdict {
        let (index, state) = (digest.applied, (digest.hash, digest.keys, digest.versions));
        match self.observed.get(&index) {
            Some((other, by)) if *other != state => Err(format!(
                "at {index} member {member} has state {state:x?}, member {by} had {other:x?}"
            )),
            Some(_) => Ok(()),
            None => {
                self.observed.insert(index, (state, member));
                self.check_observed(index)
            }
        }
    }

    fn check_observed(&self, index: u64) -> Verdict {
        let Some((state, by)) = self.observed.get(&index) else { return Ok(()) };
        let known = match index.checked_sub(1).and_then(|at| usize::try_from(at).ok()) {
            None => return Ok(()),
            Some(at) => self.committed.get(at),
        };
        match known {
            Some(known) if known.state != *state => Err(format!(
                "at {index} member {by} has state {state:x?}, the log makes {:x?}",
                known.state
            )),
            _ => Ok(()),
        }
    }

    /// Whether all that was acknowledged and observed has been held against the log.
    pub(crate) fn finish(&self) -> Verdict {
        let last = self.last_index();
        if let Some((index, (id, _))) = self.acknowledged.range(last + 1..).next() {
            return Err(format!(
                "request {id:x} was acknowledged at {index}; the log ends at {last}"
            ));
        }
        if let Some((index, (_, by))) = self.observed.range(last + 1..).next() {
            return Err(format!("member {by} applied entry {index}; the log ends at {last}"));
        }
        Ok(())
    }
}
