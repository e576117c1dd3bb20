//! The sending half of a stream: `send` encodes into batches here, and the writer of the connection
//! that is attached takes them. Not here: sockets.
//!
//! Frames are encoded by whoever sends, under the lock of the stream: a message is looked at while it
//! is in the sender's cache, need not be kept, and what waits is known to the byte. On the message
//! stream two lanes keep a proposal of megabytes from delaying heartbeats; each lane is in order.
//!
//! A connection has its own encoder, so what was queued for one is of no use to the next: it is
//! dropped, and counted.

use super::batch::Batch;
use crate::buf::WriteQueue;
use crate::codec::{self, message, msgappv2};
use crate::error::EncodeError;
use crate::raftpb::{Message, MessageType, RaftMessage};
use crate::transport::drops::{DropReason, Ledger};
use crate::transport::{Class, QueueLevel, QueueLimits, StreamError, StreamKind};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// How many unused batches are kept however idle the stream is.
const SPARE_MIN: usize = 8;

#[derive(Debug)]
enum Encoder {
    MsgApp(msgappv2::Encoder),
    Message(message::Encoder),
}

impl Encoder {
    fn new(kind: StreamKind, config: &codec::Config) -> Self {
        match kind {
            StreamKind::MsgApp => Self::MsgApp(msgappv2::Encoder::new(config.clone())),
            StreamKind::Message => Self::Message(message::Encoder::new(config.clone())),
        }
    }

    #[inline]
    fn encode<M: RaftMessage>(
        &mut self,
        message: &M,
        queue: &mut WriteQueue,
    ) -> Result<(), EncodeError> {
        match self {
            Self::MsgApp(encoder) => encoder.encode(message, queue).map(drop),
            Self::Message(encoder) => encoder.encode(message, queue).map(drop),
        }
    }
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotQueued {
    NoStream,
    Full,
    Refused(EncodeError),
}

/// The connection that is attached.
#[derive(Debug)]
struct Connected {
    /// Counts the connections of this stream.
    number: u64,
    encoder: Encoder,
    chunked: bool,
    /// Of the writer.
    waker: Option<Waker>,
    /// The writer waits for something to write.
    is_idle: bool,
}

#[derive(Debug, Default)]
struct State {
    connected: Option<Connected>,
    /// How many connections there were.
    connections: u64,
    /// Batches that wait, each but the last full: what goes first, and what may take long.
    lanes: [VecDeque<Batch>; 2],
    level: QueueLevel,
    /// Unused batches, the last the one used last.
    spare: Vec<Batch>,
    /// The fewest spare ones since it was last looked at.
    spare_min: usize,
    /// No connection may be attached any more.
    is_closed: bool,
}

/// The sending half of one stream to one peer.
#[derive(Debug)]
pub(crate) struct Outgoing {
    kind: StreamKind,
    codec: codec::Config,
    limits: QueueLimits,
    ledger: Arc<Ledger>,
    /// How many connections were attached whose writer has not ended.
    writers: AtomicUsize,
    /// The number of the connection that is attached, or 0: to be looked at without the lock.
    current: AtomicU64,
    state: Mutex<State>,
}

/// What a writer does next.
#[derive(Debug)]
pub(crate) enum Take {
    Batch(Batch),
    /// Nothing; its waker is called when there is something.
    Nothing,
    /// The connection is no longer the stream's.
    Ended,
}

impl Outgoing {
    pub(crate) fn new(
        kind: StreamKind,
        codec: codec::Config,
        limits: QueueLimits,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self {
            kind,
            codec,
            limits,
            ledger,
            writers: AtomicUsize::new(0),
            current: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues `message`.
    #[inline]
    pub(crate) fn send<M: RaftMessage>(&self, message: &M, class: Class) -> Result<(), NotQueued> {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(connected) = &mut state.connected else {
            return Err(NotQueued::NoStream);
        };
        // One that is larger than the limit by itself may go when nothing else waits.
        if state.level.messages >= self.limits.messages_max
            || state.level.bytes >= self.limits.bytes_max
        {
            return Err(NotQueued::Full);
        }
        let lane = usize::from(self.kind == StreamKind::Message && class.is_bulk());
        let is_behind = state.lanes[lane].len() > 1;
        let lane = &mut state.lanes[lane];
        if lane.back().is_none_or(Batch::is_full) {
            let mut batch = state.spare.pop().unwrap_or_default();
            state.spare_min = state.spare_min.min(state.spare.len());
            batch.begin(connected.chunked);
            lane.push_back(batch);
        }
        let Some(batch) = lane.back_mut() else {
            return Err(NotQueued::Full);
        };
        let encoder = &mut connected.encoder;
        match batch.put(class, is_behind, |queue| encoder.encode(message, queue)) {
            Ok(bytes) => {
                state.level.messages += 1;
                state.level.bytes += bytes;
            }
            Err(error) => {
                // An empty chunk would be the last one.
                if batch.bytes() == 0
                    && let Some(batch) = lane.pop_back()
                {
                    state.recycle(batch);
                }
                return Err(NotQueued::Refused(error));
            }
        }
        let waker = if connected.is_idle { connected.waker.clone() } else { None };
        connected.is_idle = false;
        drop(guard);
        wake(waker);
        Ok(())
    }

    /// Makes a connection the stream's; one that is attached is told to end. `None`: the stream was
    /// closed.
    pub(crate) fn attach(&self, chunked: bool) -> Option<u64> {
        let mut state = self.state();
        if state.is_closed {
            return None;
        }
        let replaced = self.detach(&mut state);
        state.connections += 1;
        self.writers.fetch_add(1, Ordering::Relaxed);
        let number = state.connections;
        let encoder = Encoder::new(self.kind, &self.codec);
        state.connected = Some(Connected { number, encoder, chunked, waker: None, is_idle: false });
        self.current.store(number, Ordering::Release);
        drop(state);
        wake(replaced);
        Some(number)
    }

    /// Ends the stream for good.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let waker = self.detach(&mut state);
        drop(state);
        wake(waker);
    }

    /// Ends connection `number`, if it is still the stream's. `current` is what its writer was
    /// writing.
    pub(crate) fn end(&self, number: u64, current: Option<Batch>) {
        let mut state = self.state();
        if state.connected.as_ref().is_some_and(|connected| connected.number == number) {
            self.detach(&mut state);
        }
        if let Some(batch) = current {
            self.ledger.add_all(batch.counts(), DropReason::StreamClosed);
            state.recycle(batch);
        }
    }

    /// Drops what is queued, and counts it.
    fn detach(&self, state: &mut State) -> Option<Waker> {
        let connected = state.connected.take()?;
        self.current.store(0, Ordering::Release);
        for lane in 0..state.lanes.len() {
            while let Some(batch) = state.lanes[lane].pop_front() {
                self.ledger.add_all(batch.counts(), DropReason::StreamClosed);
                state.recycle(batch);
            }
        }
        state.level = QueueLevel::default();
        connected.waker
    }

    /// Gives the writer of connection `number` its next batch, and takes back the one it wrote.
    /// `waker` is called when there is another.
    pub(crate) fn take(&self, number: u64, written: Option<Batch>, waker: &Waker) -> Take {
        let mut guard = self.state();
        let state = &mut *guard;
        let connected = state.connected.as_mut().filter(|connected| connected.number == number);
        let Some(connected) = connected else {
            if let Some(batch) = written {
                state.recycle(batch);
            }
            return Take::Ended;
        };
        let next = state.lanes.iter_mut().find_map(VecDeque::pop_front);
        connected.is_idle = next.is_none();
        if !connected.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            connected.waker = Some(waker.clone());
        }
        if let Some(batch) = written {
            state.level.messages -= batch.counts().total();
            state.level.bytes -= batch.bytes();
            state.recycle(batch);
        }
        match next {
            Some(mut batch) => {
                batch.seal();
                Take::Batch(batch)
            }
            None => Take::Nothing,
        }
    }

