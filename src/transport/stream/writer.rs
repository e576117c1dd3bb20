//! The task that writes a stream to the connection its peer dialed.
//!
//! It takes whatever waits as one batch and hands it to the socket whole, in one `write`, or one
//! `writev` where payloads are referred to; while the socket takes it more is queued. No timer is
//! waited for. Ticks send link heartbeats and see whether the socket still takes bytes.

use super::batch::{BATCH_SLICES_MAX, Batch};
use super::outgoing::{Outgoing, Take};
use super::{Stall, ticks};
use crate::http::LAST_CHUNK;
use crate::transport::{BoxSocket, StreamError, Timeouts, Traffic};
use bytes::Buf;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior};

/// How many slices one call is given. The array lies on the stack, 16 bytes each; a batch of more
/// takes further calls.
const SLICES_PER_CALL: usize = 512;
const _: () = assert!(SLICES_PER_CALL < BATCH_SLICES_MAX, "a batch fits two calls at most");

/// How many calls a writer makes before others of its thread have their turn.
const CALLS_PER_TURN: u32 = 4;

/// A connection that is attached to a stream.
pub(crate) struct Attached<'a> {
    socket: BoxSocket,
    outgoing: &'a Outgoing,
    traffic: &'a Traffic,
    number: u64,
    chunked: bool,
    /// What is being written.
    current: Option<Batch>,
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
    ) -> Option<Self> {
        let first = tokio::time::Instant::now() + timeouts.heartbeat;
        let mut heartbeats = tokio::time::interval_at(first, timeouts.heartbeat);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self {
            number: outgoing.attach(chunked)?,
            socket,
            outgoing,
            traffic,
            chunked,
            current: None,
            heartbeats,
            deadline: ticks(timeouts.write),
            stall: Stall::default(),
            write_timeout: timeouts.write,
        })
    }

    /// Writes until the connection fails, or is no longer the stream's.
    pub(crate) async fn run(&mut self) -> StreamError {
        let error = std::future::poll_fn(|cx| self.poll(cx)).await;
        let current = self.current.take();
        let is_between_chunks = current.is_none() && self.chunked;
        self.outgoing.end(self.number, current);
        if matches!(error, StreamError::Replaced | StreamError::Stopped) && is_between_chunks {
            // The reader sees a proper end if there is room for it, and a cut if there is not.
            let _ = std::future::poll_fn(|cx| {
                Poll::Ready(Pin::new(&mut self.socket).poll_write(cx, LAST_CHUNK).is_ready())
            })
            .await;
        }
        error
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        // A connection that is replaced while its peer takes nothing ends all the same.
        if !self.outgoing.is_current(self.number) {
            return Poll::Ready(self.outgoing.why_ended());
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
            if self.current.is_none() {
                self.stall.moved();
            } else if self.stall.tick() {
                return Poll::Ready(StreamError::WriteTimeout(self.write_timeout));
            }
        }
        let mut written = None;
        let mut calls = 0;
        loop {
            if let Some(batch) = &mut self.current {
                if calls == CALLS_PER_TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                calls += 1;
                let result = ready!(poll_write(&mut self.socket, batch, cx));
                match result {
                    Ok(0) => return Poll::Ready(StreamError::Io(io::ErrorKind::WriteZero.into())),
                    Ok(bytes) => {
                        batch.queue().advance(bytes);
                        self.traffic.wrote(bytes);
                        self.stall.moved();
                    }
                    Err(error) => return Poll::Ready(StreamError::Io(error)),
                }
                if !batch.queue().is_empty() {
                    continue;
                }
                self.traffic.wrote_messages(batch.counts().total());
                written = self.current.take();
            }
            match self.outgoing.take(self.number, written.take(), cx.waker()) {
                Take::Batch(batch) => self.current = Some(batch),
                Take::Nothing => return Poll::Pending,
                Take::Ended => return Poll::Ready(self.outgoing.why_ended()),
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
        // The task may be cut.
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
    let socket = Pin::new(socket);
    if queue.slice_count() == 1 || !socket.is_write_vectored() {
        return socket.poll_write(cx, queue.chunk());
    }
    let mut slices = [IoSlice::new(&[]); SLICES_PER_CALL];
    let filled = queue.chunks_vectored(&mut slices);
    socket.poll_write_vectored(cx, &slices[..filled])
}

/// Writes `bytes`, all of them: a head.
pub(crate) async fn write_all(socket: &mut BoxSocket, bytes: &[u8]) -> io::Result<()> {
    tokio::io::AsyncWriteExt::write_all(socket, bytes).await
}
