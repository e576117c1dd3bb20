//! The stream's part: what moving raft messages from one process to another over loopback costs,
//! beside a tonic stream, prost over a length-delimited codec, and etcd's own transport. Each
//! contender is a pair of processes that speak one protocol (`protocol`); an end in Rust is this
//! command itself (`end`). Here is the order of the whole. Not here: the codec alone (`codec`).

mod baseline;
pub(crate) mod compare;
mod contender;
pub(crate) mod end;
mod member;
mod message;
mod pair;
mod plots;
mod protocol;
pub(crate) mod report;
mod schedule;
mod tables;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use super::error::BenchError;
use super::peers;
use super::plot::Plot;
use super::progress::Progress;
use super::report::{About, OURS, PLAIN};
use super::section::Section;
use super::shape::STREAM_GRID;
use super::syscalls::Counter;
use super::table::count;
use super::{Against, Args};
use contender::{ours, plain, tonic};
use pair::Contender;
use report::{POLLING, Row, SLEEPING, StreamReport, TONIC};
use schedule::Plan;

/// Both parts together are what a person waits for.
const QUICK: (u32, Duration) = (3, Duration::from_millis(100));
const FULL: (u32, Duration) = (5, Duration::from_secs(1));

/// Which of a round trip's percentiles are shown depends on how many there are: in this many turns'
/// time, p99 quickly, and p99.9 with `--full`.
const ROUND_TRIP_TURNS: u32 = 4;

/// How often system calls are counted: with a core of its own or without, an end finds less or more
/// at once.
const COUNTS_QUICK: u32 = 1;
const COUNTS_FULL: u32 = 3;

/// etcd's programs, the label of each ending in its version.
const ETCDS: [(&str, &str); 2] = [("etcd 3.6", "transport-3.6"), ("etcd 3.7", "transport-3.7")];

/// Measures this part as the command line asks, and adds to `notes` what its reader must know.
pub(super) fn measure(args: &Args, notes: &mut Vec<String>) -> Result<StreamReport, BenchError> {
    let plan = plan(args);
    let mut contenders = rust()?;
    contenders.extend(etcds(args, notes));
    let mut report = StreamReport {
        repetitions: plan.repetitions,
        measurement_ms: plan.budget.as_secs_f64() * 1e3,
        round_trips_ms: plan.round_trips_budget.as_secs_f64() * 1e3,
        contenders: contenders.iter().map(|contender| contender.about.clone()).collect(),
        ..StreamReport::default()
    };
    let shapes = if args.shapes.is_empty() { &STREAM_GRID[..] } else { &args.shapes };
    let steps = shapes.iter().map(|shape| schedule::steps(*shape, &contenders, &plan)).sum();
    let progress = Progress::new(steps);
    let mut counter = Counter::default();
    for shape in shapes {
        let rows = schedule::measure(*shape, &contenders, &plan, &mut counter, &progress)?;
        report.rows.extend(rows);
    }
    progress.finish();
    report.syscalls_by = counter.label().to_owned();
    report.set_ratios();
    notes.extend(baseline::notes(&report));
    Ok(report)
}

fn plan(args: &Args) -> Plan {
    let (repetitions, budget) = if args.full { FULL } else { QUICK };
    let budget = args.duration.map_or(budget, |time| time.0);
    Plan {
        repetitions: args.repetitions.unwrap_or(repetitions),
        budget,
        round_trips_budget: budget * ROUND_TRIP_TURNS,
        counts: if args.full { COUNTS_FULL } else { COUNTS_QUICK },
        counted_budget: budget,
        seed: args.seed,
    }
}

