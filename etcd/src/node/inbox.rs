//! What the transport tells: messages, losses and streams, put where the member's loop finds them.

use super::shared::{Received, Shared};
use crate::log::Level;
use crate::raft::Envelope;
use raftwire::transport::{Class, Dropped, Event, MemberId, Raft, StreamKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[derive(Debug)]
pub(super) struct Inbox {
    shared: Arc<Shared>,
}

impl Inbox {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Raft<Envelope> for Inbox {
    fn process(&self, from: MemberId, message: Envelope) {
        if !message.may_come_from(from) {
            let line = format_args!("{from} sent a message that says it is of somebody else");
            self.shared.log.line(Level::Warn, line);
            return;
        }
        let received_ns = match self.shared.recorder.is_on() {
            true => self.shared.recorder.last_received(from),
            false => 0,
        };
        self.shared.receive(Received::Message { message, received_ns });
    }

    fn processed(&self, _from: MemberId) {
        self.shared.wake();
    }

    fn received(&self, from: MemberId, kind: StreamKind) {
        self.shared.recorder.received(from, kind);
    }

    fn wrote(&self, to: MemberId, kind: StreamKind, _messages: usize) {
        self.shared.recorder.wrote(to, kind);
    }

    fn unreachable(&self, dropped: &Dropped) {
        self.shared.log.line(Level::Debug, format_args!("{dropped}"));
        self.shared.receive(match dropped.class {
            Class::Snapshot => Received::SnapshotLost(dropped.peer),
            _ => Received::Unreachable(dropped.peer),
        });
        self.shared.wake();
    }

    fn is_removed(&self, member: MemberId) -> bool {
        self.shared.is_removed(member)
    }

    fn removed(&self, by: MemberId) {
        let line = format_args!("{by} says that this member was removed from the cluster");
        self.shared.log.line(Level::Warn, line);
        self.shared.receive(Received::Removed);
        self.shared.wake();
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Opened { .. } => {
                self.shared.open_streams.fetch_add(1, Ordering::Relaxed);
            }
            Event::Ended { .. } => {
                self.shared.open_streams.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
        self.shared.log.line(Level::Info, format_args!("{event}"));
    }
}
