//! Ids of requests, which no two members share.
//!
//! | bits | |
//! |---|---|
//! | 63-48 | the low bits of the member's id |
//! | 47-8 | the low bits of the milliseconds since 1970, at the start |
//! | 7-0 | counts, and carries into the ones above |
//!
//! Source: etcd `pkg/idutil/id.go`. A member that restarts within a tick of its clock may not repeat an
//! id of its earlier life as long as it gave out fewer than 256 in a millisecond on the average.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Ids {
    prefix: u64,
    suffix: AtomicU64,
}

const SUFFIX_BITS: u32 = 48;

impl Ids {
    /// Makes the ids of a member that starts now.
    pub(crate) fn new(member: u64, unix_ms: u64) -> Self {
        Self { prefix: member << SUFFIX_BITS, suffix: AtomicU64::new(unix_ms << 8) }
    }

    pub(crate) fn next(&self) -> u64 {
        let suffix = self.suffix.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.prefix | (suffix & ((1 << SUFFIX_BITS) - 1))
    }
}

impl Ids {
    /// Whether `id` is one of this member's.
    pub(crate) fn are_of(&self, id: u64) -> bool {
        id >> SUFFIX_BITS == self.prefix >> SUFFIX_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_ids_as_etcd_does() {
        // From etcd's own test of its generator.
        let ids = Ids::new(0x12, 0x0034_5678);
        assert_eq!(ids.next(), 0x0012_0000_3456_7801);
        assert_eq!(ids.next(), 0x0012_0000_3456_7802);
    }

    #[test]
    fn carries_without_touching_the_member() {
        let ids = Ids::new(0xffff_0001, u64::MAX);
        let first = ids.next();
        assert!((0..1000).all(|_| ids.next() >> SUFFIX_BITS == 1));
        assert_ne!(first, ids.next());
    }
}
