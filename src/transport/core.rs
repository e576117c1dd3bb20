//! The transport itself: its peers come and go here, and its tasks are started and ended.

use super::accept::{accept, serve};
use super::identity::Identity;
use super::shared::{Carried, Peer, Shared};
use super::stream::{Close, Reader};
use super::traffic::PeerStats;
use super::{
    BoxSocket, Config, Dial, MemberId, PeerUrl, Raft, StreamKind, TcpDial, TransportError,
};
use crate::raftpb::RaftMessage;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Moves the raft messages of one member: its streams with all peers.
///
/// Cheap to clone; all clones are the same transport. When the last one is dropped all connections
/// are cut; [`stop`](Self::stop) ends them properly. A [`Raft`] that holds a clone keeps it from being
/// dropped, until it lets go of it.
pub struct Transport<M> {
    shared: Arc<Shared<M>>,
    tasks: Arc<Tasks>,
}

impl<M> Clone for Transport<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), tasks: self.tasks.clone() }
    }
}

impl<M> fmt::Debug for Transport<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// The tasks of a transport; dropping it ends them.
struct Tasks {
    runtime: Handle,
    state: Mutex<TasksState>,
}

#[derive(Default)]
struct TasksState {
    /// What reads and accepts, and is cut at a stop.
    all: JoinSet<()>,
    /// The readers of each peer.
    readers: HashMap<MemberId, Vec<AbortHandle>>,
    is_stopped: bool,
}

impl Tasks {
    fn state(&self) -> MutexGuard<'_, TasksState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(
        &self,
        state: &mut TasksState,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        // Those that ended are forgotten.
        while state.all.try_join_next().is_some() {}
        state.all.spawn_on(task, &self.runtime)
    }
}

impl<M: Carried> Transport<M> {
    /// Starts a transport whose tasks run on `runtime`, which has time and I/O enabled, and which dials
    /// over TCP.
    ///
    /// # Errors
    ///
    /// [`TransportError::Config`] where a setting makes no sense.
    pub fn start(
        config: Config,
        raft: Arc<dyn Raft<M>>,
        runtime: &Handle,
    ) -> Result<Self, TransportError> {
        let dial = Arc::new(TcpDial::new(config.socket, config.timeouts.connect));
        Self::start_with(config, raft, runtime, dial)
    }

    /// Starts one that dials as `dial` does.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(
        config: Config,
        raft: Arc<dyn Raft<M>>,
        runtime: &Handle,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, TransportError> {
        check(&config)?;
        let identity = Identity::of(&config);
        let shared = Arc::new(Shared {
            config,
            identity,
            raft,
            dial,
            peers: RwLock::default(),
            removed: Mutex::default(),
            dropped: Notify::new(),
            waiting: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
        });
        let tasks = Arc::new(Tasks { runtime: runtime.clone(), state: Mutex::default() });
        let reporter = shared.clone();
        tasks.spawn(&mut tasks.state(), async move { reporter.report_drops().await });
        Ok(Self { shared, tasks })
    }

