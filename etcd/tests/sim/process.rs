//! A member's process: the member, moved as its own loop would move it, on a disk that fails.
//!
//! Between the two halves of a turn time may pass, as it does while a disk works; what comes meanwhile
//! waits. Snapshots are written as if by another thread, and told to the member some time later.

use super::Verdict;
use fastrand::Rng;
use raftwire::transport::MemberId;
use raftwire_etcd::config::Config;
use raftwire_etcd::disk::Disk;
use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::member::{
    Done, Member, NodeError, ProposeError, SnapshotJob, Snapshotted, Status, Turn,
};
use raftwire_etcd::raft::{Change, Envelope};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Steps of the simulation in a tick of a member.
pub(crate) const TICK_STEPS: u64 = 5;
/// For how many ticks a member goes on that was removed, so that others hear of it, as in its own loop.
const REMOVED_TICKS: u64 = 5;
/// Turns without anything that came from outside, after which a member is spinning.
const TURNS_MAX: usize = 200;

pub(crate) struct Process {
    pub(crate) config: Config,
    pub(crate) disk: FaultDisk,
    /// How many times it was started.
    pub(crate) lives: u64,
    pub(crate) state: State,
    /// How many steps its disk takes at most.
    pub(crate) sync_steps_max: u64,
    pub(crate) snapshot_steps_max: u64,
}

#[allow(clippy::large_enum_variant, reason = "a few, in a test")]
pub(crate) enum State {
    /// It is started again in this step.
    Down {
        until: u64,
    },
    Running(Running),
    /// The cluster removed it.
    Removed,
}

pub(crate) struct Running {
    pub(crate) member: Member,
    pub(crate) status: Status,
    /// It does not run until then.
    pub(crate) paused_until: u64,
    /// What was applied when its state was last looked at.
    pub(crate) observed: u64,
    pub(crate) observed_snapshot: u64,
    /// Up to which what it has committed stands in its log on disk.
    pub(crate) logged: u64,
    next_tick: u64,
    removed_ticks: u64,
    turn: Option<(Turn, u64)>,
    inputs: VecDeque<Input>,
    job: Option<(SnapshotJob, u64)>,
    written: Option<(Snapshotted, u64)>,
}

/// What comes to a member.
pub(crate) enum Input {
    Message(Envelope),
    Unreachable(u64),
    SnapshotLost(u64),
    Propose(Vec<(u64, bytes::Bytes)>),
    Read(u64),
    Change(u64, Change),
    Campaign,
    Transfer(u64),
    Snapshotted(Snapshotted),
    /// A peer says that it was removed.
    Removed,
}

/// What a member did.
pub(crate) enum Output {
    Sent(Envelope),
    /// With what is applied at that moment.
    Done(Done, u64),
    Dropped(u64),
    /// It begins to write a snapshot, and will let go of its log then.
    Snapshots,
    Change(u64, Result<(), ProposeError>),
}

/// Why a process ended by itself.
pub(crate) enum End {
    Error(NodeError),
    Removed,
}

impl Process {
    pub(crate) fn new(config: Config, disk: FaultDisk) -> Self {
        let state = State::Down { until: 0 };
        Self { config, disk, lives: 0, state, sync_steps_max: 0, snapshot_steps_max: 0 }
    }

    pub(crate) fn wal_dir(&self) -> PathBuf {
        wal_dir(&self.config.dir)
    }

    pub(crate) fn running(&mut self) -> Option<&mut Running> {
        match &mut self.state {
            State::Running(running) => Some(running),
            _ => None,
        }
    }

    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Begins.
    pub(crate) fn open(&mut self, step: u64, random: &mut Rng) -> Result<(), NodeError> {
        self.lives += 1;
        self.config.election_seed = Some(random.u64(..));
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let member = Member::open(self.config.clone(), &disk, self.lives)?;
        let mut status = Status::default();
        member.update_status(&mut status);
        self.state = State::Running(Running {
            member,
            status,
            paused_until: 0,
            observed: u64::MAX,
            observed_snapshot: 0,
            logged: 0,
            removed_ticks: 0,
            next_tick: step + random.u64(1..=TICK_STEPS),
            turn: None,
            inputs: VecDeque::new(),
            job: None,
            written: None,
        });
        Ok(())
    }

