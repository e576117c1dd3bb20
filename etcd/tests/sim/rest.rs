//! The end of a run: no more faults, and the cluster comes to rest with all members alike.

use super::Verdict;
use super::process::{State, TICK_STEPS};
use super::world::World;
use std::collections::BTreeSet;
use std::io::ErrorKind;

/// In which the cluster must come to rest: raft may keep a follower waiting for a lost snapshot for
/// 300 ticks.
const REST_TICKS_MAX: u64 = 900;

impl World {
    /// Ends all faults, and waits until all members are alike.
    pub(super) fn come_to_rest(&mut self) -> Verdict {
        self.is_healed = true;
        self.say(format_args!("no more faults"));
        self.network.heal();
        let step = self.now();
        for process in self.processes.values_mut() {
            process.disk.fail_at(u64::MAX, ErrorKind::Other);
            process.disk.crash_at(u64::MAX);
            match &mut process.state {
                State::Down { until } => *until = step,
                State::Running(running) => running.paused_until = 0,
                State::Removed => {}
            }
        }
        self.disk_faults.clear();
        let goal = self.judge.counts.acknowledged;
        let mut since = step;
        while self.now() < step + REST_TICKS_MAX * TICK_STEPS {
            if self.now() >= since {
                // Clients go on until one is heard, and the operator leaves what it entered.
                since = self.now() + 20 * TICK_STEPS;
                if self.judge.counts.acknowledged < goal + 2
                    && let Some(id) = self.random_running()
                {
                    self.ask_writes(id);
                    self.ask_read(id);
                }
                if self.operator.is_joint
                    && let Some(id) = self.random_running()
                {
                    self.ask_change(id);
                }
            }
            self.pass()?;
            if self.judge.counts.acknowledged >= goal + 2
                && !self.operator.is_joint
                && self.are_alike()
            {
                for id in self.running() {
                    self.audit(id)?;
                }
                return Ok(());
            }
        }
        Err(format!("no rest in {REST_TICKS_MAX} ticks: {}", self.describe()))
    }

    pub(super) fn are_alike(&self) -> bool {
        let mut digests = BTreeSet::new();
        for id in self.operator.members() {
            let Some(State::Running(running)) = self.processes.get(&id).map(|p| &p.state) else {
                return false;
            };
            let digest = running.member.digest();
            digests.insert((digest.applied, digest.hash, digest.keys, digest.versions));
            let status = &running.status;
            let is_level = (status.commit, status.last_index) == (digest.applied, digest.applied);
            if !running.is_settled() || !is_level {
                return false;
            }
        }
        digests.len() == 1
    }

    pub(super) fn describe(&self) -> String {
        let operator = &self.operator;
        let mut text = format!(
            "voters {:?}, learners {:?}, joint: {}",
            operator.voters, operator.learners, operator.is_joint
        );
        for (id, process) in &self.processes {
            match &process.state {
                State::Running(running) => text += &format!("\n  {id}: {:?}", running.status),
                State::Down { until } => text += &format!("\n  {id}: down until {until}"),
                State::Removed => text += &format!("\n  {id}: removed"),
            }
        }
        text
    }
}
