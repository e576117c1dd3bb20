//! Nothing acknowledged is lost: a loaded cluster, each member a process, whose members are killed at
//! random moments, paused, and cut off from each other.
//!
//! A short run is part of the tests; `RAFTWIRE_KILLS=200` makes a long one,
//! `RAFTWIRE_MEMBERS=5` a larger cluster, and `RAFTWIRE_SEED=N` repeats the choices of another run,
//! though not its timing.
//!
//! A member without its fsync would pass these, too: what a killed process has written, the system
//! still has. That bytes are durable before they are acknowledged is for the tests on a disk that
//! crashes.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use support::account::{Account, settle};
use support::cluster::{Cluster, Options};
use support::faults::{Happened, Kinds, inflict, kills, members, seed};
use support::load::{Load, Running};

/// Small enough that a run cuts segments, takes snapshots, and sends some; and that many a write is
/// given up that then takes effect.
fn options() -> Options {
    Options::new()
        .flag("segment-bytes", 256 << 10)
        .flag("snapshot-entries", 300)
        .flag("catch-up-entries", 50)
        .flag("request-timeout-ms", 400)
}

fn run(kinds: Kinds, kills: u32) -> (Account, Happened) {
    let seed = seed();
    let members = members(3);
    let cluster = Cluster::start(options().members(members));
    let load = Load { clients: 6, registers: 8, members, seed };
    let mut happened = None;
    let notes = Running::new(&cluster, load).run(|running| {
        happened = Some(inflict(&cluster, running, kinds, kills, seed));
    });
    let account = settle(&cluster, notes);
    let happened = happened.unwrap();
    eprintln!("{happened:?}, {account:?}");
    (account, happened)
}

#[test]
fn what_was_acknowledged_survives_kills_and_is_applied_once() {
    let (account, happened) = run(Kinds::Kills, kills(10));
    assert!(happened.kills >= kills(10));
    // There was something to lose.
    assert!(account.written_once > 50 && account.acknowledged > 200, "{account:?}");
}

#[test]
fn histories_are_linearizable_under_kills_pauses_and_cut_links() {
    let (account, _) = run(Kinds::All, kills(16) / 2);
    assert!(account.operations > 200, "{account:?}");
}