    /// Lets a step pass.
    pub(crate) fn run(
        &mut self,
        step: u64,
        random: &mut Rng,
        outputs: &mut Vec<Output>,
    ) -> Verdict<Option<End>> {
        let (sync, snapshot) = (self.sync_steps_max, self.snapshot_steps_max);
        let State::Running(running) = &mut self.state else { return Ok(None) };
        if running.paused_until > step {
            return Ok(None);
        }
        for _ in 0..TURNS_MAX {
            match running.go(step, (sync, snapshot), random, outputs) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(end) => return Ok(Some(end)),
            }
        }
        Err(format!("member {} spins", self.config.id))
    }

    /// Ends between two turns, as when it is told to stop.
    pub(crate) fn stop(&mut self, until: u64, by_closing: bool) -> Result<(), NodeError> {
        match std::mem::replace(&mut self.state, State::Down { until }) {
            State::Running(running) if by_closing => running.member.close(),
            State::Removed => {
                self.state = State::Removed;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The machine loses its power: what was not synced is gone, or not.
    pub(crate) fn crash(&mut self, until: u64) {
        // The disk first: a member that goes writes what it still can.
        let after = self.disk.crash();
        if !matches!(self.state, State::Removed) {
            self.state = State::Down { until };
        }
        self.disk = after;
    }
}

pub(crate) fn wal_dir(dir: &Path) -> PathBuf {
    dir.join("member").join("wal")
}

impl Running {
    pub(crate) fn push(&mut self, input: Input) {
        self.inputs.push_back(input);
    }

    /// Whether a turn has begun and is not persisted yet.
    pub(crate) const fn is_in_turn(&self) -> bool {
        self.turn.is_some()
    }

    /// Whether all that came was taken, and raft has it on disk.
    pub(crate) fn is_settled(&self) -> bool {
        self.turn.is_none() && !self.member.has_work()
    }

    /// Makes half a turn; whether there may be more to do.
    fn go(
        &mut self,
        step: u64,
        (sync, snapshot): (u64, u64),
        random: &mut Rng,
        outputs: &mut Vec<Output>,
    ) -> Result<bool, End> {
        if let Some((job, _)) = self.job.take_if(|(_, at)| *at <= step) {
            let written = job.run().map_err(End::Error)?;
            self.written = Some((written, step + random.u64(0..=snapshot)));
        }
        if let Some((turn, _)) = self.turn.take_if(|(_, at)| *at <= step) {
            self.finish(turn, outputs)?;
            if let Some(job) = self.member.snapshot_job() {
                self.job = Some((job, step + random.u64(0..=snapshot)));
                outputs.push(Output::Snapshots);
            }
        }
        if self.turn.is_some() {
            return Ok(false);
        }
        let had_input = self.take_inputs(step, random, outputs)?;
        if self.member.has_work() {
            let member = &mut self.member;
            let turn = member.begin(&mut |message| outputs.push(Output::Sent(message.clone())));
            member.apply_requests().map_err(End::Error)?;
            self.take_done(outputs);
            self.turn = Some((turn, step + random.u64(0..=sync)));
            return Ok(true);
        }
        self.tell_commit(outputs);
        Ok(had_input)
    }

    fn tell_commit(&mut self, outputs: &mut Vec<Output>) {
        self.member.tell_commit(&mut |message| outputs.push(Output::Sent(message.clone())));
    }

    fn finish(&mut self, turn: Turn, outputs: &mut Vec<Output>) -> Result<(), End> {
        let mut sent = Vec::new();
        let persisted = self.member.persist(turn, &mut |message| sent.push(message.clone()));
        let is_silent = sent.is_empty();
        outputs.extend(sent.into_iter().map(Output::Sent));
        if let Err(error) = persisted {
            assert!(is_silent, "a member says something of what is not on disk: {error}");
            return Err(End::Error(error));
        }
        self.member.apply().map_err(End::Error)?;
        self.take_done(outputs);
        // All raft has was written in this turn.
        self.logged = self.status.commit;
        Ok(())
    }

    fn take_done(&mut self, outputs: &mut Vec<Output>) {
        self.member.update_status(&mut self.status);
        outputs.push(Output::Done(self.member.take_done(), self.status.applied));
    }

    fn take_inputs(
        &mut self,
        step: u64,
        random: &mut Rng,
        outputs: &mut Vec<Output>,
    ) -> Result<bool, End> {
        let mut any = false;
        if self.next_tick <= step {
            // Time that was slept through is not made up for.
            self.next_tick = step + TICK_STEPS;
            if self.member.is_removed() {
                self.removed_ticks += 1;
                if self.removed_ticks > REMOVED_TICKS {
                    return Err(End::Removed);
                }
            }
            self.tell_commit(outputs);
            self.member.tick();
            any = true;
        }
        if let Some((written, _)) = self.written.take_if(|(_, at)| *at <= step) {
            // It comes from another thread, before or behind anything else.
            let at = random.usize(0..=self.inputs.len());
            self.inputs.insert(at, Input::Snapshotted(written));
        }
        while let Some(input) = self.inputs.pop_front() {
            self.take(input, outputs)?;
            any = true;
        }
        Ok(any)
    }

    fn take(&mut self, input: Input, outputs: &mut Vec<Output>) -> Result<(), End> {
        let member = &mut self.member;
        match input {
            Input::Message(message) => member.receive(message),
            Input::Unreachable(peer) => member.unreachable(MemberId(peer)),
            Input::SnapshotLost(peer) => member.snapshot_lost(MemberId(peer)),
            Input::Propose(requests) => {
                let (ids, data): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
                if !member.propose(data) {
                    outputs.extend(ids.into_iter().map(Output::Dropped));
                }
            }
            Input::Read(id) => member.read(id),
            Input::Change(id, change) => {
                let result = member.change(id, &change);
                outputs.push(Output::Change(id, result));
            }
            Input::Campaign => member.campaign(),
            Input::Transfer(to) => member.transfer_leader(MemberId(to)),
            Input::Snapshotted(written) => member.snapshotted(written).map_err(End::Error)?,
            Input::Removed => return Err(End::Removed),
        }
        Ok(())
    }
}
