//! What went over a stream, counted; and what is shown of a peer.

use super::{MemberId, StreamKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The counters of one stream of a peer, both ways.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    incoming_open: AtomicBool,
    incoming_connections: AtomicU64,
    write_calls: AtomicU64,
    written_bytes: AtomicU64,
    written_messages: AtomicU64,
    read_calls: AtomicU64,
    read_bytes: AtomicU64,
    received_messages: AtomicU64,
    rejected_messages: AtomicU64,
    deviating_messages: AtomicU64,
}

impl Traffic {
    /// The stream from the peer is open until the guard is dropped. Returns which it is, counted
    /// from 1.
    pub(crate) fn open_incoming(&self) -> (u64, impl Drop) {
        struct Open<'a>(&'a AtomicBool);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        self.incoming_open.store(true, Ordering::Relaxed);
        let connections = self.incoming_connections.fetch_add(1, Ordering::Relaxed) + 1;
        (connections, Open(&self.incoming_open))
    }

    pub(crate) fn wrote(&self, bytes: usize) {
        self.write_calls.fetch_add(1, Ordering::Relaxed);
        self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn wrote_messages(&self, messages: usize) {
        self.written_messages.fetch_add(messages as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.read_calls.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received_messages(&self, messages: u32) {
        self.received_messages.fetch_add(u64::from(messages), Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self) {
        self.rejected_messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn deviated(&self) {
        self.deviating_messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self, kind: StreamKind, queue: QueueLevel, outgoing: bool) -> StreamStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StreamStats {
            kind,
            is_incoming_open: self.incoming_open.load(Ordering::Relaxed),
            is_outgoing_open: outgoing,
            queue,
            write_calls: load(&self.write_calls),
            written_bytes: load(&self.written_bytes),
            written_messages: load(&self.written_messages),
            read_calls: load(&self.read_calls),
            read_bytes: load(&self.read_bytes),
            received_messages: load(&self.received_messages),
            rejected_messages: load(&self.rejected_messages),
            deviating_messages: load(&self.deviating_messages),
        }
    }
}

/// How much waits to be written to a stream, with what is being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueLevel {
    /// Messages.
    pub messages: usize,
    /// Bytes of their frames.
    pub bytes: usize,
}

/// A look at one of a peer's two streams. The counters run since the peer was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Which.
    pub kind: StreamKind,
    /// Whether the stream from the peer is open.
    pub is_incoming_open: bool,
    /// Whether the stream to the peer is open.
    pub is_outgoing_open: bool,
    /// What waits to be written.
    pub queue: QueueLevel,
    /// Writes the socket took something of.
    pub write_calls: u64,
    /// Bytes written, HTTP's framing included.
    pub written_bytes: u64,
    /// Messages written whole, without link heartbeats.
    pub written_messages: u64,
    /// Reads that gave something.
    pub read_calls: u64,
    /// Bytes read, HTTP's framing included.
    pub read_bytes: u64,
    /// Messages given to the raft.
    pub received_messages: u64,
    /// Messages received and not given to the raft: for another member, or of a type no member may
    /// send.
    pub rejected_messages: u64,
    /// Messages in frames that strict mode would have refused; none in that mode.
    pub deviating_messages: u64,
}

/// A look at a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// Which.
    pub id: MemberId,
    /// Its streams: `msgapp`, `message`.
    pub streams: [StreamStats; 2],
    /// Messages to it that were dropped.
    pub dropped_messages: u64,
}

impl PeerStats {
    /// Returns one of its streams.
    #[must_use]
    pub fn stream(&self, kind: StreamKind) -> &StreamStats {
        &self.streams[kind as usize]
    }

    /// Whether any of its streams is open, either way.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.streams.iter().any(|stream| stream.is_incoming_open || stream.is_outgoing_open)
    }
}
