//! A cluster, its disks, its network, its clients and what happens to them: one thread, virtual time,
//! and one source of chance, so that a seed is a run.
//!
//! ```text
//! step:  faults ─ clients, operator ─ what arrives ─ every member half a turn or more ─ the judge
//! ```
//!
//! A run has two parts: some thousand steps in which anything may happen, and then as many as it takes
//! without faults, in which the cluster must come to rest with all members alike.

use super::Verdict;
use super::judge::{Counts, Judge};
use super::log_view::LogView;
use super::network::{Lost, Network};
use super::operator::Operator;
use super::plan::Plan;
use super::process::{End, Input, Output, Process, State};
use fastrand::Rng;
use raftwire::raftpb::{MessageType, RaftMessage};
use raftwire_etcd::member::PeerChange;
use raftwire_etcd::raft::Envelope;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Entries the ledger may be behind before a log is looked into.
const LEDGER_LAG: u64 = 12;
const AUDIT_STEPS: u64 = 100;

pub(crate) struct World {
    pub(super) plan: Plan,
    pub(super) random: Rng,
    /// Read by whoever tells where a run failed.
    pub(super) step: Arc<AtomicU64>,
    pub(super) processes: BTreeMap<u64, Process>,
    pub(super) network: Network,
    pub(super) judge: Judge,
    pub(super) operator: Operator,
    /// By member: whom it knows to be removed.
    pub(super) removed: BTreeMap<u64, BTreeSet<u64>>,
    /// Disks with a fault that was set: at which operation.
    pub(super) disk_faults: BTreeMap<u64, u64>,
    pub(super) next_id: u64,
    pub(super) is_healed: bool,
    /// FNV-1a over what happened.
    pub(crate) trace: u64,
    pub(super) is_loud: bool,
}

impl World {
    pub(crate) fn new(seed: u64, disks_lie: bool, step: Arc<AtomicU64>, is_loud: bool) -> Self {
        let mut random = Rng::with_seed(seed);
        let plan = Plan::of(&mut random, disks_lie);
        if is_loud {
            eprintln!("{plan:?}");
        }
        #[allow(clippy::disallowed_methods, reason = "asked once, and never looked at")]
        let network = Network::new(Instant::now());
        let mut world = Self {
            operator: Operator::new(plan.founders),
            plan,
            random,
            step,
            processes: BTreeMap::new(),
            network,
            judge: Judge::default(),
            removed: BTreeMap::new(),
            disk_faults: BTreeMap::new(),
            next_id: 0,
            is_healed: false,
            trace: 0xcbf2_9ce4_8422_2325,
            is_loud,
        };
        for id in 1..=world.plan.founders {
            world.add_process(id, false);
        }
        world
    }

    /// Runs all of it.
    pub(crate) fn run(&mut self) -> Verdict<Counts> {
        while self.now() < self.plan.steps {
            self.cause_faults()?;
            self.ask();
            self.pass()?;
        }
        self.come_to_rest()?;
        self.judge.ledger.finish()?;
        Ok(self.judge.counts)
    }

    pub(super) fn now(&self) -> u64 {
        self.step.load(Ordering::Relaxed)
    }

    pub(super) fn chance(&mut self, of_a_million: u32) -> bool {
        self.random.u32(..1_000_000) < of_a_million
    }

    pub(super) fn say(&self, line: std::fmt::Arguments<'_>) {
        if self.is_loud {
            eprintln!("{:6} {line}", self.now());
        }
    }

