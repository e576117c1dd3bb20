//! Which tables this part has, the same on the terminal and in the HTML file. Not here: their form
//! (`bench::table`), and the conclusions (`verdict`).

use super::protocol::Answers;
use super::report::{POLLING, Ratio, Ratios, Row, SLEEPING, StreamReport};
use crate::bench::report::OURS;
use crate::bench::stats::Series;
use crate::bench::table::{Table, figure};

/// Every table of `report`, in reading order.
pub(crate) fn all(report: &StreamReport) -> Vec<Table> {
    let tables = [
        throughput(report, Answers::Every),
        throughput(report, Answers::Sparse),
        round_trips(report),
        ratios(report, Answers::Every),
        ratios(report, Answers::Sparse),
        ratios(report, Answers::RoundTrip),
    ];
    tables.into_iter().filter(|table| !table.groups.is_empty()).collect()
}

fn throughput(report: &StreamReport, answers: Answers) -> Table {
    let (title, every) = match answers {
        Answers::Sparse => ("Stream, an answer for each quarter of the window", "Fewer answers"),
        _ => ("Stream, every message answered", "One MsgAppResp for each MsgApp"),
    };
    Table {
        title: title.to_owned(),
        note: format!(
            "{every}, min(1024 messages, 32 MiB) in flight. msgs/s: median of {} repetitions, with \
             their range; MB: 10^6 bytes of payload; CPU, allocs and syscalls: of both processes \
             together, for each MsgApp with its share of answers; MiB: the most memory that leader \
             + follower held.",
            report.repetitions
        ),
        names: 2,
        columns: vec![
            "shape",
            "contender",
            "msgs/s",
            "min-max",
            "MB/s",
            "CPU us",
            "allocs",
            "syscalls",
            "MiB",
        ],
        groups: groups(report, answers, |row| {
            let mut cells = vec![row.input.clone(), row.contender.clone()];
            cells.extend(spread(&row.messages_per_s));
            cells.push(figure(row.mb_per_s()));
            cells.extend(used(row));
            cells
        }),
    }
}

fn round_trips(report: &StreamReport) -> Table {
    Table {
        title: "Round trip of a MsgApp and its MsgAppResp".to_owned(),
        note: format!(
            "One in flight, 1 x 64 B. Percentiles in us: medians of the percentiles of {} \
             repetitions, p50 with its range; \"-\": fewer than 100 round trips took longer. CPU, \
             allocs and syscalls: of both processes, for a round trip.",
            report.repetitions
        ),
        names: 1,
        columns: vec![
            "contender",
            "p50",
            "min-max",
            "p99",
            "p99.9",
            "CPU us",
            "allocs",
            "syscalls",
            "MiB",
        ],
        groups: groups(report, Answers::RoundTrip, |row| {
            let trip = row.round_trip.as_ref();
            let p50 = trip.and_then(|trip| trip.us_p50.as_ref());
            let tail = |of: Option<&Series>| optional(of.map(|series| series.p50));
            let mut cells = vec![row.contender.clone()];
            cells.extend(p50.map_or_else(|| ["-", "-"].map(str::to_owned), spread));
            cells.push(tail(trip.and_then(|trip| trip.us_p99.as_ref())));
            cells.push(tail(trip.and_then(|trip| trip.us_p999.as_ref())));
            cells.extend(used(row));
            cells
        }),
    }
}

/// Ours in units of the others.
fn ratios(report: &StreamReport, answers: Answers) -> Table {
    let title = match answers {
        Answers::Every => "Ratios, every message answered",
        Answers::Sparse => "Ratios, an answer for each quarter of the window",
        Answers::RoundTrip => "Ratios, round trip",
    };
    let mut table_groups: Vec<_> = report
        .groups(answers)
        .into_iter()
        .map(|rows| {
            rows.into_iter().filter(|row| is_ours(row)).flat_map(ratio_rows).collect::<Vec<_>>()
        })
        .collect();
    table_groups.retain(|group| !group.is_empty());
    Table {
        title: title.to_owned(),
        note: "Ours in units of another's figure of the same run: of the best etcd in that figure, of \
               tonic's, of plain prost's. Of messages/s more is better, of all else less."
            .to_owned(),
        names: 3,
        columns: vec!["shape", "contender", "figure", "value", "x etcd", "x tonic", "x plain"],
        groups: table_groups,
    }
}

