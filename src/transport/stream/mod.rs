//! The two streams between this member and a peer, and the tasks that move them.
//!
//! ```text
//! send ──encodes──▶ Outgoing: batches, each one chunk ──writer task──▶ the connection the peer dialed
//!
//! the connection this member dialed ──reader task──▶ Incoming: chunks off, frames out ──▶ Raft::process
//! ```
//!
//! A member writes on what its peer dialed and reads what it dialed itself, so a pair of members has
//! four streams.

mod batch;
mod incoming;
mod outgoing;
mod reader;
mod spin;
mod writer;

pub(crate) use incoming::Incoming;
pub(crate) use outgoing::{Close, NotQueued, Outgoing};
pub(crate) use reader::Reader;
pub(crate) use writer::{Attached, write_all};

use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

/// A deadline is looked at four times in its length.
const LOOKS_PER_TIMEOUT: u32 = 4;

/// Ticks that look at a deadline of length `timeout`, so that nobody asks for the time when a byte
/// moves.
fn ticks(timeout: Duration) -> Interval {
    let period = (timeout / LOOKS_PER_TIMEOUT).max(Duration::from_millis(1));
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Counts ticks since something moved.
#[derive(Debug, Default)]
struct Stall {
    ticks: u32,
}

impl Stall {
    fn moved(&mut self) {
        self.ticks = 0;
    }

    /// Whether nothing moved for the whole of the timeout.
    fn tick(&mut self) -> bool {
        self.ticks += 1;
        // The first tick may come right after something moved.
        self.ticks > LOOKS_PER_TIMEOUT
    }
}
