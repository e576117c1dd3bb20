//! A cluster of one contender, a process for each member: founded, measured in turns, and after each
//! turn its members compared. The first member leads. Not here: which turns there are (`schedule`).

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::protocol::{
    Checked, Connect, Elected, Founder, Ran, Request, Run, Sample, Start, Started, Traced, Usage,
};
use super::report::Syscalls;
use super::scratch::Scratch;
use super::trace::Moments;
use crate::bench::consumed::Consumed;
use crate::bench::dialogue::Done;
use crate::bench::error::BenchError;
use crate::bench::process::Process;
use crate::bench::report::About;
use crate::bench::syscalls::Counter;

/// What is started once for each member.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) about: About,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<&'static str>,
    /// Its members record commits.
    pub(crate) traces: bool,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    label: String,
    /// In words, for what goes wrong.
    load: String,
    members: Vec<Process>,
    // Behind the processes: they end before their data is removed.
    scratch: Scratch,
}

/// What one turn gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn {
    pub(crate) ops: u64,
    pub(crate) seconds: f64,
    pub(crate) histogram: Vec<(u64, u64)>,
    pub(crate) max_ns: u64,
    pub(crate) leader: Consumed,
    /// All of them together.
    pub(crate) followers: Consumed,
    pub(crate) leader_fsyncs: u64,
    /// In the mean of them.
    pub(crate) follower_fsyncs: f64,
    pub(crate) leader_peak_bytes: u64,
    /// The largest of them.
    pub(crate) follower_peak_bytes: u64,
    pub(crate) members_peak_bytes: u64,
}

impl Turn {
    /// Of all members.
    pub(crate) fn cpu_us_per_op(&self) -> f64 {
        (self.leader.cpu_us + self.followers.cpu_us) / self.ops as f64
    }
}

/// Any cluster; its members must name the same.
const CLUSTER: &str = "cdf818194e3a8c32";

/// etcd's own defaults since 3.6.
const SNAPSHOT_ENTRIES: u64 = 10_000;
const CATCH_UP_ENTRIES: u64 = 5_000;

const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// A member looks for its peers for up to 30 s itself.
const CAMPAIGN_TIME_MAX: Duration = Duration::from_secs(40);
/// Beyond the time of a run itself.
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

/// How long followers may be behind once nothing is proposed, and how often they are asked.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(20);
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

impl Cluster {
    /// Founds a cluster of so many members, with their data inside of `folder`.
    pub(crate) fn start(
        contender: &Contender,
        members: u32,
        folder: &Path,
        load: String,
    ) -> Result<Self, BenchError> {
        let label = contender.about.contender.clone();
        let failed = |reason: String| BenchError::Peer { name: label.clone(), reason };
        let scratch = Scratch::inside(folder)?;
        let start = |id| {
            let log = log_of(&scratch, id);
            Process::start_apart(&contender.program, &contender.arguments, &log)
        };
        let processes = (1..=members).map(start).collect::<Result<_, _>>().map_err(failed)?;
        let mut cluster = Self { label, load, members: processes, scratch };
        cluster.found().map_err(|reason| cluster.failed(reason))?;
        Ok(cluster)
    }

    fn found(&mut self) -> Result<(), String> {
        let mut founders = Vec::new();
        for (id, member) in (1..).zip(&mut self.members) {
            let dir = self.scratch.path().join(format!("member-{id}"));
            let start = Start {
                id,
                cluster: CLUSTER.to_owned(),
                dir: dir.to_string_lossy().into_owned(),
                snapshot_entries: SNAPSHOT_ENTRIES,
                catch_up_entries: CATCH_UP_ENTRIES,
            };
            let started: Started = member
                .ask(&Request::Start(start), ANSWER_TIME_MAX)
                .map_err(|reason| format!("member {id}: {reason}"))?;
            founders.push(Founder { id, url: started.url });
        }
        // None is connected before the others are told.
        self.ask_all::<Done>(&Request::Connect(Connect { members: founders }))?;
        self.ask_leader::<Elected>(&Request::Campaign, CAMPAIGN_TIME_MAX)?;
        self.settle().map(drop)
    }

    /// Runs once, unmeasured.
    pub(crate) fn warm_up(&mut self, run: Run) -> Result<(), BenchError> {
        self.lead(run).map(drop).map_err(|reason| self.failed(reason))
    }

    /// Runs once, measured, and compares the members.
    pub(crate) fn turn(&mut self, run: Run) -> Result<Turn, BenchError> {
        for member in &self.members {
            member.reset_peak_memory();
        }
        let before = self.settle().map_err(|reason| self.failed(reason))?;
        let ran = self.lead(run).map_err(|reason| self.failed(reason))?;
        let after = self.settle().map_err(|reason| self.failed(reason))?;
        let peaks: Vec<u64> = self.members.iter().map(Process::peak_memory_bytes).collect();
        self.check(&ran, before[0].applied)?;
        self.sum_up(ran, &before, &after, &peaks).map_err(|reason| self.failed(reason))
    }

