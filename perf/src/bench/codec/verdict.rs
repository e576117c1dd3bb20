//! What the figures of a run say against what raftwire promises: no allocation, etcd's time
//! beaten by stated factors, and the plain codec's never exceeded. Not here: comparing two runs
//! (`compare`).

use super::baseline::{self, DEVIATION_PERCENT_MAX};
use super::contender::{Operation, etcd};
use super::report::{CodecReport, Row};
use crate::bench::report::{OURS, PLAIN};
use crate::bench::shape::Shape;
use crate::bench::table::{count, figure};

/// Promised ratios of time to the fastest etcd's.
const TARGETS: [(Operation, &str, f64); 4] = [
    (Operation::DecodeFilled, "64x1KiB", 0.1),
    (Operation::DecodeFilled, "64x64", 0.25),
    (Operation::DecodeFilled, "1x64KiB", 0.01),
    (Operation::Encode, "64x64", 0.5),
];

/// The closing lines, in numbers.
pub(crate) fn lines(report: &CodecReport) -> Vec<String> {
    let ours: Vec<&Row> = report.rows.iter().filter(|row| row.contender == OURS).collect();
    if ours.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![allocations(&ours)];
    lines.extend(against_plain(report, &ours));
    lines.extend(against_etcd(report, &ours));
    lines
}

fn allocations(ours: &[&Row]) -> String {
    let messages: u64 = ours.iter().map(|row| row.figures.counted_messages).sum();
    let allocating = ours.iter().filter(|row| row.figures.allocations_per_message > 0.0);
    let worst = allocating.max_by(|a, b| {
        a.figures.allocations_per_message.total_cmp(&b.figures.allocations_per_message)
    });
    match worst {
        None => format!("Allocations: 0 in {} messages, over all rows.", count(messages)),
        Some(row) => format!(
            "Allocations: NOT 0, worst {} a message at {}, {}.",
            figure(row.figures.allocations_per_message),
            row.input,
            row.operation.label()
        ),
    }
}

/// Slower only where the ranges of the repetitions do not touch.
fn against_plain(report: &CodecReport, ours: &[&Row]) -> Option<String> {
    let pairs: Vec<(&Row, f64, bool)> = ours
        .iter()
        .filter_map(|row| {
            let plain = report.row(&row.input, row.operation, PLAIN)?;
            let slower = row.figures.ns_per_message_min > plain.figures.ns_per_message_max;
            Some((*row, row.time_ratio_to_plain_prost?, slower))
        })
        .collect();
    let (row, ratio, _) = pairs.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let slower: Vec<String> = pairs
        .iter()
        .filter(|(_, _, slower)| *slower)
        .map(|(row, ratio, _)| format!("{} {} ({ratio:.2})", row.input, row.operation.label()))
        .collect();
    let slower = match slower.is_empty() {
        true => format!("in none of {} rows slower beyond the spread", pairs.len()),
        false => format!("SLOWER beyond the spread: {}", slower.join("; ")),
    };
    Some(format!(
        "Against plain prost: {slower}; the highest ratio of medians is {ratio:.2} ({}, {}).",
        row.input,
        row.operation.label()
    ))
}

fn against_etcd(report: &CodecReport, ours: &[&Row]) -> Vec<String> {
    let mut lines: Vec<String> = TARGETS
        .iter()
        .filter_map(|(operation, input, target)| {
            let ratio = report.row(input, *operation, OURS)?.time_ratio_to_fastest_etcd?;
            let outcome = if ratio <= *target { "met" } else { "MISSED" };
            Some(format!(
                "Against the fastest etcd, {input} {}: {ratio:.3} of its time, promised {target}: \
                 {outcome}.",
                operation.label()
            ))
        })
        .collect();
    let encode = ours.iter().filter(|row| row.operation == Operation::Encode);
    let worst = encode
        .filter_map(|row| Some((row, row.time_ratio_to_fastest_etcd?)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    lines.extend(worst.map(|(row, ratio)| {
        let outcome = if ratio <= 1.0 { "met" } else { "MISSED" };
        format!(
            "Against the fastest etcd, encode: at most {ratio:.3} of its time ({}), promised 1: \
             {outcome}.",
            row.input
        )
    }));
    lines
}

/// Where this run's etcd is far from what etcd was measured at before.
pub(crate) fn baseline_notes(report: &CodecReport) -> Vec<String> {
    let rows = report.rows.iter().filter(|row| row.is_etcd());
    rows.filter_map(|row| {
        let shape: Shape = row.input.parse().ok()?;
        let before = baseline::ns_per_message(&row.contender, shape, row.operation)?;
        let now = row.figures.ns_per_message_p50;
        let percent = (now / before - 1.0) * 100.0;
        let what = if row.operation == etcd::DECODE { "decode" } else { "encode" };
        (percent.abs() > DEVIATION_PERCENT_MAX).then(|| {
            format!(
                "baseline deviates: {} {what} {}: {} ns here, {} ns in the baseline ({percent:+.0} %)",
                row.contender,
                row.input,
                figure(now),
                figure(before)
            )
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn names_a_slower_row_only_beyond_the_spread() {
        let close = report(&[(OURS, Operation::Encode, 105.0), (PLAIN, Operation::Encode, 100.0)]);
        assert!(lines(&close)[1].contains("in none of 1 rows"));
        let far = report(&[(OURS, Operation::Encode, 200.0), (PLAIN, Operation::Encode, 100.0)]);
        assert!(lines(&far)[1].contains("SLOWER"), "{:?}", lines(&far));
    }

    #[test]
    fn counts_allocations_of_ours_alone() {
        let report = report(&[(OURS, Operation::Encode, 1.0), (PLAIN, Operation::Encode, 1.0)]);
        assert!(lines(&report)[0].starts_with("Allocations: 0 in 10 messages"));
    }

    #[test]
    fn says_whether_encode_beats_etcd() {
        let report =
            report(&[(OURS, Operation::Encode, 200.0), ("etcd 3.6", Operation::Encode, 100.0)]);
        assert!(lines(&report).last().unwrap().ends_with("MISSED."));
    }

    #[test]
    fn notes_an_etcd_far_from_its_baseline() {
        let near = report(&[("etcd 3.6", Operation::Encode, 130.0)]);
        assert!(baseline_notes(&near).is_empty());
        let far = report(&[("etcd 3.6", Operation::Encode, 244.0)]);
        assert_eq!(
            baseline_notes(&far),
            [
                "baseline deviates: etcd 3.6 encode 1x64: 244 ns here, 122 ns in the baseline (+100 %)"
            ]
        );
    }
}
