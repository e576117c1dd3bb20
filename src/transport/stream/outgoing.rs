//! The sending half of a stream: `send` encodes into batches here, and the writer of the connection
//! that is attached takes them. Not here: sockets.
//!
//! Frames are encoded by whoever sends, under the lock of the stream: a message is looked at while it
//! is in the sender's cache, need not be kept, and what waits is known to the byte. On the message
//! stream two lanes keep a proposal of megabytes from delaying heartbeats; each lane is in order.
//!
//! A connection has its own encoder, so what was queued for one is of no use to the next: it is
//! dropped, and counted.

use super::batch::{BATCH_BYTES_MAX, BULK_BYTES_MAX, Batch, Form};
use crate::buf::WriteQueue;
use crate::codec::{self, message, msgappv2};
use crate::error::EncodeError;
use crate::raftpb::{Message, MessageType, RaftMessage};
use crate::transport::drops::{DropReason, Ledger};
use crate::transport::{Class, QueueLevel, QueueLimits, StreamError, StreamKind};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

/// How many unused batches are kept while a stream is used: as many as a window of 32 MiB takes.
const SPARE_MIN: usize = 32;

/// And how many when it is idle, or has ended.
const SPARE_ENDED: usize = 2;

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

    /// What [`restore`](Self::restore) goes back to.
    #[inline]
    fn state(&self) -> Option<msgappv2::State> {
        match self {
            Self::MsgApp(encoder) => Some(encoder.state()),
            Self::Message(_) => None,
        }
    }

    fn restore(&mut self, state: Option<msgappv2::State>) {
        if let (Self::MsgApp(encoder), Some(state)) = (self, state) {
            encoder.restore(state);
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
    form: Form,
    /// Of the writer.
    waker: Option<Waker>,
    /// The writer waits for something to write.
    is_idle: bool,
}

/// Batches that wait, each but the last full.
#[derive(Debug, Default)]
struct Lane {
    batches: VecDeque<Batch>,
    /// Of them, and of what is being written.
    level: QueueLevel,
}

/// Which lane: what goes first, and what may take long.
const URGENT: usize = 0;
const BULK: usize = 1;

/// How many urgent batches go before one of the other lane. Votes and heartbeats are a trickle; only a
/// link that cannot even take those makes this matter.
const URGENT_IN_A_ROW: u32 = 8;

#[derive(Debug, Default)]
struct State {
    connected: Option<Connected>,
    /// How many connections there were.
    connections: u64,
    lanes: [Lane; 2],
    urgent_in_a_row: u32,
    /// Unused batches, the last the one used last.
    spare: Vec<Batch>,
    /// The fewest spare ones since it was last looked at.
    spare_min: usize,
    /// No connection may be attached any more.
    closed: Option<Close>,
}

/// When a stream that is closed ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    AtOnce,
    /// When the batch that is being written is.
    BehindBatch,
}

