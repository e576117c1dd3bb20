//! The codec's part: what encoding and decoding costs, beside a plain prost codec and etcd's own.
//! Here is the order of the whole; how a figure is made stands in `contender` and `schedule`, what is
//! shown in `tables` and `plots`. Not here: messages on their way between processes (`stream`).

mod baseline;
pub(crate) mod compare;
pub(crate) mod contender;
pub(crate) mod copies;
pub(crate) mod load;
mod plots;
pub(crate) mod report;
mod schedule;
mod tables;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use super::error::BenchError;
use super::plot::Plot;
use super::progress::Progress;
use super::report::About;
use super::section::Section;
use super::shape::CODEC_GRID;
use super::table::count;
use super::{Against, Args};
use contender::Codec;
use contender::cluster::{self, MEMBERS};
use contender::etcd::{self, Etcd};
use contender::ours::Ours;
use contender::plain::Plain;
use load::Load;
use report::{ClusterRow, CodecReport, Row};
use schedule::Plan;

/// Short enough that a person waits for it, the grid and etcd included.
const QUICK: (u32, Duration) = (3, Duration::from_millis(40));
const FULL: (u32, Duration) = (7, Duration::from_millis(250));

/// How much stream goes by while allocations and copies are counted.
const COUNTED_BYTES: usize = 64 << 20;

/// The cluster's part of a measurement's time: there are nine of them for each shape, of which only
/// the ratio is of interest.
const CLUSTER_PART: u32 = 3;

/// Measures this part as the command line asks, and adds to `notes` what its reader must know.
pub(super) fn measure(args: &Args, notes: &mut Vec<String>) -> Result<CodecReport, BenchError> {
    let plan = plan(args);
    let loads = loads(args)?;
    let mut report = CodecReport {
        repetitions: plan.repetitions,
        measurement_ms: plan.budget.as_secs_f64() * 1e3,
        ..CodecReport::default()
    };
    let mut etcds = etcds(args, notes);
    fill(&plan, &loads, &mut etcds, &mut report)?;
    report.set_ratios();
    notes.extend(verdict::baseline_notes(&report));
    Ok(report)
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
    let shapes = if args.shapes.is_empty() { &CODEC_GRID[..] } else { &args.shapes };
    Ok(shapes.iter().map(|shape| Arc::new(Load::steady(*shape, args.seed))).collect())
}

/// The etcds that were asked for and can be had; a note says why there is none.
fn etcds(args: &Args, notes: &mut Vec<String>) -> Vec<Etcd> {
    if args.against != Some(Against::Etcd) {
        return Vec::new();
    }
    let mut note = |reason: &str| {
        eprintln!("etcd's codec not measured: {reason}");
        notes.push(format!("etcd's codec not measured: {reason}"));
        Vec::new()
    };
    if !args.captures.is_empty() {
        return note("it makes messages of its own, of a shape, and reads no captured ones");
    }
    eprintln!("building etcd's codecs (the first time takes a minute or two)");
    etcd::start_all().unwrap_or_else(|reason| note(&reason))
}

fn fill(
    plan: &Plan,
    loads: &[Arc<Load>],
    etcds: &mut [Etcd],
    report: &mut CodecReport,
) -> Result<(), BenchError> {
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
    let cluster_plan = Plan { budget: plan.budget / CLUSTER_PART, ..*plan };
    let per_load = schedule::ticks(codecs.len() + etcds.len(), plan);
    let clusters = steady.clone().count() * MEMBERS.len() * 3 * plan.repetitions as usize;
    let progress = Progress::new(per_load * loads.len() as u64 + clusters as u64);
    for load in loads {
        let mut tick = |what: &str| progress.step(what);
        report.rows.extend(schedule::measure(load, &mut codecs, etcds, plan, &mut tick)?);
    }
    for load in steady {
        for members in MEMBERS {
            let mut ways = cluster::ways(members - 1);
            let tick =
                |way: &str| progress.step(&format!("{} {members} members: {way}", load.input));
            let figures = schedule::measure_encode(load, &mut ways, &cluster_plan, tick)?;
            report.cluster.extend(ways.iter().zip(figures).map(|(way, figures)| ClusterRow {
                input: load.input.clone(),
                members,
                way: way.label().to_owned(),
                figures,
            }));
        }
    }
    progress.finish();
    Ok(())
}

/// This part as it is shown.
pub(super) fn section(report: &CodecReport) -> Section {
    Section {
        title: "Codec",
        lead: "What encoding and decoding the messages of etcd's peer transport costs: time, \
               allocations of the whole process, and bytes copied in memory.",
        conclusions: verdict::lines(report),
        run: format!(
            "{} interleaved repetitions of {} ms",
            report.repetitions, report.measurement_ms
        ),
        contenders: report.contenders.clone(),
        plots_note: tables::DECODE_NOTE.to_owned(),
        plots: plots::all(report).iter().map(Plot::svg).collect(),
        tables: tables::all(report),
        method: method(report),
    }
}

fn method(report: &CodecReport) -> Vec<String> {
    let messages: u64 = report.rows.iter().map(|row| row.figures.timed_messages).sum();
    let ours = format!(
        "Each AppEntries is one of a steady stream in step: one term, indexes from 1 000 000 on, \
         entries of pseudo-random data, in the form etcd 3.4 to 3.6 write. Before anything is timed, \
         every encoder's bytes are compared with the plain codec's; in every pass messages, entries \
         and payload bytes are summed and compared. Contenders of an operation take turns, each \
         round beginning with another one. A figure is the median over the repetitions, each of \
         which is a mean over its messages: {} messages were timed. Everything a pass made is \
         dropped inside the timed section. Allocations are counted in passes of their own, in the \
         whole process, so that counting costs no time in the timed ones. Copied bytes are counted \
         at the places that copy: for raftwire by the library, for plain prost payloads into the \
         write buffer and the tails its read buffer moves.",
        count(messages)
    );
    let etcd = "etcd's encoder and decoder run in a Go program, unmodified, over the same shapes; it \
                is asked for one measurement at a time, between ours. Its garbage collector's share \
                is in its time.";
    let has_etcd = report.rows.iter().any(Row::is_etcd);
    std::iter::once(ours).chain(has_etcd.then(|| etcd.to_owned())).collect()
}
