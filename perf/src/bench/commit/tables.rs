//! Which tables this part has, the same on the terminal and in the HTML file. Not here: their form
//! (`bench::table`), and the conclusions (`verdict`).

use super::report::{CommitReport, Load, Medium, Percentiles, Phases, Row};
use super::trace::PHASES;
use crate::bench::report::OURS;
use crate::bench::stats::Series;
use crate::bench::table::{Table, count, figure};

/// Every table of `report`, in reading order.
pub(crate) fn all(report: &CommitReport) -> Vec<Table> {
    let mut tables = Vec::new();
    for medium in [Medium::Disk, Medium::Tmpfs] {
        tables.push(latency(report, medium));
        tables.push(used(report, medium));
    }
    tables.push(ratios(report));
    tables.push(phases(report));
    tables.push(off_path(report));
    tables.push(tracing(report));
    tables.into_iter().filter(|table| !table.groups.is_empty()).collect()
}

fn latency(report: &CommitReport, medium: Medium) -> Table {
    Table {
        title: format!("Commit on {}: rate and latency", medium.label()),
        note: format!(
            "{}. ops/s: median of {} repetitions, with their range. Percentiles in us: medians of \
             the percentiles of the repetitions; max: of all. \"-\": fewer than 100 operations took \
             longer.",
            shape(report),
            report.repetitions
        ),
        names: 2,
        columns: vec!["proposers", "contender", "ops/s", "min-max", "p50", "p99", "p99.9", "max"],
        groups: groups(report, medium, |row| {
            let tail = |of: &Option<Series>| optional(of.as_ref().map(|series| series.p50));
            let [min, max] = [row.ops_per_s.min, row.ops_per_s.max].map(figure);
            let mut cells = names(row);
            cells.push(figure(row.ops_per_s.p50));
            cells.push(format!("{min}-{max}"));
            cells.push(tail(&row.latency.us_p50));
            cells.push(tail(&row.latency.us_p99));
            cells.push(tail(&row.latency.us_p999));
            cells.push(figure(row.latency.us_max));
            cells
        }),
    }
}

fn used(report: &CommitReport, medium: Medium) -> Table {
    Table {
        title: format!("Commit on {}: what an operation takes", medium.label()),
        note: "CPU in us, of all members, and the leader's share. allocs, syscalls: leader + all \
               followers, and the sum. fsyncs: of the leader + of each follower. MiB: the most \
               memory that the leader + the largest follower held."
            .to_owned(),
        names: 2,
        columns: vec![
            "proposers",
            "contender",
            "CPU",
            "leader",
            "allocs",
            "sum",
            "syscalls",
            "sum",
            "fsyncs",
            "MiB",
        ],
        groups: groups(report, medium, |row| {
            let mut cells = names(row);
            cells.push(figure(row.cpu_us_per_op.p50));
            cells.push(figure(row.leader_cpu_us_per_op));
            cells.push(pair(row.leader_allocations_per_op, row.followers_allocations_per_op));
            cells.push(figure(row.allocations_per_op()));
            let syscalls = row.leader_syscalls_per_op.zip(row.followers_syscalls_per_op);
            cells.push(
                syscalls.map_or_else(|| "-".to_owned(), |(leads, follow)| pair(leads, follow)),
            );
            cells.push(optional(row.syscalls_per_op()));
            cells.push(pair(row.leader_fsyncs_per_op, row.follower_fsyncs_per_op));
            let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
            cells.push(format!(
                "{} + {}",
                mib(row.leader_peak_bytes),
                mib(row.follower_peak_bytes)
            ));
            cells
        }),
    }
}

/// Ours in units of the best etcd's.
fn ratios(report: &CommitReport) -> Table {
    let ours = report.rows.iter().filter(|row| row.contender == OURS);
    let cells = |row: &Row| {
        let ratio = row.ratio_to_etcd?;
        let figures = [
            ratio.ops_per_s,
            ratio.us_p50,
            ratio.us_p99,
            ratio.us_p999,
            ratio.cpu_us,
            ratio.allocations,
            ratio.syscalls,
            ratio.leader_fsyncs,
            ratio.peak_bytes,
        ];
        let mut cells = vec![row.load.label()];
        let word = |part: f64| format!("{part:.3}");
        cells.extend(figures.map(|part| part.map_or_else(|| "-".to_owned(), word)));
        Some(vec![cells])
    };
    Table {
        title: "Commit: ratios to etcd".to_owned(),
        note: "Ours in units of the best etcd's in each figure, in the same run. Of ops/s more is \
               better, of all else less. RSS: of all members together."
            .to_owned(),
        names: 1,
        columns: vec![
            "load", "ops/s", "p50", "p99", "p99.9", "CPU", "allocs", "syscalls", "fsyncs", "RSS",
        ],
        groups: ours.filter_map(cells).collect(),
    }
}

fn phases(report: &CommitReport) -> Table {
    let mut columns = vec!["load", "us"];
    columns.extend(PHASES.map(super::trace::Phase::label));
    columns.push("whole");
    Table {
        title: "raftwire: where a commit's latency goes".to_owned(),
        note:
            "Sampled commits, divided along the critical path: through the follower whose answer \
               completed the quorum, or the leader's own fsync if that ended later. p50 and p99 of \
               each phase by itself, in us (\"-\": fewer than 100 samples beyond); share: of the \
               latency of all samples together."
                .to_owned(),
        names: 2,
        columns,
        groups: report.phases.iter().map(phase_rows).collect(),
    }
}

