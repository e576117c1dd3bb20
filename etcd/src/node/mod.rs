//! A member with its thread, its transport and its time.
//!
//! ```text
//!   any thread: Node ──requests──▶ Shared ◀──messages── the transport's readers
//!                                     │ one wake-up
//!                 the member's own thread: run, which holds the Member
//!                                     │
//!                          transport's writers, answers
//! ```
//!
//! One thread does all of it: streams, raft, the log's fsync and the state machine. It blocks in the
//! fsync, and what arrives meanwhile is dealt with in one turn after it, with one fsync: that is how
//! writes are grouped, and no other thread has to be woken on the way of a commit. What a leader sends
//! is handed to the sockets before it blocks. Snapshots are written by another thread.

mod inbox;
mod run;
mod shared;

use crate::config::Config;
use crate::disk::Disk;
use crate::kv::{Digest, Request, Value};
use crate::member::{Applied, Member, NodeError, ProposeError, ReadError, Status};
use crate::raft::Change;
use crate::trace::{Recorder, Trace};
use bytes::Bytes;
use inbox::Inbox;
use raftwire::transport::{Driver, MemberId, SocketOptions, TcpDial, Transport};
use shared::{Ask, Shared};
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A member that runs. Cheap to clone; all clones are the same member, which ends when the last one is
/// dropped, or properly with [`stop`](Self::stop).
#[derive(Clone, Debug)]
pub struct Node {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    driver: Driver,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.ask_stop();
    }
}

impl Node {
    /// Starts a member that is reached at `listener`: a new one, or the one whose data the directory
    /// holds.
    ///
    /// # Errors
    ///
    /// See [`NodeError`]: settings that make no sense, what is on disk, no thread.
    #[expect(clippy::disallowed_methods, reason = "ids of requests begin with the time")]
    pub fn start(
        config: Config,
        listener: TcpListener,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, NodeError> {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(unix.as_millis()).unwrap_or_default();
        let mut member = Member::open(config.clone(), &disk, unix_ms)?;
        let recorder = Recorder::default();
        member.set_recorder(recorder.clone());
        let shared = Arc::new(Shared::new(&config, &member, recorder));
        let driver = Driver::start().map_err(NodeError::Thread)?;
        let transport = start_transport(&config, &shared, driver.handle(), listener)
            .map_err(NodeError::Transport)?;
        driver.handle().spawn(run::run(member, shared.clone(), transport, config));
        Ok(Self { running: Arc::new(Running { shared, driver }) })
    }

    fn shared(&self) -> &Shared {
        &self.running.shared
    }

    /// Puts `value` at `key`. It is committed, and applied on this member.
    ///
    /// # Errors
    ///
    /// [`Dropped`](ProposeError::Dropped) and [`TooLarge`](ProposeError::TooLarge) say that it never
    /// happens; of the others the outcome is not known.
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<Applied, ProposeError> {
        self.request(Request::Put { key, value }).await
    }

    /// Removes `key`. It is committed, and applied on this member.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn delete(&self, key: Bytes) -> Result<Applied, ProposeError> {
        self.request(Request::Delete { key }).await
    }

    async fn request(&self, request: Request) -> Result<Applied, ProposeError> {
        let shared = self.shared();
        let (bytes, limit) = (request.bytes(), shared.request_bytes_max);
        if bytes > limit {
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        let result = shared.propose(&request).await.unwrap_or(Err(ProposeError::Stopped));
        if let Ok(applied) = result {
            shared.recorder.answered(applied.index);
        }
        result
    }

    /// Reads `key`, linearizably: whatever was acknowledged anywhere before the call is seen.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<Value>, ReadError> {
        let read = self.shared().ask(|answer| Ask::Read { answer });
        read.await.unwrap_or(Err(ReadError::Stopped))?;
        Ok(self.get_local(key))
    }

    /// Reads what this member has applied of `key`, which may be old.
    #[must_use]
    pub fn get_local(&self, key: &[u8]) -> Option<Value> {
        self.shared().store.read().unwrap_or_else(PoisonError::into_inner).value(key)
    }

    /// Returns how the member stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared().status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a short account of what is applied. It reads all of the state machine.
    ///
    /// # Errors
    ///
    /// [`Stopped`](ReadError::Stopped).
    pub async fn digest(&self) -> Result<Digest, ReadError> {
        self.shared().ask(|answer| Ask::Digest { answer }).await.map_err(|_| ReadError::Stopped)
    }

    /// Changes who is in the cluster. The change is committed, and applied on this member.
    ///
    /// # Errors
    ///
    /// [`Refused`](ProposeError::Refused) where it cannot be; otherwise as [`put`](Self::put).
    pub async fn change(&self, change: Change) -> Result<(), ProposeError> {
        let asked = self.shared().ask(|answer| Ask::Change { change, answer });
        asked.await.unwrap_or(Err(ProposeError::Stopped))
    }

    /// Asks for votes, and returns at once: [`status`](Self::status) says what came of it.
    pub fn campaign(&self) {
        self.shared().tell(Ask::Campaign);
    }

    /// Asks the leader to hand over to `to`, and returns at once.
    pub fn transfer_leader(&self, to: MemberId) {
        self.shared().tell(Ask::Transfer { to });
    }

    /// Returns the runtime of the member's own thread. What runs there asks the member without waking
    /// another thread, and must not block.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.running.driver.handle()
    }

    /// How many fsyncs the log took since the start.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared().syncs()
    }

    /// How many ticks passed since the start.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.shared().ticks.load(Ordering::Relaxed)
    }

    /// Samples the moments of each entry whose index `every` divides; 0: of none, as at the start.
    pub fn sample(&self, every: u64) {
        self.shared().recorder.sample(every);
    }

    /// Takes the moments that were recorded since the last time.
    #[must_use]
    pub fn take_trace(&self) -> Trace {
        self.shared().recorder.take()
    }

    /// How many streams with peers are open, both ways and of both kinds: four with each peer when all
    /// are.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.shared().open_streams()
    }

    /// Ends the member: its streams are closed, and its log written.
    pub async fn stop(&self) {
        self.shared().ask_stop();
        self.ended().await;
    }

    /// Waits until the member ended. `Some`: why it did by itself.
    pub async fn ended(&self) -> Option<Arc<NodeError>> {
        self.shared().ended().await
    }
}

fn start_transport(
    config: &Config,
    shared: &Arc<Shared>,
    runtime: &Handle,
    listener: TcpListener,
) -> Result<Transport<crate::raft::Envelope>, raftwire::transport::TransportError> {
    let mut settings = raftwire::transport::Config::new(config.id, config.cluster);
    settings.codec = settings.codec.dialect(config.dialect);
    settings.polling = config.polling;
    settings.snapshots = raftwire::transport::Snapshots::Stream;
    settings.urls = config
        .members
        .iter()
        .find(|founder| founder.id == config.id)
        .map(|founder| founder.urls.clone())
        .unwrap_or_default();
    let socket: SocketOptions = settings.socket;
    let dial = Arc::new(TcpDial::new(socket, settings.timeouts.connect));
    let raft = Arc::new(Inbox::new(shared.clone()));
    let transport = Transport::start_with(settings, raft, runtime, dial)?;
    transport.serve(listener)?;
    Ok(transport)
}

/// An answer that is waited for.
type Answer<T> = oneshot::Sender<T>;
