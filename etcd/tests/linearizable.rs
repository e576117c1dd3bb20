//! The checker of histories, checked: by hand, against every order of small histories, and by
//! breaking histories that were made to be good.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

// Only these two: the rest of the tests' support wants a cluster.
#[path = "support/history.rs"]
mod history;
#[path = "support/linearize.rs"]
mod linearize;

use fastrand::Rng;
use history::{Action, Operation};
use linearize::{Violation, check};

const PUT: fn(u64) -> Action = Action::Put;
const READ: fn(u64) -> Action = |value| Action::Read(Some(value));
const READ_NOTHING: Action = Action::Read(None);

/// An operation on key 0 from `called` to `returned`.
fn operation(action: Action, called: u64, returned: u64) -> Operation {
    Operation { client: 0, key: 0, action, called, returned: Some(returned) }
}

fn unknown(action: Action, called: u64) -> Operation {
    Operation { client: 0, key: 0, action, called, returned: None }
}

#[track_caller]
fn assert_accepted(history: &[Operation]) {
    if let Err(violation) = check(history) {
        panic!("{violation}");
    }
    assert!(has_an_order(history), "the oracle disagrees");
}

/// Asserts that a history is refused because of the operation at `at`.
#[track_caller]
fn assert_refused(history: &[Operation], at: usize) {
    assert!(!has_an_order(history), "the oracle disagrees");
    match check(history).unwrap_err() {
        Violation::Unexplained { operation, later, around } => {
            assert!(around.contains(&operation), "it is shown");
            let culprit = later.unwrap_or(operation);
            assert_eq!(culprit, history[at]);
        }
        Violation::NeverWritten(read) | Violation::NotYetWritten { read, .. } => {
            assert_eq!(read, history[at]);
        }
        undecided @ Violation::Undecided { .. } => panic!("{undecided}"),
    }
}

#[test]
fn accepts_reads_of_what_was_last_written() {
    assert_accepted(&[]);
    assert_accepted(&[
        operation(READ_NOTHING, 0, 1),
        operation(PUT(1), 2, 3),
        operation(READ(1), 4, 5),
        operation(PUT(2), 6, 7),
        operation(READ(2), 8, 9),
        operation(Action::Delete, 10, 11),
        operation(READ_NOTHING, 12, 13),
    ]);
}

#[test]
fn accepts_either_order_of_what_overlaps() {
    for (first, second) in [(1, 2), (2, 1)] {
        assert_accepted(&[
            operation(PUT(1), 0, 10),
            operation(PUT(2), 0, 10),
            operation(READ(first), 3, 4),
            operation(READ(second), 5, 6),
        ]);
    }
    // What touches overlaps.
    assert_accepted(&[operation(PUT(1), 0, 5), operation(READ_NOTHING, 5, 6)]);
}

#[test]
fn refuses_a_stale_read() {
    assert_refused(
        &[operation(PUT(1), 0, 1), operation(PUT(2), 2, 3), operation(READ(1), 4, 5)],
        2,
    );
    assert_refused(&[operation(PUT(1), 0, 1), operation(READ_NOTHING, 2, 3)], 1);
    assert_refused(
        &[operation(PUT(1), 0, 1), operation(Action::Delete, 2, 3), operation(READ(1), 4, 5)],
        2,
    );
}

#[test]
fn refuses_a_read_that_goes_back_within_one_write() {
    assert_refused(
        &[
            operation(PUT(1), 0, 1),
            operation(PUT(2), 2, 20),
            operation(READ(2), 3, 4),
            operation(READ(1), 5, 6),
        ],
        3,
    );
}

#[test]
fn refuses_a_lost_update() {
    // The second write was acknowledged, and nobody overwrote it.
    assert_refused(
        &[
            operation(PUT(1), 0, 1),
            operation(PUT(2), 2, 3),
            operation(READ(2), 4, 5),
            operation(READ(1), 6, 7),
        ],
        3,
    );
}

#[test]
fn refuses_values_never_written_or_not_yet() {
    assert_refused(&[operation(PUT(1), 0, 1), operation(READ(7), 2, 3)], 1);
    assert_refused(&[operation(READ(1), 0, 1), operation(PUT(1), 2, 3)], 0);
}

