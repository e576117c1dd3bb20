//! Two runs side by side: the change of every row, and which changes are too large. Ours decide;
//! the others' rows show how far the machine itself has moved. Not here: ratios between
//! contenders of one run (`report`).

use super::contender::Operation;
use super::report::{ClusterRow, CodecReport, Figures, Row};
use super::tables::{PLAIN_APART, decode_label};
use crate::bench::compare::Comparison;
use crate::bench::report::OURS;
use crate::bench::table::{Table, figure};

/// A row that both runs have.
#[derive(Debug)]
struct Change<'a> {
    input: &'a str,
    label: String,
    gated: bool,
    old: &'a Figures,
    new: &'a Figures,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Same,
    Faster,
    Slower,
    Allocates,
}

impl Change<'_> {
    fn percent(&self) -> f64 {
        (self.new.ns_per_message_p50 / self.old.ns_per_message_p50 - 1.0) * 100.0
    }

    /// Slower or faster: past the threshold, and the ranges of the repetitions do not touch. More
    /// allocations: any, since their number has no noise.
    fn outcome(&self, threshold_percent: f64) -> Outcome {
        let (old, new) = (self.old.spread(), self.new.spread());
        if self.new.allocations_per_message > self.old.allocations_per_message {
            Outcome::Allocates
        } else if self.percent() > threshold_percent && new.min > old.max {
            Outcome::Slower
        } else if self.percent() < -threshold_percent && new.max < old.min {
            Outcome::Faster
        } else {
            Outcome::Same
        }
    }
}

pub(crate) fn compare(old: &CodecReport, new: &CodecReport, threshold_percent: f64) -> Comparison {
    let changes: Vec<Change<'_>> = new
        .rows
        .iter()
        .filter_map(|row| Change::of_row(old, row))
        .chain(new.cluster.iter().filter_map(|row| Change::of_cluster(old, row)))
        .collect();
    let gated = changes.iter().filter(|change| change.gated);
    let worse = gated
        .filter(|change| {
            matches!(change.outcome(threshold_percent), Outcome::Slower | Outcome::Allocates)
        })
        .count();
    let rows = changes.iter().map(|change| vec![change.cells(threshold_percent)]).collect();
    let table = Table {
        title: "Codec: the change".to_owned(),
        note: format!(
            "\"slower\" and \"faster\": past {threshold_percent} % and beyond the spread of both \
             runs. Any more allocations count. Only rows of {OURS} decide."
        ),
        names: 2,
        columns: vec!["shape", "row", "old ns", "new ns", "change", "old allocs", "new allocs", ""],
        groups: rows,
    };
    Comparison { tables: vec![table], worse }
}

impl<'a> Change<'a> {
    fn of_row(old: &'a CodecReport, new: &'a Row) -> Option<Self> {
        let before = old.row(&new.input, new.operation, &new.contender)?;
        let label = match new.operation {
            Operation::Encode => format!("encode, {}", new.contender),
            _ => format!("decode, {}", decode_label(new)),
        };
        let gated = new.contender == OURS;
        Some(Self { input: &new.input, label, gated, old: &before.figures, new: &new.figures })
    }

    fn of_cluster(old: &'a CodecReport, new: &'a ClusterRow) -> Option<Self> {
        let before = old.cluster.iter().find(|row| {
            row.input == new.input && row.members == new.members && row.way == new.way
        })?;
        let label = format!("encode, {} members, {}", new.members, new.way);
        let gated = new.way != PLAIN_APART;
        Some(Self { input: &new.input, label, gated, old: &before.figures, new: &new.figures })
    }

    fn cells(&self, threshold_percent: f64) -> Vec<String> {
        let mark = match self.outcome(threshold_percent) {
            Outcome::Same => "",
            Outcome::Faster => "faster",
            Outcome::Slower => "slower",
            Outcome::Allocates => "allocates",
        };
        let mark = if self.gated { mark.to_owned() } else { format!("({mark})").replace("()", "") };
        vec![
            self.input.to_owned(),
            self.label.clone(),
            figure(self.old.ns_per_message_p50),
            figure(self.new.ns_per_message_p50),
            format!("{:+.1} %", self.percent()),
            figure(self.old.allocations_per_message),
            figure(self.new.allocations_per_message),
            mark,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;
    use crate::bench::report::PLAIN;

    fn worse(old_ns: f64, new_ns: f64) -> usize {
        let old = report(&[(OURS, Operation::Encode, old_ns)]);
        let new = report(&[(OURS, Operation::Encode, new_ns)]);
        compare(&old, &new, 10.0).worse
    }

    #[test]
    fn a_run_is_never_worse_than_itself() {
        assert_eq!(worse(100.0, 100.0), 0);
    }

    #[test]
    fn slower_must_pass_the_threshold_and_the_spread() {
        // The repetitions lie 10 % around the median: 115 is past the threshold, but touches.
        assert_eq!(worse(100.0, 115.0), 0);
        assert_eq!(worse(100.0, 130.0), 1);
        assert_eq!(worse(130.0, 100.0), 0);
    }

    #[test]
    fn any_more_allocations_are_worse() {
        let old = report(&[(OURS, Operation::Encode, 100.0)]);
        let mut new = old.clone();
        new.rows[0].figures.allocations_per_message = 1e-5;
        assert_eq!(compare(&old, &new, 10.0).worse, 1);
        assert!(compare(&old, &new, 10.0).tables[0].to_string().contains("allocates"));
    }

    #[test]
    fn other_contenders_are_shown_and_do_not_decide() {
        let old = report(&[(PLAIN, Operation::Encode, 100.0)]);
        let new = report(&[(PLAIN, Operation::Encode, 200.0)]);
        let comparison = compare(&old, &new, 10.0);
        assert_eq!(comparison.worse, 0);
        assert!(comparison.tables[0].to_string().contains("(slower)"));
    }
}
