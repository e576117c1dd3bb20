//! What is compared: codecs in this process behind one trait, and etcd's in its own. Here lies
//! how a pass of an in-process codec is repeated, timed and checked; each codec's own file holds
//! the pass. Not here: the order of the measurements (`schedule`) and their meaning (`report`).

pub(crate) mod cluster;
pub(crate) mod etcd;
pub(crate) mod ours;
pub(crate) mod plain;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::load::{Load, Tally};
use crate::allocator::{self, Allocations};
use crate::bench::error::BenchError;
use crate::bench::stats::PassTimes;

/// What is timed. Everything a pass made is dropped inside the timed section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// Messages into recycled queues, gathered as for a vectored write, and the queues cleared.
    Encode,
    /// The stream's bytes already lie where a socket read would have left them. Making room for the
    /// next read, and moving the tail of a full block for it, is timed; the read is not.
    DecodeFilled,
    /// The same, and one copy of the stream to that place is timed too.
    DecodeCopied,
}

impl Operation {
    pub(crate) const ALL: [Self; 3] = [Self::Encode, Self::DecodeFilled, Self::DecodeCopied];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::DecodeFilled => "decode from a filled block",
            Self::DecodeCopied => "decode with one copy of the stream",
        }
    }
}

/// A codec in this process.
pub(crate) trait Codec {
    fn label(&self) -> &'static str;

    /// How it is set up, for the report.
    fn about(&self) -> &'static str;

    /// Prepares for the passes over `load`, and returns the bytes its encoder makes of the whole
    /// load, the lead included.
    fn load(&mut self, load: &Arc<Load>) -> Result<Vec<u8>, BenchError>;

    /// Goes once through the load, and times what belongs to `operation`.
    fn pass(&mut self, operation: Operation, clock: &mut Stopwatch) -> Result<Tally, BenchError>;

    /// Bytes it copied from one place in memory to another since it was made, counted where it
    /// copies; none if it does not count. The harness's own filling of blocks is not in it.
    fn copied_bytes(&self) -> Option<u64>;
}

/// Follows one pass: adds up its timed sections, and knows where its steady part began.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    total: Duration,
    counts: bool,
    copied_bytes_before: Option<u64>,
}

impl Stopwatch {
    #[inline]
    pub(crate) fn time<R>(&mut self, section: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = section();
        self.total += start.elapsed();
        result
    }

    /// Called by a pass behind the lead: what is allocated and copied from here to the end of the
    /// pass belongs to the timed messages, inside timed sections or not.
    pub(crate) fn begin_steady(&mut self, copied_bytes: Option<u64>) {
        self.copied_bytes_before = copied_bytes;
        if self.counts {
            allocator::resume();
        }
    }
}

/// What one measurement of one contender gave.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) messages: u64,
    pub(crate) ns_per_message: f64,
    /// Of single passes; none where only a mean is known.
    pub(crate) passes: Option<PassTimes>,
}

/// What a contender used up for each message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Used {
    pub(crate) messages: u64,
    pub(crate) allocations_per_message: f64,
    pub(crate) allocated_bytes_per_message: f64,
    pub(crate) copied_bytes_per_message: Option<f64>,
}

/// Untimed passes come first for this part of the budget, and never fewer than these.
const WARM_UP_PART: u32 = 10;
const WARM_UP_PASSES_MIN: u32 = 2;

/// Filling blocks and the like may take longer than what is timed; the wall clock ends it then.
const WALL_PER_BUDGET_MAX: u32 = 3;

/// Repeats passes until `budget` was spent in timed sections.
pub(crate) fn time(
    codec: &mut dyn Codec,
    load: &Load,
    operation: Operation,
    budget: Duration,
) -> Result<Timed, BenchError> {
    let started = Instant::now();
    let mut warmed = 0;
    while warmed < WARM_UP_PASSES_MIN || started.elapsed() < budget / WARM_UP_PART {
        checked_pass(codec, load, operation, &mut Stopwatch::default())?;
        warmed += 1;
    }

    let started = Instant::now();
    let mut passes = PassTimes::new();
    let mut total = Duration::ZERO;
    let mut messages = 0;
    while messages == 0 || (total < budget && started.elapsed() < budget * WALL_PER_BUDGET_MAX) {
        let mut clock = Stopwatch::default();
        messages += checked_pass(codec, load, operation, &mut clock)?;
        total += clock.total;
        passes.record(clock.total);
    }
    let ns_per_message = total.as_nanos() as f64 / messages as f64;
    Ok(Timed { messages, ns_per_message, passes: Some(passes) })
}

/// Counts allocations of the whole process, and copied bytes, over `messages` or some more.
pub(crate) fn count(
    codec: &mut dyn Codec,
    load: &Load,
    operation: Operation,
    messages: u64,
) -> Result<Used, BenchError> {
    for _ in 0..WARM_UP_PASSES_MIN {
        checked_pass(codec, load, operation, &mut Stopwatch::default())?;
    }
    allocator::take();
    let mut counted = 0;
    // The copy that this operation times beside decoding.
    let filled = match operation {
        Operation::DecodeCopied => (load.stream.len() - load.lead_bytes) as u64,
        Operation::Encode | Operation::DecodeFilled => 0,
    };
    let mut copied = Some(0);
    while counted < messages.max(1) {
        let mut clock = Stopwatch { counts: true, ..Stopwatch::default() };
        let result = checked_pass(codec, load, operation, &mut clock);
        allocator::pause();
        counted += result?;
        let after = codec.copied_bytes().zip(clock.copied_bytes_before);
        copied = copied.zip(after).map(|(sum, (after, before))| sum + filled + after - before);
    }
    let Allocations { count, bytes } = allocator::take();
    let per_message = |total: u64| total as f64 / counted as f64;
    Ok(Used {
        messages: counted,
        allocations_per_message: per_message(count),
        allocated_bytes_per_message: per_message(bytes),
        copied_bytes_per_message: copied.map(per_message),
    })
}

fn checked_pass(
    codec: &mut dyn Codec,
    load: &Load,
    operation: Operation,
    clock: &mut Stopwatch,
) -> Result<u64, BenchError> {
    let seen = codec.pass(operation, clock)?;
    if seen == load.expected {
        return Ok(seen.messages);
    }
    Err(BenchError::WrongAnswer {
        contender: codec.label().to_owned(),
        input: load.input.clone(),
        what: format!("{}: {seen:?} instead of {:?}", operation.label(), load.expected),
    })
}