fn ratio_rows(row: &Row) -> Vec<Vec<String>> {
    let Ratios { to_etcd, to_tonic, to_plain_prost } = row.ratios;
    let cells = |name: &str, value: Option<f64>, of: &dyn Fn(Ratio) -> Option<f64>| {
        let ratios = [to_etcd, to_tonic, to_plain_prost].map(|ratio| ratio.and_then(of));
        let ratios =
            ratios.map(|ratio| ratio.map_or_else(|| "-".to_owned(), |r| format!("{r:.3}")));
        let mut cells = vec![row.input.clone(), row.contender.clone(), name.to_owned()];
        cells.push(optional(value));
        cells.extend(ratios);
        cells
    };
    let mut rows = Vec::new();
    if row.answers == Answers::RoundTrip {
        let p50 = row.round_trip_us_p50();
        rows.push(cells("p50 us", p50, &|ratio| ratio.round_trip_us_p50));
    } else {
        let rate = Some(row.messages_per_s.p50);
        rows.push(cells("messages/s", rate, &|ratio| Some(ratio.messages_per_s)));
    }
    let cpu = Some(row.cpu_us_per_message.p50);
    rows.push(cells("CPU us", cpu, &|ratio| Some(ratio.cpu_us)));
    rows.push(cells("allocs", Some(row.allocations_per_message), &|ratio| ratio.allocations));
    rows.push(cells("syscalls", row.syscalls_per_message, &|ratio| ratio.syscalls));
    rows
}

pub(crate) fn is_ours(row: &Row) -> bool {
    [OURS, POLLING, SLEEPING].contains(&row.contender.as_str())
}

fn groups(
    report: &StreamReport,
    answers: Answers,
    cells: impl Fn(&Row) -> Vec<String>,
) -> Vec<Vec<Vec<String>>> {
    let groups = report.groups(answers).into_iter();
    groups.map(|rows| rows.into_iter().map(&cells).collect()).collect()
}

fn spread(series: &Series) -> [String; 2] {
    let [min, max] = [series.min, series.max].map(figure);
    [figure(series.p50), format!("{min}-{max}")]
}

fn used(row: &Row) -> [String; 4] {
    let [leader, follower] = [row.leader_peak_bytes, row.follower_peak_bytes]
        .map(|bytes| format!("{:.0}", bytes as f64 / f64::from(1 << 20)));
    [
        figure(row.cpu_us_per_message.p50),
        figure(row.allocations_per_message),
        optional(row.syscalls_per_message),
        format!("{leader} + {follower}"),
    ]
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), figure)
}

#[cfg(test)]
mod tests {
    use super::super::report::TONIC;
    use super::super::report::tests::report;
    use super::*;
    use crate::bench::table::TEXT_WIDTH;

    #[test]
    fn fit_a_terminal() {
        let report =
            report(&[(OURS, 1_234_567.0), (POLLING, 1e6), (TONIC, 5e5), ("etcd 3.6", 4e5)]);
        for table in all(&report) {
            for line in table.to_string().lines() {
                assert!(line.chars().count() <= TEXT_WIDTH, "{line}");
            }
        }
    }

    #[test]
    fn ratios_are_of_ours() {
        let with = all(&report(&[(OURS, 9e5), (TONIC, 3e5)]));
        assert_eq!(with.len(), 6);
        let text = with[3].to_string();
        assert!(text.contains("3.000"), "{text}");
        assert_eq!(all(&report(&[(TONIC, 3e5)])).len(), 3);
    }

    #[test]
    fn a_tail_of_too_few_is_not_shown() {
        let table = round_trips(&report(&[(TONIC, 1e4)]));
        assert_eq!(table.groups[0][0][4], "-");
        assert_ne!(table.groups[0][0][3], "-");
    }
}
