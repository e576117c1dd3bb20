//! Holds what clients noted against what may have been, and against what the cluster holds at last.
//!
//! 1. *Nothing acknowledged is lost*: what a key that is written once was given is there.
//! 2. *Nothing is applied twice*: such a key has version 1; a register that is never deleted has at
//!    least as many versions as puts were acknowledged, and at most those of unknown outcome more.
//! 3. *What was refused did not happen*: nobody ever finds it.
//! 4. *The log has an order*: no two writes have one index, and a write that began after another was
//!    acknowledged has the greater one.
//! 5. *Reads tell of writes*: the version and index of a value are those its put was answered with.
//! 6. The registers are linearizable.

use super::cluster::Cluster;
use super::history::{Action, Operation};
use super::linearize;
use super::load::{Did, Found, Key, Note, Write, found};
use raftwire_etcd::console::{Op, Outcome};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Reads of the last state that are asked for at a time.
const READS_MAX: usize = 256;
const ANSWER: Duration = Duration::from_secs(20);

/// How much was held against what: so that a test can see that there was something.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) operations: usize,
    pub(crate) acknowledged: usize,
    pub(crate) unknown: usize,
    pub(crate) dropped: usize,
    pub(crate) written_once: usize,
    /// Writes of unknown outcome that took effect.
    pub(crate) late: usize,
}

/// Checks everything. The cluster must be whole again, and nobody may write.
pub(crate) fn settle(cluster: &Cluster, mut notes: Vec<Note>) -> Account {
    cluster.leader();
    let registers = last_state(cluster, &mut notes);
    cluster.assert_equal();
    check_indexes(&notes);
    check_reads(&notes);
    check_versions(&notes, &registers);
    let mut account = check_written_once(&notes, &registers);
    let history: Vec<Operation> = notes.iter().filter_map(operation).collect();
    if let Err(violation) = linearize::check(&history) {
        panic!("not linearizable: {violation}");
    }
    account.operations = notes.len();
    for note in &notes {
        match note.did {
            Did::Put(_, Write::Applied { .. }) | Did::Delete(Write::Applied { .. }) => {
                account.acknowledged += 1;
            }
            Did::Put(_, Write::Unknown) | Did::Delete(Write::Unknown) => account.unknown += 1,
            Did::Put(_, Write::Dropped) | Did::Delete(Write::Dropped) => account.dropped += 1,
            Did::Read(_) => {}
        }
    }
    account
}

type State = BTreeMap<Key, Option<Found>>;

/// Reads every key that was ever written, through all members in turn, and notes it.
fn last_state(cluster: &Cluster, notes: &mut Vec<Note>) -> State {
    let keys: BTreeSet<Key> = notes.iter().map(|note| note.key).collect();
    let end = notes.iter().map(|note| note.returned).max().unwrap_or_default() + 1;
    let mut state = State::new();
    let mut asked: Vec<(Key, u64, Receiver<Outcome>)> = Vec::new();
    let mut take = |asked: &mut Vec<(Key, u64, Receiver<Outcome>)>| {
        for (key, member, answered) in asked.drain(..) {
            let outcome = answered.recv_timeout(ANSWER).unwrap();
            let Outcome::Value(value) = outcome else { panic!("{key:?}: {outcome:?}") };
            let found = value.as_ref().map(found);
            state.insert(key, found);
            let (called, did) = (end, Did::Read(found));
            notes.push(Note { client: u32::MAX, key, did, member, called, returned: end });
        }
    };
    for (key, member) in keys.into_iter().zip(cluster.ids().into_iter().cycle()) {
        let process = cluster.process(member).unwrap();
        asked.push((key, member, process.begin(Op::Get { key: key.text() }).1));
        if asked.len() == READS_MAX {
            take(&mut asked);
        }
    }
    take(&mut asked);
    state
}

