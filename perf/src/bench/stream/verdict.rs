//! What the figures of a run say against what raftwire promises: no allocation, etcd beaten by
//! stated factors, and nothing dearer than what else a user would pick. Not here: comparing two runs
//! (`compare`).

use super::protocol::Answers;
use super::report::{POLLING, Ratio, Row, StreamReport, TONIC};
use super::schedule::label;
use super::tables::is_ours;
use crate::bench::report::{OURS, PLAIN};
use crate::bench::stats::Series;
use crate::bench::table::{count, figure};

/// A figure against the fastest etcd's, and what is promised of it.
struct Promise {
    contender: &'static str,
    answers: Answers,
    input: &'static str,
    what: &'static str,
    of: fn(&Ratio) -> Option<f64>,
    bound: Bound,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const RATE: fn(&Ratio) -> Option<f64> = |ratio| Some(ratio.messages_per_s);
const CPU: fn(&Ratio) -> Option<f64> = |ratio| Some(ratio.cpu_us);
const P50: fn(&Ratio) -> Option<f64> = |ratio| ratio.round_trip_us_p50;

#[rustfmt::skip]
const PROMISES: [Promise; 7] = [
    Promise { contender: OURS, answers: Answers::Every, input: "1x64", what: "CPU a message", of: CPU, bound: Bound::AtMost(1.0 / 3.0) },
    Promise { contender: OURS, answers: Answers::Every, input: "1x64", what: "messages/s", of: RATE, bound: Bound::AtLeast(3.0) },
    Promise { contender: OURS, answers: Answers::Every, input: "64x1KiB", what: "MB/s", of: RATE, bound: Bound::AtLeast(3.0) },
    Promise { contender: OURS, answers: Answers::Every, input: "1x1MiB", what: "MB/s", of: RATE, bound: Bound::AtLeast(2.0) },
    Promise { contender: OURS, answers: Answers::RoundTrip, input: "1x64", what: "p50", of: P50, bound: Bound::AtMost(0.85) },
    Promise { contender: OURS, answers: Answers::RoundTrip, input: "1x64", what: "CPU a round trip", of: CPU, bound: Bound::AtMost(0.5) },
    Promise { contender: POLLING, answers: Answers::RoundTrip, input: "1x64", what: "p50", of: P50, bound: Bound::AtMost(0.7) },
];

/// System calls of both sides for a message, whoever else is measured.
const SYSCALLS_PROMISED: (&str, f64) = ("64x1KiB", 3.0);

/// Fewer than one in a hundred messages is a pool that grows to a depth its queue never had before:
/// the longer a run, the less of it.
const ALLOCATIONS_NONE: f64 = 0.01;

/// How many bytes a system call finds is a matter of luck: who has a core to itself makes more.
const SYSCALLS_SPREAD: f64 = 1.1;

/// The closing lines, in numbers.
pub(crate) fn lines(report: &StreamReport) -> Vec<String> {
    let ours: Vec<&Row> = report.rows.iter().filter(|row| is_ours(row)).collect();
    if ours.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![allocations(&ours)];
    lines.extend(syscalls(report));
    lines.extend(PROMISES.iter().filter_map(|promise| promise.line(report)));
    lines.extend(polling(report));
    lines.extend([TONIC, PLAIN].iter().filter_map(|other| against(report, &ours, other)));
    lines
}

fn allocations(ours: &[&Row]) -> String {
    let messages: u64 = ours.iter().map(|row| row.measured_messages).sum();
    let worst =
        ours.iter().max_by(|a, b| a.allocations_per_message.total_cmp(&b.allocations_per_message));
    match worst {
        Some(row) if row.allocations_per_message >= ALLOCATIONS_NONE => format!(
            "Stream, allocations: NOT 0, worst {} a message, {}.",
            figure(row.allocations_per_message),
            place(row)
        ),
        worst => format!(
            "Stream, allocations: 0 a message in {} messages, over all rows (at most {}).",
            count(messages),
            figure(worst.map_or(0.0, |row| row.allocations_per_message))
        ),
    }
}

fn syscalls(report: &StreamReport) -> Option<String> {
    let (input, promised) = SYSCALLS_PROMISED;
    let calls = report.row(input, Answers::Every, OURS)?.syscalls_per_message?;
    let outcome = Bound::AtMost(promised).outcome(calls);
    Some(format!(
        "Stream, {input}: {} system calls a message on both sides, promised {promised}: {outcome}.",
        figure(calls)
    ))
}

/// What the latency of polling costs.
fn polling(report: &StreamReport) -> Option<String> {
    let row = report.row("1x64", Answers::RoundTrip, POLLING)?;
    let sleeping = report.row("1x64", Answers::RoundTrip, OURS);
    let than = sleeping.map_or_else(String::new, |row| {
        format!(" ({} without)", figure(row.cpu_us_per_message.p50))
    });
    Some(format!(
        "Stream, polling: a round trip costs {} us of CPU{than}.",
        figure(row.cpu_us_per_message.p50)
    ))
}

impl Promise {
    fn line(&self, report: &StreamReport) -> Option<String> {
        let row = report.row(self.input, self.answers, self.contender)?;
        let ratio = (self.of)(&row.ratios.to_etcd?)?;
        let (bound, outcome) = (self.bound.label(), self.bound.outcome(ratio));
        Some(format!(
            "Stream against the fastest etcd, {}, {}: {ratio:.2} of its, promised {bound}: \
             {outcome}.",
            place(row),
            self.what
        ))
    }
}

impl Bound {
    fn label(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("at least {bound:.2}"),
            Self::AtMost(bound) => format!("at most {bound:.2}"),
        }
    }

