//! What the commit's part of a run found: its rows, the ratios between them, and the phases of ours.
//! Every key is documented in `docs/report-schema.md`. Not here: the report around it
//! (`bench::report`), and how it is shown (`tables`, `plots`).

use serde::{Deserialize, Serialize};

use super::cluster::Turn;
use super::latencies;
use super::verdict::Verdict;
use crate::bench::report::{About, ETCD};
use crate::bench::stats::{SAMPLES_BEYOND_MIN, Series};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommitReport {
    pub(crate) repetitions: u32,
    pub(crate) measurement_ms: f64,
    pub(crate) keys: u32,
    /// What counted system calls.
    pub(crate) syscalls_by: String,
    pub(crate) places: Vec<Place>,
    pub(crate) contenders: Vec<About>,
    pub(crate) rows: Vec<Row>,
    pub(crate) phases: Vec<Phases>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Where data was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// `disk` or `tmpfs`.
    pub(crate) medium: Medium,
    pub(crate) folder: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Medium {
    Disk,
    Tmpfs,
}

/// What is measured: the same for every contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) medium: Medium,
    pub(crate) members: u32,
    pub(crate) value_bytes: usize,
    pub(crate) proposers: u32,
    /// Operations a second of an open loop; none: a closed one.
    pub(crate) rate: Option<u64>,
}

/// One contender committing under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) load: Load,
    pub(crate) contender: String,
    pub(crate) measured_ops: u64,
    pub(crate) ops_per_s: Series,
    pub(crate) latency: Latency,
    /// Of all members.
    pub(crate) cpu_us_per_op: Series,
    pub(crate) leader_cpu_us_per_op: f64,
    pub(crate) leader_allocations_per_op: f64,
    /// Of all followers together.
    pub(crate) followers_allocations_per_op: f64,
    pub(crate) allocated_bytes_per_op: f64,
    pub(crate) leader_syscalls_per_op: Option<f64>,
    pub(crate) followers_syscalls_per_op: Option<f64>,
    pub(crate) leader_fsyncs_per_op: f64,
    /// In the mean of the followers.
    pub(crate) follower_fsyncs_per_op: f64,
    pub(crate) leader_peak_bytes: u64,
    /// The largest of them.
    pub(crate) follower_peak_bytes: u64,
    /// All members together.
    pub(crate) members_peak_bytes: u64,
    pub(crate) ratio_to_etcd: Option<Ratio>,
}

/// Percentiles in microseconds, each the median of the repetitions' own; none where fewer than
/// [`SAMPLES_BEYOND_MIN`] operations took longer, in all repetitions together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) us_p50: Option<Series>,
    pub(crate) us_p99: Option<Series>,
    pub(crate) us_p999: Option<Series>,
    /// Of all repetitions.
    pub(crate) us_max: f64,
}

/// This row's figures in units of the best etcd's in each figure: of operations a second more is
/// better, of all else less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) ops_per_s: Option<f64>,
    pub(crate) us_p50: Option<f64>,
    pub(crate) us_p99: Option<f64>,
    pub(crate) us_p999: Option<f64>,
    pub(crate) cpu_us: Option<f64>,
    pub(crate) allocations: Option<f64>,
    /// Of the oldest etcd that was measured alone: the newer one allocates more.
    pub(crate) allocations_to_etcd_36: Option<f64>,
    pub(crate) syscalls: Option<f64>,
    pub(crate) leader_fsyncs: Option<f64>,
    pub(crate) peak_bytes: Option<f64>,
}

/// Where the latency of ours went, under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Phases {
    #[serde(flatten)]
    pub(crate) load: Load,
    /// Of so many entries one was recorded, at most.
    pub(crate) sample_every: u64,
    pub(crate) samples: u64,
    pub(crate) violations: Violations,
    pub(crate) latency_us: Percentiles,
    pub(crate) latency_us_mean: f64,
    pub(crate) phases: Vec<PhaseTimes>,
    /// How many of the paths led through the leader's own fsync: 0 to 1.
    pub(crate) closed_by_leader_part: f64,
    pub(crate) off_path: Vec<OffPath>,
    pub(crate) cost: TracingCost,
}

/// Samples that prove nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Violations {
    /// A moment of the path is missing.
    pub(crate) incomplete: u64,
    pub(crate) backwards: u64,
    /// The phases' sum is more than 2 % from the measured latency.
    pub(crate) sum: u64,
}

