//! Decides whether a history of a register map is linearizable: whether every operation can be given
//! a moment between its call and its return such that, one after the other, they explain every read.
//!
//! Keys do not depend on each other, so each is decided alone. For one key this is the search of
//! Wing & Gong in Lowe's just-in-time form: go through calls and returns in the order of time, with
//! the set of all *configurations* the register may be in (its value, and which of the pending
//! operations have taken effect); at a return, let pending writes take effect in every order until
//! the returning operation has, and keep the configurations in which it did. None left: not
//! linearizable, and that operation is what cannot be explained. The set is the memory of the search:
//! a configuration reached twice is followed once.
//!
//! That values are unique keeps it small:
//!
//! - A read of the current value takes effect at once: waiting would gain it nothing.
//! - A value may not be overwritten while one of its reads has yet to be called.
//! - A put nobody reads is a *mute* one. If its outcome is unknown it is left out, for leaving it out
//!   is always allowed and no read wants it. If it is known, it takes effect just before any other
//!   write does, where it disturbs nobody, or when it returns.
//! - A put that is read took effect before the first of its reads returned, whatever its own outcome.
//! - Deletes with unknown outcome are all alike once called: how many are spent is all that matters,
//!   the fewer the better, and a read that finds nothing is all they are good for.

use super::history::{Action, Operation};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Operations of one key that may be pending at a time: the bits of [`Slots`].
const PENDING_MAX: u32 = u128::BITS;
/// Configurations of one key at a time, beyond which the search gives up.
const CONFIGURATIONS_MAX: usize = 1 << 20;
/// Operations that are shown beside one that cannot be explained.
const SHOWN_MAX: usize = 24;

/// Why a history is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A read of a value that no operation on the key writes.
    NeverWritten(Operation),
    /// A read that had returned when the write of its value was called.
    NotYetWritten { read: Operation, write: Operation },
    /// No order of the operations up to this one's return explains it, and leaves what `later`, a
    /// read to come, found; with those around it.
    Unexplained { operation: Operation, later: Option<Operation>, around: Vec<Operation> },
    /// More pending operations or configurations than the search takes on: nothing is decided.
    Undecided { operation: Operation, limit: &'static str },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverWritten(read) => write!(f, "a value nobody wrote: {read}"),
            Self::NotYetWritten { read, write } => {
                write!(f, "a value from the future: {read}, which was written by {write}")
            }
            Self::Unexplained { operation, later, around } => {
                write!(f, "no order explains {operation}")?;
                if let Some(later) = later {
                    write!(f, ", and later {later}")?;
                }
                f.write_str("; around it:")?;
                around.iter().try_for_each(|operation| write!(f, "\n  {operation}"))
            }
            Self::Undecided { operation, limit } => {
                write!(f, "undecided at {operation}: too many {limit}")
            }
        }
    }
}

/// Checks a history, in any order of its operations.
///
/// # Panics
///
/// If a value is put twice on a key, or a read has no answer: then the history was taken wrongly.
pub(crate) fn check(history: &[Operation]) -> Result<(), Violation> {
    let mut keys: BTreeMap<u32, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(operation.key).or_default().push(operation);
    }
    keys.values().try_for_each(|operations| Key::new(operations)?.search())
}

/// What the register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Content {
    Nothing,
    Value(u64),
    /// The value of some mute put: which one, nobody will ask.
    Mute,
}

/// Pending operations, a bit for the slot of each.
type Slots = u128;

/// What the register may be in: its content and which pending operations took effect, with the least
/// number of unknown deletes that were spent on the way.
type Configurations = HashMap<(Content, Slots), usize>;

#[derive(Clone, Copy)]
enum Kind {
    /// A put that is read.
    Put(u64),
    MutePut,
    Delete,
    /// Of this content.
    Read(Content),
}

/// An operation as the search takes it, its time cut to where it can have taken effect.
struct Timed<'a> {
    kind: Kind,
    called: u64,
    returned: u64,
    operation: &'a Operation,
}

/// The history of one key.
struct Key<'a> {
    operations: Vec<Timed<'a>>,
    /// When the deletes with unknown outcome were called, in order.
    unknown_deletes: Vec<u64>,
    /// Reads that are yet to be called, by the value they found.
    uncalled_reads: HashMap<u64, usize>,
}

