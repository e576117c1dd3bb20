//! The loop of a member: what came goes in, turns are made until there is nothing to do, and who
//! waits is answered.

use super::Answer;
use super::shared::{Ask, Proposal, Received, Shared, Waiting};
use crate::config::Config;
use crate::log::Level;
use crate::member::{
    Applied, ChangeRefused, Done, Member, NodeError, PeerChange, ProposeError, ReadError, Status,
};
use crate::raft::Envelope;
use raftwire::transport::Transport;
use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Runs the member until it is told to stop, or cannot go on.
pub(super) async fn run(
    member: Member,
    shared: Arc<Shared>,
    transport: Transport<Envelope>,
    config: Config,
) {
    let mut running = Loop {
        member,
        waiters: Waiters::default(),
        transport: transport.clone(),
        timeout_ticks: config.request_ticks(),
        config,
        shared: shared.clone(),
        waiting: Waiting::default(),
        is_stopping: false,
        voters_changed: true,
        removed_ticks: 0,
        job: None,
    };
    // Whatever happens, who waits for the end is told.
    let mut end = End { shared: &shared, why: Some(NodeError::Raft("it panicked".to_owned())) };
    let ended = running.run().await;
    if let Err(error) = &ended {
        shared.log.line(Level::Error, format_args!("the member ends: {error}"));
    }
    // Its waiters are told before its streams take their time to end.
    let Loop { member, waiters, job, .. } = running;
    waiters.stop();
    transport.stop().await;
    if let Some(job) = job {
        // Its file is nobody else's.
        let _ = job.await;
    }
    let ended = match ended {
        Ok(()) => member.close(),
        // What could not be written once is not written again.
        Err(error) => Err(error),
    };
    end.why = ended.err();
}

/// Tells that the member ended, when it is dropped.
struct End<'a> {
    shared: &'a Shared,
    why: Option<NodeError>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.shared.end(self.why.take());
    }
}

struct Loop {
    member: Member,
    waiters: Waiters,
    transport: Transport<Envelope>,
    config: Config,
    timeout_ticks: u64,
    shared: Arc<Shared>,
    waiting: Waiting,
    is_stopping: bool,
    voters_changed: bool,
    /// For how long it has been removed.
    removed_ticks: u32,
    /// The snapshot that was begun last.
    job: Option<JoinHandle<()>>,
}

/// How long a member that was removed goes on; etcd's does for a second.
const REMOVED_TICKS: u32 = 5;

/// Who waits for what, by request.
#[derive(Default)]
struct Waiters {
    now_ticks: u64,
    applied: HashMap<u64, (u64, Answer<Result<Applied, ProposeError>>)>,
    changed: HashMap<u64, (u64, Answer<Result<(), ProposeError>>)>,
    readable: HashMap<u64, (u64, Answer<Result<(), ReadError>>)>,
}

impl Waiters {
    /// Lets a tick pass: those that waited `timeout` of them are told that they waited in vain.
    fn tick(&mut self, timeout: u64) {
        self.now_ticks += 1;
        let Some(begun) = self.now_ticks.checked_sub(timeout) else { return };
        expire(&mut self.applied, begun, Err(ProposeError::Timeout));
        expire(&mut self.changed, begun, Err(ProposeError::Timeout));
        expire(&mut self.readable, begun, Err(ReadError::Timeout));
    }

    fn stop(self) {
        for (_, (_, answer)) in self.applied {
            let _ = answer.send(Err(ProposeError::Stopped));
        }
        for (_, (_, answer)) in self.changed {
            let _ = answer.send(Err(ProposeError::Stopped));
        }
        for (_, (_, answer)) in self.readable {
            let _ = answer.send(Err(ReadError::Stopped));
        }
    }
}

fn expire<T: Copy>(waiters: &mut HashMap<u64, (u64, Answer<T>)>, begun: u64, error: T) {
    let expired = waiters.extract_if(|_, (since, _)| *since < begun);
    for (_, (_, answer)) in expired {
        let _ = answer.send(error);
    }
}

