//! A run from beginning to end: the parts that were asked for, report, comparison, output. Not here:
//! the command line (`mod`), and measuring (`codec`, `stream`, `commit`).

use std::io::Write;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use super::compare::{self, Comparison};
use super::error::BenchError;
use super::machine::{Machine, Versions};
use super::report::{PartTime, Report, Run, SCHEMA};
use super::table::{TEXT_WIDTH, wrapped};
use super::{Args, What, codec, commit, html, section, stream};
use crate::allocator::Allocator;

pub(super) fn run(args: &Args) -> Result<ExitCode, BenchError> {
    let started = Instant::now();
    args.check().map_err(BenchError::Usage)?;
    // An unreadable report is better found before the measuring than after.
    let old = args.compare.as_deref().map(Report::read).transpose()?;
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|source| BenchError::io(folder, source))?;
    }
    let mut report = begin(args);
    report.notes.extend(busy(&report.machine));
    for part in args.parts() {
        let began = Instant::now();
        let notes = &mut report.notes;
        let name = match part {
            What::Codec => {
                report.codec = Some(codec::measure(args, notes)?);
                "codec"
            }
            What::Stream => {
                report.stream = Some(stream::measure(args, notes)?);
                "stream"
            }
            What::Commit => {
                report.commit = Some(commit::measure(args, notes)?);
                "commit"
            }
        };
        let elapsed_s = began.elapsed().as_secs_f64();
        report.run.parts.push(PartTime { part: name.to_owned(), elapsed_s });
    }
    report.run.elapsed_s = started.elapsed().as_secs_f64();

    let change = old.map(|old| compare::compare(&old, &report, args.threshold));
    if let Some(folder) = &args.out {
        report.write(&folder.join("report.json"))?;
        let tables = change.as_ref().map_or(&[][..], |change| &change.tables);
        html::write(&report, tables, &folder.join("report.html"))?;
    }
    let shown = show(args, &report, change.as_ref());
    shown.map_err(|source| BenchError::io("standard output".as_ref(), source))?;
    let worse = change.is_some_and(|change| change.worse > 0);
    Ok(if worse { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn begin(args: &Args) -> Report {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Report {
        schema: SCHEMA.to_owned(),
        machine: Machine::here(),
        versions: Versions::built(),
        run: Run {
            command_line: std::env::args().collect(),
            started_unix_s: since_epoch.map_or(0, |since| since.as_secs()),
            elapsed_s: 0.0,
            parts: Vec::new(),
            mode: if args.full { "full" } else { "quick" }.to_owned(),
            allocator: Allocator::current().label().to_owned(),
            seed: args.seed,
        },
        codec: None,
        stream: None,
        commit: None,
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

fn show(args: &Args, report: &Report, change: Option<&Comparison>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, report)?;
        return writeln!(out);
    }
    for (name, value) in html::conditions_of(report) {
        writeln!(out, "{name:<8} {value}")?;
    }
    let sections = section::all(report);
    for part in &sections {
        writeln!(out, "\n{}: {}", part.title.to_uppercase(), part.run)?;
        for table in &part.tables {
            write!(out, "\n{table}")?;
        }
    }
    if let Some(change) = change {
        for table in &change.tables {
            write!(out, "\n{table}")?;
        }
        writeln!(out, "{} of our rows are worse.", change.worse)?;
    }
    writeln!(out)?;
    let conclusions = sections.iter().flat_map(|part| &part.conclusions);
    for line in report.notes.iter().chain(conclusions) {
        writeln!(out, "{}", wrapped(line, TEXT_WIDTH))?;
    }
    if let Some(folder) = &args.out {
        writeln!(out, "Written: {}/report.html and report.json", folder.display())?;
    }
    Ok(())
}
