//! What all tasks of a transport share: its settings, its peers and the raft above it.

use super::drops::{DropReason, Ledger};
use super::handler::Membership;
use super::identity::Identity;
use super::stream::{Close, NotQueued, Outgoing};
use super::traffic::{PeerStats, Traffic};
use super::url::Picker;
use super::{
    Class, Config, Dial, Direction, Event, MemberId, PeerUrl, Raft, Snapshots, StreamError,
    StreamKind,
};
use crate::raftpb::RaftMessage;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::Notify;

/// A message type that can travel: it, and its entries, may move between threads.
pub trait Carried: RaftMessage<Entry: Send> + Send + 'static {}

impl<M: RaftMessage<Entry: Send> + Send + 'static> Carried for M {}

/// A member this one holds streams with.
pub(crate) struct Peer {
    pub(crate) id: MemberId,
    picker: Mutex<Picker>,
    ledger: Arc<Ledger>,
    updated: Notify,
    snapshots: Snapshots,
    /// In the order of [`StreamKind::ALL`].
    streams: [(Outgoing, Traffic); 2],
}

impl Peer {
    pub(crate) fn new(id: MemberId, urls: &[PeerUrl], config: &Config) -> Self {
        let ledger = Arc::new(Ledger::default());
        let streams = StreamKind::ALL.map(|kind| {
            let codec = config.codec.clone();
            let outgoing = Outgoing::new(kind, codec, config.queue, ledger.clone());
            (outgoing, Traffic::default())
        });
        Self {
            id,
            picker: Mutex::new(Picker::new(urls)),
            ledger,
            updated: Notify::new(),
            snapshots: config.snapshots,
            streams,
        }
    }

    pub(crate) fn outgoing(&self, kind: StreamKind) -> &Outgoing {
        &self.streams[kind as usize].0
    }

    pub(crate) fn traffic(&self, kind: StreamKind) -> &Traffic {
        &self.streams[kind as usize].1
    }

    pub(crate) fn pick(&self) -> Option<PeerUrl> {
        self.picker.lock().unwrap_or_else(PoisonError::into_inner).pick()
    }

    pub(crate) fn unreachable(&self, url: &PeerUrl) {
        self.picker.lock().unwrap_or_else(PoisonError::into_inner).unreachable(url);
    }

    pub(crate) fn update(&self, urls: &[PeerUrl]) {
        *self.picker.lock().unwrap_or_else(PoisonError::into_inner) = Picker::new(urls);
        self.updated.notify_waiters();
    }

    /// Waits for [`update`](Self::update).
    pub(crate) async fn updated(&self) {
        self.updated.notified().await;
    }

    /// Closes the streams to it for good.
    pub(crate) fn close(&self, close: Close) {
        for (outgoing, _) in &self.streams {
            outgoing.close(close);
        }
    }

    /// Whether a task still writes to it.
    pub(crate) fn has_writers(&self) -> bool {
        self.streams.iter().any(|(outgoing, _)| outgoing.has_writer())
    }

    pub(crate) fn stats(&self) -> PeerStats {
        let stats = |kind: StreamKind| {
            let outgoing = self.outgoing(kind);
            self.traffic(kind).stats(kind, outgoing.level(), outgoing.is_attached())
        };
        PeerStats {
            id: self.id,
            streams: StreamKind::ALL.map(stats),
            dropped_messages: self.ledger.total(),
        }
    }

    /// Queues a message on the stream etcd would choose, and counts it if it cannot. `false`: it
    /// was dropped.
    ///
    /// Source: etcd `rafthttp/peer.go` (`pick`), without the pipeline.
    #[inline]
    fn send<M: RaftMessage>(&self, message: &M, class: Class) -> bool {
        let kinds = match class {
            Class::Snapshot if self.snapshots == Snapshots::Dropped => {
                self.ledger.add(class, DropReason::NoPipeline, 1);
                return false;
            }
            Class::Append => &StreamKind::ALL[..],
            _ => &[StreamKind::Message],
        };
        for &kind in kinds {
            match self.outgoing(kind).send(message, class) {
                Ok(()) => return true,
                Err(NotQueued::NoStream) => {}
                Err(NotQueued::Full) => {
                    self.ledger.add(class, DropReason::QueueFull, 1);
                    return false;
                }
                Err(NotQueued::Refused(refusal)) => {
                    self.ledger.add_refused(class, refusal);
                    return false;
                }
            }
        }
        self.ledger.add(class, DropReason::NoStream, 1);
        false
    }
}

