//! etcd's commits as they were measured when raftwire's were designed: the yardstick against which a
//! run's own etcd figures are checked, so that a slow or disturbed machine does not pass for a ratio.
//! Not here: ratios, which are always to the etcd measured in the same run.
//!
//! Origin: raft, wal and rafthttp of etcd 3.6.6 and 3.7.3 in three processes, 256 B proposed inside the
//! leader, data on ext4 on a virtual disk, the lower and the upper of two runs on a shared 2-core VM
//! (AMD EPYC, Linux 6.18), Go 1.26; CPU of all three.

use super::report::{CommitReport, Load, Medium, Row};
use crate::bench::table::figure;

/// Beyond this the difference is named in the report, before any ratio is believed.
const DEVIATION_PERCENT_MAX: f64 = 25.0;

/// The least and the most of two runs.
type Range = [f64; 2];

struct Baseline {
    contender: &'static str,
    proposers: u32,
    ops_per_s: Range,
    cpu_us: Range,
}

#[rustfmt::skip]
const DISK: [Baseline; 8] = [
    Baseline { contender: "etcd 3.6", proposers: 1,   ops_per_s: [2085.0, 2271.0], cpu_us: [599.0, 665.0] },
    Baseline { contender: "etcd 3.6", proposers: 16,  ops_per_s: [10.8e3, 10.8e3], cpu_us: [140.0, 140.0] },
    Baseline { contender: "etcd 3.6", proposers: 64,  ops_per_s: [23.3e3, 24.3e3], cpu_us: [66.0, 69.0] },
    Baseline { contender: "etcd 3.6", proposers: 256, ops_per_s: [35.9e3, 40.0e3], cpu_us: [42.0, 43.0] },
    Baseline { contender: "etcd 3.7", proposers: 1,   ops_per_s: [2112.0, 2174.0], cpu_us: [641.0, 668.0] },
    Baseline { contender: "etcd 3.7", proposers: 16,  ops_per_s: [8942.0, 10.5e3], cpu_us: [148.0, 173.0] },
    Baseline { contender: "etcd 3.7", proposers: 64,  ops_per_s: [18.6e3, 19.2e3], cpu_us: [84.0, 88.0] },
    Baseline { contender: "etcd 3.7", proposers: 256, ops_per_s: [32.7e3, 38.9e3], cpu_us: [44.0, 54.0] },
];

/// Where this run's etcd is far from what etcd was measured at before.
pub(crate) fn notes(report: &CommitReport) -> Vec<String> {
    report.rows.iter().flat_map(deviations).collect()
}

fn deviations(row: &Row) -> Vec<String> {
    let Load { proposers, .. } = row.load;
    let measured =
        Load { medium: Medium::Disk, members: 3, value_bytes: 256, proposers, rate: None };
    let before = DISK.iter().find(|before| {
        row.load == measured && before.proposers == proposers && before.contender == row.contender
    });
    let Some(before) = before else { return Vec::new() };
    let note = |what: &str, now: f64, before: Range| {
        let percent = deviation_percent(now, before);
        (percent.abs() > DEVIATION_PERCENT_MAX).then(|| {
            let [least, most] = before.map(figure);
            format!(
                "baseline deviates: {}, {}: {} {what} here, {least}-{most} in the baseline \
                 ({percent:+.0} %)",
                row.contender,
                row.load.label(),
                figure(now)
            )
        })
    };
    let rate = note("ops/s", row.ops_per_s.p50, before.ops_per_s);
    rate.into_iter().chain(note("CPU us", row.cpu_us_per_op.p50, before.cpu_us)).collect()
}

/// From the nearer end of the range; 0 inside of it.
fn deviation_percent(now: f64, [least, most]: Range) -> f64 {
    (now / now.clamp(least, most) - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{load, report, row};
    use super::*;

    #[test]
    fn notes_an_etcd_far_from_its_baseline() {
        let mut near = row(load(Medium::Disk, 1), "etcd 3.6", 2200.0);
        near.cpu_us_per_op.p50 = 600.0;
        assert_eq!(deviations(&near), [""; 0]);
        let far = row(load(Medium::Disk, 1), "etcd 3.6", 1000.0);
        let notes = deviations(&far);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].ends_with("(-52 %)"), "{notes:?}");
    }

    #[test]
    fn has_nothing_to_say_of_other_loads_and_contenders() {
        assert_eq!(notes(&report(&[("raftwire", 1.0)])), [""; 0]);
        let tmpfs = row(load(Medium::Tmpfs, 1), "etcd 3.6", 1.0);
        assert_eq!(deviations(&tmpfs), [""; 0]);
    }
}
