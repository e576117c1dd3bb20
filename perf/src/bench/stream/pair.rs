//! Two ends of one contender, connected over loopback: measured in turns, and each turn's answers
//! checked. Not here: which turns there are (`schedule`).

use std::path::PathBuf;
use std::time::Duration;

use super::protocol::{
    Answer, Connect, FOLLOWER, LEADER, Ran, Request, RoundTrips, Run, Start, Started, Usage,
};
use crate::bench::consumed::Consumed;
use crate::bench::dialogue::Done;
use crate::bench::error::BenchError;
use crate::bench::process::Process;
use crate::bench::report::About;
use crate::bench::syscalls::Counter;

/// What is started twice.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) about: About,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<&'static str>,
    /// Measured in round trips alone: what it does differently makes no difference elsewhere.
    pub(crate) round_trips_only: bool,
}

#[derive(Debug)]
pub(crate) struct Pair {
    label: String,
    leader: Process,
    follower: Process,
}

/// What one turn gave. CPU and allocations are of both processes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Turn {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    pub(crate) round_trips: Option<RoundTrips>,
    pub(crate) cpu_us_per_message: f64,
    pub(crate) allocations_per_message: f64,
    pub(crate) allocated_bytes_per_message: f64,
    pub(crate) leader_peak_bytes: u64,
    pub(crate) follower_peak_bytes: u64,
}

/// Any cluster; both ends must name the same.
const CLUSTER: &str = "cdf818194e3a8c32";

const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(40);
/// Beyond the time of a run itself; an end notices by itself, and sooner, when nothing moves.
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

/// On a busy machine a window of large messages may take longer than a turn.
const TRIES: u32 = 4;
const LONGER: u64 = 4;

impl Pair {
    pub(crate) fn start(contender: &Contender) -> Result<Self, BenchError> {
        let label = contender.about.contender.clone();
        let fail = |reason: String| BenchError::Peer { name: label.clone(), reason };
        let start = || Process::start(&contender.program, &contender.arguments).map_err(fail);
        let (leader, follower) = (start()?, start()?);
        let mut pair = Self { label, leader, follower };
        pair.connect().map_err(|reason| pair.failed(reason))?;
        Ok(pair)
    }

    fn connect(&mut self) -> Result<(), String> {
        let Self { leader, follower, .. } = self;
        let started = |end: &mut Process, id, peer| {
            let start = Start { id, peer, cluster: CLUSTER };
            end.ask::<Started>(&Request::Start(start), ANSWER_TIME_MAX)
        };
        let leads = started(leader, LEADER, FOLLOWER)?.url;
        let follows = started(follower, FOLLOWER, LEADER)?.url;
        // Neither is connected before the other is told.
        leader.send(&Request::Connect(Connect { url: &follows }))?;
        follower.send(&Request::Connect(Connect { url: &leads }))?;
        leader.receive::<Done>(CONNECT_TIME_MAX)?;
        follower.receive::<Done>(CONNECT_TIME_MAX)?;
        Ok(())
    }

    /// Runs once, unmeasured.
    pub(crate) fn warm_up(&mut self, run: Run) -> Result<(), BenchError> {
        let warmed = self.prepare(run).and_then(|_| self.lead(run));
        warmed.map(drop).map_err(|reason| self.failed(reason))
    }

    /// Runs once, measured; for longer where nothing was answered in that time.
    pub(crate) fn turn(&mut self, mut run: Run) -> Result<Turn, BenchError> {
        for _ in 0..TRIES {
            if let Some(turn) = self.try_turn(run).map_err(|reason| self.failed(reason))? {
                return Ok(turn);
            }
            run.duration_ms *= LONGER;
        }
        Err(self.failed(format!("nothing was answered in {} ms", run.duration_ms / LONGER)))
    }

    /// Runs once, slowed down by having its system calls counted, and returns how many both
    /// processes made for each message; none where they cannot be counted.
    pub(crate) fn syscalls_per_message(
        &mut self,
        run: Run,
        counter: &mut Counter,
    ) -> Result<Option<f64>, BenchError> {
        self.try_syscalls(run, counter).map_err(|reason| self.failed(reason))
    }