#[test]
fn an_unknown_write_may_appear_late_once_or_never() {
    let written = [operation(PUT(1), 0, 1), unknown(PUT(2), 2)];
    let with = |reads: &[(Action, u64)]| {
        let mut history = written.to_vec();
        history.extend(reads.iter().map(|(read, at)| operation(*read, *at, at + 1)));
        history
    };
    assert_accepted(&with(&[(READ(1), 10), (READ(1), 20)]));
    assert_accepted(&with(&[(READ(1), 10), (READ(2), 20), (READ(2), 30)]));
    assert_accepted(&with(&[(READ(2), 10), (PUT(3), 20), (READ(3), 30)]));
    // Not twice, and not before it was called.
    assert_refused(&with(&[(READ(2), 10), (READ(1), 20)]), 3);
    assert_refused(&with(&[(READ(2), 10), (PUT(3), 20), (READ(3), 30), (READ(2), 40)]), 5);
    assert_refused(&[operation(READ(2), 0, 1), unknown(PUT(2), 2)], 0);
}

#[test]
fn unknown_deletes_explain_as_many_gaps_as_there_are() {
    let mut history = vec![unknown(Action::Delete, 0), unknown(Action::Delete, 1)];
    for (at, value) in [(10, 1), (20, 2)] {
        history.push(operation(PUT(value), at, at + 1));
        history.push(operation(READ_NOTHING, at + 2, at + 3));
    }
    assert_accepted(&history);
    history.push(operation(PUT(3), 30, 31));
    history.push(operation(READ_NOTHING, 32, 33));
    assert_refused(&history, 7);
    // One that was called too late explains nothing.
    history.push(unknown(Action::Delete, 34));
    assert_refused(&history, 7);
    history.push(unknown(Action::Delete, 33));
    assert_accepted(&history);
}

#[test]
fn keys_do_not_explain_each_other() {
    let mut history = vec![operation(PUT(1), 0, 1), operation(READ(1), 2, 3)];
    history[1].key = 1;
    assert!(matches!(check(&history), Err(Violation::NeverWritten(read)) if read == history[1]));
}

#[test]
fn agrees_with_trying_every_order_of_small_histories() {
    const HISTORIES: u64 = 40_000;
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..HISTORIES {
        let history = small_history(&mut Rng::with_seed(seed));
        let verdict = check(&history);
        assert!(!matches!(verdict, Err(Violation::Undecided { .. })), "seed {seed}");
        assert_eq!(verdict.is_ok(), has_an_order(&history), "seed {seed}: {history:#?}");
        *if verdict.is_ok() { &mut accepted } else { &mut refused } += 1;
    }
    // Both verdicts were put to the test.
    assert!(accepted > HISTORIES / 5 && refused > HISTORIES / 5, "{accepted}, {refused}");
}

#[test]
fn refuses_every_broken_copy_of_a_good_history() {
    let (mut stale, mut future, mut lost) = (0, 0, 0);
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let good = good_history(&mut rng, 200, 2, 5);
        assert!(check(&good).is_ok(), "seed {seed}: {}", check(&good).unwrap_err());
        for _ in 0..20 {
            let at = rng.usize(..good.len());
            let Action::Read(found) = good[at].action else { continue };
            for (value, counter) in
                [(stale_value(&good, at), &mut stale), (future_value(&good, at), &mut future)]
            {
                let Some(value) = value.filter(|value| Some(*value) != found) else { continue };
                let mut broken = good.clone();
                broken[at].action = Action::Read(Some(value));
                assert!(check(&broken).is_err(), "seed {seed}: {} became {value}", good[at]);
                *counter += 1;
            }
            // A write that was read did not happen.
            let wrote = |operation: &Operation| {
                operation.key == good[at].key && found.map(PUT) == Some(operation.action)
            };
            if found.is_some() {
                let mut broken = good.clone();
                broken.retain(|operation| !wrote(operation));
                assert!(check(&broken).is_err(), "seed {seed}: no write for {}", good[at]);
                lost += 1;
            }
        }
    }
    assert!(stale > 1000 && future > 1000 && lost > 1000, "{stale}, {future}, {lost}");
}

#[test]
fn decides_a_hundred_thousand_operations() {
    let mut rng = Rng::with_seed(7);
    let good = good_history(&mut rng, 100_000, 50, 16);
    assert!(check(&good).is_ok());
    let is_stale = |at: &usize| {
        matches!(good[*at].action, Action::Read(Some(_))) && stale_value(&good, *at).is_some()
    };
    let at = (90_000..).find(is_stale).unwrap();
    let mut broken = good;
    broken[at].action = Action::Read(stale_value(&broken, at));
    assert!(matches!(check(&broken), Err(Violation::Unexplained { .. })));
}

