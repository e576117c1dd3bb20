//! A raft that writes down what a transport tells it, and the messages and requests the tests of the
//! transport use.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use bytes::Bytes;
use raftwire::raftpb::{Entry, Message, MessageType};
use raftwire::transport::{Class, DropReason, Dropped, Event, MemberId, Raft, StreamKind};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// Writes everything down.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Recorded>);

/// What is done with each message.
type Act = Arc<dyn Fn(&Message) + Send + Sync>;

/// What is done at each moment of a batch.
type OnMoment = Arc<dyn Fn(&str) + Send + Sync>;

#[derive(Default)]
struct Recorded {
    messages: Vec<Message>,
    drops: Vec<Dropped>,
    events: Vec<(Instant, String)>,
    removals: Vec<MemberId>,
    removed: HashSet<MemberId>,
    is_busy: bool,
    on_process: Option<Act>,
    moments: Vec<String>,
    on_moment: Option<OnMoment>,
    wakers: Vec<Waker>,
}

impl Recorder {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was received since this was last asked.
    pub(crate) fn messages(&self) -> Vec<Message> {
        std::mem::take(&mut self.recorded().messages)
    }

    /// What was reported as dropped since this was last asked.
    pub(crate) fn drops(&self) -> Vec<(Class, DropReason, u64)> {
        let drops = std::mem::take(&mut self.recorded().drops);
        drops.iter().map(|dropped| (dropped.class, dropped.reason, dropped.count)).collect()
    }

    /// All events whose text contains `what`, and when they were told.
    pub(crate) fn timed_events(&self, what: &str) -> Vec<(Instant, String)> {
        let recorded = self.recorded();
        let contains = |event: &&(Instant, String)| event.1.contains(what);
        recorded.events.iter().filter(contains).cloned().collect()
    }

    /// The same without the times.
    pub(crate) fn events(&self, what: &str) -> Vec<String> {
        self.timed_events(what).into_iter().map(|(_, text)| text).collect()
    }

    /// The same in the order of their texts, where what comes first is chance.
    pub(crate) fn sorted_events(&self, what: &str) -> Vec<String> {
        let mut events = self.events(what);
        events.sort();
        events
    }

    /// Who said that this member was removed, each time.
    pub(crate) fn removals(&self) -> Vec<MemberId> {
        self.recorded().removals.clone()
    }

    /// Says from now on that `member` was removed.
    pub(crate) fn remove(&self, member: MemberId) {
        self.recorded().removed.insert(member);
    }

    /// Does that with each message from now on.
    pub(crate) fn on_process(&self, act: impl Fn(&Message) + Send + Sync + 'static) {
        self.recorded().on_process = Some(Arc::new(act));
    }

    /// The moments of batches since this was last asked.
    pub(crate) fn moments(&self) -> Vec<String> {
        std::mem::take(&mut self.recorded().moments)
    }

    /// Does that at each moment of a batch from now on.
    pub(crate) fn on_moment(&self, act: impl Fn(&str) + Send + Sync + 'static) {
        self.recorded().on_moment = Some(Arc::new(act));
    }

    fn moment(&self, moment: String) {
        let mut recorded = self.recorded();
        let act = recorded.on_moment.clone();
        recorded.moments.push(moment.clone());
        drop(recorded);
        if let Some(act) = act {
            act(&moment);
        }
    }

    /// Says from now on whether messages are not welcome.
    pub(crate) fn be_busy(&self, is_busy: bool) {
        let mut recorded = self.recorded();
        recorded.is_busy = is_busy;
        let wakers = std::mem::take(&mut recorded.wakers);
        drop(recorded);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Raft<Message> for Recorder {
    fn process(&self, from: MemberId, message: Message) {
        self.moment(format!("{:?} {} from {from}", message.message_type, message.index));
        let mut recorded = self.recorded();
        recorded.messages.push(message.clone());
        let act = recorded.on_process.clone();
        drop(recorded);
        if let Some(act) = act {
            act(&message);
        }
    }

    fn processed(&self, from: MemberId) {
        self.moment(format!("processed from {from}"));
    }

    fn received(&self, from: MemberId, kind: StreamKind) {
        self.moment(format!("received {kind} from {from}"));
    }

    fn wrote(&self, to: MemberId, kind: StreamKind, messages: usize) {
        self.moment(format!("wrote {messages} {kind} to {to}"));
    }

    fn poll_ready(&self, _: MemberId, cx: &mut Context<'_>) -> Poll<()> {
        let mut recorded = self.recorded();
        if !recorded.is_busy {
            return Poll::Ready(());
        }
        recorded.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    fn unreachable(&self, dropped: &Dropped) {
        self.recorded().drops.push(*dropped);
    }

    fn is_removed(&self, member: MemberId) -> bool {
        self.recorded().removed.contains(&member)
    }

    fn removed(&self, by: MemberId) {
        self.recorded().removals.push(by);
    }

    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::Opened { peer, kind, direction, .. } => {
                format!("{kind} {direction} {peer} opened")
            }
            Event::Ended { peer, kind, direction, error, .. } => {
                format!("{kind} {direction} {peer} ended: {error:?}")
            }
            Event::Failed { peer, kind, error, .. } => {
                format!("{kind} from {peer} failed: {error:?}")
            }
            Event::Refused { status, reason, .. } => format!("refused {status:?}: {reason}"),
            other => panic!("{other} is not known here"),
        };
        self.recorded().events.push((Instant::now(), text));
    }
}

/// Lets every task run until it waits. Takes a millisecond of virtual time.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A message of term 3 without anything in it.
pub(crate) fn message(message_type: MessageType, from: u64, to: u64) -> Message {
    Message { message_type, from, to, term: 3, ..Message::default() }
}

/// The `MsgApp` of member 1 to 2 behind entry `index`, with entries of these lengths.
pub(crate) fn append(index: u64, lens: &[usize]) -> Message {
    let entries = (index + 1..).zip(lens).map(|(index, &len)| Entry {
        term: 3,
        index,
        data: Some(Bytes::from(vec![index as u8; len])),
        ..Entry::default()
    });
    Message {
        log_term: 3,
        index,
        commit: index,
        entries: entries.collect(),
        ..message(MessageType::APP, 1, 2)
    }
}

/// The request of member `from` of cluster 7 for a stream of member `to`.
pub(crate) fn stream_request(kind: &str, from: u64, to: u64, version: &str) -> String {
    format!(
        "GET /raft/stream/{kind}/{from:x} {version}\r\n\
         Host: member\r\n\
         X-Etcd-Cluster-Id: 7\r\n\
         X-Min-Cluster-Version: 3.0.0\r\n\
         X-Raft-To: {to:x}\r\n\
         X-Server-From: {from:x}\r\n\
         X-Server-Version: 3.6.0\r\n\r\n"
    )
}
