//! etcd's transport as it was measured when raftwire's was designed: the yardstick against which a
//! run's own etcd figures are checked, so that a slow or disturbed machine does not pass for a ratio.
//! Not here: ratios, which are always to the etcd measured in the same run.
//!
//! Origin: rafthttp of etcd 3.6.6 and 3.7.3 between two processes over loopback, the lower and the
//! upper of two runs on a shared 2-core VM (AMD EPYC, Linux 6.18), Go 1.26; one answer a message,
//! CPU of both sides.

use super::protocol::Answers;
use super::report::{Row, StreamReport};
use crate::bench::table::figure;

/// Beyond this the difference is named in the report, before any ratio is believed.
const DEVIATION_PERCENT_MAX: f64 = 25.0;

/// The least and the most of two runs.
type Range = [f64; 2];

struct Baseline {
    contender: &'static str,
    shape: &'static str,
    messages_per_s: Range,
    cpu_us: Range,
}

struct RoundTrip {
    contender: &'static str,
    us_p50: Range,
    cpu_us: Range,
}

#[rustfmt::skip]
const THROUGHPUT: [Baseline; 12] = [
    Baseline { contender: "etcd 3.6", shape: "1x64",    messages_per_s: [515e3, 623e3],   cpu_us: [2.8, 3.3] },
    Baseline { contender: "etcd 3.6", shape: "1x1KiB",  messages_per_s: [247e3, 310e3],   cpu_us: [5.4, 7.0] },
    Baseline { contender: "etcd 3.6", shape: "8x1KiB",  messages_per_s: [57e3, 60e3],     cpu_us: [31.0, 31.0] },
    Baseline { contender: "etcd 3.6", shape: "64x1KiB", messages_per_s: [8000.0, 9500.0], cpu_us: [179.0, 231.0] },
    Baseline { contender: "etcd 3.6", shape: "1x64KiB", messages_per_s: [17.6e3, 19.9e3], cpu_us: [79.0, 91.0] },
    Baseline { contender: "etcd 3.6", shape: "1x1MiB",  messages_per_s: [900.0, 1060.0],  cpu_us: [1450.0, 1760.0] },
    Baseline { contender: "etcd 3.7", shape: "1x64",    messages_per_s: [360e3, 400e3],   cpu_us: [4.3, 4.7] },
    Baseline { contender: "etcd 3.7", shape: "1x1KiB",  messages_per_s: [239e3, 258e3],   cpu_us: [6.7, 7.0] },
    Baseline { contender: "etcd 3.7", shape: "8x1KiB",  messages_per_s: [55e3, 57e3],     cpu_us: [31.0, 33.0] },
    Baseline { contender: "etcd 3.7", shape: "64x1KiB", messages_per_s: [8100.0, 8500.0], cpu_us: [196.0, 204.0] },
    Baseline { contender: "etcd 3.7", shape: "1x64KiB", messages_per_s: [18.0e3, 18.7e3], cpu_us: [83.0, 87.0] },
    Baseline { contender: "etcd 3.7", shape: "1x1MiB",  messages_per_s: [790.0, 840.0],   cpu_us: [1740.0, 1950.0] },
];

#[rustfmt::skip]
const ROUND_TRIPS: [RoundTrip; 2] = [
    RoundTrip { contender: "etcd 3.6", us_p50: [82.0, 84.0], cpu_us: [104.0, 109.0] },
    RoundTrip { contender: "etcd 3.7", us_p50: [94.0, 99.0], cpu_us: [122.0, 127.0] },
];

/// Where this run's etcd is far from what etcd was measured at before.
pub(crate) fn notes(report: &StreamReport) -> Vec<String> {
    report.rows.iter().flat_map(deviations).collect()
}

fn deviations(row: &Row) -> Vec<String> {
    let note = |what: &str, now: f64, before: Range| {
        let percent = deviation_percent(now, before);
        (percent.abs() > DEVIATION_PERCENT_MAX).then(|| {
            let [least, most] = before.map(figure);
            let Row { contender, input, .. } = row;
            format!(
                "baseline deviates: {contender} {input}: {} {what} here, {least}-{most} in the \
                 baseline ({percent:+.0} %)",
                figure(now)
            )
        })
    };
    let cpu = row.cpu_us_per_message.p50;
    match row.answers {
        Answers::Every => {
            let before = THROUGHPUT
                .iter()
                .find(|before| before.contender == row.contender && before.shape == row.input);
            before.map_or_else(Vec::new, |before| {
                let rate = note("messages/s", row.messages_per_s.p50, before.messages_per_s);
                rate.into_iter().chain(note("CPU us a message", cpu, before.cpu_us)).collect()
            })
        }
        Answers::RoundTrip => {
            let before = ROUND_TRIPS.iter().find(|before| before.contender == row.contender);
            before.map_or_else(Vec::new, |before| {
                let us = row.round_trip_us_p50();
                let us = us.and_then(|us| note("us a round trip", us, before.us_p50));
                us.into_iter().chain(note("CPU us a round trip", cpu, before.cpu_us)).collect()
            })
        }
        Answers::Sparse => Vec::new(),
    }
}

/// From the nearer end of the range; 0 inside of it.
fn deviation_percent(now: f64, [least, most]: Range) -> f64 {
    (now / now.clamp(least, most) - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, row};
    use super::*;

    #[test]
    fn notes_an_etcd_far_from_its_baseline() {
        assert_eq!(deviation_percent(600e3, [515e3, 623e3]), 0.0);
        let mut near = row("1x64", Answers::Every, "etcd 3.6", 550e3);
        near.cpu_us_per_message.p50 = 3.0;
        assert_eq!(deviations(&near), [""; 0]);
        let far = row("1x64", Answers::Every, "etcd 3.6", 206e3);
        let notes = deviations(&far);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].ends_with("(-60 %)"), "{notes:?}");
        assert!(notes[0].contains("206 000 messages/s"), "{notes:?}");
    }

    #[test]
    fn has_nothing_to_say_of_others() {
        assert_eq!(notes(&report(&[("tonic", 1.0)])), [""; 0]);
    }
}
