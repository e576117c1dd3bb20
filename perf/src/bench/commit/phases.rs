//! What many traced commits have in common: percentiles of each phase, who closed the path, the work
//! beside it, and how many samples prove nothing. Not here: one commit's path (`trace`).

use std::collections::HashMap;

use super::report::{OffPath, Percentiles, PhaseTimes, Violations};
use super::trace::{self, Appends, Moments, PHASES, Path, Violation};
use crate::bench::stats::SAMPLES_BEYOND_MIN;

/// More of the samples than this that prove nothing make a run a wrong one.
pub(crate) const VIOLATIONS_PART_MAX: f64 = 0.01;

/// The paths of a shape, of all its turns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    paths: Vec<Path>,
    violations: Violations,
    /// The first of them.
    backwards_in: Option<&'static str>,
}

impl Paths {
    /// Takes in what the members recorded in a turn, the leader's first.
    pub(crate) fn add(&mut self, recorded: &[(u64, Moments)]) {
        let Some(((_, leader), followers)) = recorded.split_first() else { return };
        let mut appends: HashMap<u64, Appends<'_>> = HashMap::new();
        for (member, moments) in followers {
            for append in &moments.appends {
                appends.entry(append.index).or_default().insert(*member, append);
            }
        }
        let none = Appends::default();
        for proposal in &leader.proposals {
            let appends = appends.get(&proposal.index).unwrap_or(&none);
            match trace::path(proposal, appends, recorded.len()) {
                Ok(path) => self.paths.push(path),
                Err(Violation::Incomplete) => self.violations.incomplete += 1,
                Err(Violation::Backwards(place)) => {
                    self.violations.backwards += 1;
                    self.backwards_in.get_or_insert(place);
                }
                Err(Violation::Sum) => self.violations.sum += 1,
            }
        }
    }

    pub(crate) fn samples(&self) -> u64 {
        self.paths.len() as u64 + self.violations.count()
    }

    pub(crate) fn violations(&self) -> Violations {
        self.violations
    }

    /// Why these samples prove nothing; none if they do.
    pub(crate) fn fault(&self) -> Option<String> {
        let Violations { incomplete, backwards, sum } = self.violations;
        let samples = self.samples();
        if samples == 0 {
            return Some("no commit was recorded".to_owned());
        }
        (self.violations.count() as f64 > samples as f64 * VIOLATIONS_PART_MAX).then(|| {
            let place = self.backwards_in.map_or_else(String::new, |place| format!(" ({place})"));
            format!(
                "of {samples} recorded commits {sum} had phases that are not their latency, \
                 {backwards} moments that run backwards{place}, and {incomplete} lacked one"
            )
        })
    }

    pub(crate) fn latency(&self) -> Percentiles {
        percentiles(self.paths.iter().map(|path| path.latency_ns).collect())
    }

    pub(crate) fn latency_us_mean(&self) -> f64 {
        let total: u64 = self.paths.iter().map(|path| path.latency_ns).sum();
        total as f64 / 1e3 / self.paths.len().max(1) as f64
    }

    /// Of the paths, how many the leader's own fsync closed: 0 to 1.
    pub(crate) fn closed_by_leader_part(&self) -> f64 {
        let closed = self.paths.iter().filter(|path| path.through.is_none()).count();
        closed as f64 / self.paths.len().max(1) as f64
    }

    pub(crate) fn phases(&self) -> Vec<PhaseTimes> {
        let total: u64 = self.paths.iter().map(|path| path.latency_ns).sum();
        let times = |(at, phase): (usize, &trace::Phase)| {
            let ns: Vec<u64> = self.paths.iter().map(|path| path.phases_ns[at]).collect();
            PhaseTimes {
                phase: phase.label().to_owned(),
                share: ns.iter().sum::<u64>() as f64 / total.max(1) as f64,
                us: percentiles(ns),
            }
        };
        PHASES.iter().enumerate().map(times).collect()
    }

