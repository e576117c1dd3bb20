//! The load on a cluster of ours: proposers that put keys on the member that leads, each when its last
//! put is done, or at a given rate whatever the cluster does. They are tasks on the member's own
//! thread, as whatever serves clients there would be. Not here: the member (`member`).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use raftwire_etcd::node::Node;
use rustix::time::{ClockId, clock_gettime};

use super::alarm::Alarm;
use super::latencies::{self, Latencies};
use super::protocol::{Ran, Run};
use crate::bench::consumed::consumed;

/// What a run may ask for; more is a typing error.
const PROPOSERS_MAX: u32 = 4096;
const VALUE_BYTES_MAX: usize = 1 << 20;
/// Keys have eight digits.
const KEYS_MAX: u32 = 100_000_000;
const KEY_BYTES: usize = 8;

/// The first bytes of a value say which put it is of: states differ where one is missing.
const STAMP_BYTES: usize = 8;

/// A sampled entry on its proposer's side, which has its own clock readings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampled {
    pub(crate) index: u64,
    /// As it is counted for entries that are not sampled.
    pub(crate) latency_ns: u64,
    /// Nanoseconds of CLOCK_MONOTONIC, as all members read it.
    pub(crate) called_ns: u64,
    pub(crate) returned_ns: u64,
}

#[derive(Debug)]
struct Load {
    run: Run,
    began: Instant,
    length: Duration,
    results: Mutex<Results>,
    pace: Option<tokio::sync::Mutex<Pace>>,
    has_failed: AtomicBool,
}

#[derive(Debug)]
struct Results {
    latencies: Latencies,
    sampled: Vec<Sampled>,
}

/// Says when puts at a rate are due. Whoever takes the next one waits for it with the lock held, and
/// proposes at once: nobody has to be woken in between.
#[derive(Debug)]
struct Pace {
    rate: u64,
    taken: u64,
    alarm: Alarm,
}

/// Runs to the end, and returns what came of it, and what sampled entries were to their proposers.
pub(crate) fn run(node: &Node, run: Run) -> Result<(Ran, Vec<Sampled>), String> {
    check(run)?;
    let load = Arc::new(Load::new(node, run).map_err(|error| error.to_string())?);
    let (done, results) = mpsc::channel();
    let before = consumed();
    for number in 0..run.proposers {
        let proposer = Proposer::new(node.clone(), load.clone(), number);
        let done = done.clone();
        node.handle().spawn(async move {
            // Nobody listens any more where another one failed.
            let _ = done.send(proposer.propose().await);
        });
    }
    drop(done);
    let all: Vec<Result<(), String>> = results.iter().collect();
    let seconds = load.began.elapsed().as_secs_f64();
    let usage = consumed().since(before);
    if all.len() != run.proposers as usize {
        return Err("the member's thread ended".to_owned());
    }
    all.into_iter().collect::<Result<(), String>>()?;
    let mut results = load.results();
    let histogram = results.latencies.pairs();
    let ran = Ran {
        ops: latencies::count(&histogram),
        seconds,
        histogram,
        max_ns: results.latencies.max_ns(),
        usage,
    };
    Ok((ran, std::mem::take(&mut results.sampled)))
}

fn check(run: Run) -> Result<(), String> {
    if !(1..=PROPOSERS_MAX).contains(&run.proposers) {
        return Err(format!("proposers must lie in 1..={PROPOSERS_MAX}"));
    }
    if run.value_bytes > VALUE_BYTES_MAX {
        return Err(format!("value_bytes must lie in 0..={VALUE_BYTES_MAX}"));
    }
    if !(1..=KEYS_MAX).contains(&run.keys) {
        return Err(format!("keys must lie in 1..={KEYS_MAX}"));
    }
    Ok(())
}

