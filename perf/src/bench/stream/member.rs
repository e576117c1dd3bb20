//! The load at one end: a leader that keeps a window of MsgApps in flight, sending the next ones
//! while it takes an answer, as a raft loop on the same thread would; and a follower that checks their
//! order and answers. The same for every contender. Not here: sockets, and waiting for lines (`end`).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::message::{Arrived, Message};
use super::protocol::{Answers, Ran, RoundTrips, Run};
use crate::bench::consumed::{Consumed, consumed};
use crate::bench::payload::{FIRST_INDEX, payloads};
use crate::bench::shape::Shape;

/// A run in which nothing arrives for so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Small messages look at the clock once in so many answers: it costs a fiftieth of one.
const ANSWERS_PER_CLOCK: u64 = 32;
const SMALL_MESSAGE_BYTES_MAX: usize = 4096;

/// What both threads of an end share. The transport's thread takes the lock for each message, and
/// there is nobody it would wait for: the other one sleeps.
#[derive(Debug)]
pub(crate) struct Member<M> {
    state: Mutex<State<M>>,
    ended: Condvar,
}

#[derive(Debug)]
struct State<M> {
    load: Option<Load<M>>,
    /// Where the leader's log ends: runs follow on each other.
    last_index: u64,
    follower: Follower<M>,
    failure: Option<String>,
}

/// A run, and what the next one of the same shape uses again.
#[derive(Debug)]
struct Load<M> {
    run: Run,
    message: M,
    first_index: u64,
    sent: u64,
    answered: u64,
    /// So many are sent in all; known once the time is up.
    limit: Option<u64>,
    deadline: Instant,
    answers_per_clock: u64,
    started: Instant,
    /// As it was then.
    consumed: Consumed,
    sent_at: Instant,
    round_trips_ns: Option<Histogram<u64>>,
    ran: Option<Ran>,
}

#[derive(Debug)]
struct Follower<M> {
    answer: M,
    every: u64,
    unanswered: u64,
    last_index: u64,
    received: u64,
    payload_bytes: u64,
}

/// What arrived, since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) messages: u64,
    pub(crate) payload_bytes: u64,
}

