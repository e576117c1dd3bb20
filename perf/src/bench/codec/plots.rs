//! The plots of the codec's part. Not here: how one is drawn (`bench::plot`), and the figures in
//! words (`tables`).

use super::contender::Operation;
use super::report::{CodecReport, Row};
use super::tables::{self, decode_label};
use crate::bench::plot::{Bar, Plot};
use crate::bench::report::{OURS, PLAIN};

/// Every plot of `report`, in reading order.
pub(crate) fn all(report: &CodecReport) -> Vec<Plot> {
    let encode = |row: &&Row| row.operation == Operation::Encode;
    let decode = |row: &&Row| row.operation != Operation::Encode;
    let name = |row: &Row| row.contender.clone();
    vec![
        plot(report, "Encode: time per message", TIME, encode, name, time),
        plot(report, "Decode: time per message", TIME, decode, decode_label, time),
        plot(report, "Encode: allocations", COUNT, encode, name, allocations),
        plot(report, "Decode: allocations", COUNT, decode, decode_label, allocations),
    ]
}

const TIME: &str = "ns per message (logarithmic)";
const COUNT: &str = "allocations per message (logarithmic)";

fn time(label: String, row: &Row) -> Bar {
    let spread = row.figures.spread();
    Bar { class: class(row), label, value: spread.p50, range: Some((spread.min, spread.max)) }
}

fn allocations(label: String, row: &Row) -> Bar {
    Bar { class: class(row), label, value: row.figures.allocations_per_message, range: None }
}

fn class(row: &Row) -> &'static str {
    match (row.contender.as_str(), row.operation) {
        (OURS, Operation::DecodeCopied) => "ours-copied",
        (OURS, _) => "ours",
        (PLAIN, Operation::DecodeCopied) => "plain-copied",
        (PLAIN, _) => "plain",
        ("etcd 3.6", _) => "etcd-a",
        _ => "etcd-b",
    }
}

fn plot(
    report: &CodecReport,
    title: &str,
    axis: &'static str,
    keep: impl Fn(&&Row) -> bool,
    label: impl Fn(&Row) -> String,
    bar: impl Fn(String, &Row) -> Bar,
) -> Plot {
    let bars = |input: &str| {
        let rows = report.rows.iter().filter(|row| row.input == input).filter(&keep);
        rows.map(|row| bar(label(row), row)).collect()
    };
    let groups_axis = if tables::is_captured(report) {
        "captured stream"
    } else {
        "shape: entries x bytes of each"
    };
    let groups = report.inputs().into_iter().map(|input| (input.to_owned(), bars(input)));
    Plot { title: title.to_owned(), axis, groups_axis, groups: groups.collect() }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;
    use crate::bench::plot::tests::assert_well_formed;

    #[test]
    fn are_well_formed() {
        let report = report(&[
            (OURS, Operation::DecodeFilled, 20.0),
            (OURS, Operation::DecodeCopied, 21.0),
            ("other", Operation::Encode, 1e6),
        ]);
        for plot in all(&report) {
            assert_well_formed(&plot.svg());
        }
    }

    #[test]
    fn there_may_be_nothing_to_plot() {
        assert_well_formed(&all(&report(&[]))[0].svg());
    }
}
