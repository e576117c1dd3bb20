//! Two runs of this part side by side. Ours decide; the others' rows show how far the machine itself
//! has moved. Not here: ratios between contenders of one run (`report`).

use super::report::{CommitReport, Row};
use crate::bench::compare::Comparison;
use crate::bench::report::OURS;
use crate::bench::stats::Series;
use crate::bench::table::{Table, figure};

/// More allocations than this part of the old ones: how many operations share a batch, and so its
/// allocations, is a matter of luck.
const ALLOCATIONS_SPREAD: f64 = 0.1;
/// And more than so many an operation.
const ALLOCATIONS_LEAST: f64 = 0.1;

/// Compares the rows that both have.
pub(crate) fn compare(
    old: &CommitReport,
    new: &CommitReport,
    threshold_percent: f64,
) -> Comparison {
    let pairs: Vec<(&Row, &Row)> =
        new.rows.iter().filter_map(|row| Some((old.row(row.load, &row.contender)?, row))).collect();
    let worse = pairs
        .iter()
        .filter(|(_, new)| new.contender == OURS)
        .filter(|(old, new)| worse(old, new, threshold_percent).is_some())
        .count();
    let table = Table {
        title: "Commit: the change".to_owned(),
        note: format!(
            "\"slower\" (time of an operation, or its p50) and \"dearer\" (CPU): past \
             {threshold_percent} % and beyond the spread of both runs. \"allocates\": more than {} an \
             operation and {:.0} % more. Only our rows decide; those whose members, values or rate \
             differ are left out.",
            ALLOCATIONS_LEAST,
            ALLOCATIONS_SPREAD * 100.0
        ),
        names: 2,
        columns: vec!["load", "contender", "ops/s", "p50", "CPU", "old allocs", "new allocs", ""],
        groups: pairs.iter().map(|pair| vec![cells(pair, threshold_percent)]).collect(),
    };
    Comparison { tables: vec![table], worse }
}

fn cells((old, new): &(&Row, &Row), threshold_percent: f64) -> Vec<String> {
    let mark = worse(old, new, threshold_percent).unwrap_or_default();
    let decides = new.contender == OURS || mark.is_empty();
    let mark = if decides { mark.to_owned() } else { format!("({mark})") };
    let percent = |old: &Series, new: &Series| format!("{:+.1} %", change_percent(old, new));
    let p50 = old.latency.us_p50.as_ref().zip(new.latency.us_p50.as_ref());
    vec![
        new.load.label(),
        new.contender.clone(),
        percent(&old.ops_per_s, &new.ops_per_s),
        p50.map_or_else(|| "-".to_owned(), |(old, new)| percent(old, new)),
        percent(&old.cpu_us_per_op, &new.cpu_us_per_op),
        figure(old.allocations_per_op()),
        figure(new.allocations_per_op()),
        mark,
    ]
}

fn worse(old: &Row, new: &Row, threshold_percent: f64) -> Option<&'static str> {
    let beyond = |old: &Series, new: &Series| {
        change_percent(old, new) > threshold_percent && new.min > old.max
    };
    let p50 = old.latency.us_p50.as_ref().zip(new.latency.us_p50.as_ref());
    let (before, after) = (old.allocations_per_op(), new.allocations_per_op());
    if after > before + ALLOCATIONS_LEAST && after > before * (1.0 + ALLOCATIONS_SPREAD) {
        Some("allocates")
    } else if beyond(&time(old), &time(new)) || p50.is_some_and(|(old, new)| beyond(old, new)) {
        Some("slower")
    } else if beyond(&old.cpu_us_per_op, &new.cpu_us_per_op) {
        Some("dearer")
    } else {
        None
    }
}

/// Of an operation: more is worse.
fn time(row: &Row) -> Series {
    let Series { p50, min, max, .. } = row.ops_per_s;
    Series { p50: 1.0 / p50, min: 1.0 / max, max: 1.0 / min, repetitions: Vec::new() }
}

fn change_percent(old: &Series, new: &Series) -> f64 {
    (new.p50 / old.p50 - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::super::report::{ETCD_36, Medium};
    use super::*;

    #[test]
    fn slower_must_pass_the_threshold_and_the_spread() {
        let worse =
            |rate: f64| compare(&report(&[(OURS, 1e4)]), &report(&[(OURS, rate)]), 10.0).worse;
        assert_eq!(worse(1e4), 0);
        // The repetitions lie 5 % around the median.
        assert_eq!(worse(0.92e4), 0);
        assert_eq!(worse(0.8e4), 4);
        assert_eq!(worse(2e4), 0);
    }

    #[test]
    fn more_allocations_or_cpu_are_worse() {
        let old = report(&[(OURS, 1e4)]);
        let mut new = old.clone();
        new.rows[0].leader_allocations_per_op += 2.0;
        let dearer = &mut new.rows[1].cpu_us_per_op;
        (dearer.p50, dearer.min, dearer.max) = (300.0, 300.0, 300.0);
        let comparison = compare(&old, &new, 10.0);
        assert_eq!(comparison.worse, 2);
        let text = comparison.tables[0].to_string();
        assert!(text.contains("allocates") && text.contains("dearer"), "{text}");
    }

    #[test]
    fn other_contenders_are_shown_and_do_not_decide() {
        let comparison = compare(&report(&[(ETCD_36, 1e4)]), &report(&[(ETCD_36, 1e3)]), 10.0);
        assert_eq!(comparison.worse, 0);
        assert!(comparison.tables[0].to_string().contains("(slower)"));
    }

    #[test]
    fn other_loads_are_not_compared() {
        let old = report(&[(OURS, 1e4)]);
        let mut new = report(&[(OURS, 1e3)]);
        for row in &mut new.rows {
            row.load.value_bytes = 1024;
        }
        new.rows[0].load = super::super::report::tests::load(Medium::Disk, 1);
        let comparison = compare(&old, &new, 10.0);
        assert_eq!((comparison.tables[0].groups.len(), comparison.worse), (1, 1));
    }
}