impl<M: Message> Member<M> {
    pub(crate) fn new() -> Self {
        let follower = Follower {
            answer: M::answer(),
            every: 1,
            unanswered: 0,
            last_index: FIRST_INDEX,
            received: 0,
            payload_bytes: 0,
        };
        let state = State { load: None, last_index: FIRST_INDEX, follower, failure: None };
        Self { state: Mutex::new(state), ended: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares a run, on the thread that was asked for it.
    pub(crate) fn prepare(&self, run: Run) {
        let mut state = self.lock();
        let last_index = state.last_index;
        state.load = Some(Load::next(state.load.take(), run, last_index));
    }

    /// Begins the prepared run by filling the window, on the transport's own thread.
    pub(crate) fn begin(&self, send: impl FnMut(&M)) {
        let mut state = self.lock();
        let Some(load) = &mut state.load else { return };
        load.consumed = consumed();
        load.started = Instant::now();
        load.deadline = load.started + Duration::from_millis(load.run.duration_ms);
        load.fill(send);
    }

    /// Waits until the last message of the run is answered.
    pub(crate) fn wait(&self) -> Result<Ran, String> {
        let mut state = self.lock();
        loop {
            let answered = state.load.as_ref().map_or(0, |load| load.answered);
            let waited = self.ended.wait_timeout_while(state, PATIENCE, |state| {
                state.failure.is_none()
                    && state.load.as_ref().is_some_and(|load| load.ran.is_none())
            });
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            let Some(load) = &state.load else { return Err("there is no run".to_owned()) };
            if let Some(ran) = load.ran {
                state.last_index = load.last_index();
                return Ok(ran);
            }
            if load.answered == answered {
                return Err(format!(
                    "{} messages sent, {answered} answered, and nothing for {} s",
                    load.sent,
                    PATIENCE.as_secs()
                ));
            }
        }
    }

    /// Has the follower answer one MsgApp in `every`.
    pub(crate) fn answer_every(&self, every: u64) {
        let follower = &mut self.lock().follower;
        follower.every = every.max(1);
        follower.unanswered = 0;
    }

    /// What arrived in order; or what went wrong.
    pub(crate) fn received(&self) -> Result<Received, String> {
        let state = self.lock();
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(Received {
                messages: state.follower.received,
                payload_bytes: state.follower.payload_bytes,
            }),
        }
    }

    /// Takes a message that arrived, on the transport's thread; `send` is how to answer it.
    #[inline]
    pub(crate) fn process(&self, message: &M, send: impl FnMut(&M)) {
        let state = &mut *self.lock();
        let result = match message.arrived() {
            Arrived::Append { index, entries, payload_bytes, consecutive } => {
                state.follower.take(index, entries, payload_bytes, consecutive, send)
            }
            Arrived::Answer { index } => match &mut state.load {
                Some(load) => load.take(index, send),
                None => Err(format!("an answer of index {index}, and there is no run")),
            },
            Arrived::Other => Err("a message that is neither MsgApp nor MsgAppResp".to_owned()),
        };
        if let Err(failure) = result {
            state.failure.get_or_insert(failure);
        }
        let ended = state.load.as_ref().is_some_and(|load| load.ran.is_some());
        if ended || state.failure.is_some() {
            self.ended.notify_one();
        }
    }
}

impl<M: Message> Load<M> {
    fn next(before: Option<Self>, run: Run, last_index: u64) -> Self {
        let shape = Shape::new(run.entries, run.bytes);
        let same = |run: Run| (run.entries, run.bytes, run.seed);
        let (message, round_trips_ns) = match before {
            Some(before) if same(before.run) == same(run) => {
                (before.message, before.round_trips_ns)
            }
            _ => (M::append(&payloads(shape, run.seed)), None),
        };
        let round_trips_ns = (run.answers == Answers::RoundTrip)
            .then(|| round_trips_ns.unwrap_or_else(histogram))
            .map(|mut histogram| {
                histogram.reset();
                histogram
            });
        let group = run.answers.group(run.window);
        let limit = (run.messages > 0).then(|| run.messages.next_multiple_of(group));
        let small = run.entries * run.bytes <= SMALL_MESSAGE_BYTES_MAX && group == 1;
        let now = Instant::now();
        Self {
            run,
            message,
            first_index: last_index,
            sent: 0,
            answered: 0,
            limit,
            deadline: now,
            answers_per_clock: if small { ANSWERS_PER_CLOCK } else { 1 },
            started: now,
            consumed: Consumed::default(),
            sent_at: now,
            round_trips_ns,
            ran: None,
        }
    }

    fn last_index(&self) -> u64 {
        self.first_index + self.sent * self.run.entries as u64
    }

    #[inline]
    fn fill(&mut self, mut send: impl FnMut(&M)) {
        let limit = self.limit.unwrap_or(u64::MAX).min(self.answered + self.run.window);
        while self.sent < limit {
            self.message.set_index(self.last_index());
            if self.round_trips_ns.is_some() {
                self.sent_at = Instant::now();
            }
            send(&self.message);
            self.sent += 1;
        }
    }