    pub(super) fn note(&mut self, numbers: &[u64]) {
        for byte in numbers.iter().flat_map(|number| number.to_le_bytes()) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Lets a step pass.
    pub(super) fn pass(&mut self) -> Verdict {
        let step = self.step.fetch_add(1, Ordering::Relaxed) + 1;
        self.start_processes()?;
        for arrived in self.network.arrived(step)? {
            self.arrive(arrived.from, arrived.to, arrived.message);
        }
        let ids: Vec<_> = self.processes.keys().copied().collect();
        for id in ids {
            self.run_process(id)?;
        }
        if step.is_multiple_of(AUDIT_STEPS) {
            for id in self.running() {
                self.audit(id)?;
            }
        }
        Ok(())
    }

    pub(super) fn arrive(&mut self, from: u64, to: u64, message: Envelope) {
        let head = message.head();
        self.note(&[self.now(), from, to, head.message_type.0 as u64, head.term, head.index]);
        if self.removed.get(&to).is_some_and(|removed| removed.contains(&from)) {
            self.push(from, Input::Removed);
            return;
        }
        if head.message_type == MessageType::SNAP && self.processes.contains_key(&to) {
            self.tempt(to);
        }
        match self.processes.get_mut(&to).and_then(Process::running) {
            Some(running) => running.push(Input::Message(message)),
            None => {
                let snapshot = message.snapshot().is_some();
                self.tell_lost(from, to, Lost { any: true, snapshot });
            }
        }
    }

    pub(super) fn run_process(&mut self, id: u64) -> Verdict {
        let step = self.now();
        let mut outputs = Vec::new();
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let end = process.run(step, &mut self.random, &mut outputs)?;
        // Before anything else happens to that disk.
        let excused = self.has_failed_disk(id);
        for output in outputs {
            self.take(id, output)?;
        }
        match end {
            None => self.look(id),
            Some(End::Removed) => {
                self.say(format_args!("{id} ends: it was removed"));
                self.audit(id)?;
                if let Some(process) = self.processes.get_mut(&id) {
                    process.state = State::Removed;
                }
                self.after_end(id);
                Ok(())
            }
            Some(End::Error(error)) => self.ended(id, &error.to_string(), excused),
        }
    }

    pub(super) fn take(&mut self, id: u64, output: Output) -> Verdict {
        match output {
            Output::Sent(message) => self.send(id, &message),
            Output::Dropped(request) => self.judge.ledger.drop_request(request),
            Output::Change(request, result) => {
                if result.is_err() {
                    self.operator.refused(request);
                }
                Ok(())
            }
            Output::Snapshots => {
                self.tempt(id);
                self.audit(id)
            }
            Output::Done(done, applied) => {
                self.judge.done(id, applied, &done)?;
                for &(request, result) in &done.changed {
                    self.note(&[request, u64::from(result.is_ok())]);
                    match result {
                        Ok(()) => {
                            for new in self.operator.changed(request) {
                                self.add_process(new, true);
                            }
                        }
                        Err(_) => self.operator.refused(request),
                    }
                }
                for change in &done.peers {
                    if let PeerChange::Removed(peer) = change {
                        self.removed.entry(id).or_default().insert(peer.0);
                    }
                }
                Ok(())
            }
        }
    }

    pub(super) fn send(&mut self, from: u64, message: &Envelope) -> Verdict {
        self.judge.sent(from, message)?;
        let (to, step) = (message.head().to, self.now());
        if !self.network.send(from, to, message, step, &mut self.random)? {
            self.tell_lost(from, to, Lost { any: true, snapshot: message.snapshot().is_some() });
        }
        Ok(())
    }

    /// Looks at a member behind its turns.
    pub(super) fn look(&mut self, id: u64) -> Verdict {
        let Some(running) = self.processes.get_mut(&id).and_then(Process::running) else {
            return Ok(());
        };
        let mut status = std::mem::take(&mut running.status);
        running.member.update_status(&mut status);
        let commit = status.commit;
        self.judge.stands(id, &status)?;
        let is_new = status.applied != running.observed;
        let took_snapshot = status.snapshot_index > running.observed_snapshot;
        running.observed_snapshot = status.snapshot_index;
        running.observed = status.applied;
        running.status = status;
        if is_new {
            let digest = running.member.digest();
            self.judge.ledger.observe(id, digest)?;
        }
        if took_snapshot {
            self.tempt(id);
        }
        if commit >= self.judge.ledger.last_index() + LEDGER_LAG {
            self.audit(id)?;
        }
        Ok(())
    }

    /// Looks into a member's log on disk.
    pub(super) fn audit(&mut self, id: u64) -> Verdict {
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        if process.disk.has_crashed() {
            return Ok(());
        }
        let view = LogView::read(&process.disk, &process.wal_dir())?;
        let logged = process.running().map_or(0, |running| running.logged);
        let commit = view.hard_state.commit.max(logged);
        self.judge.ledger.take(id, &view, commit)
    }
}
