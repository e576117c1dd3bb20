//! The plots of the commit's part. Not here: how they are drawn (`bench::plot`, `bench::stack`), and
//! the figures in words (`tables`).

use super::report::{CommitReport, Latency, Medium, Phases, Row};
use crate::bench::plot::{Bar, Plot};
use crate::bench::report::OURS;
use crate::bench::stack::{Part, Stack, Stacks};
use crate::bench::stats::Series;
use crate::bench::table::figure;

/// Every plot of `report`, in reading order, each an `<svg>` element.
pub(crate) fn all(report: &CommitReport) -> Vec<String> {
    let mut plots = Vec::new();
    for medium in [Medium::Disk, Medium::Tmpfs] {
        let at = |title: &str| format!("{title}, on {}", medium.label());
        plots.push(plot(report, medium, at("Operations a second"), "ops/s (logarithmic)", |row| {
            with_range(row, &row.ops_per_s)
        }));
        let p50 = |latency: &Latency| latency.us_p50.clone();
        plots.push(percentile(report, medium, at("Latency, p50"), p50));
        let p99 = |latency: &Latency| latency.us_p99.clone();
        plots.push(percentile(report, medium, at("Latency, p99"), p99));
        plots.push(plot(report, medium, at("CPU of all members"), "us (logarithmic)", |row| {
            with_range(row, &row.cpu_us_per_op)
        }));
    }
    plots.retain(|plot| !plot.groups.is_empty());
    let mut drawn: Vec<String> = plots.iter().map(Plot::svg).collect();
    if !report.phases.is_empty() {
        drawn.push(phases(&report.phases).svg());
    }
    drawn
}

fn plot(
    report: &CommitReport,
    medium: Medium,
    title: String,
    axis: &'static str,
    bar: impl Fn(&Row) -> Bar,
) -> Plot {
    let groups = report.groups(medium).into_iter().map(|rows| {
        let proposers = rows[0].load.proposers.to_string();
        (proposers, rows.into_iter().map(&bar).collect())
    });
    Plot { title, axis, groups_axis: "proposers", groups: groups.collect() }
}

fn percentile(
    report: &CommitReport,
    medium: Medium,
    title: String,
    of: fn(&Latency) -> Option<Series>,
) -> Plot {
    let mut plot = plot(report, medium, title, "us (logarithmic)", |row| {
        of(&row.latency).map_or_else(|| bar(row, 0.0), |series| with_range(row, &series))
    });
    // A bar of no height would say that it is fast.
    plot.groups.retain(|(_, bars)| bars.iter().any(|bar| bar.value > 0.0));
    plot
}

fn with_range(row: &Row, series: &Series) -> Bar {
    Bar { range: Some((series.min, series.max)), ..bar(row, series.p50) }
}

fn bar(row: &Row, value: f64) -> Bar {
    let class = match row.contender.as_str() {
        OURS => "ours",
        "etcd 3.6" => "etcd-a",
        _ => "etcd-b",
    };
    Bar { label: row.contender.clone(), class, value, range: None }
}

fn phases(all: &[Phases]) -> Stacks {
    let stack = |of: &Phases| Stack {
        name: format!("{} {}", of.load.proposers, of.load.medium.label()),
        top: format!("{} us", figure(of.latency_us_mean)),
        parts: of
            .phases
            .iter()
            .map(|phase| Part { label: phase.phase.clone(), share: phase.share })
            .collect(),
    };
    Stacks {
        title: "raftwire: where a commit's latency goes".to_owned(),
        axis: "share of the latency",
        stacks_axis: "proposers and medium; above: the mean latency",
        stacks: all.iter().map(stack).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::ETCD_36;
    use super::super::report::tests::report;
    use super::*;
    use crate::bench::plot::tests::assert_well_formed;

    #[test]
    fn are_well_formed_and_none_is_empty() {
        let plots = all(&report(&[(OURS, 1e4), (ETCD_36, 5e3)]));
        assert_eq!(plots.len(), 9);
        for plot in &plots {
            assert_well_formed(plot);
        }
        assert!(all(&report(&[])).is_empty());
    }

    #[test]
    fn what_has_no_figure_has_no_plot() {
        let mut report = report(&[(OURS, 1e4)]);
        for row in &mut report.rows {
            row.latency.us_p99 = None;
        }
        assert_eq!(all(&report).len(), 7);
    }
}