    #[inline]
    fn take(&mut self, index: u64, send: impl FnMut(&M)) -> Result<(), String> {
        let entries = index.wrapping_sub(self.first_index);
        let answered = entries / self.run.entries as u64;
        let group = self.run.answers.group(self.run.window);
        if !entries.is_multiple_of(self.run.entries as u64)
            || answered != self.answered + group
            || answered > self.sent
        {
            return Err(format!(
                "an answer of index {index} after {} of {} messages from index {} on",
                self.answered, self.sent, self.first_index
            ));
        }
        self.answered = answered;
        if let Some(histogram) = &mut self.round_trips_ns {
            let ns = u64::try_from(self.sent_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
            histogram.saturating_record(ns.max(1));
        }
        if self.limit.is_none()
            && (answered / group).is_multiple_of(self.answers_per_clock)
            && Instant::now() >= self.deadline
        {
            // The follower answers whole groups only.
            self.limit = Some(self.sent.next_multiple_of(group));
        }
        self.fill(send);
        if self.limit == Some(self.answered) {
            self.ran = Some(Ran {
                messages: self.sent,
                seconds: self.started.elapsed().as_secs_f64(),
                rtt_us: self.round_trips_ns.as_ref().map(percentiles),
                usage: consumed().since(self.consumed),
            });
        }
        Ok(())
    }
}

impl<M: Message> Follower<M> {
    #[inline]
    fn take(
        &mut self,
        index: u64,
        entries: u64,
        payload_bytes: u64,
        consecutive: bool,
        mut send: impl FnMut(&M),
    ) -> Result<(), String> {
        if index != self.last_index || !consecutive {
            return Err(format!(
                "a MsgApp after index {index} with {entries} entries, after index {}",
                self.last_index
            ));
        }
        self.last_index += entries;
        self.received += 1;
        self.payload_bytes += payload_bytes;
        self.unanswered += 1;
        if self.unanswered == self.every {
            self.unanswered = 0;
            self.answer.set_index(self.last_index);
            send(&self.answer);
        }
        Ok(())
    }
}

/// Three digits, from a nanosecond to a minute.
fn histogram() -> Histogram<u64> {
    let bounds = Histogram::new_with_bounds(1, 60_000_000_000, 3);
    bounds.unwrap_or_else(|_| unreachable!("constant bounds, tested"))
}

fn percentiles(histogram: &Histogram<u64>) -> RoundTrips {
    let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    RoundTrips { p50: us(0.5), p99: us(0.99), p999: us(0.999) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raftwire::raftpb::plain::Message as Plain;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    fn run(window: u64, answers: Answers, messages: u64) -> Run {
        Run {
            entries: 2,
            bytes: 10,
            window,
            answers,
            messages,
            duration_ms: 1,
            warmup_ms: 0,
            seed: 1,
        }
    }

    /// Moves messages between two members until there are none; returns the most in flight.
    fn exchange(leader: &Member<Plain>, follower: &Member<Plain>, run: Run) -> usize {
        let (appends, answers) = (RefCell::new(VecDeque::new()), RefCell::new(VecDeque::new()));
        let append = |message: &Plain| appends.borrow_mut().push_back(message.clone());
        let answer = |message: &Plain| answers.borrow_mut().push_back(message.clone());
        follower.answer_every(run.answers.group(run.window));
        leader.prepare(run);
        leader.begin(append);
        let mut most = 0;
        loop {
            most = most.max(appends.borrow().len());
            let next = appends.borrow_mut().pop_front();
            let Some(message) = next else { return most };
            follower.process(&message, answer);
            let next = answers.borrow_mut().pop_front();
            if let Some(message) = next {
                leader.process(&message, append);
            }
        }
    }

    #[test]
    fn keeps_the_window_full_and_answers_as_asked() {
        let (leader, follower) = (Member::new(), Member::new());
        for (answers, messages, sent) in
            [(Answers::Every, 50, 50), (Answers::Sparse, 50, 52), (Answers::Every, 3, 3)]
        {
            let most = exchange(&leader, &follower, run(16, answers, messages));
            assert_eq!(most as u64, messages.min(16));
            assert_eq!(leader.wait().unwrap().messages, sent);
        }
        let received = follower.received().unwrap();
        assert_eq!(received, Received { messages: 105, payload_bytes: 105 * 20 });
    }

    #[test]
    fn ends_when_the_time_is_up() {
        let (leader, follower) = (Member::new(), Member::new());
        exchange(&leader, &follower, run(8, Answers::RoundTrip, 0));
        let ran = leader.wait().unwrap();
        assert!(ran.messages > 0 && ran.seconds >= 0.001);
        assert!(ran.rtt_us.is_some_and(|rtt| rtt.p50 > 0.0 && rtt.p999 >= rtt.p50));
    }

    #[test]
    fn names_what_is_out_of_order() {
        let follower = Member::new();
        let mut late = Plain::append(&[]);
        late.set_index(5);
        follower.process(&late, |_: &Plain| panic!("answered"));
        assert!(follower.received().unwrap_err().contains("after index 5"));

        let leader = Member::new();
        leader.prepare(run(8, Answers::Every, 8));
        leader.begin(|_: &Plain| ());
        let mut early = Plain::answer();
        early.set_index(FIRST_INDEX + 100);
        leader.process(&early, |_| ());
        assert!(leader.wait().is_err());
    }
}