    /// Accepts connections from `listener`, until the transport stops.
    ///
    /// # Errors
    ///
    /// The listener cannot be made non-blocking, or the transport was stopped.
    pub fn serve(&self, listener: TcpListener) -> Result<(), TransportError> {
        listener.set_nonblocking(true)?;
        let listener = {
            let _runtime = self.tasks.runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        self.spawn(accept(self.shared.clone(), listener))
    }

    /// Serves a connection somebody else accepted, and set the options of:
    /// [`SocketOptions::apply`](super::SocketOptions::apply).
    ///
    /// # Errors
    ///
    /// The transport was stopped.
    pub fn accept(&self, socket: BoxSocket) -> Result<(), TransportError> {
        let shared = self.shared.clone();
        self.spawn(async move { serve(&shared, socket).await })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), TransportError> {
        let mut state = self.tasks.state();
        if state.is_stopped {
            return Err(TransportError::Stopped);
        }
        self.tasks.spawn(&mut state, task);
        Ok(())
    }

    /// Begins to hold streams with a peer: dials it, and lets it in. A peer that is there already
    /// stays as it is; [`update_peer`](Self::update_peer) changes its addresses.
    ///
    /// # Errors
    ///
    /// `peer` is this member, or 0; or the transport was stopped.
    pub fn add_peer(&self, peer: MemberId, urls: &[PeerUrl]) -> Result<(), TransportError> {
        if peer == self.shared.config.id || peer.0 == 0 {
            return Err(TransportError::InvalidPeer);
        }
        let mut state = self.tasks.state();
        if state.is_stopped {
            return Err(TransportError::Stopped);
        }
        let mut peers = self.shared.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.iter().any(|known| known.id == peer) {
            return Ok(());
        }
        let added = Arc::new(Peer::new(peer, urls, &self.shared.config));
        peers.push(added.clone());
        drop(peers);
        for kind in StreamKind::ALL {
            let reader = Reader { shared: self.shared.clone(), peer: added.clone(), kind };
            let task = self.tasks.spawn(&mut state, reader.run());
            state.readers.entry(peer).or_default().push(task);
        }
        Ok(())
    }

    /// Changes a peer's addresses. Streams that are open stay so.
    ///
    /// # Errors
    ///
    /// There is no such peer.
    pub fn update_peer(&self, peer: MemberId, urls: &[PeerUrl]) -> Result<(), TransportError> {
        self.shared.peer(peer).ok_or(TransportError::UnknownPeer)?.update(urls);
        Ok(())
    }

    /// Ends all streams with a peer, and lets it in no more.
    ///
    /// # Errors
    ///
    /// There is no such peer.
    pub fn remove_peer(&self, peer: MemberId) -> Result<(), TransportError> {
        // In this order, as where one is added: who adds it again meanwhile waits.
        let mut state = self.tasks.state();
        let removed = {
            let mut peers = self.shared.peers.write().unwrap_or_else(PoisonError::into_inner);
            let at = peers.iter().position(|known| known.id == peer);
            peers.remove(at.ok_or(TransportError::UnknownPeer)?)
        };
        for reader in state.readers.remove(&peer).unwrap_or_default() {
            reader.abort();
        }
        drop(state);
        removed.close(Close::AtOnce);
        // On a task: the embedder may hold its locks here.
        self.shared.removed.lock().unwrap_or_else(PoisonError::into_inner).push(removed);
        self.shared.dropped.notify_one();
        Ok(())
    }

    /// Ends all streams and all tasks, within [`stop`](super::Timeouts::stop). A stream that is being
    /// written ends behind its batch, if the peer takes that much in time. What else was queued is
    /// reported as dropped; what is sent from now on is dropped without a report.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time. With a [`Driver`](super::Driver):
    /// `driver.handle().block_on(transport.stop())`.
    pub async fn stop(&self) {
        // Peers whose streams end dial again at once.
        self.shared.is_stopping.store(true, Ordering::Release);
        let mut all = {
            let mut state = self.tasks.state();
            state.is_stopped = true;
            for reader in state.readers.drain().flat_map(|(_, readers)| readers) {
                reader.abort();
            }
            std::mem::take(&mut state.all)
        };
        let peers = self.peers();
        for peer in &peers {
            peer.close(Close::BehindBatch);
        }
        let writers = async {
            while peers.iter().any(|peer| peer.has_writers()) {
                tokio::time::sleep(STOP_LOOK).await;
            }
        };
        let _ = timeout(self.shared.config.timeouts.stop, writers).await;
        all.abort_all();
        while all.join_next().await.is_some() {}
        // On a task of the transport's, as all reports.
        let shared = self.shared.clone();
        let _ = self.tasks.runtime.spawn(async move { shared.report() }).await;
    }

    fn peers(&self) -> Vec<Arc<Peer>> {
        self.shared.peers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows a peer: whether its streams are open, how full their queues are, what went over them
    /// and what was dropped.
    #[must_use]
    pub fn peer(&self, peer: MemberId) -> Option<PeerStats> {
        self.shared.peer(peer).map(|peer| peer.stats())
    }

    /// Shows all peers.
    #[must_use]
    pub fn stats(&self) -> Vec<PeerStats> {
        self.peers().iter().map(|peer| peer.stats()).collect()
    }
}

impl<M: RaftMessage> Transport<M> {
    /// Queues `message` for the member it names.
    ///
    /// Never blocks, and allocates nothing once queues have grown to their usual size. It encodes at
    /// once: the message may be dropped or changed afterwards, but for payloads of 1 KiB and more,
    /// which are referred to until they are written. What cannot be queued is dropped and reported
    /// to [`Raft::unreachable`], later and not from here. A message to nobody, to this member or to
    /// one that is no peer is dropped without a report, as in etcd.
    ///
    /// # When it leaves
    ///
    /// When the writer of its stream has its turn. Who sends to several peers and then blocks the
    /// thread, in an fsync perhaps, wants that turn to come first. So it does for a task spawned on the
    /// transport's own runtime of one thread, as [`Driver`](super::Driver)'s is, if all that sends is
    /// there: a task that sent, and yields once (wakes itself and returns `Pending`, or awaits
    /// `tokio::task::yield_now`), runs again when each writer it woke has written, for the writers
    /// stand before it. By then the socket was handed up to four batches of each stream, a batch
    /// being 1 MiB, or 256 KiB of what may be large on the `message` stream; a socket without room
    /// takes the rest when it has some. It does not hold for the future given to `block_on`, on a
    /// runtime of several threads, nor for a writer that another thread's `send` has woken and that
    /// has not run since.
    #[inline]
    pub fn send(&self, message: &M) {
        self.shared.send(message);
    }
}

/// How often a stop looks whether writers are done.
const STOP_LOOK: Duration = Duration::from_millis(2);

const MESSAGE_BYTES_MAX: u64 = 2 << 30;

/// The longest dialect's is 30.
const HEARTBEAT_BYTES: u64 = 64;

/// Linux takes no more than 32767 s.
const KEEPALIVE_MAX: Duration = Duration::from_secs(9 * 3600);

/// About what etcd's own requests take.
const HEAD_BYTES_MIN: usize = 512;
const HEADERS_MIN: usize = 8;

/// What is longer than this is a mistake, and might be too long to reckon with.
const DAY: Duration = Duration::from_secs(24 * 3600);

fn check(config: &Config) -> Result<(), TransportError> {
    let refuse = |what| Err(TransportError::Config(what));
    let timeouts = &config.timeouts;
    if config.id.0 == 0 {
        return refuse("the member's id is 0, which is nobody's");
    }
    for (timeout, what) in [
        (timeouts.connect, "the connect timeout is 0"),
        (timeouts.head, "the head timeout is 0"),
        (timeouts.idle, "the idle timeout is 0"),
        (timeouts.read, "the read timeout is 0"),
        (timeouts.write, "the write timeout is 0"),
        (timeouts.heartbeat, "the heartbeat period is 0"),
    ] {
        if timeout.is_zero() {
            return refuse(what);
        }
    }
    if timeouts.heartbeat >= timeouts.read {
        return refuse("link heartbeats are no more frequent than the read timeout");
    }
    if timeouts.heartbeat > DAY {
        return refuse("the heartbeat period is more than a day");
    }
    let keepalive = Duration::from_secs(1)..=KEEPALIVE_MAX;
    if config.socket.keepalive.is_some_and(|idle| !keepalive.contains(&idle)) {
        return refuse("keepalive is not between a second and nine hours");
    }
    let user_timeout = Duration::from_millis(1)..=DAY;
    if config.socket.user_timeout.is_some_and(|timeout| !user_timeout.contains(&timeout)) {
        return refuse("the user timeout is not between a millisecond and a day");
    }
    if config.head.bytes_max < HEAD_BYTES_MIN || config.head.headers_max < HEADERS_MIN {
        return refuse("heads may not even be as long as a request for a stream");
    }
    if config.queue.messages_max == 0 || config.queue.bytes_max == 0 {
        return refuse("a queue holds nothing");
    }
    if config.redial.wait_min.is_zero() {
        return refuse("redialing without a wait");
    }
    if config.redial.wait_min > config.redial.wait_max {
        return refuse("the first wait to redial is longer than the longest");
    }
    let limits = &config.codec.limits;
    if limits.message_bytes_max < HEARTBEAT_BYTES {
        return refuse("messages may not even be as long as a link heartbeat");
    }
    // With a batch in front of it, such a message still fits a chunk's size of 8 digits.
    if limits.frame_bytes_max.max(limits.message_bytes_max) > MESSAGE_BYTES_MAX {
        return refuse("messages may be larger than 2 GiB");
    }
    if config.connections_max == 0 {
        return refuse("no connection is accepted");
    }
    Ok(())
}
