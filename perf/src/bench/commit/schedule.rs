//! The order of this part: for each load every contender's cluster is founded and stays; they take
//! turns, A B C A B C, beginning with another one each round, ours also with its commits recorded, in a
//! cluster of its own, whose memory what is recorded takes; then system calls are counted in runs that are not timed. Not here: what a turn is (`cluster`).
//!
//! A cluster stays for all of its load's turns, idle while others have theirs: one that is started for
//! each turn would be measured in its first second, with empty pools, heaps that grow and segments
//! being prepared, and founding it takes longer than the turn. What an idle one does is a heartbeat each
//! 100 ms.

use std::path::Path;
use std::time::Duration;

use super::cluster::{Cluster, Contender, Turn};
use super::phases::Paths;
use super::protocol::Run;
use super::report::{Latency, Load, Phases, Row, Syscalls, TracingCost};
use super::scratch;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::stats::Spread;
use crate::bench::syscalls::Counter;
use crate::bench::turns::rotated;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) repetitions: u32,
    /// Of one turn.
    pub(crate) budget: Duration,
    /// How often system calls are counted.
    pub(crate) counts: u32,
    pub(crate) keys: u32,
    pub(crate) seed: u64,
}

/// An unmeasured run comes first for this part of a turn: others had the caches meanwhile.
const WARM_UP_PART: u32 = 5;

/// About so many commits are recorded in a turn: enough for percentiles in three of them, and few
/// enough that recording them is no load of its own.
const SAMPLES_PER_TURN: u64 = 5000;

/// Everything measured under one load.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) rows: Vec<Row>,
    /// None where no contender records.
    pub(crate) phases: Option<Phases>,
}

/// One that takes turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entrant {
    contender: usize,
    is_traced: bool,
}

pub(crate) fn measure(
    load: Load,
    folder: &Path,
    contenders: &[Contender],
    plan: &Plan,
    counter: &mut Counter,
    progress: &Progress,
) -> Result<Measured, BenchError> {
    let entrants = entrants(contenders);
    scratch::expect_room(folder, entrants.len() as u64 * u64::from(load.members))?;
    let start = |entrant: &Entrant| {
        Cluster::start(&contenders[entrant.contender], load.members, folder, load.label())
    };
    let mut clusters = entrants.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); entrants.len()];
    let mut paths = Paths::default();
    let mut sample_every = 0;
    let run = run(load, plan);
    let mut seed = plan.seed;
    for at in rotated(entrants.len(), plan.repetitions) {
        let Entrant { contender, is_traced } = entrants[at];
        let cluster = &mut clusters[at];
        let recorded = if is_traced { ", recorded" } else { "" };
        progress.step(&format!(
            "{}: {}{recorded}",
            load.label(),
            contenders[contender].about.contender
        ));
        // Other keys in each: a state that stays as it was proves nothing.
        seed = seed.wrapping_add(1);
        let run = Run { seed, ..run };
        cluster.warm_up(Run { duration_ms: warm_up_ms(run.duration_ms), ..run })?;
        if is_traced {
            // Another cluster of this kind had its turn before, unrecorded: it stands in front.
            let ops = turns[at - 1].last().map_or(0, |turn| turn.ops);
            let every = sampled_every(ops);
            sample_every = every.max(sample_every);
            let (turn, recorded) = cluster.traced_turn(Run { sample_every: every, ..run })?;
            paths.add(&recorded);
            turns[at].push(turn);
        } else {
            turns[at].push(cluster.turn(run)?);
        }
    }
    let traced = entrants.iter().position(|entrant| entrant.is_traced);
    if let Some(at) = traced
        && let Some(fault) = paths.fault()
    {
        return Err(clusters[at].wrong(fault));
    }
    let mut syscalls: Vec<Vec<Syscalls>> = vec![Vec::new(); contenders.len()];
    for at in rotated(contenders.len(), plan.counts) {
        let name = &contenders[at].about.contender;
        progress.step(&format!("{}: {name}, system calls", load.label()));
        let cluster = entrants.iter().position(|entrant| entrant.contender == at);
        if let Some(cluster) = cluster.and_then(|at| clusters.get_mut(at)) {
            syscalls[at].extend(cluster.syscalls_per_op(run, counter)?);
        }
    }
    let rows = entrants.iter().zip(&turns).filter(|(entrant, _)| !entrant.is_traced);
    let rows = rows.filter_map(|(Entrant { contender, .. }, turns)| {
        let name = &contenders[*contender].about.contender;
        Row::of(load, name, turns, median(&syscalls[*contender]))
    });
    let rows = rows.collect();
    let cost = traced.and_then(|at| cost(load, &turns[at], &turns[at - 1]));
    let phases = cost.map(|cost| phases(load, &paths, sample_every, cost));
    Ok(Measured { rows, phases })
}