impl<'a> Key<'a> {
    fn new(operations: &[&'a Operation]) -> Result<Self, Violation> {
        let writes = writes(operations);
        let mut uncalled_reads: HashMap<u64, usize> = HashMap::new();
        let mut first_read: HashMap<u64, u64> = HashMap::new();
        for &read in operations {
            let Action::Read(Some(value)) = read.action else { continue };
            let Some(&write) = writes.get(&value) else {
                return Err(Violation::NeverWritten(read.clone()));
            };
            let returned = read.returned.expect("a read in a history has an answer");
            if returned < write.called {
                let (read, write) = (read.clone(), write.clone());
                return Err(Violation::NotYetWritten { read, write });
            }
            *uncalled_reads.entry(value).or_default() += 1;
            let first = first_read.entry(value).or_insert(returned);
            *first = returned.min(*first);
        }

        let mut unknown_deletes = Vec::new();
        let mut timed = Vec::new();
        for &operation in operations {
            let Operation { called, returned, .. } = *operation;
            let (kind, called, returned) = match (operation.action, returned) {
                (Action::Put(value), _) => match (first_read.get(&value), returned) {
                    (Some(&read), None) => (Kind::Put(value), called, read),
                    (Some(&read), Some(returned)) => (Kind::Put(value), called, returned.min(read)),
                    (None, Some(returned)) => (Kind::MutePut, called, returned),
                    (None, None) => continue,
                },
                (Action::Delete, Some(returned)) => (Kind::Delete, called, returned),
                (Action::Delete, None) => {
                    unknown_deletes.push(called);
                    continue;
                }
                (Action::Read(found), returned) => {
                    let returned = returned.expect("a read in a history has an answer");
                    match found {
                        Some(value) => {
                            let called = called.max(writes[&value].called);
                            (Kind::Read(Content::Value(value)), called, returned)
                        }
                        None => (Kind::Read(Content::Nothing), called, returned),
                    }
                }
            };
            timed.push(Timed { kind, called, returned, operation });
        }
        unknown_deletes.sort_unstable();
        Ok(Self { operations: timed, unknown_deletes, uncalled_reads })
    }

    fn search(mut self) -> Result<(), Violation> {
        let mut pending = Pending::default();
        let mut configurations = Configurations::from([((Content::Nothing, 0), 0)]);
        for (time, edge, at) in self.edges() {
            let Timed { kind, operation, .. } = self.operations[at];
            match edge {
                Edge::Call => {
                    let Some(slot) = pending.add(at, kind) else {
                        let limit = "pending operations";
                        return Err(Violation::Undecided { operation: operation.clone(), limit });
                    };
                    let Kind::Read(content) = kind else { continue };
                    if let Content::Value(value) = content {
                        *self.uncalled_reads.get_mut(&value).expect("it was counted") -= 1;
                    }
                    configurations = take_effect(configurations, content, slot);
                }
                Edge::Return => {
                    let slot = pending.slot_of(at);
                    let explained = self.explain(&configurations, &pending, slot, time);
                    let explained = explained.ok_or_else(|| {
                        let limit = "configurations";
                        Violation::Undecided { operation: operation.clone(), limit }
                    })?;
                    if explained.is_empty() {
                        let later = self.later_read(&configurations, time);
                        let around = self.around(operation);
                        let operation = operation.clone();
                        return Err(Violation::Unexplained { operation, later, around });
                    }
                    pending.remove(at, kind);
                    configurations = forget(explained, slot);
                }
            }
        }
        Ok(())
    }

    /// The calls and returns in the order of time; at one moment calls come first, for then the two
    /// operations overlap.
    fn edges(&self) -> Vec<(u64, Edge, usize)> {
        let mut edges = Vec::with_capacity(2 * self.operations.len());
        for (at, operation) in self.operations.iter().enumerate() {
            edges.push((operation.called, Edge::Call, at));
            edges.push((operation.returned, Edge::Return, at));
        }
        edges.sort_unstable();
        edges
    }

    /// From each configuration, lets pending writes take effect until the operation in `slot` has:
    /// all the configurations that gives, unless they are too many.
    fn explain(
        &self,
        from: &Configurations,
        pending: &Pending,
        slot: Slots,
        now: u64,
    ) -> Option<Configurations> {
        let mut explained = Configurations::new();
        let mut seen = from.clone();
        let mut left: Vec<((Content, Slots), usize)> =
            seen.iter().map(|(configuration, spent)| (*configuration, *spent)).collect();
        while let Some((configuration, spent)) = left.pop() {
            if seen.get(&configuration).is_some_and(|&least| least < spent) {
                continue;
            }
            if configuration.1 & slot != 0 {
                keep(&mut explained, configuration, spent);
                continue;
            }
            self.successors(configuration, spent, pending, slot, now, |next, spent| {
                if keep(&mut seen, next, spent) {
                    left.push((next, spent));
                }
            });
            if seen.len() > CONFIGURATIONS_MAX {
                return None;
            }
        }
        Some(explained)
    }

    /// What one more write makes of a configuration.
    fn successors(
        &self,
        (content, done): (Content, Slots),
        spent: usize,
        pending: &Pending,
        slot: Slots,
        now: u64,
        mut found: impl FnMut((Content, Slots), usize),
    ) {
        if let Content::Value(value) = content
            && self.uncalled_reads[&value] > 0
        {
            return;
        }
        // Every write takes the mute puts with it, and at once lets its reads take effect.
        let after = |content, wrote: Slots| {
            let reads = pending.reads.get(&content).copied().unwrap_or_default();
            (content, done | wrote | pending.mute_puts | reads)
        };
        for &(put, value) in &pending.puts {
            if done & put == 0 {
                found(after(Content::Value(value), put), spent);
            }
        }
        for delete in bits(pending.deletes & !done) {
            found(after(Content::Nothing, delete), spent);
        }
        if pending.mute_puts & slot != 0 {
            found(after(Content::Mute, 0), spent);
        }
        let reads_of_nothing = pending.reads.get(&Content::Nothing).copied().unwrap_or_default();
        if content != Content::Nothing && reads_of_nothing & !done != 0 {
            let called = self.unknown_deletes.partition_point(|&called| called <= now);
            if spent < called {
                found(after(Content::Nothing, 0), spent + 1);
            }
        }
    }

    /// The first read to come that forbids to overwrite what the register may hold.
    fn later_read(&self, configurations: &Configurations, now: u64) -> Option<Operation> {
        let held = |timed: &&Timed<'_>| match timed.kind {
            Kind::Read(content) => configurations.keys().any(|(held, _)| *held == content),
            _ => false,
        };
        let later = self.operations.iter().filter(held).filter(|timed| timed.called > now);
        later.min_by_key(|timed| timed.called).map(|timed| timed.operation.clone())
    }

