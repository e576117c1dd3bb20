//! What goes wrong: machines lose power, disks fail, processes stop and pause, streams are cut, and the
//! network parts.

use super::Verdict;
use super::network::LaneKind;
use super::process::Process;
use super::world::World;
use std::io::ErrorKind;

impl World {
    pub(super) fn cause_faults(&mut self) -> Verdict {
        let plan = self.plan.clone();
        if self.chance(plan.crashes)
            && let Some(id) = self.random_running()
        {
            match self.random.bool() {
                true => self.set_disk_fault(id, 12),
                false => self.crash(id)?,
            }
        }
        if self.chance(plan.crashes_of_all) {
            for id in self.running() {
                self.crash(id)?;
            }
        }
        if self.chance(plan.disk_errors)
            && let Some(id) = self.random_running()
        {
            self.fail_disk(id, 12);
        }
        if self.chance(plan.stops)
            && let Some(id) = self.random_running()
        {
            self.stop(id)?;
        }
        if self.chance(plan.pauses)
            && let Some(id) = self.random_running()
        {
            let until = self.now() + self.random.u64(1..200);
            self.say(format_args!("{id} pauses until {until}"));
            if let Some(running) = self.processes.get_mut(&id).and_then(Process::running) {
                running.paused_until = until;
            }
        }
        self.disturb_network();
        Ok(())
    }

    pub(super) fn disturb_network(&mut self) {
        let step = self.now();
        if self.chance(self.plan.cuts)
            && let Some((from, to)) = self.pair()
        {
            let lane = LaneKind::ALL[self.random.usize(..3)];
            let until = step + self.random.u64(0..30);
            let lost = self.network.cut((from, to), lane, true, until, &mut self.random);
            self.tell_lost(from, to, lost);
        }
        if self.chance(self.plan.delays)
            && let Some((from, to)) = self.pair()
        {
            let delay = [1, 2, 10, 40][self.random.usize(..4)];
            self.network.set_delay(from, to, delay);
        }
        if self.chance(self.plan.partitions) {
            self.part();
        }
    }

    pub(super) fn pair(&mut self) -> Option<(u64, u64)> {
        let ids: Vec<_> = self.processes.keys().copied().collect();
        let from = ids[self.random.usize(..ids.len())];
        let to = ids[self.random.usize(..ids.len())];
        (from != to).then_some((from, to))
    }

    /// Parts the members in two, in one direction or both, with what is on its way lost or held back.
    pub(super) fn part(&mut self) {
        let until = self.now() + self.random.u64(20..500);
        let one_way = self.random.u32(..3) == 0;
        let cuts = self.random.bool();
        let ids: Vec<_> = self.processes.keys().copied().collect();
        let (some, others): (Vec<u64>, Vec<u64>) =
            ids.into_iter().partition(|_| self.random.bool());
        self.say(format_args!("{some:?} | {others:?} until {until}, one way: {one_way}"));
        for &from in &some {
            for &to in &others {
                self.separate(from, to, until, cuts);
                if !one_way {
                    self.separate(to, from, until, cuts);
                }
            }
        }
    }

    pub(super) fn separate(&mut self, from: u64, to: u64, until: u64, cuts: bool) {
        self.network.block(from, to, until);
        if cuts {
            for lane in LaneKind::ALL {
                let lost = self.network.cut((from, to), lane, false, until, &mut self.random);
                self.tell_lost(from, to, lost);
            }
        }
    }

    /// Where much depends on the order of what is written a fault comes more often.
    pub(super) fn tempt(&mut self, id: u64) {
        if !self.is_healed && self.plan.crashes > 0 && self.random.u32(..4) == 0 {
            let operations_max = [3, 12][self.random.usize(..2)];
            self.set_disk_fault(id, operations_max);
        }
    }

    /// Lets a disk crash, or fail once, in one of its next operations.
    pub(super) fn set_disk_fault(&mut self, id: u64, operations_max: u64) {
        if self.plan.disk_errors > 0 && self.random.bool() {
            return self.fail_disk(id, operations_max);
        }
        let disk = &self.processes[&id].disk;
        disk.crash_at(disk.operations() + self.random.u64(0..operations_max));
    }

    pub(super) fn fail_disk(&mut self, id: u64, operations_max: u64) {
        let disk = &self.processes[&id].disk;
        let at = disk.operations() + self.random.u64(0..operations_max);
        let kind = if self.random.bool() { ErrorKind::StorageFull } else { ErrorKind::Other };
        disk.fail_at(at, kind);
        self.disk_faults.insert(id, at);
    }

    pub(super) fn crash(&mut self, id: u64) -> Verdict {
        self.audit(id)?;
        let until = self.down_until();
        self.say(format_args!("{id} crashes, until {until}"));
        if let Some(process) = self.processes.get_mut(&id) {
            process.crash(until);
            if self.plan.disks_lie {
                process.disk.lie();
            }
        }
        self.disk_faults.remove(&id);
        self.judge.counts.crashes += 1;
        self.note(&[self.now(), id, until]);
        self.after_end(id);
        Ok(())
    }

    pub(super) fn stop(&mut self, id: u64) -> Verdict {
        let until = self.down_until();
        let by_closing = self.random.bool();
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        if process.running().is_none_or(|running| running.is_in_turn()) {
            return Ok(());
        }
        let stopped = process.stop(until, by_closing);
        self.say(format_args!("{id} stops, until {until}"));
        match stopped {
            Err(error) => {
                let excused = self.has_failed_disk(id);
                self.ended(id, &error.to_string(), excused)
            }
            Ok(()) => {
                self.after_end(id);
                Ok(())
            }
        }
    }
}