impl Violations {
    pub(crate) fn count(self) -> u64 {
        self.incomplete + self.backwards + self.sum
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseTimes {
    pub(crate) phase: String,
    pub(crate) us: Percentiles,
    /// Of the latency of all samples together: 0 to 1.
    pub(crate) share: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OffPath {
    pub(crate) work: String,
    pub(crate) samples: u64,
    pub(crate) us: Percentiles,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}

/// What recording did to the runs it was on in: their medians in units of those it was off in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TracingCost {
    pub(crate) ops_per_s: f64,
    pub(crate) us_p50: Option<f64>,
    pub(crate) cpu_us: f64,
}

impl Latency {
    fn of(turns: &[Turn]) -> Self {
        let samples: u64 = turns.iter().map(|turn| turn.ops).sum();
        let series = |part: f64| {
            let of = |turn: &Turn| latencies::quantile_ns(&turn.histogram, part);
            let us = turns.iter().filter_map(of).map(|ns| ns as f64 / 1e3);
            let enough = samples as f64 * (1.0 - part) >= SAMPLES_BEYOND_MIN - 1e-6;
            Series::of(us.collect()).filter(|_| enough)
        };
        let max_ns = turns.iter().map(|turn| turn.max_ns).max().unwrap_or(0);
        Self {
            us_p50: series(0.5),
            us_p99: series(0.99),
            us_p999: series(0.999),
            us_max: max_ns as f64 / 1e3,
        }
    }
}

/// System calls for an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Syscalls {
    pub(crate) leader: f64,
    pub(crate) followers: f64,
}

impl Row {
    /// None of a contender that had no turn. The ratio needs the other rows.
    pub(crate) fn of(
        load: Load,
        contender: &str,
        turns: &[Turn],
        syscalls: Option<Syscalls>,
    ) -> Option<Self> {
        let series = |of: &dyn Fn(&Turn) -> f64| Series::of(turns.iter().map(of).collect());
        let ops: u64 = turns.iter().map(|turn| turn.ops).sum();
        // Of all repetitions: there is no noise that a median would take out.
        let mean = |of: &dyn Fn(&Turn) -> f64| turns.iter().map(of).sum::<f64>() / ops as f64;
        let most = |of: &dyn Fn(&Turn) -> u64| turns.iter().map(of).max().unwrap_or(0);
        let bytes = |turn: &Turn| turn.leader.allocated_bytes + turn.followers.allocated_bytes;
        Some(Self {
            load,
            contender: contender.to_owned(),
            measured_ops: ops,
            ops_per_s: series(&|turn| turn.ops as f64 / turn.seconds)?,
            latency: Latency::of(turns),
            cpu_us_per_op: series(&Turn::cpu_us_per_op)?,
            leader_cpu_us_per_op: mean(&|turn| turn.leader.cpu_us),
            leader_allocations_per_op: mean(&|turn| turn.leader.allocations as f64),
            followers_allocations_per_op: mean(&|turn| turn.followers.allocations as f64),
            allocated_bytes_per_op: mean(&|turn| bytes(turn) as f64),
            leader_syscalls_per_op: syscalls.map(|calls| calls.leader),
            followers_syscalls_per_op: syscalls.map(|calls| calls.followers),
            leader_fsyncs_per_op: mean(&|turn| turn.leader_fsyncs as f64),
            follower_fsyncs_per_op: mean(&|turn| turn.follower_fsyncs),
            leader_peak_bytes: most(&|turn| turn.leader_peak_bytes),
            follower_peak_bytes: most(&|turn| turn.follower_peak_bytes),
            members_peak_bytes: most(&|turn| turn.members_peak_bytes),
            ratio_to_etcd: None,
        })
    }

    pub(crate) fn allocations_per_op(&self) -> f64 {
        self.leader_allocations_per_op + self.followers_allocations_per_op
    }

    pub(crate) fn syscalls_per_op(&self) -> Option<f64> {
        Some(self.leader_syscalls_per_op? + self.followers_syscalls_per_op?)
    }

    pub(crate) fn is_etcd(&self) -> bool {
        self.contender.starts_with(ETCD)
    }