/// The order of the log is that of time.
fn check_indexes(notes: &[Note]) {
    let mut applied: Vec<(u64, &Note)> = notes
        .iter()
        .filter_map(|note| match note.did {
            Did::Put(_, Write::Applied { index, .. })
            | Did::Delete(Write::Applied { index, .. }) => Some((index, note)),
            _ => None,
        })
        .collect();
    applied.sort_by_key(|(index, _)| *index);
    // From the end: of those with a greater index, the one that returned first.
    let mut first: Option<&Note> = None;
    for (at, (index, note)) in applied.iter().enumerate().rev() {
        if let Some((before, other)) = at.checked_sub(1).map(|before| applied[before]) {
            assert_ne!(before, *index, "one entry for two writes: {other:?}, {note:?}");
        }
        if let Some(first) = first {
            assert!(first.returned >= note.called, "out of order: {first:?} before {note:?}");
        }
        if first.is_none_or(|first| note.returned < first.returned) {
            first = Some(note);
        }
    }
}

/// What a read tells of a value is what its put was told, and none was refused.
fn check_reads(notes: &[Note]) {
    let mut puts = HashMap::new();
    for note in notes {
        if let Did::Put(value, write) = note.did {
            puts.insert(value, (note, write));
        }
    }
    for read in notes {
        let Did::Read(Some(found)) = read.did else { continue };
        let (put, write) = puts.get(&found.value).unwrap_or_else(|| panic!("nobody put {read:?}"));
        assert_eq!(put.key, read.key, "{put:?}, {read:?}");
        match write {
            Write::Applied { index, version } => {
                assert_eq!((found.index, found.version), (*index, *version), "{put:?}, {read:?}");
            }
            Write::Dropped => panic!("what was dropped happened: {put:?}, {read:?}"),
            Write::Unknown => {}
        }
    }
}

/// Registers that are never deleted have as many versions as puts.
fn check_versions(notes: &[Note], state: &State) {
    let mut puts: BTreeMap<Key, (u64, u64)> = BTreeMap::new();
    let mut versions = BTreeSet::new();
    for note in notes {
        let Key::Register(number) = note.key else { continue };
        let Did::Put(_, write) = note.did else { continue };
        if number % 2 == 1 {
            continue;
        }
        let (applied, unknown) = puts.entry(note.key).or_default();
        match write {
            Write::Applied { version, .. } => {
                *applied += 1;
                assert!(versions.insert((note.key, version)), "a version given twice: {note:?}");
            }
            Write::Unknown => *unknown += 1,
            Write::Dropped => {}
        }
    }
    for (key, (applied, unknown)) in puts {
        let version = state[&key].map_or(0, |found| found.version);
        assert!(
            (applied..=applied + unknown).contains(&version),
            "{}: version {version} of {applied} puts that were acknowledged and {unknown} unknown",
            key.text()
        );
    }
}

/// What was written once is there once.
fn check_written_once(notes: &[Note], state: &State) -> Account {
    let mut account = Account::default();
    for note in notes {
        let (Key::Once(..), Did::Put(value, write)) = (note.key, &note.did) else { continue };
        let held = state[&note.key];
        if let Some(held) = held {
            assert_eq!(held.version, 1, "applied twice: {note:?}, {held:?}");
        }
        let is_there = held.is_some_and(|held| held.value == *value);
        match write {
            Write::Applied { .. } => {
                assert!(is_there, "lost: {note:?}, there is {held:?}");
                account.written_once += 1;
            }
            Write::Unknown if is_there => account.late += 1,
            Write::Unknown | Write::Dropped => {}
        }
    }
    account
}

/// A note as the checker of histories takes it.
fn operation(note: &Note) -> Option<Operation> {
    let Key::Register(key) = note.key else { return None };
    let (action, write) = match note.did {
        Did::Put(value, write) => (Action::Put(value), Some(write)),
        Did::Delete(write) => (Action::Delete, Some(write)),
        Did::Read(found) => (Action::Read(found.map(|found| found.value)), None),
    };
    let returned = match write {
        Some(Write::Dropped) => return None,
        Some(Write::Unknown) => None,
        Some(Write::Applied { .. }) | None => Some(note.returned),
    };
    Some(Operation { client: note.client, key, action, called: note.called, returned })
}
