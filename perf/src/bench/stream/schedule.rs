//! The order of this part: for each shape every contender's pair is started, and for each way of
//! answering they take turns, A B C A B C, beginning with another one each round; then system calls
//! are counted in runs that are not timed. Not here: what a turn is (`pair`).

use std::time::Duration;

use super::pair::{Contender, Pair, Turn};
use super::protocol::{Answers, Run};
use super::report::Row;
use crate::bench::error::BenchError;
use crate::bench::progress::Progress;
use crate::bench::shape::Shape;
use crate::bench::stats::Spread;
use crate::bench::syscalls::Counter;
use crate::bench::turns::rotated;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) repetitions: u32,
    /// Of one turn.
    pub(crate) budget: Duration,
    /// Of one turn of round trips, which are slow: a percentile needs many of them.
    pub(crate) round_trips_budget: Duration,
    /// How often system calls are counted, and how long, were nothing slowed down by it.
    pub(crate) counts: u32,
    pub(crate) counted_budget: Duration,
    pub(crate) seed: u64,
}

/// What is in flight at most: a raft leader bounds both.
const WINDOW_MESSAGES_MAX: usize = 1024;
const WINDOW_BYTES_MAX: usize = 32 << 20;

/// Round trips are those of the smallest message: a larger one's is its throughput again.
const ROUND_TRIP_SHAPE: Shape = Shape::new(1, 64);

/// An unmeasured run comes first for this part of a turn: others had the caches meanwhile.
const WARM_UP_PART: u32 = 5;

/// The lines that begin and end a counted run are some ten calls.
const COUNTED_MESSAGES_MIN: u64 = 256;

/// Everything measured on one shape.
pub(crate) fn measure(
    shape: Shape,
    contenders: &[Contender],
    plan: &Plan,
    counter: &mut Counter,
    progress: &Progress,
) -> Result<Vec<Row>, BenchError> {
    let mut pairs = Vec::new();
    for contender in measured(shape, contenders) {
        pairs.push((contender, Pair::start(contender)?));
    }
    let mut rows = Vec::new();
    for answers in ways(shape) {
        let mut competing: Vec<&mut (&Contender, Pair)> =
            pairs.iter_mut().filter(|(contender, _)| takes_part(contender, *answers)).collect();
        let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); competing.len()];
        let run = run(shape, *answers, plan);
        for at in rotated(competing.len(), plan.repetitions) {
            let (contender, pair) = &mut *competing[at];
            progress.step(&format!("{shape} {}: {}", label(*answers), contender.about.contender));
            pair.warm_up(Run { duration_ms: warm_up_ms(run.duration_ms), ..run })?;
            turns[at].push(pair.turn(run)?);
        }
        let mut syscalls: Vec<Vec<f64>> = vec![Vec::new(); competing.len()];
        for at in rotated(competing.len(), plan.counts) {
            let (contender, pair) = &mut *competing[at];
            let name = &contender.about.contender;
            progress.step(&format!("{shape} {}: {name}, system calls", label(*answers)));
            let messages = counted_messages(&turns[at], plan, counter);
            syscalls[at].extend(pair.syscalls_per_message(Run { messages, ..run }, counter)?);
        }
        for (at, (contender, _)) in competing.into_iter().enumerate() {
            rows.extend(Row::of(
                shape.to_string(),
                *answers,
                &contender.about.contender,
                run.window,
                (shape.entries * shape.bytes) as u64,
                &turns[at],
                Spread::of(&syscalls[at]).map(|spread| spread.p50),
            ));
        }
    }
    Ok(rows)
}

/// How often [`measure`] moves the progress on.
pub(crate) fn steps(shape: Shape, contenders: &[Contender], plan: &Plan) -> u64 {
    let each = |answers: &Answers| {
        contenders.iter().filter(|contender| takes_part(contender, *answers)).count() as u64
    };
    ways(shape).iter().map(each).sum::<u64>() * u64::from(plan.repetitions + plan.counts)
}

pub(crate) fn label(answers: Answers) -> &'static str {
    match answers {
        Answers::Every => "every message answered",
        Answers::Sparse => "sparse answers",
        Answers::RoundTrip => "round trip",
    }
}

fn ways(shape: Shape) -> &'static [Answers] {
    if shape == ROUND_TRIP_SHAPE {
        &[Answers::Every, Answers::Sparse, Answers::RoundTrip]
    } else {
        &[Answers::Every, Answers::Sparse]
    }
}

fn takes_part(contender: &Contender, answers: Answers) -> bool {
    answers == Answers::RoundTrip || !contender.round_trips_only
}

fn measured(shape: Shape, contenders: &[Contender]) -> impl Iterator<Item = &Contender> {
    contenders
        .iter()
        .filter(move |contender| ways(shape).iter().any(|way| takes_part(contender, *way)))
}

fn run(shape: Shape, answers: Answers, plan: &Plan) -> Run {
    let message_bytes = (shape.entries * shape.bytes).max(1);
    let window = match answers {
        Answers::RoundTrip => 1,
        _ => (WINDOW_BYTES_MAX / message_bytes).clamp(1, WINDOW_MESSAGES_MAX) as u64,
    };
    let budget = match answers {
        Answers::RoundTrip => plan.round_trips_budget,
        _ => plan.budget,
    };
    Run {
        entries: shape.entries,
        bytes: shape.bytes,
        window,
        answers,
        messages: 0,
        duration_ms: u64::try_from(budget.as_millis()).unwrap_or(u64::MAX).max(1),
        warmup_ms: 0,
        seed: plan.seed,
    }
}

fn warm_up_ms(duration_ms: u64) -> u64 {
    (duration_ms / u64::from(WARM_UP_PART)).max(1)
}

/// As many messages as went by in that time.
fn counted_messages(turns: &[Turn], plan: &Plan, counter: &Counter) -> u64 {
    let messages: u64 = turns.iter().map(|turn| turn.messages).sum();
    let seconds: f64 = turns.iter().map(|turn| turn.seconds).sum();
    let budget_s = plan.counted_budget.as_secs_f64() / counter.slowdown();
    #[allow(clippy::cast_possible_truncation, reason = "a float is cut off at the ends of u64")]
    let counted = (messages as f64 / seconds * budget_s) as u64;
    counted.max(COUNTED_MESSAGES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::shape::STREAM_GRID;

    fn plan() -> Plan {
        let budget = Duration::from_millis(100);
        Plan {
            repetitions: 3,
            budget,
            round_trips_budget: 2 * budget,
            counts: 1,
            counted_budget: budget,
            seed: 1,
        }
    }

    #[test]
    fn the_window_holds_1024_messages_or_32_mib() {
        let windows = STREAM_GRID.map(|shape| run(shape, Answers::Every, &plan()).window);
        assert_eq!(windows, [1024, 1024, 1024, 1024, 512, 512, 32]);
        let round_trip = run(STREAM_GRID[0], Answers::RoundTrip, &plan());
        assert_eq!((round_trip.window, round_trip.duration_ms), (1, 200));
    }

    #[test]
    fn round_trips_are_those_of_the_smallest_shape() {
        assert_eq!(ways("1x64".parse().unwrap()).len(), 3);
        assert_eq!(ways("64x1KiB".parse().unwrap()).len(), 2);
    }
}
