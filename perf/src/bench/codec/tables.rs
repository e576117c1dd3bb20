//! Which tables a report has, the same on the terminal and in the HTML file. Not here: their
//! form (`table`), and the conclusions (`verdict`).

use super::contender::{Operation, etcd};
use super::report::{ClusterRow, CodecReport, Figures, Row};
use crate::bench::shape::Shape;
use crate::bench::table::{Table, figure};

/// Every table of `report`, in reading order.
pub(crate) fn all(report: &CodecReport) -> Vec<Table> {
    let mut tables = vec![encode(report), decode(report)];
    if !report.cluster.is_empty() {
        tables.push(cluster(report));
    }
    tables
}

/// Why decoding is shown twice; also a note of the plots.
pub(crate) const DECODE_NOTE: &str = "\"in block\": the bytes already lie where a socket read left \
    them, which is what a transport pays that reads into the decoder's own buffer; making room for \
    the next read is timed, with the move of a full block's tail, the read is not. \"with copy\": \
    one copy of the stream into that place is timed too, because etcd's figure contains it: its \
    decoder copies each entry out of a reader. etcd has the second kind only; both of ours are held \
    against it.";

const ENCODE_NOTE: &str = "Into recycled queues, gathered as for a vectored write, then cleared. \
    etcd writes to a discarding writer.";

fn encode(report: &CodecReport) -> Table {
    Table {
        title: format!("Encode, per {}", unit(report)),
        note: format!("{ENCODE_NOTE} {}", columns_note(report)),
        names: 2,
        columns: columns(report),
        groups: groups(report, |input| {
            let rows = report.rows.iter().filter(|row| row.input == input);
            let rows = rows.filter(|row| row.operation == Operation::Encode);
            rows.map(|row| cells(report, row, row.contender.clone())).collect()
        }),
    }
}

fn decode(report: &CodecReport) -> Table {
    Table {
        title: format!("Decode, per {}", unit(report)),
        note: DECODE_NOTE.to_owned(),
        names: 2,
        columns: columns(report),
        groups: groups(report, |input| {
            let rows = report.rows.iter().filter(|row| row.input == input);
            let rows = rows.filter(|row| row.operation != Operation::Encode);
            rows.map(|row| cells(report, row, decode_label(row))).collect()
        }),
    }
}

pub(crate) fn decode_label(row: &Row) -> String {
    match row.operation {
        _ if row.is_etcd() => row.contender.clone(),
        Operation::DecodeFilled => format!("{}, in block", row.contender),
        etcd::DECODE | Operation::Encode => format!("{}, with copy", row.contender),
    }
}

fn cluster(report: &CodecReport) -> Table {
    let first_ways = report.cluster.iter().filter(|row| row.way == SHARED);
    let rows = first_ways.map(|row| {
        let way = |way: &str| {
            let mut rows = report.cluster.iter();
            let same =
                |other: &&ClusterRow| other.input == row.input && other.members == row.members;
            rows.find(|other| same(other) && other.way == way)
        };
        let ns = |other: Option<&ClusterRow>| other.map(|row| row.figures.ns_per_message_p50);
        let ratio = |to: Option<f64>| optional(to.map(|to| row.figures.ns_per_message_p50 / to));
        let (apart, plain) = (ns(way(APART)), ns(way(PLAIN_APART)));
        let mut cells = vec![row.input.clone(), row.members.to_string()];
        cells.extend(time_cells(&row.figures));
        cells.extend([apart, plain].map(optional_figure));
        cells.extend([ratio(apart), ratio(plain)]);
        cells.push(figure(row.figures.allocations_per_message));
        cells
    });
    let mut groups: Vec<Vec<Vec<String>>> = Vec::new();
    for row in rows {
        match groups.last_mut().filter(|group| group.iter().all(|other| other[0] == row[0])) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    Table {
        title: "Encode for a cluster, per AppEntries to all followers".to_owned(),
        note: "An AppEntries names no member, so followers in step can be sent the same frame. \
               shared: encoded for the first follower, queued for the others; apart: encoded for \
               each; plain: the plain prost codec, for each. allocs: of sharing."
            .to_owned(),
        names: 1,
        columns: vec![
            "shape",
            "members",
            "shared ns",
            "min-max",
            "apart ns",
            "plain ns",
            "x apart",
            "x plain",
            "allocs",
        ],
        groups,
    }
}

/// The ways of the cluster table.
pub(crate) const SHARED: &str = "shared";
pub(crate) const APART: &str = "apart";
pub(crate) const PLAIN_APART: &str = "plain prost, apart";

fn unit(report: &CodecReport) -> &'static str {
    if is_captured(report) { "message" } else { "AppEntries" }
}