    fn outcome(self, ratio: f64) -> &'static str {
        let met = match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        };
        if met { "met" } else { "MISSED" }
    }
}

/// Where ours is slower or dearer than `other`: in times beyond the spread of both, in allocations
/// at all.
fn against(report: &StreamReport, ours: &[&Row], other: &str) -> Option<String> {
    let mut compared = 0;
    let mut worse = Vec::new();
    for row in ours.iter().filter(|row| row.contender == OURS) {
        let Some(other) = report.row(&row.input, row.answers, other) else { continue };
        compared += 1;
        for (what, is_worse) in comparisons(row, other) {
            if is_worse {
                worse.push(format!("{} {} ({what})", row.input, label(row.answers)));
            }
        }
    }
    if compared == 0 {
        return None;
    }
    Some(match worse.is_empty() {
        true => format!("Stream against {other}: in none of {compared} rows slower or dearer."),
        false => format!("Stream against {other}: WORSE in {}.", worse.join("; ")),
    })
}

fn comparisons(row: &Row, other: &Row) -> [(&'static str, bool); 4] {
    let above = |ours: &Series, theirs: &Series| ours.min > theirs.max;
    let time = match (&row.round_trip, &other.round_trip) {
        (Some(ours), Some(theirs)) => {
            ours.us_p50.as_ref().zip(theirs.us_p50.as_ref()).is_some_and(|(a, b)| above(a, b))
        }
        _ => above(&other.messages_per_s, &row.messages_per_s),
    };
    let syscalls = row.syscalls_per_message.zip(other.syscalls_per_message);
    let allocations = row.allocations_per_message >= ALLOCATIONS_NONE
        && row.allocations_per_message > other.allocations_per_message;
    [
        ("time", time),
        ("CPU", above(&row.cpu_us_per_message, &other.cpu_us_per_message)),
        ("allocations", allocations),
        ("syscalls", syscalls.is_some_and(|(ours, theirs)| ours > theirs * SYSCALLS_SPREAD)),
    ]
}

fn place(row: &Row) -> String {
    let polling = if row.contender == POLLING { ", polling" } else { "" };
    format!("{} {}{polling}", row.input, label(row.answers))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn holds_ours_to_what_is_promised() {
        let lines = lines(&report(&[(OURS, 9e5), (POLLING, 1e6), ("etcd 3.6", 3e5)]));
        let find = |text: &str| lines.iter().find(|line| line.contains(text)).unwrap();
        assert!(find("1x64 every message answered, messages/s").ends_with("3.00: met."));
        assert!(find("1x64 round trip, CPU").ends_with("at most 0.50: met."));
        assert!(find("polling, p50").contains("0.30 of its"));
        assert!(find("a round trip costs 1.00 us of CPU (1.11 without)").len() > 10);
        assert!(find("NOT 0").contains("polling"), "the polling one allocates in this test");
    }

    #[test]
    fn says_what_is_missed() {
        let lines = lines(&report(&[(OURS, 5e5), ("etcd 3.6", 3e5)]));
        assert!(lines.iter().any(|line| line.contains("messages/s") && line.ends_with("MISSED.")));
        assert!(lines[0].starts_with("Stream, allocations: 0 a message"));
    }

    #[test]
    fn names_what_is_worse_than_the_others_beyond_the_spread() {
        let close = lines(&report(&[(OURS, 4.8e5), (TONIC, 5e5)]));
        assert!(close.last().unwrap().contains("in none of 3 rows"), "{close:?}");
        let mut far = report(&[(OURS, 3e5), (PLAIN, 5e5)]);
        far.rows[0].syscalls_per_message = Some(1.0);
        let last = lines(&far).pop().unwrap();
        assert!(last.contains("WORSE in 1x64 every message answered (time)"), "{last}");
        assert!(last.contains("(syscalls)"), "{last}");
    }

    #[test]
    fn has_nothing_to_say_without_ours() {
        assert_eq!(lines(&report(&[(TONIC, 1.0)])), [""; 0]);
    }
}