fn phase_rows(of: &Phases) -> Vec<Vec<String>> {
    let row =
        |name: &str, figures: &dyn Fn(&super::report::PhaseTimes) -> String, whole: String| {
            let mut cells = vec![short(&of.load), name.to_owned()];
            cells.extend(of.phases.iter().map(figures));
            cells.push(whole);
            cells
        };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    vec![
        row("p50", &|phase| optional(phase.us.p50), optional(of.latency_us.p50)),
        row("p99", &|phase| optional(phase.us.p99), optional(of.latency_us.p99)),
        row("share", &|phase| percent(phase.share), percent(1.0)),
    ]
}

fn off_path(report: &CommitReport) -> Table {
    let rows = |of: &Phases| {
        let works = of.off_path.iter().map(|work| {
            let Percentiles { p50, p99 } = work.us;
            vec![
                of.load.label(),
                work.work.clone(),
                count(work.samples),
                optional(p50),
                optional(p99),
            ]
        });
        works.collect::<Vec<_>>()
    };
    Table {
        title: "raftwire: work beside the path".to_owned(),
        note: "What sampled commits caused and did not wait for, in us. A follower's work counts \
               where the path leads elsewhere, the leader's WAL where its fsync did not close it."
            .to_owned(),
        names: 2,
        columns: vec!["load", "work", "samples", "p50", "p99"],
        groups: report.phases.iter().map(rows).filter(|rows| !rows.is_empty()).collect(),
    }
}

fn tracing(report: &CommitReport) -> Table {
    let row = |of: &Phases| {
        let percent = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
        vec![vec![
            of.load.label(),
            count(of.samples),
            format!("1 in {}", of.sample_every),
            count(of.violations.count()),
            format!("{:.0} %", of.closed_by_leader_part * 100.0),
            percent(of.cost.ops_per_s),
            of.cost.us_p50.map_or_else(|| "-".to_owned(), percent),
            percent(of.cost.cpu_us),
        ]]
    };
    Table {
        title: "raftwire: how commits were recorded, and what that costs".to_owned(),
        note: "unlike: samples whose phases are not the measured latency within 2 %, or that lack a \
               moment; more than 1 in 100 of them fail the run. by leader: paths that the leader's own \
               fsync closed. The rest: runs in which commits were recorded against those between them \
               in which none were."
            .to_owned(),
        names: 1,
        columns: vec!["load", "samples", "one in", "unlike", "by leader", "ops/s", "p50", "CPU"],
        groups: report.phases.iter().map(row).collect(),
    }
}

/// What is the same in all rows.
fn shape(report: &CommitReport) -> String {
    let Some(Row { load, .. }) = report.rows.first() else { return String::new() };
    let Load { members, value_bytes, rate, .. } = load;
    let pace = match rate {
        None => "each proposer begins its next operation when its last one is done".to_owned(),
        Some(rate) => format!("{rate} operations a second, latency from when each was due"),
    };
    format!(
        "{members} members, values of {value_bytes} B, {} keys; {pace}",
        count(report.keys.into())
    )
}

/// A load as it fits into a wide table.
fn short(load: &Load) -> String {
    format!("{} {}", load.proposers, load.medium.label())
}

fn names(row: &Row) -> Vec<String> {
    vec![row.load.proposers.to_string(), row.contender.clone()]
}

fn groups(
    report: &CommitReport,
    medium: Medium,
    cells: impl Fn(&Row) -> Vec<String>,
) -> Vec<Vec<Vec<String>>> {
    let groups = report.groups(medium).into_iter();
    groups.map(|rows| rows.into_iter().map(&cells).collect()).collect()
}

fn pair(leader: f64, followers: f64) -> String {
    format!("{} + {}", figure(leader), figure(followers))
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), figure)
}

#[cfg(test)]
mod tests {
    use super::super::report::ETCD_36;
    use super::super::report::tests::report;
    use super::*;
    use crate::bench::table::TEXT_WIDTH;

    #[test]
    fn fit_a_terminal() {
        let mut report = report(&[(OURS, 34_567.0), (ETCD_36, 20.0), ("etcd 3.7", 19.0)]);
        for phase in report.phases.iter_mut().flat_map(|phases| &mut phases.phases) {
            phase.us = Percentiles { p50: Some(1234.0), p99: Some(34_567.0) };
        }
        for table in all(&report) {
            for line in table.to_string().lines() {
                assert!(line.chars().count() <= TEXT_WIDTH, "{line}");
            }
        }
    }

    #[test]
    fn a_tail_of_too_few_is_not_shown() {
        let table = latency(&report(&[(OURS, 1e4)]), Medium::Disk);
        let row = &table.groups[0][0];
        assert_eq!((row[6].as_str(), row[5] == "-"), ("-", false));
        assert_eq!(phases(&report(&[(OURS, 1e4)])).groups[0][1][2], "-");
    }

    #[test]
    fn ratios_and_phases_are_of_ours() {
        let with = all(&report(&[(OURS, 9e3), (ETCD_36, 3e3)]));
        assert_eq!(with.len(), 8);
        assert!(with[4].to_string().contains("3.000"));
        assert_eq!(all(&report(&[(ETCD_36, 3e3)])).len(), 4);
        let tmpfs = with[2].to_string();
        assert!(tmpfs.contains("on tmpfs") && tmpfs.contains("3 members, values of 256 B"));
    }
}