/// Whether the inputs are captured streams, and no shapes.
pub(crate) fn is_captured(report: &CodecReport) -> bool {
    report.inputs().iter().any(|input| input.parse::<Shape>().is_err())
}

fn columns(report: &CodecReport) -> Vec<&'static str> {
    let mut columns = vec!["shape", "contender", "ns", "min-max", "MB/s", "allocs", "copied B"];
    if has_etcd(report) {
        columns.push("x etcd");
    }
    columns.push("x plain");
    columns
}

fn columns_note(report: &CodecReport) -> String {
    let etcd =
        if has_etcd(report) { "\"x etcd\": time in units of the fastest etcd's; " } else { "" };
    format!(
        "ns: median of {} repetitions, with their range; MB: 10^6 bytes of stream; allocs: of the \
         whole process; copied B: bytes copied in memory, counted where they are. {etcd}\"x \
         plain\": time in units of the plain prost codec's.",
        report.repetitions
    )
}

fn has_etcd(report: &CodecReport) -> bool {
    report.rows.iter().any(Row::is_etcd)
}

fn groups(report: &CodecReport, rows: impl Fn(&str) -> Vec<Vec<String>>) -> Vec<Vec<Vec<String>>> {
    report.inputs().into_iter().map(rows).collect()
}

fn cells(report: &CodecReport, row: &Row, label: String) -> Vec<String> {
    let mut cells = vec![row.input.clone(), label];
    cells.extend(time_cells(&row.figures));
    cells.push(figure(row.mb_per_s().round()));
    cells.extend(used_cells(&row.figures));
    if has_etcd(report) {
        cells.push(optional(row.time_ratio_to_fastest_etcd));
    }
    cells.push(optional(row.time_ratio_to_plain_prost));
    cells
}

fn time_cells(figures: &Figures) -> [String; 2] {
    let [min, max] = [figures.ns_per_message_min, figures.ns_per_message_max].map(figure);
    [figure(figures.ns_per_message_p50), format!("{min}-{max}")]
}

fn used_cells(figures: &Figures) -> [String; 2] {
    [figure(figures.allocations_per_message), optional_figure(figures.copied_bytes_per_message)]
}

fn optional(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"))
}

fn optional_figure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), figure)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;
    use crate::bench::report::{ETCD, OURS, PLAIN};
    use crate::bench::table::TEXT_WIDTH;

    #[test]
    fn fit_a_terminal() {
        let report = report(&[
            (OURS, Operation::DecodeFilled, 609_268.0),
            (PLAIN, Operation::DecodeFilled, 609_268.0),
            (&format!("{ETCD}3.6"), Operation::DecodeCopied, 609_268.0),
        ]);
        for line in all(&report)
            .iter()
            .flat_map(|table| table.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
        {
            assert!(line.chars().count() <= TEXT_WIDTH, "{line}");
        }
    }

    #[test]
    fn the_etcd_columns_need_an_etcd() {
        let without = report(&[(OURS, Operation::Encode, 20.0)]);
        assert!(!encode(&without).columns.contains(&"x etcd"));
        let with = report(&[("etcd 3.6", Operation::Encode, 20.0)]);
        assert!(encode(&with).columns.contains(&"x etcd"));
    }
}
