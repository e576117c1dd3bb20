//! The commit's part: what a commit costs and how long it takes, in a cluster of processes with a log
//! on disk, beside etcd's own raft, WAL and transport; and where the time of ours goes. Each contender
//! is a process a member, all of which speak one protocol (`protocol`); a member of ours is this
//! command itself (`member`). Here is the order of the whole. Not here: messages alone (`stream`).

mod alarm;
mod baseline;
mod cluster;
pub(crate) mod compare;
mod latencies;
mod load;
pub(crate) mod member;
mod options;
mod phases;
mod plots;
mod protocol;
pub(crate) mod report;
mod schedule;
mod scratch;
mod tables;
mod trace;
mod verdict;

use std::path::Path;
use std::time::Duration;

use super::error::BenchError;
use super::peers;
use super::progress::Progress;
use super::report::{About, OURS};
use super::section::Section;
use super::syscalls::Counter;
use super::table::count;
use super::{Against, Args};
use cluster::Contender;
pub(crate) use options::Options;
use report::{CommitReport, ETCD_36, Load, Place, Row};
use schedule::Plan;

/// All parts together are what a person waits for.
const QUICK: (u32, Duration) = (3, Duration::from_millis(250));
/// With one proposer p99 has its hundred operations beyond it from some 700 a second on.
const FULL: (u32, Duration) = (5, Duration::from_secs(3));

/// How often system calls are counted: a batch is larger or smaller by luck.
const COUNTS_QUICK: u32 = 1;
const COUNTS_FULL: u32 = 3;

/// Few enough that a state is compared in no time, and many enough that no two proposers wait for one.
const KEYS: u32 = 10_000;

/// etcd's programs, the label of each ending in its version.
const ETCDS: [(&str, &str); 2] = [(ETCD_36, "commit-3.6"), ("etcd 3.7", "commit-3.7")];

/// Measures this part as the command line asks, and adds to `notes` what its reader must know.
pub(super) fn measure(args: &Args, notes: &mut Vec<String>) -> Result<CommitReport, BenchError> {
    let places = args.commit.places(notes)?;
    scratch::remove_on_signals()?;
    let plan = plan(args);
    let mut contenders = vec![ours()?];
    contenders.extend(etcds(args, notes));
    let mut report = CommitReport {
        repetitions: plan.repetitions,
        measurement_ms: plan.budget.as_secs_f64() * 1e3,
        keys: plan.keys,
        contenders: contenders.iter().map(|contender| contender.about.clone()).collect(),
        ..CommitReport::default()
    };
    let loads = args.commit.loads();
    let steps = schedule::steps(&contenders, &plan) * (places.len() * loads.len()) as u64;
    let progress = Progress::new(steps);
    let mut counter = Counter::default();
    for (medium, folder) in &places {
        for load in &loads {
            let load = Load { medium: *medium, ..*load };
            let measured =
                schedule::measure(load, folder, &contenders, &plan, &mut counter, &progress)?;
            report.rows.extend(measured.rows);
            report.phases.extend(measured.phases);
        }
    }
    progress.finish();
    let place = |(medium, folder): &(_, std::path::PathBuf)| Place {
        medium: *medium,
        folder: folder.display().to_string(),
    };
    report.places = places.iter().map(place).collect();
    report.syscalls_by = counter.label().to_owned();
    report.set_ratios();
    report.verdicts = verdict::verdicts(&report);
    notes.extend(baseline::notes(&report));
    Ok(report)
}

fn plan(args: &Args) -> Plan {
    let (repetitions, budget) = if args.full { FULL } else { QUICK };
    Plan {
        repetitions: args.repetitions.unwrap_or(repetitions),
        budget: args.duration.map_or(budget, |time| time.0),
        counts: if args.full { COUNTS_FULL } else { COUNTS_QUICK },
        keys: KEYS,
        seed: args.seed,
    }
}

/// This program, started as a member.
fn ours() -> Result<Contender, BenchError> {
    let program = std::env::current_exe()
        .map_err(|source| BenchError::io("the program itself".as_ref(), source))?;
    let settings = "its member in its default configuration, without polling; values are proposed by \
                    tasks on the leader's own thread";
    let about = About {
        contender: OURS.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: settings.to_owned(),
    };
    Ok(Contender { about, program, arguments: vec!["bench-member"], traces: true })
}

