//! The report as one HTML file that needs nothing else: no script, no font, no picture from
//! elsewhere. Not here: the tables and plots themselves.

use std::fmt::Write;
use std::path::Path;

use super::error::BenchError;
use super::report::{Report, Row};
use super::table::{Table, count, escape, figure};
use super::{plots, tables, verdict};

pub(crate) fn write(
    report: &Report,
    change: Option<&Table>,
    path: &Path,
) -> Result<(), BenchError> {
    std::fs::write(path, page(report, change)).map_err(|source| BenchError::io(path, source))
}

const STYLE: &str = include_str!("report.css");

fn page(report: &Report, change: Option<&Table>) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>raftwire bench {what}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>raftwire bench {what}</h1>\n",
        what = escape(&report.what)
    );
    out.push_str(
        "<p class=\"lead\">What encoding and decoding the messages of etcd's peer transport \
         costs: time, allocations of the whole process, and bytes copied in memory.</p>\n",
    );
    section(&mut out, "In short", &list(&verdict::lines(report)));
    if !report.notes.is_empty() {
        section(&mut out, "Notes", &list(&report.notes));
    }
    section(&mut out, "How it was measured", &conditions(report));
    let figures: String = plots::all(report)
        .iter()
        .map(|plot| format!("<figure>{}</figure>\n", plot.svg()))
        .collect();
    let caption = format!(
        "<p>Whiskers: the least and the most of the {} repetitions. The foot of a logarithmic axis \
         is no zero: compare heights by the grid, not by the length of bars. {}</p>\n",
        report.run.repetitions,
        escape(tables::DECODE_NOTE)
    );
    section(&mut out, "Plots", &(caption + &figures));
    let mut tables: String = tables::all(report).iter().map(Table::html).collect();
    tables.extend(change.map(Table::html));
    section(&mut out, "Tables", &tables);
    section(&mut out, "Method", &method(report));
    out.push_str("</body>\n</html>\n");
    out
}

fn section(out: &mut String, title: &str, body: &str) {
    let _ = write!(out, "<section>\n<h2>{}</h2>\n{body}</section>\n", escape(title));
}

fn list(lines: &[String]) -> String {
    let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    format!("<ul>\n{items}</ul>\n")
}

fn conditions(report: &Report) -> String {
    let mut out = String::from("<dl>\n");
    let mut pair = |name: &str, value: &str| {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    };
    for (name, value) in conditions_of(report) {
        pair(name, &value);
    }
    for about in &report.contenders {
        pair(&about.contender, &format!("{}. {}", about.version, about.settings));
    }
    out.push_str("</dl>\n");
    out
}

/// The conditions of a run in words, for the page and the terminal.
pub(crate) fn conditions_of(report: &Report) -> Vec<(&'static str, String)> {
    let Report { machine, versions, run, .. } = report;
    let commit = versions.commit.as_deref().map(|commit| format!(" at {commit}"));
    vec![
        (
            "machine",
            format!(
                "{}, {} cores, {} GiB, Linux {}, load {} at the start",
                machine.cpu,
                machine.cores,
                figure(machine.memory_bytes as f64 / f64::from(1 << 30)),
                machine.kernel,
                figure(machine.load_average_1m)
            ),
        ),
        (
            "built",
            format!(
                "raftwire {}{}, {}, {}",
                versions.raftwire,
                commit.unwrap_or_default(),
                versions.rustc,
                versions.target
            ),
        ),
        (
            "run",
            format!(
                "{}: {} interleaved repetitions of {} ms, seed {}, allocator {}, {:.1} s in all",
                run.mode,
                run.repetitions,
                run.measurement_ms,
                run.seed,
                run.allocator,
                run.elapsed_s
            ),
        ),
        ("command", run.command_line.join(" ")),
    ]
}

fn method(report: &Report) -> String {
    let messages: u64 = report.rows.iter().map(|row| row.figures.timed_messages).sum();
    let etcd = if report.rows.iter().any(Row::is_etcd) {
        "<p>etcd's encoder and decoder run in a Go program, unmodified, over the same shapes; it is \
         asked for one measurement at a time, between ours. Its garbage collector's share is in \
         its time.</p>\n"
    } else {
        ""
    };
    format!(
        "<p>Each AppEntries is one of a steady stream in step: one term, indexes from 1 000 000 on, \
         entries of pseudo-random data, in the form etcd 3.4 to 3.6 write. Before anything is \
         timed, every encoder's bytes are compared with the plain codec's; in every pass messages, \
         entries and payload bytes are summed and compared. Contenders of an operation take turns, \
         each round beginning with another one. A figure is the median over the repetitions, each \
         of which is a mean over its messages: {} messages were timed. Everything a pass made is \
         dropped inside the timed section. Allocations are counted in passes of their own, in the \
         whole process, so that counting costs no time in the timed ones. Copied bytes are counted \
         at the places that copy: for raftwire by the library, for plain prost payloads into the \
         write buffer and the tails its read buffer moves.</p>\n{etcd}",
        count(messages)
    )
}

#[cfg(test)]
mod tests {
    use super::super::contender::Operation;
    use super::super::report::OURS;
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn needs_nothing_from_elsewhere_and_escapes() {
        let page = page(&report(&[(OURS, Operation::Encode, 20.0)]), None);
        for outside in ["http:", "https:", "src=", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("a &lt; b"), "the note is escaped");
        assert_eq!(page.matches("<section>").count(), page.matches("</section>").count());
    }
}
