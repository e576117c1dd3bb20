//! The order of a run: for each input the answers are compared and everything is counted once,
//! then the contenders of each operation are timed in turn, A B C A B C, beginning with another
//! one each time, so that a slow minute of the machine falls on all of them. Not here: how one
//! measurement is made (`contender`).

use std::sync::Arc;
use std::time::Duration;

use super::contender::etcd::Etcd;
use super::contender::{self, Codec, Operation, Timed, Used};
use super::load::Load;
use super::report::{Figures, Row};
use crate::bench::error::BenchError;
use crate::bench::turns::rotated;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) repetitions: u32,
    /// Of one measurement: one contender, operation, input and repetition.
    pub(crate) budget: Duration,
    pub(crate) seed: u64,
    /// Stream bytes after which allocations and copies are no longer counted.
    pub(crate) counted_bytes: usize,
}

const COUNTED_MESSAGES_MAX: u64 = 100_000;

impl Plan {
    fn counted_messages(&self, load: &Load) -> u64 {
        let pass_bytes = (load.stream.len() - load.lead_bytes).max(1);
        let passes = (self.counted_bytes / pass_bytes).max(1) as u64;
        (passes * load.expected.messages).min(COUNTED_MESSAGES_MAX)
    }
}

/// Everything measured on one input: by codecs in this process, and by etcd's where it can.
pub(crate) fn measure(
    load: &Arc<Load>,
    codecs: &mut [Box<dyn Codec>],
    etcds: &mut [Etcd],
    plan: &Plan,
    tick: &mut dyn FnMut(&str),
) -> Result<Vec<Row>, BenchError> {
    for codec in codecs.iter_mut() {
        prepare(codec.as_mut(), load)?;
    }
    let mut rows = Vec::new();
    for operation in Operation::ALL {
        let mut series: Vec<Series> = Vec::new();
        for codec in codecs.iter_mut() {
            let used =
                contender::count(codec.as_mut(), load, operation, plan.counted_messages(load))?;
            series.push(Series::new(codec.label(), load, Some(used)));
        }
        for etcd in etcds.iter() {
            series.push(Series::new(etcd.label, load, None));
        }
        for turn in rotated(series.len(), plan.repetitions) {
            tick(&format!("{} {}: {}", load.input, operation.label(), series[turn].label));
            if let Some(codec) = codecs.get_mut(turn) {
                let timed = contender::time(codec.as_mut(), load, operation, plan.budget)?;
                series[turn].timed.push(timed);
                continue;
            }
            let etcd = &mut etcds[turn - codecs.len()];
            if let Some(answer) = etcd.measure(load, operation, plan.seed, plan.budget)? {
                series[turn].timed.push(answer.timed);
                series[turn].used = Some(answer.used);
                series[turn].stream_bytes_per_message = answer.stream_bytes_per_message;
            }
        }
        rows.extend(series.into_iter().filter_map(|series| series.row(load, operation)));
    }
    Ok(rows)
}

/// How often [`measure`] ticks for each input.
pub(crate) fn ticks(contenders: usize, plan: &Plan) -> u64 {
    Operation::ALL.len() as u64 * contenders as u64 * u64::from(plan.repetitions)
}

/// Encodes alone, for what has no stream to decode: the followers of a cluster.
pub(crate) fn measure_encode(
    load: &Arc<Load>,
    codecs: &mut [Box<dyn Codec>],
    plan: &Plan,
    mut tick: impl FnMut(&str),
) -> Result<Vec<Figures>, BenchError> {
    let mut series = Vec::new();
    for codec in codecs.iter_mut() {
        codec.load(load)?;
        let messages = plan.counted_messages(load);
        let used = contender::count(codec.as_mut(), load, Operation::Encode, messages)?;
        series.push(Series::new(codec.label(), load, Some(used)));
    }
    for turn in rotated(codecs.len(), plan.repetitions) {
        tick(series[turn].label);
        let timed = contender::time(codecs[turn].as_mut(), load, Operation::Encode, plan.budget)?;
        series[turn].timed.push(timed);
    }
    let messages = load.expected.messages;
    Ok(series
        .into_iter()
        .filter_map(|series| Figures::of(&series.timed, series.used?, messages))
        .collect())
}

/// Loads the codec; a steady load has one right encoding, byte for byte.
pub(crate) fn prepare(codec: &mut dyn Codec, load: &Arc<Load>) -> Result<(), BenchError> {
    let encoded = codec.load(load)?;
    if load.shape.is_none() || encoded == load.stream {
        return Ok(());
    }
    let differs = encoded.iter().zip(&load.stream).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| encoded.len().min(load.stream.len()));
    Err(BenchError::WrongAnswer {
        contender: codec.label().to_owned(),
        input: load.input.clone(),
        what: format!(
            "{} bytes instead of {}, the first different one at offset {at}",
            encoded.len(),
            load.stream.len()
        ),
    })
}

struct Series {
    label: &'static str,
    stream_bytes_per_message: f64,
    used: Option<Used>,
    timed: Vec<Timed>,
}

impl Series {
    fn new(label: &'static str, load: &Load, used: Option<Used>) -> Self {
        let stream_bytes_per_message = load.stream_bytes_per_message();
        Self { label, stream_bytes_per_message, used, timed: Vec::new() }
    }

    fn row(self, load: &Load, operation: Operation) -> Option<Row> {
        Some(Row {
            input: load.input.clone(),
            operation,
            contender: self.label.to_owned(),
            stream_bytes_per_message: self.stream_bytes_per_message,
            figures: Figures::of(&self.timed, self.used?, load.expected.messages)?,
            time_ratio_to_fastest_etcd: None,
            time_ratio_to_plain_prost: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::codec::contender::plain::Plain;
    use crate::bench::shape::Shape;

    #[test]
    fn measures_every_operation_of_a_codec() {
        let load = Arc::new(Load::steady(Shape::new(2, 50), 1));
        let mut codecs: Vec<Box<dyn Codec>> = vec![Box::new(Plain::default())];
        let plan = Plan {
            repetitions: 2,
            budget: Duration::from_millis(1),
            seed: 1,
            counted_bytes: 10_000,
        };
        let mut ticked = 0;
        let rows = measure(&load, &mut codecs, &mut [], &plan, &mut |_| ticked += 1).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(ticked, ticks(1, &plan));
        for row in rows {
            assert_eq!(row.figures.ns_per_message_repetitions.len(), 2);
            assert!(row.figures.passes.is_some_and(|passes| passes.messages_per_pass == 256));
        }
    }
}
