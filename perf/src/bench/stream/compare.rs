//! Two runs of this part side by side. Ours decide; the others' rows show how far the machine itself
//! has moved. Not here: ratios between contenders of one run (`report`).

use super::report::{Row, StreamReport};
use super::schedule::label;
use super::tables::is_ours;
use crate::bench::compare::Comparison;
use crate::bench::stats::Series;
use crate::bench::table::{Table, figure};

/// Fewer more than this are what a process does beside its messages.
const ALLOCATIONS_SPREAD: f64 = 0.01;

/// Compares the rows that both have.
pub(crate) fn compare(
    old: &StreamReport,
    new: &StreamReport,
    threshold_percent: f64,
) -> Comparison {
    let pairs: Vec<(&Row, &Row)> = new
        .rows
        .iter()
        .filter_map(|row| Some((old.row(&row.input, row.answers, &row.contender)?, row)))
        .collect();
    let worse = pairs
        .iter()
        .filter(|(_, new)| is_ours(new))
        .filter(|(old, new)| worse(old, new, threshold_percent).is_some())
        .count();
    let table = Table {
        title: "Stream: the change".to_owned(),
        note: format!(
            "Time: of a message, or of a round trip at p50. \"slower\" and \"dearer\" (CPU): past \
             {threshold_percent} % and beyond the spread of both runs. More allocations count if they \
             are more than {ALLOCATIONS_SPREAD} a message. Only our rows decide."
        ),
        names: 3,
        columns: vec![
            "shape",
            "answers",
            "contender",
            "time",
            "CPU",
            "old allocs",
            "new allocs",
            "",
        ],
        groups: pairs.iter().map(|pair| vec![cells(pair, threshold_percent)]).collect(),
    };
    Comparison { tables: vec![table], worse }
}

fn cells((old, new): &(&Row, &Row), threshold_percent: f64) -> Vec<String> {
    let mark = worse(old, new, threshold_percent).unwrap_or_default();
    let mark = if is_ours(new) || mark.is_empty() { mark.to_owned() } else { format!("({mark})") };
    let percent = |old: &Series, new: &Series| format!("{:+.1} %", change_percent(old, new));
    vec![
        new.input.clone(),
        label(new.answers).to_owned(),
        new.contender.clone(),
        percent(&time(old), &time(new)),
        percent(&old.cpu_us_per_message, &new.cpu_us_per_message),
        figure(old.allocations_per_message),
        figure(new.allocations_per_message),
        mark,
    ]
}

fn worse(old: &Row, new: &Row, threshold_percent: f64) -> Option<&'static str> {
    let beyond = |old: &Series, new: &Series| {
        change_percent(old, new) > threshold_percent && new.min > old.max
    };
    if new.allocations_per_message > old.allocations_per_message + ALLOCATIONS_SPREAD {
        Some("allocates")
    } else if beyond(&time(old), &time(new)) {
        Some("slower")
    } else if beyond(&old.cpu_us_per_message, &new.cpu_us_per_message) {
        Some("dearer")
    } else {
        None
    }
}

/// Of a round trip where there is one, else of a message: more is worse.
fn time(row: &Row) -> Series {
    let p50 = row.round_trip.as_ref().and_then(|trip| trip.us_p50.clone());
    p50.unwrap_or_else(|| {
        let Series { p50, min, max, .. } = row.messages_per_s;
        Series { p50: 1.0 / p50, min: 1.0 / max, max: 1.0 / min, repetitions: Vec::new() }
    })
}

fn change_percent(old: &Series, new: &Series) -> f64 {
    (new.p50 / old.p50 - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::super::report::TONIC;
    use super::super::report::tests::report;
    use super::*;
    use crate::bench::report::OURS;

    #[test]
    fn slower_must_pass_the_threshold_and_the_spread() {
        let worse =
            |rate: f64| compare(&report(&[(OURS, 1e6)]), &report(&[(OURS, rate)]), 10.0).worse;
        assert_eq!(worse(1e6), 0);
        // The repetitions lie 5 % around the median.
        assert_eq!(worse(0.92e6), 0);
        assert_eq!(worse(0.8e6), 3);
        assert_eq!(worse(2e6), 0);
    }

    #[test]
    fn more_allocations_or_cpu_are_worse() {
        let old = report(&[(OURS, 1e6)]);
        let mut new = old.clone();
        new.rows[0].allocations_per_message = 0.1;
        let dearer = &mut new.rows[1].cpu_us_per_message;
        (dearer.p50, dearer.min, dearer.max) = (3.0, 3.0, 3.0);
        let comparison = compare(&old, &new, 10.0);
        assert_eq!(comparison.worse, 2);
        let text = comparison.tables[0].to_string();
        assert!(text.contains("allocates") && text.contains("dearer"), "{text}");
    }

    #[test]
    fn other_contenders_are_shown_and_do_not_decide() {
        let comparison = compare(&report(&[(TONIC, 1e6)]), &report(&[(TONIC, 1e5)]), 10.0);
        assert_eq!(comparison.worse, 0);
        assert!(comparison.tables[0].to_string().contains("(slower)"));
    }
}