/// The contenders in Rust: this program, started as an end.
fn rust() -> Result<Vec<Contender>, BenchError> {
    let program = std::env::current_exe()
        .map_err(|source| BenchError::io("the program itself".as_ref(), source))?;
    let contender = |name: &str, which: &'static str, version: &str, settings: &str| Contender {
        about: About {
            contender: name.to_owned(),
            version: version.to_owned(),
            settings: settings.to_owned(),
        },
        program: program.clone(),
        arguments: vec!["bench-end", "--contender", which],
        round_trips_only: [POLLING, SLEEPING].contains(&name),
    };
    let raftwire = env!("CARGO_PKG_VERSION");
    let built = |of: [Option<&str>; 3]| of.map(|it| it.unwrap_or("unknown")).join(", ");
    let [prost, tokio] = [option_env!("RAFTWIRE_PROST"), option_env!("RAFTWIRE_TOKIO")];
    let grpc = built([option_env!("RAFTWIRE_TONIC"), prost, tokio]);
    let prost = built([prost, option_env!("RAFTWIRE_TOKIO_UTIL"), tokio]);
    Ok(vec![
        contender(OURS, "raftwire", raftwire, ours::ABOUT),
        contender(POLLING, "raftwire-polling", raftwire, ours::ABOUT_POLLING),
        contender(SLEEPING, "raftwire-sleeping", raftwire, ours::ABOUT_SLEEPING),
        contender(PLAIN, "plain", &prost, plain::ABOUT),
        contender(TONIC, "tonic", &grpc, tonic::ABOUT),
    ])
}

/// The etcds that were asked for and can be had; a note says why there is none.
fn etcds(args: &Args, notes: &mut Vec<String>) -> Vec<Contender> {
    if args.against != Some(Against::Etcd) {
        return Vec::new();
    }
    eprintln!("building etcd's transports (the first time takes a minute or two)");
    peers::build().and_then(|folder| start_etcds(&folder)).unwrap_or_else(|reason| {
        eprintln!("etcd's transport not measured: {reason}");
        notes.push(format!("etcd's transport not measured: {reason}"));
        Vec::new()
    })
}

fn start_etcds(folder: &std::path::Path) -> Result<Vec<Contender>, String> {
    let etcd = |&(label, file): &(&str, &str)| {
        let program: PathBuf = folder.join(file);
        let version = peers::version(label, &program).map_err(|error| error.to_string())?;
        let settings = "its own rafthttp in its default configuration, behind the HTTP server etcd \
                        sets up; the messages of a load made beforehand and used again";
        let about = About { contender: label.to_owned(), version, settings: settings.to_owned() };
        Ok(Contender { about, program, arguments: Vec::new(), round_trips_only: false })
    };
    ETCDS.iter().map(etcd).collect()
}

/// This part as it is shown.
pub(super) fn section(report: &StreamReport) -> Section {
    Section {
        title: "Stream",
        lead: "What moving raft messages from one process to another over loopback costs: time, \
               processor time, allocations and system calls of both, and memory of each.",
        conclusions: verdict::lines(report),
        run: format!(
            "{} interleaved repetitions of {} ms, round trips {} ms; system calls by {}",
            report.repetitions, report.measurement_ms, report.round_trips_ms, report.syscalls_by
        ),
        contenders: report.contenders.clone(),
        plots_note: "Every message answered, but for the round trip.".to_owned(),
        plots: plots::all(report).iter().map(Plot::svg).collect(),
        tables: tables::all(report),
        method: method(report),
    }
}

fn method(report: &StreamReport) -> Vec<String> {
    let messages: u64 = report.rows.iter().map(|row| row.measured_messages).sum();
    let load = format!(
        "A contender is two processes, a leader and a follower, the same two for all that is measured \
         on a shape. The leader keeps a window of MsgApps in flight: one term, indexes from 1 000 000 \
         on, entries of pseudo-random data, the payloads used again from message to message. It sends \
         the next ones while it takes an answer, on the thread that received it. The follower checks \
         that entries follow on each other and sums up their payloads, which are compared with what \
         was sent. Contenders take turns, each round beginning with another one, and each turn begins \
         with an unmeasured run. {} messages were measured.",
        count(messages)
    );
    let used = format!(
        "Every figure is of every contender's in the same way. CPU: getrusage of each process, over the \
         measured messages. Allocations: of all threads, by a counting allocator in Rust, Mallocs in \
         Go, while it is timed. System calls: of both processes, in a run that is not timed, by {}. \
         Memory: the kernel's high-water mark of each process, set back before each turn. A round trip \
         is timed by the leader, from before it sends to when it takes the answer.",
        report.syscalls_by
    );
    let etcd = "etcd's transport runs in Go programs around its unmodified rafthttp; their garbage \
                collector's share is in their figures.";
    let has_etcd = report.rows.iter().any(Row::is_etcd);
    [load, used].into_iter().chain(has_etcd.then(|| etcd.to_owned())).collect()
}