/// A batch, and which lane it is of.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) batch: Batch,
    lane: usize,
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
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned to")]
pub(crate) enum Take {
    Batch(Taken),
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
        self.state.lock().unwrap_or_else(|poisoned| {
            // A message of the embedder's own type panicked while it was encoded. What is queued of
            // its frame must not be written.
            self.state.clear_poison();
            let mut state = poisoned.into_inner();
            wake(self.detach(&mut state));
            state
        })
    }

    /// Queues `message`.
    #[inline]
    pub(crate) fn send<M: RaftMessage>(&self, message: &M, class: Class) -> Result<(), NotQueued> {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(connected) = &mut state.connected else {
            return Err(NotQueued::NoStream);
        };
        let number = match self.kind {
            StreamKind::Message if class.is_bulk() => BULK,
            _ => URGENT,
        };
        let lane = &mut state.lanes[number];
        let level = lane.level;
        if level.messages >= self.limits.messages_max || level.bytes >= self.limits.bytes_max {
            return Err(NotQueued::Full);
        }
        let is_behind = lane.batches.len() > 1;
        if lane.batches.back().is_none_or(Batch::is_full) {
            let mut batch = state.spare.pop().unwrap_or_default();
            state.spare_min = state.spare_min.min(state.spare.len());
            batch.begin(
                connected.form,
                if number == BULK { BULK_BYTES_MAX } else { BATCH_BYTES_MAX },
            );
            lane.batches.push_back(batch);
        }
        let Some(batch) = lane.batches.back_mut() else {
            return Err(NotQueued::Full);
        };
        let encoder = &mut connected.encoder;
        let (mark, before) = (batch.mark(), encoder.state());
        let queued = match batch.put(is_behind, |queue| encoder.encode(message, queue)) {
            // One that is larger than the limit by itself may go when nothing else waits.
            Ok(bytes) if level.messages > 0 && level.bytes + bytes > self.limits.bytes_max => {
                batch.rollback(mark);
                encoder.restore(before);
                Err(NotQueued::Full)
            }
            Ok(bytes) => {
                batch.keep(class, bytes);
                lane.level.messages += 1;
                lane.level.bytes += bytes;
                Ok(())
            }
            Err(error) => Err(NotQueued::Refused(error)),
        };
        if queued.is_err() {
            // An empty chunk would be the last one.
            if batch.bytes() == 0
                && let Some(batch) = lane.batches.pop_back()
            {
                recycle(&mut state.spare, batch);
            }
            return queued;
        }
        let waker = if connected.is_idle { connected.waker.clone() } else { None };
        connected.is_idle = false;
        drop(guard);
        wake(waker);
        Ok(())
    }

    /// Makes a connection the stream's; one that is attached is told to end. `None`: the stream was
    /// closed.
    pub(crate) fn attach(&self, form: Form) -> Option<u64> {
        let mut state = self.state();
        if state.closed.is_some() {
            return None;
        }
        let replaced = self.detach(&mut state);
        state.connections += 1;
        self.writers.fetch_add(1, Ordering::Relaxed);
        let number = state.connections;
        let encoder = Encoder::new(self.kind, &self.codec);
        state.connected = Some(Connected { number, encoder, form, waker: None, is_idle: false });
        self.current.store(number, Ordering::Release);
        drop(state);
        wake(replaced);
        Some(number)
    }

    /// Ends the stream for good.
    pub(crate) fn close(&self, close: Close) {
        let mut state = self.state();
        state.closed = Some(close);
        let waker = self.detach(&mut state);
        drop(state);
        wake(waker);
    }

    /// Ends connection `number`, if it is still the stream's. `current` is what its writer was
    /// writing.
    pub(crate) fn end(&self, number: u64, current: Option<Taken>) {
        let mut state = self.state();
        if state.connected.as_ref().is_some_and(|connected| connected.number == number) {
            self.detach(&mut state);
        }
        drop(state);
        if let Some(taken) = current {
            self.ledger.add_all(taken.batch.counts(), DropReason::StreamClosed);
        }
    }

    /// Drops what is queued, and counts it.
    fn detach(&self, state: &mut State) -> Option<Waker> {
        let connected = state.connected.take()?;
        self.current.store(0, Ordering::Release);
        for lane in &mut state.lanes {
            lane.level = QueueLevel::default();
            for batch in lane.batches.drain(..) {
                self.ledger.add_all(batch.counts(), DropReason::StreamClosed);
            }
        }
        // The peer may stay away.
        state.spare.truncate(SPARE_ENDED);
        connected.waker
    }

    /// Gives the writer of connection `number` its next batch, and takes back the one it wrote.
    /// `waker` is called when there is another.
    pub(crate) fn take(&self, number: u64, written: Option<Taken>, waker: &Waker) -> Take {
        let mut guard = self.state();
        let state = &mut *guard;
        let connected = state.connected.as_mut().filter(|connected| connected.number == number);
        let Some(connected) = connected else {
            return Take::Ended;
        };
        if let Some(Taken { batch, lane }) = written {
            let level = &mut state.lanes[lane].level;
            level.messages -= batch.counts().total();
            level.bytes -= batch.bytes();
            recycle(&mut state.spare, batch);
        }
        if !connected.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            connected.waker = Some(waker.clone());
        }
        let first = match state.urgent_in_a_row {
            URGENT_IN_A_ROW.. => BULK,
            _ => URGENT,
        };
        for lane in [first, 1 - first] {
            if let Some(mut batch) = state.lanes[lane].batches.pop_front() {
                state.urgent_in_a_row = if lane == URGENT { state.urgent_in_a_row + 1 } else { 0 };
                connected.is_idle = false;
                drop(guard);
                batch.seal();
                return Take::Batch(Taken { batch, lane });
            }
        }
        state.urgent_in_a_row = 0;
        connected.is_idle = true;
        Take::Nothing
    }

    /// Makes a batch of one link heartbeat, unless something else is to be written: to be called at
    /// every tick.
    pub(crate) fn heartbeat(&self, number: u64) -> Option<Taken> {
        let mut guard = self.state();
        let state = &mut *guard;
        // Batches that were never needed since the last tick are given back.
        let kept = if state.spare_min == state.spare.len() { SPARE_ENDED } else { SPARE_MIN };
        // On an idle stream half of them, each time.
        let unused = state.spare_min.saturating_sub(kept).div_ceil(2);
        state.spare.drain(..unused.min(state.spare.len()));
        state.spare_min = state.spare.len();
        let connected = state.connected.as_mut().filter(|connected| connected.number == number)?;
        if state.lanes.iter().any(|lane| !lane.batches.is_empty()) {
            return None;
        }
        let mut batch = state.spare.pop().unwrap_or_default();
        batch.begin(connected.form, BATCH_BYTES_MAX);
        let encoder = &mut connected.encoder;
        batch.put_heartbeat(|queue| {
            let heartbeat = Message { message_type: MessageType::HEARTBEAT, ..Message::default() };
            // No configuration of a transport has limits that refuse it.
            let _ = encoder.encode(&heartbeat, queue);
        });
        if batch.bytes() == 0 {
            recycle(&mut state.spare, batch);
            return None;
        }
        state.lanes[URGENT].level.bytes += batch.bytes();
        batch.seal();
        Some(Taken { batch, lane: URGENT })
    }

    /// Why a connection is no longer the stream's, if it did not end by itself.
    pub(crate) fn why_ended(&self) -> StreamError {
        match self.state().closed {
            Some(_) => StreamError::Stopped,
            None => StreamError::Replaced,
        }
    }

    /// Whether a connection that is no longer the stream's may finish its batch.
    pub(crate) fn ends_behind_batch(&self) -> bool {
        self.state().closed == Some(Close::BehindBatch)
    }

    /// How much waits, with what is being written.
    pub(crate) fn level(&self) -> QueueLevel {
        let state = self.state();
        let [urgent, bulk] = [URGENT, BULK].map(|lane| state.lanes[lane].level);
        QueueLevel { messages: urgent.messages + bulk.messages, bytes: urgent.bytes + bulk.bytes }
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

/// Keeps a batch's memory, unless one huge message made it grow.
fn recycle(spare: &mut Vec<Batch>, mut batch: Batch) {
    // Its payloads are let go of now.
    batch.queue().clear();
    if batch.is_small() {
        spare.push(batch);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftpb::Entry;
    use bytes::Bytes;

    const FORM: Form = Form { chunked: true, vectored: true };

    fn outgoing() -> Outgoing {
        let ledger = Arc::new(Ledger::default());
        let codec = codec::Config::default();
        Outgoing::new(StreamKind::MsgApp, codec, QueueLimits::default(), ledger)
    }

    fn append(entries: usize, entry_bytes: usize) -> Message {
        let data = Bytes::from(vec![7; entry_bytes]);
        let entry = |number: usize| Entry {
            term: 5,
            index: 11 + number as u64,
            data: Some(data.clone()),
            ..Entry::default()
        };
        Message {
            message_type: MessageType::APP,
            term: 5,
            index: 10,
            entries: (0..entries).map(entry).collect::<Vec<_>>().into(),
            ..Message::default()
        }
    }

    /// Takes all there is, and gives it back written.
    fn write_all(outgoing: &Outgoing, number: u64) {
        let mut written = None;
        while let Take::Batch(taken) = outgoing.take(number, written.take(), Waker::noop()) {
            written = Some(taken);
        }
        outgoing.take(number, written, Waker::noop());
    }

    #[test]
    fn memory_that_one_huge_message_took_is_not_kept() {
        let outgoing = outgoing();
        let number = outgoing.attach(FORM).unwrap();
        for _ in 0..3 {
            for _ in 0..10 {
                outgoing.send(&append(4000, 900), Class::Append).unwrap();
            }
            write_all(&outgoing, number);
            assert_eq!(outgoing.level(), QueueLevel::default());
        }
        assert!(outgoing.state().spare.iter().all(Batch::is_small));
    }

    #[test]
    fn an_idle_stream_gives_its_batches_back() {
        let outgoing = outgoing();
        let number = outgoing.attach(FORM).unwrap();
        for _ in 0..40 {
            outgoing.send(&append(1, 1 << 20), Class::Append).unwrap();
        }
        write_all(&outgoing, number);
        assert!(outgoing.state().spare.len() >= 40);
        for _ in 0..20 {
            let heartbeat = outgoing.heartbeat(number);
            outgoing.take(number, heartbeat, Waker::noop());
        }
        assert!(outgoing.state().spare.len() <= SPARE_ENDED + 1);
        outgoing.close(Close::AtOnce);
        assert!(outgoing.state().spare.len() <= SPARE_ENDED);
    }

    #[test]
    fn a_refused_message_and_one_beyond_the_limit_leave_the_stream_as_it_was() {
        let mut outgoing = outgoing();
        outgoing.limits.bytes_max = 1000;
        outgoing.attach(FORM).unwrap();
        outgoing.send(&append(1, 500), Class::Append).unwrap();
        let level = outgoing.level();
        assert_eq!(outgoing.send(&append(1, 600), Class::Append), Err(NotQueued::Full));
        let heartbeat = Message { message_type: MessageType::VOTE, ..Message::default() };
        let refused = outgoing.send(&heartbeat, Class::Election);
        assert!(matches!(refused, Err(NotQueued::Refused(_))), "{refused:?}");
        assert_eq!(outgoing.level(), level);
    }
}
