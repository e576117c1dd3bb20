//! The embedder's side: what a transport asks of, and tells, the raft above it.

use super::{Dropped, Event, MemberId};
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
/// processed leaves in one write after it.
pub trait Raft<M>: Send + Sync + 'static {
    /// Takes a message from a peer. Messages of one stream come in the order in which they were sent;
    /// between the two streams of a peer there is no order.
    ///
    /// Its `to` is this member, and its type one that members send each other; its `from` is what the
    /// peer says.
    fn process(&self, message: M);

    /// Called after the last of the messages that were received together: the place to wake a thread
    /// that takes them from a queue. Nothing by default.
    fn processed(&self, from: MemberId) {
        let _ = from;
    }

    /// Whether more messages from `from` are welcome; they always are by default. A stream that is
    /// not welcome is not read, which the peer sees as a socket that takes no more; after
    /// [`write`](super::Timeouts::write) it cuts the stream.
    fn poll_ready(&self, from: MemberId, cx: &mut Context<'_>) -> Poll<()> {
        let _ = (from, cx);
        Poll::Ready(())
    }

    /// Learns that messages were not delivered: raft's `ReportUnreachable`. Once for each class and
    /// reason since the last report.
    fn unreachable(&self, dropped: &Dropped);

    /// Whether `member` was removed from the cluster for good: it is answered 410, and then knows.
    fn is_removed(&self, member: MemberId) -> bool;

    /// Learns that `by` says this member was removed from the cluster for good. etcd stops then. The
    /// transport goes on dialing: it may be `by` that is wrong. Nothing by default.
    fn removed(&self, by: MemberId) {
        let _ = by;
    }

    /// Learns what became of a stream: for logs. Nothing by default.
    fn event(&self, event: &Event<'_>) {
        let _ = event;
    }
}