    /// The operations whose time is next to that of one, in the order of their calls.
    fn around(&self, operation: &Operation) -> Vec<Operation> {
        let mut around: Vec<_> = self.operations.iter().map(|timed| timed.operation).collect();
        around.sort_by_key(|other| (other.returned.unwrap_or(u64::MAX), other.called));
        let at = around.iter().position(|other| *other == operation).unwrap_or_default();
        let begin = at.saturating_sub(SHOWN_MAX * 2 / 3);
        let end = around.len().min(begin + SHOWN_MAX);
        let mut around: Vec<_> = around[begin..end].iter().map(|&other| other.clone()).collect();
        around.sort_by_key(|other| other.called);
        around
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Call,
    Return,
}

/// The operations that were called and have not returned.
#[derive(Default)]
struct Pending {
    slots: HashMap<usize, Slots>,
    taken: Slots,
    /// Those that are read, with their values.
    puts: Vec<(Slots, u64)>,
    mute_puts: Slots,
    deletes: Slots,
    reads: HashMap<Content, Slots>,
}

impl Pending {
    /// Gives an operation a slot, if one is free.
    fn add(&mut self, at: usize, kind: Kind) -> Option<Slots> {
        let free = (!self.taken).trailing_zeros();
        if free == PENDING_MAX {
            return None;
        }
        let slot = 1 << free;
        self.taken |= slot;
        self.slots.insert(at, slot);
        match kind {
            Kind::Put(value) => self.puts.push((slot, value)),
            Kind::MutePut => self.mute_puts |= slot,
            Kind::Delete => self.deletes |= slot,
            Kind::Read(content) => *self.reads.entry(content).or_default() |= slot,
        }
        Some(slot)
    }

    fn slot_of(&self, at: usize) -> Slots {
        self.slots[&at]
    }

    fn remove(&mut self, at: usize, kind: Kind) {
        let slot = self.slots.remove(&at).expect("it was pending");
        self.taken &= !slot;
        match kind {
            Kind::Put(_) => self.puts.retain(|(put, _)| *put != slot),
            Kind::MutePut => self.mute_puts &= !slot,
            Kind::Delete => self.deletes &= !slot,
            Kind::Read(content) => {
                let reads = self.reads.get_mut(&content).expect("it was pending");
                *reads &= !slot;
                if *reads == 0 {
                    self.reads.remove(&content);
                }
            }
        }
    }
}

fn writes<'a>(operations: &[&'a Operation]) -> HashMap<u64, &'a Operation> {
    let mut writes = HashMap::new();
    for &operation in operations {
        if let Action::Put(value) = operation.action {
            let other = writes.insert(value, operation);
            assert!(other.is_none(), "{value} is put twice on key {}", operation.key);
        }
    }
    writes
}

/// Enters a configuration, unless it is known with as few deletes spent.
fn keep(known: &mut Configurations, configuration: (Content, Slots), spent: usize) -> bool {
    match known.get_mut(&configuration) {
        Some(least) if *least <= spent => false,
        Some(least) => {
            *least = spent;
            true
        }
        None => {
            known.insert(configuration, spent);
            true
        }
    }
}

/// Lets a read take effect wherever the register holds what it found.
fn take_effect(configurations: Configurations, found: Content, slot: Slots) -> Configurations {
    let reads = |((content, done), spent)| {
        let done = if content == found { done | slot } else { done };
        ((content, done), spent)
    };
    configurations.into_iter().map(reads).collect()
}

/// Frees the slot of an operation that took effect in every configuration.
fn forget(configurations: Configurations, slot: Slots) -> Configurations {
    let mut left = Configurations::with_capacity(configurations.len());
    for ((content, done), spent) in configurations {
        keep(&mut left, (content, done & !slot), spent);
    }
    left
}

fn bits(mut slots: Slots) -> impl Iterator<Item = Slots> {
    std::iter::from_fn(move || {
        let lowest = slots & slots.wrapping_neg();
        slots &= !lowest;
        (lowest != 0).then_some(lowest)
    })
}
