//! The task that writes a stream to the connection its peer dialed.
//!
//! It takes whatever waits as one batch and hands it to the socket whole, in one `write`, or one
//! `writev` where payloads are referred to; while the socket takes it more is queued. No timer is
//! waited for. Ticks send link heartbeats and see whether the socket still takes bytes.

use super::batch::{BATCH_SLICES_MAX, Batch, Form};
use super::outgoing::{Outgoing, Take, Taken};
use super::{Stall, ticks};
use crate::buf::WriteQueue;
use crate::http::LAST_CHUNK;
use crate::transport::{BoxSocket, StreamError, Timeouts, Traffic};
use bytes::Buf;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior};

/// How many slices one call is given, which is as many as the system takes. The array lies on the
/// stack, 16 bytes each.
const SLICES_PER_CALL: usize = 1024;
const _: () = assert!(BATCH_SLICES_MAX < SLICES_PER_CALL, "a full batch fits one call");

/// Most batches have no more than this: a smaller array is filled sooner.
const FEW_SLICES: usize = 32;

/// How many calls a writer makes before others of its thread have their turn.
const CALLS_PER_TURN: u32 = 4;

/// A connection that is attached to a stream.
pub(crate) struct Attached<'a> {
    socket: BoxSocket,
    outgoing: &'a Outgoing,
    traffic: &'a Traffic,
    /// Is told how many messages were written, with each batch.
    wrote: &'a (dyn Fn(usize) + Sync),
    number: u64,
    form: Form,
    /// What is being written.
    current: Option<Taken>,
    /// Some of it was.
    has_begun: bool,
    /// The socket may hold back what it took.
    is_unflushed: bool,
    heartbeats: Interval,
    deadline: Interval,
    stall: Stall,
    write_timeout: Duration,
}

impl<'a> Attached<'a> {
    /// Makes the connection behind `socket` the stream's, in place of the one before. `None`: the
    /// stream was closed.
    pub(crate) fn new(
        socket: BoxSocket,
        outgoing: &'a Outgoing,
        traffic: &'a Traffic,
        timeouts: &Timeouts,
        chunked: bool,
        wrote: &'a (dyn Fn(usize) + Sync),
    ) -> Option<Self> {
        let first = tokio::time::Instant::now() + timeouts.heartbeat;
        let mut heartbeats = tokio::time::interval_at(first, timeouts.heartbeat);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let form = Form { chunked, vectored: socket.is_write_vectored() };
        Some(Self {
            number: outgoing.attach(form)?,
            socket,
            outgoing,
            traffic,
            wrote,
            form,
            current: None,
            has_begun: false,
            is_unflushed: false,
            heartbeats,
            deadline: ticks(timeouts.write),
            stall: Stall::default(),
            write_timeout: timeouts.write,
        })
    }

    /// Which of the stream's connections it is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Writes until the connection fails, or is no longer the stream's.
    pub(crate) async fn run(&mut self) -> StreamError {
        let error = std::future::poll_fn(|cx| {
            // What the embedder's code panics of costs this connection, and is told.
            catch_unwind(AssertUnwindSafe(|| self.poll(cx)))
                .unwrap_or(Poll::Ready(StreamError::Panicked))
        })
        .await;
        if matches!(error, StreamError::Replaced | StreamError::Stopped) && !self.has_begun {
            // The reader sees a proper end if there is room for it, and a cut if there is not.
            std::future::poll_fn(|cx| {
                let mut socket = Pin::new(&mut self.socket);
                if self.form.chunked {
                    let _ = socket.as_mut().poll_write(cx, LAST_CHUNK);
                }
                let _ = socket.poll_shutdown(cx);
                Poll::Ready(())
            })
            .await;
        }
        error
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        if !self.outgoing.is_current(self.number) {
            // A stop waits for the rest of a batch. A stream that is replaced, or whose peer is
            // removed, ends at once, though its peer may take nothing.
            if !self.has_begun || !self.outgoing.ends_behind_batch() {
                return Poll::Ready(self.outgoing.why_ended());
            }
        }
        if let Poll::Ready(gone) = self.poll_peer(cx) {
            return Poll::Ready(gone);
        }
        while self.heartbeats.poll_tick(cx).is_ready() {
            if self.current.is_none() {
                self.current = self.outgoing.heartbeat(self.number);
            }
        }
        while self.deadline.poll_tick(cx).is_ready() {
            if self.current.is_none() && !self.is_unflushed {
                self.stall.moved();
            } else if self.stall.tick() {
                return Poll::Ready(StreamError::WriteTimeout(self.write_timeout));
            }
        }
        match ready!(self.poll_batches(cx)) {
            Ok(ended) => Poll::Ready(ended),
            Err(error) => Poll::Ready(StreamError::Io(error)),
        }
    }

    /// Writes what waits, batch by batch.
    fn poll_batches(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<StreamError>> {
        let mut written = None;
        let mut calls = 0;
        loop {
            if let Some(Taken { batch, .. }) = &mut self.current {
                if calls == CALLS_PER_TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                calls += 1;
                match ready!(poll_write(&mut self.socket, batch, cx))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    bytes => {
                        batch.queue().advance(bytes);
                        self.traffic.wrote(bytes);
                        self.stall.moved();
                        self.is_unflushed = true;
                        self.has_begun = !batch.queue().is_empty();
                    }
                }
                if self.has_begun {
                    continue;
                }
                let messages = batch.counts().total();
                written = self.current.take();
                if messages > 0 {
                    self.traffic.wrote_messages(messages);
                    (self.wrote)(messages);
                }
            }
            match self.outgoing.take(self.number, written.take(), cx.waker()) {
                Take::Batch(taken) => self.current = Some(taken),
                Take::Nothing if self.is_unflushed => {
                    ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
                    self.is_unflushed = false;
                    self.stall.moved();
                    return Poll::Pending;
                }
                Take::Nothing => return Poll::Pending,
                Take::Ended => return Poll::Ready(Ok(self.outgoing.why_ended())),
            }
        }
    }

    /// The peer only reads: whatever comes from it ends the stream.
    fn poll_peer(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        let mut room = [0; 1];
        let mut room = ReadBuf::new(&mut room);
        Poll::Ready(match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room)) {
            Ok(()) if room.filled().is_empty() => StreamError::Closed,
            Ok(()) => StreamError::UnexpectedBytes,
            Err(error) => StreamError::Io(error),
        })
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        // However it ended: the task may be cut.
        self.outgoing.end(self.number, self.current.take());
        self.outgoing.writer_ended();
    }
}

/// Hands what is left of a batch to the socket.
fn poll_write(
    socket: &mut BoxSocket,
    batch: &mut Batch,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let queue = batch.queue();
    match queue.slice_count() {
        1 => Pin::new(socket).poll_write(cx, queue.chunk()),
        2..=FEW_SLICES => poll_write_slices::<FEW_SLICES>(socket, queue, cx),
        _ => poll_write_slices::<SLICES_PER_CALL>(socket, queue, cx),
    }
}

fn poll_write_slices<const MAX: usize>(
    socket: &mut BoxSocket,
    queue: &WriteQueue,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); MAX];
    let filled = queue.chunks_vectored(&mut slices);
    Pin::new(socket).poll_write_vectored(cx, &slices[..filled])
}

/// Writes `bytes`, all of them: a head.
pub(crate) async fn write_all(socket: &mut BoxSocket, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(bytes).await?;
    socket.flush().await
}