impl Load {
    fn new(node: &Node, run: Run) -> io::Result<Self> {
        let pace = if run.rate == 0 {
            None
        } else {
            let _entered = node.handle().enter();
            let pace = Pace { rate: run.rate, taken: 0, alarm: Alarm::new()? };
            Some(tokio::sync::Mutex::new(pace))
        };
        let results = Results { latencies: Latencies::new(), sampled: Vec::new() };
        Ok(Self {
            run,
            length: Duration::from_millis(run.duration_ms),
            results: Mutex::new(results),
            pace,
            has_failed: AtomicBool::new(false),
            began: Instant::now(),
        })
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next put begins, from which its latency counts; none when the time is up.
    async fn next(&self, ended: Instant) -> io::Result<Option<Instant>> {
        let Some(pace) = &self.pace else {
            return Ok((ended - self.began < self.length).then_some(ended));
        };
        let mut pace = pace.lock().await;
        let after = due(pace.taken, pace.rate);
        if after >= self.length {
            return Ok(None);
        }
        pace.taken += 1;
        let due = self.began + after;
        pace.alarm.wait(due.saturating_duration_since(Instant::now())).await?;
        Ok(Some(due))
    }

    fn is_sampling(&self) -> bool {
        self.run.sample_every != 0
    }

    fn samples(&self, index: u64) -> bool {
        self.is_sampling() && index.is_multiple_of(self.run.sample_every)
    }
}

/// How long after the beginning put `number` at `rate` is due.
fn due(number: u64, rate: u64) -> Duration {
    let ns = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

struct Proposer {
    node: Node,
    load: Arc<Load>,
    rng: fastrand::Rng,
    key: Bytes,
    value: Bytes,
}

impl Proposer {
    fn new(node: Node, load: Arc<Load>, number: u32) -> Self {
        // Proposers of one seed must not put the same keys.
        let mut rng = fastrand::Rng::with_seed(load.run.seed ^ (u64::from(number) << 32));
        let value = std::iter::repeat_with(|| rng.u8(..)).take(load.run.value_bytes).collect();
        Self { node, load, rng, key: Bytes::from(vec![b'0'; KEY_BYTES]), value }
    }

    async fn propose(mut self) -> Result<(), String> {
        let proposed = self.propose_all().await;
        if proposed.is_err() {
            self.load.has_failed.store(true, Ordering::Relaxed);
        }
        proposed
    }

    async fn propose_all(&mut self) -> Result<(), String> {
        let load = self.load.clone();
        let mut ended = load.began;
        while !load.has_failed.load(Ordering::Relaxed) {
            let next = load.next(ended).await.map_err(|error| format!("the timer: {error}"))?;
            let Some(began) = next else { return Ok(()) };
            let (key, value) = self.put();
            // A latency may count from before; the entry's own way begins here.
            let called = load.is_sampling().then(|| (monotonic_ns(), Instant::now()));
            let applied = self.node.put(key, value).await.map_err(|error| error.to_string())?;
            ended = Instant::now();
            let returned_ns = called.map_or(0, |_| monotonic_ns());
            let mut results = load.results();
            results.latencies.record(ns(ended - began));
            if let Some((called_ns, called)) = called
                && load.samples(applied.index)
            {
                let (index, latency_ns) = (applied.index, ns(ended - called));
                results.sampled.push(Sampled { index, latency_ns, called_ns, returned_ns });
            }
        }
        Ok(())
    }

    /// The next key and value, in the memory of the last ones if the member holds them no more.
    fn put(&mut self) -> (Bytes, Bytes) {
        let number = self.rng.u32(..self.load.run.keys);
        let stamp = self.rng.u64(..).to_le_bytes();
        change(&mut self.key, |key| digits(key, number));
        change(&mut self.value, |value| {
            let length = value.len().min(STAMP_BYTES);
            value[..length].copy_from_slice(&stamp[..length]);
        });
        (self.key.clone(), self.value.clone())
    }
}

fn change(bytes: &mut Bytes, write: impl FnOnce(&mut BytesMut)) {
    let own = std::mem::take(bytes).try_into_mut();
    let mut own = own.unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    write(&mut own);
    *bytes = own.freeze();
}

fn digits(key: &mut [u8], mut number: u32) {
    for digit in key.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_else(|_| unreachable!("one digit"));
        number /= 10;
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_eight_digits() {
        let mut key = [0; KEY_BYTES];
        digits(&mut key, 1234);
        assert_eq!(&key, b"00001234");
        digits(&mut key, KEYS_MAX - 1);
        assert_eq!(&key, b"99999999");
    }

    #[test]
    fn memory_is_used_again_once_nobody_else_holds_it() {
        let mut bytes = Bytes::from(vec![1, 2, 3]);
        let place = bytes.as_ptr();
        change(&mut bytes, |bytes| bytes[0] = 9);
        assert_eq!((bytes.as_ptr(), &bytes[..]), (place, &[9, 2, 3][..]));
        let held = bytes.clone();
        change(&mut bytes, |bytes| bytes[0] = 7);
        assert_eq!((&held[..], &bytes[..]), (&[9, 2, 3][..], &[7, 2, 3][..]));
    }

    #[test]
    fn puts_are_due_at_their_rate() {
        assert_eq!(due(0, 3), Duration::ZERO);
        assert_eq!(due(3, 3), Duration::from_secs(1));
        assert_eq!(due(1, 1000), Duration::from_millis(1));
        assert_eq!(due(u64::MAX, 1), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn refuses_a_run_that_makes_no_sense() {
        let run = Run {
            proposers: 1,
            value_bytes: 256,
            keys: 1,
            duration_ms: 1,
            rate: 0,
            seed: 1,
            sample_every: 0,
        };
        assert_eq!(check(run), Ok(()));
        for wrong in [
            Run { proposers: 0, ..run },
            Run { proposers: PROPOSERS_MAX + 1, ..run },
            Run { value_bytes: VALUE_BYTES_MAX + 1, ..run },
            Run { keys: 0, ..run },
            Run { keys: KEYS_MAX + 1, ..run },
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
