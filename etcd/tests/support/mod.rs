//! What the tests of a cluster share. Nothing is asserted about the member here but that it answers.
//!
//! | file | holds |
//! |---|---|
//! | `cluster.rs` | a cluster, asked and held against itself |
//! | `process.rs` | one of its members, in a process |
//! | `links.rs` | the network between them |
//! | `load.rs` | clients that write and read, and note what they saw |
//! | `account.rs` | whether what they saw can have been |
//! | `faults.rs` | what happens to a cluster meanwhile |
//! | `history.rs` | operations on a register map |
//! | `linearize.rs` | whether they are linearizable |

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests ask the clock, start threads, and wait between two looks"
)]

pub(crate) mod account;
pub(crate) mod cluster;
pub(crate) mod faults;
pub(crate) mod history;
pub(crate) mod linearize;
pub(crate) mod links;
pub(crate) mod load;
pub(crate) mod process;

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at something that is waited for.
pub(crate) const POLL: Duration = Duration::from_millis(5);
/// How long something that should happen may take, on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until something is there.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(there) = look() {
            return there;
        }
        assert!(begin.elapsed() < DEADLINE, "not in {DEADLINE:?}: {what}");
        thread::sleep(POLL);
    }
}
