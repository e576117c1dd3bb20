//! What the figures of a run say against what raftwire promises of a commit: ratios to the best of
//! the etcds of the same run. A promise without a figure is not kept, and not broken: it says so. Not
//! here: comparing two runs (`compare`).

use serde::{Deserialize, Serialize};

use super::report::{CommitReport, Load, Medium, Phases, Ratio, Row};
use crate::bench::report::OURS;
use crate::bench::table::figure;

/// A promise, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// What is promised, and where.
    pub(crate) of: String,
    /// Ours in units of etcd's.
    pub(crate) ratio: Option<f64>,
    pub(crate) bound: Bound,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Met,
    NotMet,
    /// It was not measured, or on too few samples.
    NoFigure,
}

/// Where a promise holds.
#[derive(Clone, Copy, Debug)]
enum Place {
    On(Medium, u32),
    /// Under every load; the worst one decides.
    Everywhere,
}

struct Promise {
    place: Place,
    what: &'static str,
    of: fn(&Ratio) -> Option<f64>,
    bound: Bound,
}

use Bound::{AtLeast, AtMost};
use Medium::{Disk, Tmpfs};
use Place::{Everywhere, On};

const THIRD: f64 = 1.0 / 3.0;

#[rustfmt::skip]
const PROMISES: [Promise; 9] = [
    Promise { place: On(Disk, 1), what: "p50", of: |ratio| ratio.us_p50, bound: AtMost(0.6) },
    Promise { place: On(Disk, 1), what: "p99", of: |ratio| ratio.us_p99, bound: AtMost(0.6) },
    Promise { place: On(Disk, 1), what: "CPU an operation", of: |ratio| ratio.cpu_us, bound: AtMost(THIRD) },
    Promise { place: On(Disk, 256), what: "ops/s", of: |ratio| ratio.ops_per_s, bound: AtLeast(2.0) },
    Promise { place: On(Disk, 256), what: "CPU an operation", of: |ratio| ratio.cpu_us, bound: AtMost(THIRD) },
    Promise { place: On(Disk, 256), what: "p99", of: |ratio| ratio.us_p99, bound: AtMost(0.5) },
    Promise { place: On(Tmpfs, 1), what: "p50", of: |ratio| ratio.us_p50, bound: AtMost(0.6) },
    Promise { place: Everywhere, what: "peak RSS of all members", of: |ratio| ratio.peak_bytes, bound: AtMost(THIRD) },
    Promise { place: Everywhere, what: "allocations of all members, to etcd 3.6", of: |ratio| ratio.allocations_to_etcd_36, bound: AtMost(0.2) },
];

/// The cluster and the operations that promises are about.
const MEMBERS: u32 = 3;
const VALUE_BYTES: usize = 256;

/// Every promise and its outcome.
pub(crate) fn verdicts(report: &CommitReport) -> Vec<Verdict> {
    PROMISES.iter().map(|promise| promise.verdict(report)).collect()
}

/// The closing lines, in numbers.
pub(crate) fn lines(report: &CommitReport) -> Vec<String> {
    let mut lines: Vec<String> = report.phases.iter().map(phases).collect();
    let has_ours = report.rows.iter().any(|row| row.contender == OURS);
    if !has_ours {
        return lines;
    }
    if report.rows.iter().any(Row::is_etcd) {
        lines.extend(report.verdicts.iter().map(Verdict::line));
    } else {
        lines.push(
            "Commit against etcd: not measured (--against etcd), so nothing promised is decided."
                .to_owned(),
        );
    }
    lines
}

/// How many phases are named: those that matter most.
const PHASES_NAMED: usize = 3;

fn phases(phases: &Phases) -> String {
    let mut largest: Vec<_> = phases.phases.iter().collect();
    largest.sort_by(|a, b| b.share.total_cmp(&a.share));
    let named: Vec<String> = largest
        .iter()
        .take(PHASES_NAMED)
        .map(|phase| format!("{} {:.0} %", phase.phase, phase.share * 100.0))
        .collect();
    format!(
        "Commit, {}: {} us in the mean, of which {}.",
        phases.load.label(),
        figure(phases.latency_us_mean),
        named.join(", ")
    )
}

impl Promise {
    fn verdict(&self, report: &CommitReport) -> Verdict {
        let (of, ratio) = match self.place {
            On(medium, proposers) => {
                let load = promised(medium, proposers);
                let row = report.row(load, OURS);
                let ratio = row.and_then(|row| (self.of)(row.ratio_to_etcd.as_ref()?));
                (format!("{}, {}", load.label(), self.what), ratio)
            }
            Everywhere => self.worst(report),
        };
        let outcome = ratio.map_or(Outcome::NoFigure, |ratio| self.bound.outcome(ratio));
        Verdict { of, ratio, bound: self.bound, outcome }
    }

    /// Of all loads of the promised shape; none if one of them has no figure.
    fn worst(&self, report: &CommitReport) -> (String, Option<f64>) {
        let rows = report.rows.iter().filter(|row| {
            let Load { medium, proposers, .. } = row.load;
            row.contender == OURS && row.load == promised(medium, proposers)
        });
        let mut worst: Option<(f64, String)> = None;
        for row in rows {
            let ratio = row.ratio_to_etcd.as_ref().and_then(self.of);
            let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) else {
                return (format!("{}, {}", row.load.label(), self.what), None);
            };
            if worst.as_ref().is_none_or(|(so_far, _)| self.bound.is_worse(ratio, *so_far)) {
                worst = Some((ratio, row.load.label()));
            }
        }
        match worst {
            Some((ratio, load)) => (format!("{}, worst at {load}", self.what), Some(ratio)),
            None => (self.what.to_owned(), None),
        }
    }
}