/// What all tasks share.
pub(crate) struct Shared<M> {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) raft: Arc<dyn Raft<M>>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) peers: RwLock<Vec<Arc<Peer>>>,
    /// Those that were removed, and whose drops are still to be reported.
    pub(crate) removed: Mutex<Vec<Arc<Peer>>>,
    /// Wakes the task that reports drops.
    pub(crate) dropped: Notify,
    /// Accepted connections that are no stream.
    pub(crate) waiting: AtomicUsize,
    /// No connection is accepted any more.
    pub(crate) is_stopping: AtomicBool,
}

impl<M: 'static> Shared<M> {
    pub(crate) fn peer(&self, id: MemberId) -> Option<Arc<Peer>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.iter().find(|peer| peer.id == id).cloned()
    }

    /// Who `id` is to this member.
    pub(crate) fn membership(&self, id: MemberId) -> Membership {
        if self.raft.is_removed(id) {
            Membership::Removed
        } else if self.peer(id).is_some() {
            Membership::Peer
        } else {
            Membership::Unknown
        }
    }

    /// Reports drops as they happen, until the task is dropped.
    pub(crate) async fn report_drops(&self) {
        loop {
            self.dropped.notified().await;
            self.report();
        }
    }

    /// Reports what was dropped since the last report.
    pub(crate) fn report(&self) {
        let mut peers = self.peers.read().unwrap_or_else(PoisonError::into_inner).clone();
        peers.append(&mut self.removed.lock().unwrap_or_else(PoisonError::into_inner));
        for peer in peers {
            self.report_of(&peer);
        }
    }

    pub(crate) fn report_of(&self, peer: &Peer) {
        peer.ledger.report(peer.id, |dropped| {
            // A panic of the embedder's must not end the reports.
            let _ = catch_unwind(AssertUnwindSafe(|| self.raft.unreachable(dropped)));
        });
    }
}

impl<M: RaftMessage> Shared<M> {
    #[inline]
    pub(crate) fn send(&self, message: &M) {
        let head = message.head();
        if head.to == 0 {
            return;
        }
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.iter().find(|peer| peer.id.0 == head.to) else {
            return;
        };
        let class = Class::of(head.message_type);
        if !peer.send(message, class) {
            self.dropped.notify_one();
        }
    }
}

/// A stream that is open: tells that it is, and when it is dropped, as its task may be, that it
/// ended.
pub(crate) struct Open<'a, M: 'static> {
    shared: &'a Shared<M>,
    peer: &'a Peer,
    kind: StreamKind,
    direction: Direction,
    connection: u64,
    /// Why it ended.
    pub(crate) error: StreamError,
}

impl<'a, M: 'static> Open<'a, M> {
    pub(crate) fn new(
        shared: &'a Shared<M>,
        peer: &'a Peer,
        kind: StreamKind,
        direction: Direction,
        connection: u64,
    ) -> Self {
        shared.raft.event(&Event::Opened { peer: peer.id, kind, direction, connection });
        Self { shared, peer, kind, direction, connection, error: StreamError::Stopped }
    }
}

impl<M: 'static> Drop for Open<'_, M> {
    fn drop(&mut self) {
        let Self { kind, direction, connection, .. } = *self;
        let (peer, error) = (self.peer.id, &self.error);
        self.shared.raft.event(&Event::Ended { peer, kind, direction, connection, error });
        if direction == Direction::Outgoing {
            // The peer may have been removed meanwhile, and be known here alone.
            self.shared.report_of(self.peer);
        }
    }
}
