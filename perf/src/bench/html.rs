//! The report as one HTML file that needs nothing else: no script, no font, no picture from
//! elsewhere. Not here: the tables and plots themselves.

use std::fmt::Write;
use std::path::Path;

use super::error::BenchError;
use super::report::{PartTime, Report, Run};
use super::section::{self, Section};
use super::table::{Table, escape, figure};

/// Writes the page, with the change since an older run if there is one.
pub(crate) fn write(report: &Report, change: &[Table], path: &Path) -> Result<(), BenchError> {
    std::fs::write(path, page(report, change)).map_err(|source| BenchError::io(path, source))
}

const STYLE: &str = include_str!("report.css");

fn page(report: &Report, change: &[Table]) -> String {
    let sections = section::all(report);
    let what: Vec<String> = sections.iter().map(|part| part.title.to_lowercase()).collect();
    let mut out = String::new();
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>raftwire bench {what}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>raftwire bench {what}</h1>\n",
        what = escape(&listed(&what))
    );
    let conclusions: String = sections
        .iter()
        .map(|part| format!("<h3>{}</h3>\n{}", part.title, list(&part.conclusions)))
        .collect();
    block(&mut out, "In short", &conclusions);
    if !report.notes.is_empty() {
        block(&mut out, "Notes", &list(&report.notes));
    }
    let conditions =
        conditions_of(report).into_iter().map(|(name, value)| (name.to_owned(), value));
    block(&mut out, "Where it was measured", &pairs(conditions));
    for part in &sections {
        draw(&mut out, part);
    }
    if !change.is_empty() {
        let tables: String = change.iter().map(Table::html).collect();
        block(&mut out, "The change", &tables);
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn draw(out: &mut String, part: &Section) {
    let run = ("run".to_owned(), part.run.clone());
    let abouts = part
        .contenders
        .iter()
        .map(|about| (about.contender.clone(), format!("{}. {}", about.version, about.settings)));
    let mut body = format!("<p class=\"lead\">{}</p>\n", escape(part.lead));
    body += &pairs(std::iter::once(run).chain(abouts));
    body += &format!(
        "<p>Whiskers: the least and the most of the repetitions. The foot of a logarithmic axis is \
         no zero: compare heights by the grid, not by the length of bars. {}</p>\n",
        escape(&part.plots_note)
    );
    body.extend(part.plots.iter().map(|plot| format!("<figure>{plot}</figure>\n")));
    body.extend(part.tables.iter().map(Table::html));
    body += "<h3>Method</h3>\n";
    body.extend(part.method.iter().map(|text| format!("<p>{}</p>\n", escape(text))));
    block(out, part.title, &body);
}

fn block(out: &mut String, title: &str, body: &str) {
    let _ = write!(out, "<section>\n<h2>{}</h2>\n{body}</section>\n", escape(title));
}

fn list(lines: &[String]) -> String {
    let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    format!("<ul>\n{items}</ul>\n")
}

fn pairs(pairs: impl Iterator<Item = (String, String)>) -> String {
    let mut out = String::from("<dl>\n");
    for (name, value) in pairs {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(&name), escape(&value));
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
                "{}: seed {}, allocator {}, {:.1} s in all{}",
                run.mode,
                run.seed,
                run.allocator,
                run.elapsed_s,
                parts(run)
            ),
        ),
        ("command", run.command_line.join(" ")),
    ]
}

/// `a, b and c`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [name] => name.clone(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

/// How the time divides; nothing of a single part.
fn parts(run: &Run) -> String {
    let part = |of: &PartTime| format!("{} {:.1} s", of.part, of.elapsed_s);
    match &run.parts[..] {
        [] | [_] => String::new(),
        parts => format!(": {}", parts.iter().map(part).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn needs_nothing_from_elsewhere_and_escapes() {
        let page = page(&report(), &[]);
        for outside in ["http:", "https:", "src=", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("a &lt; b"), "the note is escaped");
        assert_eq!(page.matches("<section>").count(), page.matches("</section>").count());
        assert!(page.contains("raftwire bench codec, stream and commit"));
    }
}