    pub(crate) fn off_path(&self) -> Vec<OffPath> {
        let of = |work: &str, ns: Vec<u64>| OffPath {
            work: work.to_owned(),
            samples: ns.len() as u64,
            us: percentiles(ns),
        };
        let paths = || self.paths.iter().map(|path| &path.off);
        let all = [
            of("leader's WAL and fsync", paths().filter_map(|off| off.leader_wal_ns).collect()),
            of(
                "other follower, read to answered",
                paths().flat_map(|off| &off.followers_ns).copied().collect(),
            ),
            of(
                "follower, answered to applied",
                paths().flat_map(|off| &off.follower_applies_ns).copied().collect(),
            ),
        ];
        all.into_iter().filter(|work| work.samples > 0).collect()
    }
}

/// In microseconds; none where too few samples lie beyond.
pub(crate) fn percentiles(mut ns: Vec<u64>) -> Percentiles {
    ns.sort_unstable();
    let of = |part: f64| {
        let beyond = ns.len() as f64 * (1.0 - part);
        if beyond < SAMPLES_BEYOND_MIN {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, reason = "a part of a length")]
        let at = (ns.len() as f64 * part) as usize;
        ns.get(at).map(|ns| *ns as f64 / 1e3)
    };
    Percentiles { p50: of(0.5), p99: of(0.99) }
}

#[cfg(test)]
mod tests {
    use super::super::trace::tests::commit;
    use super::*;

    /// What three members recorded of `count` commits, of which the first `wrong` do not add up.
    fn recorded(count: u64, wrong: u64) -> Vec<(u64, Moments)> {
        let (proposal, appends) = commit();
        let mut proposals = Vec::new();
        let mut followers = [Vec::new(), Vec::new()];
        for index in 0..count {
            let latency_ns = if index < wrong { 10 * proposal.latency_ns } else { 55 };
            proposals.push(trace::Proposal { index, latency_ns, ..proposal.clone() });
            for (recorded, append) in followers.iter_mut().zip(&appends) {
                recorded.push(trace::Append { index, ..*append });
            }
        }
        let leader = Moments { proposals, appends: Vec::new() };
        let followers = followers.map(|appends| Moments { proposals: Vec::new(), appends });
        (1..).zip([leader].into_iter().chain(followers)).collect()
    }

    #[test]
    fn sums_up_the_phases() {
        let mut paths = Paths::default();
        paths.add(&recorded(300, 0));
        paths.add(&recorded(300, 0));
        assert_eq!((paths.samples(), paths.fault()), (600, None));
        let phases = paths.phases();
        assert_eq!(phases.len(), PHASES.len());
        assert!((phases.iter().map(|phase| phase.share).sum::<f64>() - 1.0).abs() < 1e-9);
        assert_eq!(phases[9].us, Percentiles { p50: Some(0.01), p99: None });
        assert_eq!(paths.closed_by_leader_part(), 0.0);
        let off = paths.off_path();
        assert_eq!(off.iter().map(|work| work.samples).collect::<Vec<_>>(), [600, 600, 600]);
    }

    #[test]
    fn more_than_one_in_a_hundred_that_proves_nothing_is_a_fault() {
        let mut paths = Paths::default();
        paths.add(&recorded(1000, 10));
        assert_eq!(paths.fault(), None);
        assert_eq!(paths.violations(), Violations { sum: 10, ..Violations::default() });
        paths.add(&recorded(100, 2));
        assert!(paths.fault().is_some_and(|fault| fault.contains("12 had phases")));
    }

    #[test]
    fn what_followers_did_not_record_is_a_fault() {
        let mut paths = Paths::default();
        let mut recorded = recorded(10, 0);
        recorded[1].1.appends.clear();
        paths.add(&recorded);
        assert_eq!(paths.violations().incomplete, 10);
        assert!(paths.fault().is_some());
        assert!(Paths::default().fault().is_some(), "nothing was recorded");
    }

    #[test]
    fn a_percentile_needs_samples_beyond_it() {
        assert_eq!(percentiles((0..199).collect()).p50, None);
        let some = percentiles((0..10_000).map(|us| us * 1000).collect());
        assert_eq!(some, Percentiles { p50: Some(5000.0), p99: Some(9900.0) });
    }
}