fn promised(medium: Medium, proposers: u32) -> Load {
    Load { medium, members: MEMBERS, value_bytes: VALUE_BYTES, proposers, rate: None }
}

impl Verdict {
    fn line(&self) -> String {
        let ratio = self.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let (bound, outcome) = (self.bound.label(), self.outcome.label());
        format!(
            "Commit against the best etcd, {}: {ratio} of its, promised {bound}: {outcome}.",
            self.of
        )
    }
}

impl Bound {
    fn label(self) -> String {
        match self {
            AtLeast(bound) => format!("at least {bound:.2}"),
            AtMost(bound) => format!("at most {bound:.2}"),
        }
    }

    fn outcome(self, ratio: f64) -> Outcome {
        let met = match self {
            AtLeast(bound) => ratio >= bound,
            AtMost(bound) => ratio <= bound,
        };
        match (ratio.is_finite(), met) {
            (false, _) => Outcome::NoFigure,
            (true, true) => Outcome::Met,
            (true, false) => Outcome::NotMet,
        }
    }

    fn is_worse(self, ratio: f64, than: f64) -> bool {
        match self {
            AtLeast(_) => ratio < than,
            AtMost(_) => ratio > than,
        }
    }
}

impl Outcome {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "NOT MET",
            Self::NoFigure => "not decided, for want of a figure",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::ETCD_36;
    use super::super::report::tests::{load, report, row};
    use super::*;

    fn outcomes(report: &CommitReport) -> Vec<Outcome> {
        verdicts(report).iter().map(|verdict| verdict.outcome).collect()
    }

    /// Ours so much faster, and as much lighter as is promised.
    fn promised_report() -> CommitReport {
        let mut report = report(&[(OURS, 9e3), (ETCD_36, 3e3)]);
        for row in report.rows.iter_mut().filter(|row| row.contender == OURS) {
            row.members_peak_bytes /= 4;
            row.leader_allocations_per_op = 0.5;
            row.followers_allocations_per_op = 0.5;
        }
        report.set_ratios();
        report
    }

    #[test]
    fn holds_ours_to_what_is_promised() {
        assert_eq!(outcomes(&promised_report()), [Outcome::Met; 9]);
        let slow = report(&[(OURS, 4e3), (ETCD_36, 3e3)]);
        assert_eq!(outcomes(&slow), [Outcome::NotMet; 9]);
    }

    #[test]
    fn the_best_of_the_etcds_is_the_measure() {
        let mut report = promised_report();
        report.rows.push(row(load(Disk, 256), "etcd 3.7", 6e3));
        report.set_ratios();
        let missed = outcomes(&report);
        assert_eq!(missed[..3], [Outcome::Met; 3]);
        assert_eq!(missed[3..6], [Outcome::NotMet; 3]);
    }

    #[test]
    fn one_bad_load_decides_what_holds_everywhere() {
        let mut report = promised_report();
        let at = report.rows.iter().rposition(|row| row.contender == OURS).unwrap();
        report.rows[at].members_peak_bytes *= 2;
        report.set_ratios();
        let verdict = &verdicts(&report)[7];
        assert_eq!(verdict.outcome, Outcome::NotMet);
        assert!(verdict.of.ends_with("worst at 256 proposers on tmpfs"), "{}", verdict.of);
    }

    #[test]
    fn nothing_is_met_without_a_figure() {
        assert_eq!(outcomes(&report(&[(OURS, 9e3)])), [Outcome::NoFigure; 9]);
        assert_eq!(outcomes(&report(&[(ETCD_36, 9e3)])), [Outcome::NoFigure; 9]);
        let mut few = promised_report();
        for row in &mut few.rows {
            row.latency.us_p99 = None;
        }
        few.set_ratios();
        let undecided: Vec<usize> =
            (0..9).filter(|at| outcomes(&few)[*at] == Outcome::NoFigure).collect();
        assert_eq!(undecided, [1, 5]);
        let mut unlike = promised_report();
        for row in &mut unlike.rows {
            row.load.members = 5;
        }
        unlike.set_ratios();
        assert_eq!(outcomes(&unlike), [Outcome::NoFigure; 9]);
        let mut broken = promised_report();
        for row in broken.rows.iter_mut().filter(|row| row.contender == OURS) {
            row.cpu_us_per_op.p50 = f64::NAN;
            row.ops_per_s.p50 = f64::NAN;
        }
        broken.set_ratios();
        assert!(outcomes(&broken)[2..5].iter().all(|outcome| *outcome == Outcome::NoFigure));
    }

    #[test]
    fn says_so_in_words() {
        let mut report = promised_report();
        report.verdicts = verdicts(&report);
        let words = lines(&report);
        let find = |text: &str| words.iter().find(|line| line.contains(text)).unwrap();
        assert!(
            find("1 proposer on disk, p50").ends_with("0.33 of its, promised at most 0.60: met.")
        );
        assert!(find("in the mean").contains("100 us"));
        let alone = super::super::report::tests::report(&[(OURS, 9e3)]);
        let words = lines(&alone);
        assert!(words.last().unwrap().contains("nothing promised is decided"), "{words:?}");
        assert!(!words.iter().any(|line| line.contains(": met")));
    }
}
