//! The latencies of a run: how many there were of each, by their 9 most significant bits, so that a
//! value is held to 0.4 %, and the memory of it is the same whatever comes. Every contender counts in
//! this way. Not here: medians over repetitions (`report`).

/// How many bits of a latency are kept.
const BITS: u32 = 9;

/// Values below this stand for themselves.
const EXACT: u64 = 1 << BITS;
const EXACT_BUCKETS: usize = 1 << BITS;

/// Of one magnitude above: the first bit is always set.
const PER_MAGNITUDE: usize = 1 << (BITS - 1);

/// Magnitudes above [`EXACT`], up to the largest number there is.
const MAGNITUDES: usize = (u64::BITS - BITS) as usize;

#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Box<[u64]>,
    max_ns: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let buckets = EXACT_BUCKETS + MAGNITUDES * PER_MAGNITUDE;
        Self { counts: vec![0; buckets].into_boxed_slice(), max_ns: 0 }
    }

    pub(crate) fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    pub(crate) fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// Each value that came, and how often, ascending.
    pub(crate) fn pairs(&self) -> Vec<(u64, u64)> {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(at, count)| (value(at), *count)).collect()
    }
}

fn bucket(ns: u64) -> usize {
    if ns < EXACT {
        return usize::try_from(ns).unwrap_or_else(|_| unreachable!("a value below {EXACT}"));
    }
    let shift = u64::BITS - BITS - ns.leading_zeros();
    let kept = usize::try_from(ns >> shift).unwrap_or_else(|_| unreachable!("of {BITS} bits"));
    // `kept` is from PER_MAGNITUDE to EXACT - 1, and `shift` from 1 on.
    shift as usize * PER_MAGNITUDE + kept
}

/// The least value of a bucket.
fn value(bucket: usize) -> u64 {
    if bucket < EXACT_BUCKETS {
        return bucket as u64;
    }
    let shift = bucket / PER_MAGNITUDE - 1;
    ((bucket - shift * PER_MAGNITUDE) as u64) << shift
}

/// How many latencies are in `pairs`.
pub(crate) fn count(pairs: &[(u64, u64)]) -> u64 {
    pairs.iter().map(|(_, count)| count).sum()
}

/// The latency that `part` of those in `pairs` do not exceed; none of an empty list.
pub(crate) fn quantile_ns(pairs: &[(u64, u64)], part: f64) -> Option<u64> {
    let rank = (count(pairs) as f64 * part).ceil().max(1.0);
    let mut seen = 0;
    for (value, count) in pairs {
        seen += count;
        if seen as f64 >= rank {
            return Some(*value);
        }
    }
    pairs.last().map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_nine_most_significant_bits() {
        for ns in [0, 1, 511, 512, 513, 1023, 1024, 123_456, 7_000_000_001, u64::MAX] {
            let held = value(bucket(ns));
            let significant = u64::BITS - ns.leading_zeros();
            let low = significant.saturating_sub(9);
            assert_eq!(held, ns >> low << low, "{ns}");
        }
    }

    #[test]
    fn buckets_follow_on_each_other_without_a_gap() {
        let last = bucket(u64::MAX);
        assert_eq!(Latencies::new().counts.len(), last + 1);
        for at in 1..=last {
            assert!(value(at) > value(at - 1));
            assert_eq!(bucket(value(at)), at);
            assert_eq!(bucket(value(at) - 1), at - 1);
        }
    }

    #[test]
    fn finds_quantiles() {
        let mut latencies = Latencies::new();
        for ns in 1..=100 {
            latencies.record(ns);
        }
        let pairs = latencies.pairs();
        assert_eq!((count(&pairs), latencies.max_ns()), (100, 100));
        assert_eq!(quantile_ns(&pairs, 0.5), Some(50));
        assert_eq!(quantile_ns(&pairs, 0.99), Some(99));
        assert_eq!(quantile_ns(&pairs, 1.0), Some(100));
        assert_eq!(quantile_ns(&pairs, 0.0), Some(1));
        assert_eq!(quantile_ns(&[], 0.5), None);
    }
}
