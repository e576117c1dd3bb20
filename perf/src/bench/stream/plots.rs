//! The plots of the stream's part. Not here: how one is drawn (`bench::plot`), and the figures in
//! words (`tables`).

use super::protocol::Answers;
use super::report::{POLLING, Row, StreamReport, TONIC};
use crate::bench::plot::{Bar, Plot};
use crate::bench::report::{OURS, PLAIN};
use crate::bench::stats::Series;

/// Every plot of `report`, in reading order.
pub(crate) fn all(report: &StreamReport) -> Vec<Plot> {
    let every = Answers::Every;
    let mut plots = vec![
        plot(report, "Messages a second", "messages/s (logarithmic)", every, |row| {
            with_range(row, &row.messages_per_s)
        }),
        plot(report, "CPU of both processes", "us per message (logarithmic)", every, |row| {
            with_range(row, &row.cpu_us_per_message)
        }),
        plot(report, "System calls of both processes", "per message (logarithmic)", every, |row| {
            bar(row, row.syscalls_per_message.unwrap_or(0.0))
        }),
        plot(report, "Allocations of both processes", "per message (logarithmic)", every, |row| {
            bar(row, row.allocations_per_message)
        }),
        plot(report, "Round trip, p50", "us (logarithmic)", Answers::RoundTrip, |row| {
            let p50 = row.round_trip.as_ref().and_then(|trip| trip.us_p50.as_ref());
            p50.map_or_else(|| bar(row, 0.0), |p50| with_range(row, p50))
        }),
    ];
    plots.retain(|plot| !plot.groups.is_empty());
    plots
}

fn plot(
    report: &StreamReport,
    title: &str,
    axis: &'static str,
    answers: Answers,
    bar: impl Fn(&Row) -> Bar,
) -> Plot {
    let groups = report.groups(answers).into_iter().map(|rows| {
        let input = rows[0].input.clone();
        (input, rows.into_iter().map(&bar).collect())
    });
    Plot {
        title: title.to_owned(),
        axis,
        groups_axis: "shape: entries x bytes of each",
        groups: groups.collect(),
    }
}

fn with_range(row: &Row, series: &Series) -> Bar {
    Bar { range: Some((series.min, series.max)), ..bar(row, series.p50) }
}

fn bar(row: &Row, value: f64) -> Bar {
    let class = match row.contender.as_str() {
        OURS => "ours",
        POLLING => "ours-copied",
        PLAIN => "plain",
        TONIC => "tonic",
        "etcd 3.6" => "etcd-a",
        _ => "etcd-b",
    };
    Bar { label: row.contender.clone(), class, value, range: None }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;
    use crate::bench::plot::tests::assert_well_formed;

    #[test]
    fn are_well_formed_and_none_is_empty() {
        let plots = all(&report(&[(OURS, 1e6), (TONIC, 5e5)]));
        assert_eq!(plots.len(), 5);
        for plot in plots {
            assert_well_formed(&plot.svg());
        }
        assert!(all(&report(&[])).is_empty());
    }
}
