//! In steady state a batch costs no call to the allocator, by whoever: neither its entries nor its
//! sync.
//!
//! One test in a binary of its own, with a counting allocator: what another test did beside it would
//! be counted too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../tests/support/counting.rs"]
mod counting;
mod support {
    pub(crate) mod disk;
}

use counting::allocations;
use raftwire::raftpb::{Dialect, Wire};
use raftwire_etcd::disk::OsDisk;
use raftwire_etcd::wal::{Options, Wal};
use std::sync::Arc;
use support::disk::{METADATA, append, entry, hard_state};

fn main() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("wal");
    // Segments are prepared in the background: the first one is not left here, and no spare begun.
    let mut options = Options::default();
    options.segment_bytes = 8 << 20;
    for disk in [OsDisk::new(), OsDisk::buffered()] {
        let mut wal = Wal::create(Arc::new(disk), &dir, METADATA, options).unwrap();
        let small = entry(1, 1, vec![7; 256]);
        let large = entry(1, 1, vec![7; 64 << 10]);
        let encoded = small.encode(Dialect::V3_7);
        let mut round = |count: u64| {
            for index in 1..=count {
                for _ in 0..16 {
                    append(&mut wal, &small);
                    wal.append_encoded(index, &encoded);
                }
                append(&mut wal, &large);
                wal.set_hard_state(hard_state(1, 1, index));
                wal.sync().unwrap();
            }
        };
        round(1);
        let before = allocations();
        round(20);
        let allocated = allocations() - before;
        // A piece of the spare is written for what is in the segment by now: its memory, once, and
        // its path are the thread's, whenever it comes to it.
        assert!(allocated <= 16, "{allocated} allocations in 20 batches of 33 entries");
        assert_eq!(wal.stats().cuts, 0);
        wal.close().unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