/// How often [`measure`] moves the progress on.
pub(crate) fn steps(contenders: &[Contender], plan: &Plan) -> u64 {
    entrants(contenders).len() as u64 * u64::from(plan.repetitions)
        + contenders.len() as u64 * u64::from(plan.counts)
}

/// Those that record have a second turn each round, behind the one they do not.
fn entrants(contenders: &[Contender]) -> Vec<Entrant> {
    let each = |(contender, it): (usize, &Contender)| {
        let traced = it.traces.then_some(true);
        [false].into_iter().chain(traced).map(move |is_traced| Entrant { contender, is_traced })
    };
    contenders.iter().enumerate().flat_map(each).collect()
}

fn run(load: Load, plan: &Plan) -> Run {
    Run {
        proposers: load.proposers,
        value_bytes: load.value_bytes,
        keys: plan.keys,
        duration_ms: u64::try_from(plan.budget.as_millis()).unwrap_or(u64::MAX).max(1),
        rate: load.rate.unwrap_or(0),
        seed: plan.seed,
        sample_every: 0,
    }
}

fn warm_up_ms(duration_ms: u64) -> u64 {
    (duration_ms / u64::from(WARM_UP_PART)).max(1)
}

fn sampled_every(ops: u64) -> u64 {
    // To the nearest: between two thirds of them and half as many more.
    ((ops + SAMPLES_PER_TURN / 2) / SAMPLES_PER_TURN).max(1)
}

fn median(counted: &[Syscalls]) -> Option<Syscalls> {
    let of = |of: fn(&Syscalls) -> f64| {
        Spread::of(&counted.iter().map(of).collect::<Vec<_>>()).map(|spread| spread.p50)
    };
    Some(Syscalls { leader: of(|calls| calls.leader)?, followers: of(|calls| calls.followers)? })
}

/// The recorded turns in units of the others.
fn cost(load: Load, recorded: &[Turn], others: &[Turn]) -> Option<TracingCost> {
    let [recorded, other] = [recorded, others].map(|turns| Row::of(load, "", turns, None));
    let (recorded, other) = (recorded?, other?);
    let p50 = |latency: &Latency| latency.us_p50.as_ref().map(|series| series.p50);
    let p50 = p50(&recorded.latency).zip(p50(&other.latency));
    Some(TracingCost {
        ops_per_s: recorded.ops_per_s.p50 / other.ops_per_s.p50,
        us_p50: p50.map(|(recorded, other)| recorded / other),
        cpu_us: recorded.cpu_us_per_op.p50 / other.cpu_us_per_op.p50,
    })
}

fn phases(load: Load, paths: &Paths, sample_every: u64, cost: TracingCost) -> Phases {
    Phases {
        load,
        sample_every,
        samples: paths.samples(),
        violations: paths.violations(),
        latency_us: paths.latency(),
        latency_us_mean: paths.latency_us_mean(),
        phases: paths.phases(),
        closed_by_leader_part: paths.closed_by_leader_part(),
        off_path: paths.off_path(),
        cost,
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Medium;
    use super::super::report::tests::{load, turn};
    use super::*;
    use crate::bench::report::About;

    fn contender(name: &str, traces: bool) -> Contender {
        let about =
            About { contender: name.to_owned(), version: String::new(), settings: String::new() };
        Contender { about, program: "none".into(), arguments: Vec::new(), traces }
    }

    #[test]
    fn ours_has_a_recorded_turn_behind_its_own() {
        let all = entrants(&[contender("a", true), contender("b", false)]);
        let entrant = |contender, is_traced| Entrant { contender, is_traced };
        assert_eq!(all, [entrant(0, false), entrant(0, true), entrant(1, false)]);
    }

    #[test]
    fn records_about_as_many_commits_at_any_speed() {
        assert_eq!([0, 1, 7499, 7500, 50_000].map(sampled_every), [1, 1, 1, 2, 10]);
    }

    #[test]
    fn states_what_recording_costs() {
        let load = load(Medium::Disk, 1);
        let cost = cost(load, &[turn(900.0)], &[turn(1000.0)]).unwrap();
        assert!((cost.ops_per_s - 0.9).abs() < 1e-9);
        assert!((cost.cpu_us - 1.0 / 0.9).abs() < 1e-9);
        assert!((cost.us_p50.unwrap() - 1.0 / 0.9).abs() < 1e-3);
    }

    #[test]
    fn no_count_has_no_median() {
        assert_eq!(median(&[]), None);
        let calls = |leader| Syscalls { leader, followers: 2.0 };
        assert_eq!(median(&[calls(1.0), calls(5.0), calls(3.0)]), Some(calls(3.0)));
    }
}