    /// The same, with one of so many entries recorded by every member.
    pub(crate) fn traced_turn(
        &mut self,
        run: Run,
    ) -> Result<(Turn, Vec<(u64, Moments)>), BenchError> {
        let every = run.sample_every;
        self.sample(every)?;
        let turn = self.turn(run)?;
        let traced = self.ask_all::<Traced>(&Request::Trace);
        let traced = traced.map_err(|reason| self.failed(reason))?;
        self.sample(0)?;
        Ok((turn, (1..).zip(traced).collect()))
    }

    fn sample(&mut self, every: u64) -> Result<(), BenchError> {
        let asked = self.ask_all::<Done>(&Request::Sample(Sample { every }));
        asked.map(drop).map_err(|reason| self.failed(reason))
    }

    /// Runs once, slowed down by having its system calls counted; none where they cannot be.
    pub(crate) fn syscalls_per_op(
        &mut self,
        run: Run,
        counter: &mut Counter,
    ) -> Result<Option<Syscalls>, BenchError> {
        let before = self.settle().map_err(|reason| self.failed(reason))?;
        let ids: Vec<u32> = self.members.iter().map(Process::id).collect();
        let countings = counter.begin(&ids[..1]).zip(counter.begin(&ids[1..]));
        let ran = self.lead(run).map_err(|reason| self.failed(reason))?;
        let calls = countings.and_then(|(leader, followers)| leader.end().zip(followers.end()));
        self.settle().map_err(|reason| self.failed(reason))?;
        self.check(&ran, before[0].applied)?;
        Ok(calls.map(|(leader, followers)| Syscalls {
            leader: leader as f64 / ran.ops as f64,
            followers: followers as f64 / ran.ops as f64,
        }))
    }

    fn lead(&mut self, run: Run) -> Result<Ran, String> {
        let time_max = Duration::from_millis(run.duration_ms) + RUN_TIME_MAX;
        let ran: Ran = self.ask_leader(&Request::Run(run), time_max)?;
        let counted = super::latencies::count(&ran.histogram);
        if ran.ops == 0 || ran.seconds <= 0.0 || counted != ran.ops {
            return Err(format!(
                "{} operations in {} s, with {counted} latencies",
                ran.ops, ran.seconds
            ));
        }
        Ok(ran)
    }

    /// Waits until every follower has applied what the leader has; what each has used so far, the
    /// leader first.
    fn settle(&mut self) -> Result<Vec<Usage>, String> {
        let leader: Usage = self.ask_leader(&Request::Usage, ANSWER_TIME_MAX)?;
        let mut all = vec![leader];
        let asked = Instant::now();
        for (id, member) in (1..).zip(&mut self.members).skip(1) {
            loop {
                let usage: Usage = member
                    .ask(&Request::Usage, ANSWER_TIME_MAX)
                    .map_err(|reason| format!("member {id}: {reason}"))?;
                if usage.applied >= leader.applied {
                    all.push(usage);
                    break;
                }
                if asked.elapsed() > SETTLE_TIME_MAX {
                    return Err(format!(
                        "member {id} applied {} entries, and the leader {}, {SETTLE_TIME_MAX:?} \
                         after the last proposal",
                        usage.applied, leader.applied
                    ));
                }
                thread::sleep(SETTLE_PAUSE);
            }
        }
        Ok(all)
    }

    /// Compares the members' states at the same entry, and what was applied with what was answered.
    fn check(&mut self, ran: &Ran, applied_before: u64) -> Result<(), BenchError> {
        let asked = Instant::now();
        let states = loop {
            let states = self.ask_all::<Checked>(&Request::Check);
            let states = states.map_err(|reason| self.failed(reason))?;
            let same = states.iter().all(|state| state.applied == states[0].applied);
            if same || asked.elapsed() > SETTLE_TIME_MAX {
                break states;
            }
            thread::sleep(SETTLE_PAUSE);
        };
        let fault = disagreement(&states).or_else(|| lost(&states[0], applied_before, ran.ops));
        fault.map_or(Ok(()), |what| Err(self.wrong(what)))
    }

    pub(crate) fn wrong(&self, what: String) -> BenchError {
        BenchError::WrongAnswer { contender: self.label.clone(), input: self.load.clone(), what }
    }

