//! The embedder's side: what a transport asks of, and tells, the raft above it.

use super::{Dropped, Event, MemberId, StreamKind};
use std::task::{Context, Poll};

/// The raft that a [`Transport`](super::Transport) carries messages for.
///
/// All methods are called on the transport's own tasks, never from within
/// [`send`](super::Transport::send), so they may take locks that are held while sending; and none may
/// block, as every other stream of that thread waits meanwhile. Who computes for long in
/// [`process`](Self::process) hands the message to a queue of their own, and says in
/// [`poll_ready`](Self::poll_ready) when that is full.
///
/// [`send`](super::Transport::send) may be called from within: what is sent while a batch is
/// processed leaves in one write after it. A raft that holds its `Transport` for that purpose is held
/// by it in turn: it ends by [`stop`](super::Transport::stop), not by being dropped.
///
/// # Panics
///
/// A panic in `process`, `processed` or `poll_ready` loses that message and ends its stream
/// ([`Panicked`](super::StreamError::Panicked)), which is dialed again; one in `received` loses what was
/// read, one in `wrote` what is queued behind it. One in `unreachable` loses that
/// report. `is_removed`, `removed` and `event` must not panic: the stream they are called for would
/// not be dialed again.
pub trait Raft<M>: Send + Sync + 'static {
    /// Takes a message from a peer. Messages of one stream come in the order in which they were sent;
    /// between the two streams of a peer there is no order.
    ///
    /// Its `to` is this member, and its type one that members send each other. Its own `from` is what
    /// the peer wrote: another's where it forwards a proposal. After the peer was removed, or the
    /// transport stopped, on a runtime of several threads some that had arrived may still come.
    fn process(&self, from: MemberId, message: M);

    /// Called after the last of the messages that were received together: the place to wake a thread
    /// that takes them from a queue. Nothing by default.
    fn processed(&self, from: MemberId) {
        let _ = from;
    }

    /// Called on a reader's task right after a read of stream `kind` from `from` brought bytes, before
    /// any of them is decoded: the place to take the time at which messages arrived. Of the reads of
    /// that stream before a message is [processed](Self::process), the last is the one that made it
    /// whole; one read may bring many messages, some of which may be processed a turn later, and
    /// nothing else is read of the stream before. Nothing by default.
    fn received(&self, from: MemberId, kind: StreamKind) {
        let _ = (from, kind);
    }

    /// Called on a writer's task right after the socket of stream `kind` to `to` took the last byte of
    /// a batch: the place to take the time at which messages left. `messages` is how many it held: on
    /// `msgapp` the next that were sent, in order; on `message` small ones go before large ones. Link
    /// heartbeats are not told. Taken by the socket does not mean delivered. Nothing by default.
    fn wrote(&self, to: MemberId, kind: StreamKind, messages: usize) {
        let _ = (to, kind, messages);
    }

    /// Whether one more message from `from` is welcome: asked before each. It always is by default. A
    /// stream that is not welcome is not read, which the peer sees as a socket that takes no more;
    /// after [`write`](super::Timeouts::write) it cuts the stream.
    ///
    /// Both streams of a peer ask, each from a task of its own: who answers `Pending` must keep the
    /// wakers of both.
    fn poll_ready(&self, from: MemberId, cx: &mut Context<'_>) -> Poll<()> {
        let _ = (from, cx);
        Poll::Ready(())
    }

    /// Learns that messages were not delivered, once for each class and reason since the last report.
    ///
    /// It is raft's `ReportUnreachable`; for [`Class::Snapshot`](super::Class::Snapshot) raft wants
    /// `ReportSnapshot` with a failure as well, or it waits for the snapshot's arrival.
    fn unreachable(&self, dropped: &Dropped);

    /// Whether `member` was removed from the cluster for good: it is answered 410, and then knows.
    fn is_removed(&self, member: MemberId) -> bool;

    /// Learns that `by` says this member was removed from the cluster for good: once for each of its
    /// streams and addresses, until something else happens there. etcd stops then. The transport goes
    /// on dialing: it may be `by` that is wrong. Nothing by default.
    fn removed(&self, by: MemberId) {
        let _ = by;
    }

    /// Learns what became of a stream: for logs. Nothing by default.
    fn event(&self, event: &Event<'_>) {
        let _ = event;
    }
}