    /// In units of the best of `others` in each figure; none if there are none.
    fn ratio_to(&self, others: &[&Self]) -> Option<Ratio> {
        if others.is_empty() {
            return None;
        }
        // What a row has none of is no unit.
        let part = |value: f64, unit: f64| (unit > 0.0).then(|| value / unit);
        let to_least = |of: &dyn Fn(&Self) -> Option<f64>| {
            let least = others.iter().filter_map(|row| of(row)).min_by(f64::total_cmp);
            of(self).zip(least).and_then(|(value, unit)| part(value, unit))
        };
        let p50_of = |of: fn(&Latency) -> &Option<Series>| {
            to_least(&|row| of(&row.latency).as_ref().map(|series| series.p50))
        };
        let fastest = others.iter().map(|row| row.ops_per_s.p50).max_by(f64::total_cmp)?;
        let oldest = others.iter().find(|row| row.contender == ETCD_36);
        Some(Ratio {
            ops_per_s: part(self.ops_per_s.p50, fastest),
            us_p50: p50_of(|latency| &latency.us_p50),
            us_p99: p50_of(|latency| &latency.us_p99),
            us_p999: p50_of(|latency| &latency.us_p999),
            cpu_us: to_least(&|row| Some(row.cpu_us_per_op.p50)),
            allocations: to_least(&|row| Some(row.allocations_per_op())),
            allocations_to_etcd_36: oldest
                .and_then(|row| part(self.allocations_per_op(), row.allocations_per_op())),
            syscalls: to_least(&Self::syscalls_per_op),
            leader_fsyncs: to_least(&|row| Some(row.leader_fsyncs_per_op)),
            peak_bytes: to_least(&|row| Some(row.members_peak_bytes as f64)),
        })
    }
}

/// The etcd that allocates least.
pub(crate) const ETCD_36: &str = "etcd 3.6";

impl CommitReport {
    pub(crate) fn row(&self, load: Load, contender: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.load == load && row.contender == contender)
    }

    /// The rows of a medium, a list for each load, in the order they were measured.
    pub(crate) fn groups(&self, medium: Medium) -> Vec<Vec<&Row>> {
        let mut groups: Vec<Vec<&Row>> = Vec::new();
        for row in self.rows.iter().filter(|row| row.load.medium == medium) {
            match groups.last_mut() {
                Some(group) if group[0].load == row.load => group.push(row),
                _ => groups.push(vec![row]),
            }
        }
        groups
    }

    /// Fills in the ratios, which need all rows.
    pub(crate) fn set_ratios(&mut self) {
        let ratio = |row: &Row| {
            let same = |other: &&Row| other.load == row.load && other.is_etcd();
            row.ratio_to(&self.rows.iter().filter(same).collect::<Vec<_>>())
        };
        let ratios: Vec<Option<Ratio>> = self.rows.iter().map(ratio).collect();
        for (row, ratio) in self.rows.iter_mut().zip(ratios) {
            row.ratio_to_etcd = ratio;
        }
    }
}

impl Medium {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Tmpfs => "tmpfs",
        }
    }
}