    fn try_turn(&mut self, run: Run) -> Result<Option<Turn>, String> {
        self.leader.reset_peak_memory();
        self.follower.reset_peak_memory();
        let before = self.prepare(run)?;
        let ran = self.lead(run)?;
        let follower = self.check(run, ran, before)?;
        if ran.messages == 0 || ran.seconds <= 0.0 {
            return Ok(None);
        }
        // Each side by its own count: what the leader sends when its time is up still arrives.
        let leads = |used: f64| used / ran.messages as f64;
        let follows = |used: f64| used / follower.messages as f64;
        let (leader, follower) = (ran.usage, follower.consumed);
        let (leader_bytes, follower_bytes) = (leader.allocated_bytes, follower.allocated_bytes);
        Ok(Some(Turn {
            messages: ran.messages,
            seconds: ran.seconds,
            round_trips: ran.rtt_us,
            cpu_us_per_message: leads(leader.cpu_us) + follows(follower.cpu_us),
            allocations_per_message: leads(leader.allocations as f64)
                + follows(follower.allocations as f64),
            allocated_bytes_per_message: leads(leader_bytes as f64)
                + follows(follower_bytes as f64),
            leader_peak_bytes: self.leader.peak_memory_bytes(),
            follower_peak_bytes: self.follower.peak_memory_bytes(),
        }))
    }

    fn try_syscalls(&mut self, run: Run, counter: &mut Counter) -> Result<Option<f64>, String> {
        let before = self.prepare(run)?;
        let counting = counter.begin(&[self.leader.id(), self.follower.id()]);
        let ran = self.lead(run)?;
        let calls = counting.and_then(|counting| counting.end());
        let follower = self.check(run, ran, before)?;
        Ok(calls.map(|calls| calls as f64 / follower.messages as f64))
    }

    /// Tells the follower how to answer, and asks it for what it used until now.
    fn prepare(&mut self, run: Run) -> Result<Usage, String> {
        let every = run.answers.group(run.window);
        self.follower.ask::<Done>(&Request::Answer(Answer { every }), ANSWER_TIME_MAX)?;
        self.follower.ask(&Request::Usage, ANSWER_TIME_MAX)
    }

    fn lead(&mut self, run: Run) -> Result<Ran, String> {
        let time_max = Duration::from_millis(run.duration_ms) + RUN_TIME_MAX;
        self.leader.ask::<Ran>(&Request::Run(run), time_max).map_err(|reason| {
            // The follower may know why the leader waited in vain.
            match self.follower.ask::<Usage>(&Request::Usage, ANSWER_TIME_MAX) {
                Ok(_) => reason,
                Err(follower) => format!("{reason}; the follower: {follower}"),
            }
        })
    }

    /// Compares what arrived with what was sent, and returns the follower's part.
    fn check(&mut self, run: Run, ran: Ran, before: Usage) -> Result<Followed, String> {
        let after: Usage = self.follower.ask(&Request::Usage, ANSWER_TIME_MAX)?;
        let messages = after.received - before.received;
        let payload_bytes = after.received_payload_bytes - before.received_payload_bytes;
        let dropped = after.dropped - before.dropped;
        let sent_bytes = messages * (run.entries * run.bytes) as u64;
        if messages < ran.messages || payload_bytes != sent_bytes || dropped > 0 {
            return Err(format!(
                "{} messages of {} x {} B sent, {messages} of {payload_bytes} B arrived, {dropped} \
                 dropped",
                ran.messages, run.entries, run.bytes
            ));
        }
        Ok(Followed { messages, consumed: after.consumed().since(before.consumed()) })
    }

    fn failed(&self, reason: String) -> BenchError {
        BenchError::Peer { name: self.label.clone(), reason }
    }
}

/// The follower's part of a run.
#[derive(Clone, Copy, Debug)]
struct Followed {
    messages: u64,
    consumed: Consumed,
}
