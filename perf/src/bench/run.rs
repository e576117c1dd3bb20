//! A run from beginning to end: loads, contenders, progress, report, comparison. Not here: the
//! command line (`mod`), and each step's own work.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::contender::Codec;
use super::contender::cluster::{self, MEMBERS};
use super::contender::etcd::{self, Etcd};
use super::contender::ours::Ours;
use super::contender::plain::Plain;
use super::error::BenchError;
use super::load::Load;
use super::machine::{Machine, Versions};
use super::report::{About, ClusterRow, Report, Run, SCHEMA};
use super::schedule::{self, Plan};
use super::shape::GRID;
use super::table::{TEXT_WIDTH, wrapped};
use super::{Against, Args, compare, html, tables, verdict};
use crate::allocator::Allocator;

/// Short enough that a person waits for it, the grid and etcd included.
const QUICK: (u32, Duration) = (3, Duration::from_millis(40));
const FULL: (u32, Duration) = (7, Duration::from_millis(250));

/// How much stream goes by while allocations and copies are counted.
const COUNTED_BYTES: usize = 64 << 20;

/// The cluster's part of a measurement's time: there are nine of them for each shape, of which only
/// the ratio is of interest.
const CLUSTER_PART: u32 = 3;

pub(super) fn run(args: &Args) -> Result<ExitCode, BenchError> {
    let started = Instant::now();
    // An unreadable report is better found before the measuring than after.
    let old = args.compare.as_deref().map(Report::read).transpose()?;
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|source| BenchError::io(folder, source))?;
    }
    let loads = loads(args)?;
    let mut report = begin(args);
    report.notes.extend(busy(&report.machine));
    let mut etcds = etcds(args, &mut report.notes);
    measure(args, &loads, &mut etcds, &mut report)?;
    report.set_ratios();
    report.notes.extend(verdict::baseline_notes(&report));
    report.run.elapsed_s = started.elapsed().as_secs_f64();

    let change = old.map(|old| compare::compare(&old, &report, args.threshold));
    if let Some(folder) = &args.out {
        report.write(&folder.join("report.json"))?;
        let table = change.as_ref().map(|change| &change.table);
        html::write(&report, table, &folder.join("report.html"))?;
    }
    let shown = show(args, &report, change.as_ref());
    shown.map_err(|source| BenchError::io("standard output".as_ref(), source))?;
    let worse = change.is_some_and(|change| change.worse > 0);
    Ok(if worse { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn plan(args: &Args) -> Plan {
    let (repetitions, budget) = if args.full { FULL } else { QUICK };
    Plan {
        repetitions: args.repetitions.unwrap_or(repetitions),
        budget: args.duration.map_or(budget, |time| time.0),
        seed: args.seed,
        counted_bytes: COUNTED_BYTES,
    }
}

fn loads(args: &Args) -> Result<Vec<Arc<Load>>, BenchError> {
    if !args.captures.is_empty() {
        let files = args.captures.iter();
        return files.map(|path| Load::captured(path, args.stream).map(Arc::new)).collect();
    }
    let shapes = if args.shapes.is_empty() { &GRID[..] } else { &args.shapes };
    Ok(shapes.iter().map(|shape| Arc::new(Load::steady(*shape, args.seed))).collect())
}

fn begin(args: &Args) -> Report {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let Plan { repetitions, budget, seed, .. } = plan(args);
    Report {
        schema: SCHEMA.to_owned(),
        what: "codec".to_owned(),
        machine: Machine::here(),
        versions: Versions::built(),
        run: Run {
            command_line: std::env::args().collect(),
            started_unix_s: since_epoch.map_or(0, |since| since.as_secs()),
            elapsed_s: 0.0,
            mode: if args.full { "full" } else { "quick" }.to_owned(),
            repetitions,
            measurement_ms: budget.as_secs_f64() * 1e3,
            allocator: Allocator::current().label().to_owned(),
            seed,
        },
        contenders: Vec::new(),
        rows: Vec::new(),
        cluster: Vec::new(),
        notes: Vec::new(),
    }
}

/// A figure taken beside other work is worth little, and looks like any other.
fn busy(machine: &Machine) -> Option<String> {
    let load = machine.load_average_1m;
    (load > machine.cores as f64).then(|| {
        format!("the machine was busy: {load:.1} runnable tasks on {} cores", machine.cores)
    })
}

/// The etcds that were asked for and can be had; a note says why there is none.
fn etcds(args: &Args, notes: &mut Vec<String>) -> Vec<Etcd> {
    if args.against != Some(Against::Etcd) {
        return Vec::new();
    }
    let mut note = |reason: &str| {
        eprintln!("etcd not measured: {reason}");
        notes.push(format!("etcd not measured: {reason}"));
        Vec::new()
    };
    if !args.captures.is_empty() {
        return note("it makes messages of its own, of a shape, and reads no captured ones");
    }
    eprintln!("building etcd's codecs (the first time takes a minute or two)");
    etcd::start_all().unwrap_or_else(|reason| note(&reason))
}

fn measure(
    args: &Args,
    loads: &[Arc<Load>],
    etcds: &mut [Etcd],
    report: &mut Report,
) -> Result<(), BenchError> {
    let plan = plan(args);
    let mut codecs: Vec<Box<dyn Codec>> = vec![Box::new(Ours::new()), Box::new(Plain::default())];
    report.contenders = codecs
        .iter()
        .map(|codec| About {
            contender: codec.label().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: codec.about().to_owned(),
        })
        .collect();
    report.contenders.extend(etcds.iter().map(|etcd| About {
        contender: etcd.label.to_owned(),
        version: etcd.version.clone(),
        settings: "its own encoder and decoder, unmodified, in a process of their own".to_owned(),
    }));

    // A cluster needs messages that are all in step, which only the grid's are.
    let steady = loads.iter().filter(|load| load.shape.is_some());
    let cluster_plan = Plan { budget: plan.budget / CLUSTER_PART, ..plan };
    let per_load = schedule::ticks(codecs.len() + etcds.len(), &plan);
    let clusters = steady.clone().count() * MEMBERS.len() * 3 * plan.repetitions as usize;
    let bar = progress(per_load * loads.len() as u64 + clusters as u64);
    for load in loads {
        let mut tick = |what: &str| step(&bar, what);
        report.rows.extend(schedule::measure(load, &mut codecs, etcds, &plan, &mut tick)?);
    }
    for load in steady {
        for members in MEMBERS {
            let mut ways = cluster::ways(members - 1);
            let tick = |way: &str| step(&bar, &format!("{} {members} members: {way}", load.input));
            let figures = schedule::measure_encode(load, &mut ways, &cluster_plan, tick)?;
            report.cluster.extend(ways.iter().zip(figures).map(|(way, figures)| ClusterRow {
                input: load.input.clone(),
                members,
                way: way.label().to_owned(),
                figures,
            }));
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// On a terminal only, and drawn by the measuring thread between two measurements: a thread of its
/// own would take time from them, and its allocations would be counted.
fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} % {eta:>4} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn step(bar: &ProgressBar, what: &str) {
    bar.set_message(what.to_owned());
    bar.inc(1);
}

fn show(args: &Args, report: &Report, change: Option<&compare::Comparison>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, report)?;
        return writeln!(out);
    }
    for (name, value) in html::conditions_of(report) {
        writeln!(out, "{name:<8} {value}")?;
    }
    for table in tables::all(report) {
        write!(out, "\n{table}")?;
    }
    if let Some(change) = change {
        write!(out, "\n{}", change.table)?;
        writeln!(out, "{} of our rows are worse.", change.worse)?;
    }
    writeln!(out)?;
    for line in report.notes.iter().chain(&verdict::lines(report)) {
        writeln!(out, "{}", wrapped(line, TEXT_WIDTH))?;
    }
    if let Some(folder) = &args.out {
        writeln!(out, "Written: {}/report.html and report.json", folder.display())?;
    }
    Ok(())
}
