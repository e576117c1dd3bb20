//! What the member's loop shares with the rest: what it is asked, what came for it, and how it stands.

use super::Answer;
use crate::config::Config;
use crate::kv::{Digest, Request, Store};
use crate::log::Sink;
use crate::member::{Applied, Ids, Member, NodeError, ProposeError, ReadError, Status};
use crate::raft::{Change, Envelope};
use crate::trace::Recorder;
use bytes::{Bytes, BytesMut};
use raftwire::transport::MemberId;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::{Notify, oneshot, watch};

/// A request for the state machine.
pub(super) struct Proposal {
    pub(super) request: u64,
    pub(super) data: Bytes,
    pub(super) answer: Answer<Result<Applied, ProposeError>>,
    /// When it was asked for, where that is recorded.
    pub(super) proposed_ns: u64,
}

/// Everything else that is asked.
pub(super) enum Ask {
    Read { answer: Answer<Result<(), ReadError>> },
    Digest { answer: Answer<Digest> },
    Change { change: Change, answer: Answer<Result<(), ProposeError>> },
    Campaign,
    Transfer { to: MemberId },
    Stop,
}

/// What came from the transport, and from the thread that writes snapshots.
pub(super) enum Received {
    Message {
        message: Envelope,
        received_ns: u64,
    },
    Unreachable(MemberId),
    SnapshotLost(MemberId),
    Snapshotted(Box<Result<crate::member::Snapshotted, NodeError>>),
    /// A peer says that this member was removed.
    Removed,
}

#[derive(Default)]
pub(super) struct Waiting {
    pub(super) proposals: Vec<Proposal>,
    pub(super) asks: Vec<Ask>,
    pub(super) received: Vec<Received>,
    /// Where proposals are encoded.
    encoded: BytesMut,
}

/// How much is allocated at a time for the requests of many, and how much is left over at most. An entry
/// that stays in the log keeps its neighbours, which stay as long.
const ENCODED_BYTES: usize = 64 << 10;
const ENCODED_BYTES_MIN: usize = 1 << 10;

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.proposals.is_empty() && self.asks.is_empty() && self.received.is_empty()
    }
}

pub(super) struct Shared {
    pub(super) store: Arc<RwLock<Store>>,
    pub(super) status: Mutex<Status>,
    pub(super) recorder: Recorder,
    pub(super) log: Sink,
    pub(super) request_bytes_max: usize,
    pub(super) open_streams: AtomicUsize,
    pub(super) syncs: AtomicU64,
    pub(super) ticks: AtomicU64,
    ids: Arc<Ids>,
    removed: Mutex<Vec<MemberId>>,
    waiting: Mutex<Waiting>,
    /// The loop was woken, and has not looked since.
    is_woken: AtomicBool,
    notify: Notify,
    end: watch::Sender<Option<Option<Arc<NodeError>>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(config: &Config, member: &Member, recorder: Recorder) -> Self {
        let mut status = Status::default();
        member.update_status(&mut status);
        member.update_voters(&mut status);
        Self {
            store: member.store(),
            status: Mutex::new(status),
            recorder,
            log: config.log.clone(),
            request_bytes_max: config.request_bytes_max,
            open_streams: AtomicUsize::new(0),
            syncs: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            ids: member.ids(),
            removed: Mutex::new(
                member.members().removed().iter().map(|id| MemberId(*id)).collect(),
            ),
            waiting: Mutex::default(),
            is_woken: AtomicBool::new(false),
            notify: Notify::new(),
            end: watch::Sender::new(None),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the loop. Once is enough until it has looked.
    pub(super) fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting().is_empty()
    }

    /// Gives the loop what waits, in exchange for what it has dealt with.
    pub(super) fn swap(&self, taken: &mut Waiting) {
        self.is_woken.store(false, Ordering::Release);
        let mut waiting = self.waiting();
        std::mem::swap(&mut waiting.proposals, &mut taken.proposals);
        std::mem::swap(&mut waiting.asks, &mut taken.asks);
        std::mem::swap(&mut waiting.received, &mut taken.received);
    }

    pub(super) fn next_id(&self) -> u64 {
        self.ids.next()
    }

    pub(super) fn propose(
        &self,
        request: &Request,
    ) -> oneshot::Receiver<Result<Applied, ProposeError>> {
        let proposed_ns = self.recorder.moment().unwrap_or_default();
        let (answer, answered) = oneshot::channel();
        let id = self.next_id();
        let mut waiting = self.waiting();
        if !self.has_ended() {
            let Waiting { proposals, encoded, .. } = &mut *waiting;
            // Many requests share one allocation, as their entries lie side by side in the log.
            if encoded.capacity() < ENCODED_BYTES_MIN {
                *encoded = BytesMut::with_capacity(ENCODED_BYTES);
            }
            request.encode(id, encoded);
            let data = encoded.split().freeze();
            proposals.push(Proposal { request: id, data, answer, proposed_ns });
            drop(waiting);
            self.wake();
        }
        answered
    }

    pub(super) fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        self.tell(ask(answer));
        answered
    }

    /// Asks; what is asked of a member that ended is dropped, which its asker sees.
    pub(super) fn tell(&self, ask: Ask) {
        let mut waiting = self.waiting();
        if !self.has_ended() {
            waiting.asks.push(ask);
            drop(waiting);
            self.wake();
        }
    }

    pub(super) fn ask_stop(&self) {
        self.tell(Ask::Stop);
    }

    /// Takes a message; [`wake`](Self::wake) is to be called after the last.
    pub(super) fn receive(&self, received: Received) {
        self.waiting().received.push(received);
    }

    pub(super) fn is_removed(&self, member: MemberId) -> bool {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner).contains(&member)
    }

    pub(super) fn remove(&self, member: MemberId) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if !removed.contains(&member) {
            removed.push(member);
        }
    }

    pub(super) fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::Relaxed)
    }

    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    pub(super) fn end(&self, why: Option<NodeError>) {
        // Who asked between the loop's last look and now, and nobody after that.
        let mut waiting = self.waiting();
        self.end.send_replace(Some(why.map(Arc::new)));
        *waiting = Waiting::default();
    }

    pub(super) async fn ended(&self) -> Option<Arc<NodeError>> {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().flatten(),
            Err(_) => None,
        }
    }
}
