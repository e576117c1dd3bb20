//! What is kept of a measurement: one figure for each repetition, its median and range, and a
//! histogram of the single passes. Not here: taking the time, and what is printed.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Median and range of a figure over the repetitions of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// None of an empty list.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let p50 = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { p50, min, max })
    }
}

/// A figure of each repetition, with their median and range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) p50: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) repetitions: Vec<f64>,
}

impl Series {
    /// None of an empty list.
    pub(crate) fn of(repetitions: Vec<f64>) -> Option<Self> {
        let Spread { p50, min, max } = Spread::of(&repetitions)?;
        Some(Self { p50, min, max, repetitions })
    }
}

/// A percentile beyond which fewer samples lie is the luck of a few, and is not shown.
pub(crate) const SAMPLES_BEYOND_MIN: f64 = 100.0;

/// The times of single passes, as ranges of values and how often each came.
#[derive(Clone, Debug)]
pub(crate) struct PassTimes(Histogram<u64>);

/// Two digits: a bucket is at most 1 % wide, and a histogram a few dozen buckets.
const DIGITS: u8 = 2;

/// A minute; a longer pass is counted as one.
const PASS_NS_MAX: u64 = 60_000_000_000;

impl PassTimes {
    pub(crate) fn new() -> Self {
        let bounds = Histogram::new_with_bounds(1, PASS_NS_MAX, DIGITS);
        Self(bounds.unwrap_or_else(|_| unreachable!("constant bounds, tested")))
    }

    pub(crate) fn record(&mut self, pass: Duration) {
        let ns = u64::try_from(pass.as_nanos()).unwrap_or(PASS_NS_MAX);
        self.0.saturating_record(ns.max(1));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // Cannot fail: both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// The value below which `quantile` of the passes lie, in nanoseconds.
    pub(crate) fn quantile_ns(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn buckets(&self) -> Buckets {
        let (upper_ns, counts) =
            self.0.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).unzip();
        Buckets { upper_ns, counts }
    }
}

/// A histogram as it is written: bucket `i` holds `counts[i]` passes of at most `upper_ns[i]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Buckets {
    pub(crate) upper_ns: Vec<u64>,
    pub(crate) counts: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_middle_of_odd_and_even_lists() {
        let odd = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!(odd, Some(Spread { p50: 2.0, min: 1.0, max: 3.0 }));
        let even = Spread::of(&[4.0, 1.0, 2.0, 3.0]);
        assert_eq!(even.map(|spread| spread.p50), Some(2.5));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn keeps_every_pass_in_a_bucket() {
        let mut times = PassTimes::new();
        assert!(times.is_empty());
        for ns in [0, 10, 10, 1000, 5_000_000, u64::MAX] {
            times.record(Duration::from_nanos(ns));
        }
        let mut sum = PassTimes::new();
        sum.merge(&times);
        sum.merge(&times);
        let buckets = sum.buckets();
        assert_eq!(buckets.counts.iter().sum::<u64>(), 12);
        assert_eq!(buckets.upper_ns.len(), buckets.counts.len());
        assert!(buckets.upper_ns.is_sorted());
        assert_eq!(times.quantile_ns(0.5), 10);
    }

    #[test]
    fn holds_a_value_to_one_percent() {
        let mut times = PassTimes::new();
        times.record(Duration::from_nanos(123_456));
        let held = times.quantile_ns(1.0) as f64;
        assert!((held / 123_456.0 - 1.0).abs() < 0.01, "{held}");
    }
}