/// The etcds that were asked for and can be had; a note says why there is none.
fn etcds(args: &Args, notes: &mut Vec<String>) -> Vec<Contender> {
    if args.against != Some(Against::Etcd) {
        return Vec::new();
    }
    eprintln!("building etcd's members (the first time takes a minute or two)");
    peers::build().and_then(|folder| start_etcds(&folder)).unwrap_or_else(|reason| {
        eprintln!("etcd's commits not measured: {reason}");
        notes.push(format!("etcd's commits not measured: {reason}"));
        Vec::new()
    })
}

fn start_etcds(folder: &Path) -> Result<Vec<Contender>, String> {
    let etcd = |&(label, file): &(&str, &str)| {
        let program = folder.join(file);
        let version = peers::version(label, &program).map_err(|error| error.to_string())?;
        let settings = "its own raft, WAL and rafthttp in their default configuration, in a loop as \
                        etcdserver's, without gRPC and the backend; values are proposed by goroutines \
                        of the leader";
        let about = About { contender: label.to_owned(), version, settings: settings.to_owned() };
        Ok(Contender { about, program, arguments: Vec::new(), traces: false })
    };
    ETCDS.iter().map(etcd).collect()
}

/// This part as it is shown.
pub(super) fn section(report: &CommitReport) -> Section {
    let places: Vec<String> = report
        .places
        .iter()
        .map(|place| format!("{} in {}", place.medium.label(), place.folder))
        .collect();
    Section {
        title: "Commit",
        lead: "What a commit costs in a cluster of processes, each with its log: time, processor time, \
               allocations, system calls, fsyncs and memory of all members; and where the time goes.",
        conclusions: verdict::lines(report),
        run: format!(
            "{} interleaved repetitions of {} ms; {}; system calls by {}",
            report.repetitions,
            report.measurement_ms,
            places.join(", "),
            report.syscalls_by
        ),
        contenders: report.contenders.clone(),
        plots_note: "A percentile with fewer than 100 operations beyond it has no bar.".to_owned(),
        plots: plots::all(report),
        tables: tables::all(report),
        method: method(report),
    }
}

fn method(report: &CommitReport) -> Vec<String> {
    let ops: u64 = report.rows.iter().map(|row| row.measured_ops).sum();
    let load = format!(
        "A contender is one process a member, the same for all that is measured under a load, and the \
         first member leads. Proposers inside the leader put random keys out of {} with values of \
         their own, and wait until theirs is committed and applied there. Contenders take turns, each \
         round beginning with another one, and each turn begins with an unmeasured run. After each \
         turn all members must hold the same keys and values at the same entry, and as many entries \
         must have been applied as operations were answered. {} operations were measured.",
        count(report.keys.into()),
        count(ops)
    );
    let used = format!(
        "Every figure is of every contender's in the same way. CPU: getrusage of each process. \
         Allocations: of all threads, by a counting allocator in Rust, Mallocs in Go. fsyncs: as each \
         member's log counts them. Memory: the kernel's high-water mark of each process, set back \
         before each turn. Latencies are counted by their 9 most significant bits, which holds them to \
         0.4 %. System calls: in a run of their own, by {}; strace slows that down, so that more \
         operations share a batch, and its calls, than where nothing is counted.",
        report.syscalls_by
    );
    let traced = "In a second turn of ours each round, members record the moments of sampled entries, \
                  all by the machine's one CLOCK_MONOTONIC. The phases of a commit are the times between \
                  its moments; their sum must be what its proposer measured, within 2 %.";
    let etcd = "etcd's members are Go programs around its unmodified raft, WAL and rafthttp; their \
                garbage collector's share is in their figures.";
    let has_phases = !report.phases.is_empty();
    let has_etcd = report.rows.iter().any(Row::is_etcd);
    let optional = [has_phases.then(|| traced.to_owned()), has_etcd.then(|| etcd.to_owned())];
    [load, used].into_iter().chain(optional.into_iter().flatten()).collect()
}