    /// Makes a batch of one link heartbeat, unless something else is to be written: to be called at
    /// every tick.
    pub(crate) fn heartbeat(&self, number: u64) -> Option<Batch> {
        let mut guard = self.state();
        let state = &mut *guard;
        // Batches that were never needed since the last tick are given back.
        let unused = state.spare_min.saturating_sub(SPARE_MIN);
        state.spare.drain(..unused.min(state.spare.len()));
        state.spare_min = state.spare.len();
        let connected = state.connected.as_mut().filter(|connected| connected.number == number)?;
        if state.lanes.iter().any(|lane| !lane.is_empty()) {
            return None;
        }
        let mut batch = state.spare.pop().unwrap_or_default();
        batch.begin(connected.chunked);
        let encoder = &mut connected.encoder;
        batch.put_heartbeat(|queue| {
            let heartbeat = Message { message_type: MessageType::HEARTBEAT, ..Message::default() };
            // Refused where messages may be a few bytes only.
            let _ = encoder.encode(&heartbeat, queue);
        });
        if batch.bytes() == 0 {
            state.recycle(batch);
            return None;
        }
        state.level.bytes += batch.bytes();
        batch.seal();
        Some(batch)
    }

    /// Why a connection is no longer the stream's, if it did not end by itself.
    pub(crate) fn why_ended(&self) -> StreamError {
        if self.state().is_closed { StreamError::Stopped } else { StreamError::Replaced }
    }

    /// How much waits, with what is being written.
    pub(crate) fn level(&self) -> QueueLevel {
        self.state().level
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.current.load(Ordering::Acquire) != 0
    }

    pub(crate) fn has_writer(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    /// To be called when a writer is done with its connection.
    pub(crate) fn writer_ended(&self) {
        self.writers.fetch_sub(1, Ordering::Release);
    }

    /// Whether connection `number` is still the stream's.
    pub(crate) fn is_current(&self, number: u64) -> bool {
        self.current.load(Ordering::Acquire) == number
    }
}

impl State {
    fn recycle(&mut self, mut batch: Batch) {
        // Its payloads are let go of now.
        batch.queue().clear();
        self.spare.push(batch);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
