//! A whole cluster in one thread, on virtual time, over a network and on disks that do everything
//! networks and disks do: runs that follow from a seed, each held against what must always be true
//! (`sim/judge.rs`, `sim/ledger.rs`).
//!
//! | variable | |
//! |---|---|
//! | `RAFTWIRE_SIMS` | how many seeds are run; 60 by default |
//! | `RAFTWIRE_SEED` | the first of them; alone, that one is run and told in full |
//!
//! ```text
//! sim/
//!   world.rs     the cluster, and a step of it
//!   members.rs   its processes: made, started, ended
//!   faults.rs    what goes wrong with them, their disks and the network
//!   clients.rs   who asks them for something
//!   rest.rs      how it must end
//!   plan.rs      which kinds of things happen in a run
//!   process.rs   a member, moved as its own loop would
//!   network.rs   streams, through the real codecs
//!   operator.rs  changes of the configuration
//!   request.rs   what clients write
//!   judge.rs     what must hold at all times
//!   ledger.rs    the committed log and what it makes: the model
//!   log_view.rs  what a log on disk says
//! ```
//!
//! Not here: threads, sockets and the clock of the real loop, which `node.rs` and `cluster.rs` test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod sim {
    mod clients;
    mod faults;
    pub(crate) mod judge;
    pub(crate) mod ledger;
    pub(crate) mod log_view;
    mod members;
    pub(crate) mod network;
    pub(crate) mod operator;
    pub(crate) mod plan;
    pub(crate) mod process;
    pub(crate) mod request;
    mod rest;
    pub(crate) mod world;

    /// What must hold, or how it does not.
    pub(crate) type Verdict<T = ()> = Result<T, String>;
}

use sim::judge::Counts;
use sim::world::World;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SIMS: u64 = 60;
/// Among which a disk that does not sync must be found out.
const CANARY_SIMS: u64 = 20;

fn variable(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// Runs a seed; what is wrong with it, with where.
fn simulate(seed: u64, disks_lie: bool, is_loud: bool) -> Result<(Counts, u64), String> {
    let step = Arc::new(AtomicU64::new(0));
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, disks_lie, step.clone(), is_loud);
        world.run().map(|counts| (counts, world.trace))
    }));
    let ran = ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    let step = step.load(Ordering::Relaxed);
    ran.map_err(|error| format!("RAFTWIRE_SEED={seed}, step {step}: {error}"))
}

#[test]
fn holds_whatever_happens_to_disks_members_and_network() {
    let (first, sims) = (variable("RAFTWIRE_SEED"), variable("RAFTWIRE_SIMS"));
    let sims = sims.unwrap_or_else(|| if first.is_some() { 1 } else { SIMS });
    let is_loud = first.is_some() && sims == 1;
    let first = first.unwrap_or(0);
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for seed in first..first.saturating_add(sims) {
        match simulate(seed, false, is_loud) {
            Ok((of_seed, _)) => counts.add(&of_seed),
            Err(error) => {
                println!("{error}");
                failures.push(seed);
            }
        }
    }
    println!("{sims} runs: {counts:?}");
    if sims >= SIMS {
        counts.check_that_all_happened();
    }
    assert!(failures.is_empty(), "{} of {sims} seeds failed: {failures:?}", failures.len());
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let found: Vec<_> =
        (0..CANARY_SIMS).filter_map(|seed| simulate(seed, true, false).err()).collect();
    println!("{found:#?}");
    assert!(found.len() as u64 > CANARY_SIMS / 2, "{} of {CANARY_SIMS}", found.len());
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..3 {
        assert_eq!(simulate(seed, false, false), simulate(seed, false, false));
    }
}