    fn sum_up(
        &self,
        ran: Ran,
        before: &[Usage],
        after: &[Usage],
        peaks: &[u64],
    ) -> Result<Turn, String> {
        let mut followers = Consumed::default();
        let mut fsyncs = Vec::new();
        for (before, after) in before.iter().zip(after) {
            let went_back = || "a member counts fewer fsyncs than before".to_owned();
            fsyncs.push(after.fsyncs.checked_sub(before.fsyncs).ok_or_else(went_back)?);
        }
        for (before, after) in before.iter().zip(after).skip(1) {
            let used = after.consumed.since(before.consumed);
            followers.cpu_us += used.cpu_us;
            followers.allocations += used.allocations;
            followers.allocated_bytes += used.allocated_bytes;
        }
        let follows = self.members.len() - 1;
        Ok(Turn {
            ops: ran.ops,
            seconds: ran.seconds,
            histogram: ran.histogram,
            max_ns: ran.max_ns,
            leader: ran.usage,
            followers,
            leader_fsyncs: fsyncs[0],
            follower_fsyncs: fsyncs[1..].iter().sum::<u64>() as f64 / follows as f64,
            leader_peak_bytes: peaks[0],
            follower_peak_bytes: peaks[1..].iter().copied().max().unwrap_or(0),
            members_peak_bytes: peaks.iter().sum(),
        })
    }

    fn ask_leader<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        time_max: Duration,
    ) -> Result<T, String> {
        self.members[0].ask(request, time_max).map_err(|reason| format!("the leader: {reason}"))
    }

    /// All are asked before the first answer is read.
    fn ask_all<T: DeserializeOwned>(&mut self, request: &Request) -> Result<Vec<T>, String> {
        let named = |id: u64, reason: String| format!("member {id}: {reason}");
        for (id, member) in (1..).zip(&mut self.members) {
            member.send(request).map_err(|reason| named(id, reason))?;
        }
        let members = (1..).zip(&self.members);
        members
            .map(|(id, member)| member.receive(ANSWER_TIME_MAX).map_err(|reason| named(id, reason)))
            .collect()
    }

    /// With what members had to say last, which is nothing where all is well.
    fn failed(&self, mut reason: String) -> BenchError {
        for id in (1..).take(self.members.len()) {
            let log = std::fs::read_to_string(log_of(&self.scratch, id)).unwrap_or_default();
            if let Some(last) = last_line(&log) {
                reason += &format!("; member {id} said: {last}");
            }
        }
        BenchError::Peer { name: format!("{}, {}", self.label, self.load), reason }
    }
}

/// What a member writes to its standard error.
fn log_of(scratch: &Scratch, id: u32) -> PathBuf {
    scratch.path().join(format!("member-{id}.log"))
}

/// A line of a log may be long, and its beginning says most.
const LAST_LINE_CHARS_MAX: usize = 300;

fn last_line(log: &str) -> Option<String> {
    let last = log.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(last.chars().take(LAST_LINE_CHARS_MAX).collect())
}

/// Where members do not hold the same.
fn disagreement(states: &[Checked]) -> Option<String> {
    let differs = |state: &&Checked| **state != states[0];
    let (at, other) = (2..).zip(&states[1..]).find(|(_, state)| differs(state))?;
    let words = |state: &Checked| {
        format!("{} keys with hash {} at entry {}", state.keys, state.hash, state.applied)
    };
    Some(format!("the leader has {}, member {at} has {}", words(&states[0]), words(other)))
}

/// Operations that were answered need an entry each.
fn lost(leader: &Checked, applied_before: u64, ops: u64) -> Option<String> {
    let applied = leader.applied.saturating_sub(applied_before);
    (applied < ops)
        .then(|| format!("{ops} operations were answered, and {applied} entries applied"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(applied: u64, hash: &str) -> Checked {
        Checked { applied, keys: 2, hash: hash.to_owned() }
    }

    #[test]
    fn members_must_hold_the_same_at_the_same_entry() {
        let same = [state(9, "a"), state(9, "a"), state(9, "a")];
        assert_eq!(disagreement(&same), None);
        let other = [state(9, "a"), state(9, "a"), state(9, "b")];
        let fault = disagreement(&other).unwrap();
        assert!(fault.contains("member 3 has 2 keys with hash b at entry 9"), "{fault}");
        assert!(disagreement(&[state(9, "a"), state(8, "a")]).is_some());
    }

    #[test]
    fn a_failure_names_what_a_member_said_last() {
        assert_eq!(last_line("first\nlast\n \n"), Some("last".to_owned()));
        assert_eq!(last_line("\n"), None);
        assert_eq!(last_line(&"x".repeat(1000)).map(|line| line.len()), Some(300));
    }

    #[test]
    fn every_operation_needs_an_entry() {
        assert_eq!(lost(&state(110, "a"), 10, 100), None);
        assert_eq!(lost(&state(110, "a"), 9, 100), None);
        assert!(lost(&state(110, "a"), 11, 100).is_some());
    }
}