impl Loop {
    async fn run(&mut self) -> Result<(), NodeError> {
        let mut ticks = interval(self.config.tick);
        // A loop that was held up by its disk does not make up for the time it slept.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let done = self.member.take_done();
        self.tell(done);
        loop {
            self.turns(&mut ticks).await?;
            if self.is_stopping {
                return Ok(());
            }
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                _ = ticks.tick() => self.tick()?,
                () = shared.woken() => {}
            }
        }
    }

    fn tick(&mut self) -> Result<(), NodeError> {
        self.waiters.tick(self.timeout_ticks);
        self.shared.ticks.fetch_add(1, Ordering::Relaxed);
        // A member that is removed tells the others that it is, before it ends.
        if self.member.is_removed() {
            self.removed_ticks += 1;
            if self.removed_ticks > REMOVED_TICKS {
                return Err(NodeError::Removed(self.config.id));
            }
        }
        // Under load there is always something to do, but perhaps not for every follower.
        self.tell_commit();
        guarded(|| self.member.tick())
    }

    fn tell_commit(&mut self) {
        let transport = &self.transport;
        self.member.tell_commit(&mut |message| transport.send(message));
    }

    /// Makes turns until there is nothing to do, or it is to stop. Time passes meanwhile: under load there
    /// always is something.
    async fn turns(&mut self, ticks: &mut Interval) -> Result<(), NodeError> {
        loop {
            self.take()?;
            if self.is_stopping {
                return Ok(());
            }
            if self.member.has_work() {
                self.turn().await?;
                while poll_fn(|cx| Poll::Ready(ticks.poll_tick(cx).is_ready())).await {
                    self.tick()?;
                }
                // Who was answered may ask again, and what they ask tells followers what was
                // committed.
                step_aside().await;
            } else if self.shared.is_idle() {
                self.tell_commit();
                return Ok(());
            }
        }
    }

    async fn turn(&mut self) -> Result<(), NodeError> {
        let transport = self.transport.clone();
        let send = &mut |message: &Envelope| transport.send(message);
        let turn = guarded(|| {
            let turn = self.member.begin(send);
            self.member.apply_requests()?;
            Ok::<_, NodeError>(turn)
        })??;
        self.answer();
        // The writers hand what was sent to their sockets before this thread waits for the disk.
        step_aside().await;
        guarded(|| {
            self.member.persist(turn, send)?;
            self.member.apply()
        })??;
        self.answer();
        self.shared.syncs.store(self.member.syncs(), Ordering::Relaxed);
        self.update_status();
        if let Some(job) = self.member.snapshot_job() {
            let shared = self.shared.clone();
            self.job = Some(tokio::task::spawn_blocking(move || {
                shared.receive(Received::Snapshotted(Box::new(job.run())));
                shared.wake();
            }));
        }
        Ok(())
    }

    /// Takes what came and what is asked.
    fn take(&mut self) -> Result<(), NodeError> {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.shared.swap(&mut waiting);
        for received in waiting.received.drain(..) {
            guarded(|| self.receive(received))??;
        }
        if !waiting.proposals.is_empty() {
            self.propose(&mut waiting.proposals)?;
        }
        for ask in waiting.asks.drain(..) {
            self.take_ask(ask)?;
        }
        self.waiting = waiting;
        Ok(())
    }

    fn receive(&mut self, received: Received) -> Result<(), NodeError> {
        match received {
            Received::Message { message, received_ns } => {
                self.member.record_receipt(&message, received_ns);
                self.member.receive(message);
            }
            Received::Unreachable(peer) => self.member.unreachable(peer),
            Received::SnapshotLost(peer) => self.member.snapshot_lost(peer),
            Received::Snapshotted(written) => self.member.snapshotted((*written)?)?,
            Received::Removed => return Err(NodeError::Removed(self.config.id)),
        }
        Ok(())
    }

    /// Proposes what waits, in one message.
    fn propose(&mut self, proposals: &mut Vec<Proposal>) -> Result<(), NodeError> {
        let member = &mut self.member;
        let was_proposed = guarded(|| {
            member.record_proposals(proposals.iter().map(|proposal| proposal.proposed_ns));
            member.propose(proposals.iter_mut().map(|proposal| std::mem::take(&mut proposal.data)))
        })?;
        let since = self.waiters.now_ticks;
        for proposal in proposals.drain(..) {
            if was_proposed {
                self.waiters.applied.insert(proposal.request, (since, proposal.answer));
            } else {
                let _ = proposal.answer.send(Err(ProposeError::Dropped));
            }
        }
        Ok(())
    }

    fn take_ask(&mut self, ask: Ask) -> Result<(), NodeError> {
        let since = self.waiters.now_ticks;
        match ask {
            Ask::Read { answer } => {
                let request = self.shared.next_id();
                self.waiters.readable.insert(request, (since, answer));
                self.member.read(request);
            }
            Ask::Digest { answer } => {
                let _ = answer.send(self.member.digest());
            }
            Ask::Change { change, answer } => {
                let request = self.shared.next_id();
                match guarded(|| self.member.change(request, &change))? {
                    Ok(()) => {
                        self.waiters.changed.insert(request, (since, answer));
                    }
                    Err(error) => {
                        let _ = answer.send(Err(error));
                    }
                }
            }
            Ask::Campaign => guarded(|| self.member.campaign())?,
            Ask::Transfer { to } => guarded(|| self.member.transfer_leader(to))?,
            Ask::Stop => self.is_stopping = true,
        }
        Ok(())
    }

    /// Tells who waits what came of it.
    fn answer(&mut self) {
        let done = self.member.take_done();
        self.tell(done);
    }

    fn tell(&mut self, mut done: Done) {
        for (request, applied) in done.applied.drain(..) {
            if let Some((_, answer)) = self.waiters.applied.remove(&request) {
                let _ = answer.send(Ok(applied));
            }
        }
        for request in done.readable.drain(..) {
            if let Some((_, answer)) = self.waiters.readable.remove(&request) {
                let _ = answer.send(Ok(()));
            }
        }
        for (request, result) in done.changed.drain(..) {
            self.voters_changed = true;
            self.tell_change(request, result);
        }
        for change in done.peers.drain(..) {
            self.voters_changed = true;
            self.set_peer(change);
        }
        if self.voters_changed {
            self.update_status();
        }
        self.member.reuse(done);
    }

    fn tell_change(&mut self, request: u64, result: Result<(), ChangeRefused>) {
        if let Some((_, answer)) = self.waiters.changed.remove(&request) {
            let _ = answer.send(result.map_err(ProposeError::Refused));
        }
    }

    fn set_peer(&self, change: PeerChange) {
        match change {
            PeerChange::Set(id, urls) if id != self.config.id => {
                // Neither can fail while the transport runs, and it is stopped after this loop.
                if self.transport.update_peer(id, &urls).is_err() {
                    let _ = self.transport.add_peer(id, &urls);
                }
            }
            PeerChange::Set(..) => {}
            PeerChange::Removed(id) => {
                self.shared.remove(id);
                let _ = self.transport.remove_peer(id);
            }
        }
    }

    fn update_status(&mut self) {
        let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
        let status: &mut Status = &mut status;
        self.member.update_status(status);
        if std::mem::take(&mut self.voters_changed) {
            self.member.update_voters(status);
        }
    }
}

/// Runs what may call raft-rs, which panics where its peers or its log contradict themselves.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, NodeError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        NodeError::Raft(text.unwrap_or("it panicked").to_owned())
    })
}

/// Lets every task that is ready run before this one goes on.
async fn step_aside() {
    let mut has_stepped = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_stepped, true) {
            return Poll::Ready(());
        }
        // Behind the others in the queue: `yield_now` would ask the sockets first, which is a call.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