impl Load {
    /// The load in words, without what is the same in a table.
    pub(crate) fn label(&self) -> String {
        let Self { medium, proposers, .. } = self;
        let plural = if *proposers == 1 { "" } else { "s" };
        let rate = self.rate.map_or_else(String::new, |rate| format!(" at {rate}/s"));
        format!("{proposers} proposer{plural}{rate} on {}", medium.label())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::consumed::Consumed;
    use crate::bench::report::OURS;

    pub(crate) fn load(medium: Medium, proposers: u32) -> Load {
        Load { medium, members: 3, value_bytes: 256, proposers, rate: None }
    }

    /// A turn of so many operations a second, one after the other; the rest follows from it.
    pub(crate) fn turn(ops_per_s: f64) -> Turn {
        #[allow(clippy::cast_possible_truncation, reason = "a test's own number")]
        let ns = (1e9 / ops_per_s) as u64;
        let consumed = |parts: u64| Consumed {
            cpu_us: 20_000.0 * 1e6 / ops_per_s / 2.0,
            allocations: 20_000 * parts,
            allocated_bytes: 20_000 * 100,
        };
        Turn {
            ops: 20_000,
            seconds: 20_000.0 / ops_per_s,
            histogram: vec![(ns, 19_700), (2 * ns, 300)],
            max_ns: 3 * ns,
            leader: consumed(3),
            followers: consumed(2),
            leader_fsyncs: 20_000,
            follower_fsyncs: 19_000.0,
            leader_peak_bytes: 16 << 20,
            follower_peak_bytes: 12 << 20,
            members_peak_bytes: 40 << 20,
        }
    }

    pub(crate) fn row(load: Load, contender: &str, ops_per_s: f64) -> Row {
        let turns = [0.95, 1.0, 1.05].map(|part| turn(ops_per_s * part));
        let syscalls = Syscalls { leader: 10.0, followers: 12.0 };
        Row::of(load, contender, &turns, Some(syscalls)).unwrap()
    }

    pub(crate) fn phases(load: Load) -> Phases {
        let us = Percentiles { p50: Some(10.0), p99: None };
        let times = |phase: &super::super::trace::Phase| PhaseTimes {
            phase: phase.label().to_owned(),
            us,
            share: 0.1,
        };
        Phases {
            load,
            sample_every: 4,
            samples: 1000,
            violations: Violations { sum: 1, ..Violations::default() },
            latency_us: Percentiles { p50: Some(110.0), p99: None },
            latency_us_mean: 100.0,
            phases: super::super::trace::PHASES.iter().map(times).collect(),
            closed_by_leader_part: 0.25,
            off_path: vec![OffPath { work: "leader's WAL".to_owned(), samples: 750, us }],
            cost: TracingCost { ops_per_s: 0.99, us_p50: Some(1.01), cpu_us: 1.02 },
        }
    }

    /// A report of 1 and 256 proposers on both media, with each contender's operations a second.
    pub(crate) fn report(rates: &[(&str, f64)]) -> CommitReport {
        let mut report = CommitReport {
            repetitions: 3,
            measurement_ms: 300.0,
            keys: 10_000,
            syscalls_by: "perf".to_owned(),
            places: vec![Place { medium: Medium::Disk, folder: "/d".to_owned() }],
            contenders: vec![About {
                contender: OURS.to_owned(),
                version: "0".to_owned(),
                settings: "a < b".to_owned(),
            }],
            ..CommitReport::default()
        };
        for medium in [Medium::Disk, Medium::Tmpfs] {
            for proposers in [1, 256] {
                let load = load(medium, proposers);
                report.rows.extend(rates.iter().map(|(of, rate)| row(load, of, *rate)));
                if rates.iter().any(|(of, _)| *of == OURS) {
                    report.phases.push(phases(load));
                }
            }
        }
        report.set_ratios();
        report.verdicts = super::super::verdict::verdicts(&report);
        report
    }

    #[test]
    fn comes_back_from_json_as_it_was() {
        let report = report(&[(OURS, 9e3), (ETCD_36, 3e3)]);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<CommitReport>(&text).unwrap(), report);
    }

    #[test]
    fn ratios_are_to_the_best_etcd_in_each_figure() {
        let mut report = report(&[(OURS, 9e3), (ETCD_36, 3e3), ("etcd 3.7", 2e3)]);
        report.rows[1].leader_allocations_per_op = 30.0;
        report.rows[2].cpu_us_per_op.p50 = 100.0;
        report.set_ratios();
        let ratio = report.rows[0].ratio_to_etcd.unwrap();
        let close = |value: Option<f64>, to: f64| (value.unwrap() - to).abs() < 1e-6;
        assert!(close(ratio.ops_per_s, 3.0));
        assert!(close(ratio.cpu_us, 1e6 / 9e3 / 100.0));
        assert!(close(ratio.allocations, 1.0));
        assert!(close(ratio.allocations_to_etcd_36, 5.0 / 32.0));
        assert_eq!(ratio.us_p999, None);
        assert!(close(ratio.peak_bytes, 1.0));
    }

    #[test]
    fn without_an_etcd_there_is_no_ratio() {
        let report = report(&[(OURS, 9e3)]);
        assert!(report.rows.iter().all(|row| row.ratio_to_etcd.is_none()));
    }

    #[test]
    fn a_percentile_needs_samples_beyond_it() {
        // 60 000 operations: 600 beyond p99, 60 beyond p99.9.
        let latency = row(load(Medium::Disk, 1), OURS, 1e3).latency;
        assert!(latency.us_p50.is_some());
        assert_eq!(latency.us_p99.map(|p99| p99.p50), Some(2000.0));
        assert_eq!(latency.us_p999, None);
        assert!((latency.us_max - 3157.894).abs() < 0.1, "{}", latency.us_max);
        let exactly = Latency::of(&[Turn { ops: 10_000, ..turn(1e3) }]);
        assert!(exactly.us_p99.is_some());
        assert_eq!(Latency::of(&[Turn { ops: 9_999, ..turn(1e3) }]).us_p99, None);
    }
}
