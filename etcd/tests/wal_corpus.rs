//! The committed corpus of the fuzz targets of the log and of snapshots, replayed: what a fuzzer once
//! found stays found, without a fuzzer. Nothing is counted here; the memory bound is asserted by the
//! targets themselves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use raftwire_etcd::fuzzing::{TARGETS, uncounted};
use std::fs;
use std::path::Path;

#[test]
fn every_committed_input_passes_its_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (target, body) in TARGETS {
        let files = fs::read_dir(corpus.join(target)).expect(target);
        let mut count = 0;
        for file in files {
            let path = file.unwrap().path();
            let input = fs::read(&path).unwrap();
            let passed = std::panic::catch_unwind(|| body(&input, uncounted));
            assert!(passed.is_ok(), "fuzz/reproduce.sh {target} {}", path.display());
            count += 1;
        }
        assert!(count > 0, "{target} has a corpus");
    }
}
