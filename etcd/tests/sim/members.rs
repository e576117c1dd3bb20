//! The members' processes as the world has them: made, started, ended, for whichever reason.

use super::Verdict;
use super::log_view::LogView;
use super::network::{LaneKind, Lost};
use super::operator::urls;
use super::process::{Input, Process, State};
use super::world::World;
use raftwire::raftpb::Dialect;
use raftwire::transport::{ClusterId, MemberId};
use raftwire_etcd::config::{Config, Founder};
use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::log::Sink;
use raftwire_etcd::wal::Prepare;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::Ordering;

impl World {
    pub(super) fn add_process(&mut self, id: u64, join: bool) {
        let mut config = Config::new(MemberId(id), ClusterId(0xc1), "/data");
        let founder =
            |id: u64| Founder { id: MemberId(id), urls: urls(id, 2380), is_learner: false };
        config.members = match join {
            false => (1..=self.plan.founders).map(founder).collect(),
            true => self.operator.members().map(founder).collect(),
        };
        config.join = join;
        config.pre_vote = self.plan.pre_vote;
        config.check_quorum = self.plan.check_quorum;
        config.snapshot_entries = self.plan.snapshot_entries;
        config.catch_up_entries = self.plan.catch_up_entries;
        config.wal.segment_bytes = self.plan.segment_bytes;
        config.wal.kept_segments = self.plan.kept_segments;
        config.wal.prepare = Prepare::Inline;
        config.dialect = Dialect::ALL[self.random.usize(..3)];
        if self.is_loud {
            let step = self.step.clone();
            config.log = Sink::new(move |level, line| {
                eprintln!("{:6} {id}: {level}: {line}", step.load(Ordering::Relaxed));
            });
        }
        self.network.set_dialect(id, config.dialect);
        let disk = FaultDisk::new(self.random.u64(..));
        disk.put(Path::new("/data/put"), b"");
        if self.plan.disks_lie {
            disk.lie();
        }
        let mut process = Process::new(config, disk);
        process.sync_steps_max = self.plan.sync_steps_max;
        process.snapshot_steps_max = self.plan.snapshot_steps_max;
        self.processes.insert(id, process);
    }

    pub(super) fn running(&self) -> Vec<u64> {
        let running = self.processes.iter().filter(|(_, process)| process.is_running());
        running.map(|(&id, _)| id).collect()
    }

    pub(super) fn random_running(&mut self) -> Option<u64> {
        let running = self.running();
        (!running.is_empty()).then(|| running[self.random.usize(..running.len())])
    }

    pub(super) fn push(&mut self, id: u64, input: Input) {
        if let Some(running) = self.processes.get_mut(&id).and_then(Process::running) {
            running.push(input);
        }
    }

    /// Starts the processes that are due.
    pub(super) fn start_processes(&mut self) -> Verdict {
        let step = self.now();
        let due = self
            .processes
            .iter()
            .filter(|(_, process)| matches!(process.state, State::Down { until } if until <= step));
        let due: Vec<_> = due.map(|(&id, _)| id).collect();
        for id in due {
            self.start_process(id)?;
        }
        Ok(())
    }

    pub(super) fn start_process(&mut self, id: u64) -> Verdict {
        let step = self.now();
        if !self.is_healed && self.random.u32(..5) == 0 {
            self.set_disk_fault(id, 25);
        }
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let opened = process.open(step, &mut self.random);
        self.note(&[step, id, u64::from(opened.is_ok())]);
        if let Err(error) = opened {
            self.say(format_args!("{id} does not start: {error}"));
            let excused = self.has_failed_disk(id);
            return self.ended(id, &error.to_string(), excused);
        }
        self.say(format_args!("{id} starts"));
        self.judge.counts.restarts += 1;
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let view = LogView::read(&process.disk, &process.wal_dir())?;
        if let Some(running) = process.running() {
            self.judge.reopened(id, &view, &running.status)?;
        }
        self.judge.ledger.take(id, &view, view.hard_state.commit)?;
        self.removed.remove(&id);
        Ok(())
    }

    /// Whether a member may end with an error: its disk has failed.
    pub(super) fn has_failed_disk(&self, id: u64) -> bool {
        let Some(process) = self.processes.get(&id) else { return false };
        let operations = process.disk.operations();
        process.disk.has_crashed() || self.disk_faults.get(&id).is_some_and(|at| *at < operations)
    }

    /// A process ended with an error, for which its disk must be to blame.
    pub(super) fn ended(&mut self, id: u64, error: &str, excused: bool) -> Verdict {
        let until = self.down_until();
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let is_crashed = process.disk.has_crashed();
        if !excused {
            return Err(format!("member {id} ends: {error}"));
        }
        self.disk_faults.remove(&id);
        if is_crashed || self.random.bool() {
            process.crash(until);
            if self.plan.disks_lie {
                process.disk.lie();
            }
            self.judge.counts.crashes += 1;
        } else {
            // The machine goes on, and with it what it believes to have written.
            process.disk.fail_at(u64::MAX, ErrorKind::Other);
            process.disk.crash_at(u64::MAX);
            let was_running = process.is_running();
            let stopped = process.stop(until, true);
            if was_running && stopped.is_ok() && error.starts_with("the log: log is dead") {
                return Err(format!("member {id} closes a log that is dead: {error}"));
            }
            self.judge.counts.disk_errors += 1;
        }
        self.say(format_args!("{id} ended: {error}"));
        self.after_end(id);
        Ok(())
    }

    pub(super) fn after_end(&mut self, id: u64) {
        self.judge.ended(id);
        let others: Vec<_> = self.processes.keys().copied().filter(|other| *other != id).collect();
        let step = self.now();
        for other in others {
            for lane in LaneKind::ALL {
                let lost = self.network.cut((id, other), lane, true, step, &mut self.random);
                self.tell_lost(id, other, lost);
                let lost = self.network.cut((other, id), lane, false, step, &mut self.random);
                self.tell_lost(other, id, lost);
            }
        }
    }

    pub(super) fn down_until(&mut self) -> u64 {
        let steps = if self.is_healed { 1 } else { self.plan.down_steps_max };
        self.now() + self.random.u64(0..=steps)
    }

    /// What a transport tells of what it lost, as far as it knows.
    pub(super) fn tell_lost(&mut self, from: u64, to: u64, lost: Lost) {
        if lost.snapshot && self.random.u32(..10) > 0 {
            self.push(from, Input::SnapshotLost(to));
        }
        if lost.any && self.random.bool() {
            self.push(from, Input::Unreachable(to));
        }
    }
}