/// A handful of operations on one key, at random times: linearizable or not.
fn small_history(rng: &mut Rng) -> Vec<Operation> {
    let count = rng.u64(1..=7);
    let mut history = Vec::new();
    for value in 0..count {
        let called = rng.u64(..12);
        let action = match rng.u8(..10) {
            0..4 => PUT(value),
            4 => Action::Delete,
            5..9 => READ(rng.u64(..count)),
            _ => READ_NOTHING,
        };
        let is_read = matches!(action, Action::Read(_));
        let returned = (is_read || rng.u8(..4) > 0).then(|| called + rng.u64(..8));
        history.push(Operation { client: 0, key: 0, action, called, returned });
    }
    // Most reads should find what somebody wrote.
    let written: Vec<u64> = history.iter().filter_map(wrote).collect();
    for operation in &mut history {
        if let Action::Read(Some(value)) = &mut operation.action
            && !written.is_empty()
            && rng.u8(..20) > 0
        {
            *value = written[rng.usize(..written.len())];
        }
    }
    history
}

fn wrote(operation: &Operation) -> Option<u64> {
    match operation.action {
        Action::Put(value) => Some(value),
        _ => None,
    }
}

/// A history that is linearizable because it was made from an order: each client's operations take
/// effect one after the other, each somewhere between its call and its return. Every twentieth write
/// has an unknown outcome, and half of those never happen.
fn good_history(rng: &mut Rng, count: usize, keys: u32, clients: u32) -> Vec<Operation> {
    let mut history = Vec::with_capacity(count);
    let mut content = vec![None; keys as usize];
    // The moments at which operations take effect are 100 apart; a client's next call is behind its
    // last return.
    let mut free = vec![0; clients as usize];
    for at in 0..count as u64 {
        let moment = (at + 1) * 100;
        let client = u32::try_from(at % u64::from(clients)).unwrap();
        let key = rng.u32(..keys);
        let free: &mut u64 = &mut free[client as usize];
        let called = rng.u64((*free).min(moment - 1)..moment);
        let returned = moment + rng.u64(1..u64::from(clients) * 90);
        *free = returned + 1;
        let held = &mut content[key as usize];
        let is_unknown = rng.u8(..20) == 0;
        let happens = !is_unknown || rng.bool();
        let (action, next) = match rng.u8(..10) {
            0..5 => (Action::Read(*held), *held),
            5..9 => (PUT(at), Some(at)),
            _ => (Action::Delete, None),
        };
        let is_read = matches!(action, Action::Read(_));
        if is_read || happens {
            *held = next;
        }
        let returned = (is_read || !is_unknown).then_some(returned);
        history.push(Operation { client, key, action, called, returned });
    }
    history
}

/// A value the read at `at` cannot have found any more: it had been overwritten before it was called.
fn stale_value(history: &[Operation], at: usize) -> Option<u64> {
    let read = &history[at];
    let on_key = |operation: &&Operation| operation.key == read.key;
    let overwrote = history.iter().filter(on_key).rev().find(|operation| {
        !matches!(operation.action, Action::Read(_))
            && operation.returned.is_some_and(|returned| returned < read.called)
    })?;
    history.iter().filter(on_key).find_map(|operation| {
        let value = wrote(operation)?;
        operation.returned.is_some_and(|returned| returned < overwrote.called).then_some(value)
    })
}

/// A value the read at `at` cannot have found yet: its write was called later.
fn future_value(history: &[Operation], at: usize) -> Option<u64> {
    let read = &history[at];
    let later = |operation: &&Operation| {
        operation.key == read.key && read.returned.is_some_and(|end| end < operation.called)
    };
    history.iter().filter(later).find_map(wrote)
}

/// Whether some order explains a history of one key: tries them all.
fn has_an_order(history: &[Operation]) -> bool {
    fn explains(left: &mut Vec<&Operation>, content: Option<u64>) -> bool {
        if left.iter().all(|operation| operation.returned.is_none()) {
            return true;
        }
        let ended = left.iter().filter_map(|operation| operation.returned).min();
        for at in 0..left.len() {
            let operation = left[at];
            // Another one returned before this was called, so it comes first.
            if ended.is_some_and(|ended| ended < operation.called) {
                continue;
            }
            let next = match operation.action {
                Action::Put(value) => Some(value),
                Action::Delete => None,
                Action::Read(found) if found == content => content,
                Action::Read(_) => continue,
            };
            left.remove(at);
            let explained = explains(left, next);
            left.insert(at, operation);
            if explained {
                return true;
            }
        }
        false
    }
    explains(&mut history.iter().collect(), None)
}
