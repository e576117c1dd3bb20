//! The task that dials a peer for one of its streams and delivers what comes over it, and dials again
//! when it ends.

use super::{Incoming, Stall, ticks, write_all};
use crate::buf::{ReceiveBuffer, Space};
use crate::http::{HeadLimits, ResponseHead, Step};
use crate::raftpb::RaftMessage;
use crate::transport::class::may_travel;
use crate::transport::dialer::{TEXT_BYTES_MAX, judge, request};
use crate::transport::shared::{Carried, Peer, Shared};
use crate::transport::{
    BoxSocket, Direction, Event, PeerUrl, Raft, StreamError, StreamKind, Traffic,
};
use bytes::{BufMut, Bytes};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, Interval, Sleep, sleep, timeout};

/// How many messages are delivered before what they made the raft send is written.
///
/// Fewer, and a busy link writes smaller batches; more, and its peer idles meanwhile.
const MESSAGES_PER_TURN: u32 = 256;

/// How often a reader without memory looks for some.
const MEMORY_LOOK: Duration = Duration::from_millis(1);

/// Keeps one stream from one peer.
pub(crate) struct Reader<M: RaftMessage> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) kind: StreamKind,
}

impl<M: Carried> Reader<M> {
    /// Dials, delivers, and dials again, until the task is dropped.
    pub(crate) async fn run(self) {
        let redial = self.shared.config.redial;
        let mut wait = Duration::ZERO;
        let mut failing = None;
        loop {
            let url = self.peer.pick();
            let mut opened = None;
            let error = match &url {
                Some(url) => self.stream(url, &mut opened).await,
                None => StreamError::NoUrl,
            };
            let (peer, kind) = (self.peer.id, self.kind);
            if opened.is_some() {
                failing = None;
                let direction = Direction::Incoming;
                self.shared.raft.event(&Event::Ended { peer, kind, direction, error: &error });
            } else {
                if let Some(url) = &url {
                    self.peer.unreachable(url);
                }
                // The same failure again and again is told once.
                let discriminant = std::mem::discriminant(&error);
                if failing.replace(discriminant) != Some(discriminant) {
                    self.shared.raft.event(&Event::Failed { peer, kind, error: &error });
                    if matches!(error, StreamError::Removed) {
                        self.shared.raft.removed(peer);
                    }
                }
            }
            if opened.is_some_and(|opened: Instant| opened.elapsed() >= redial.wait_max) {
                wait = Duration::ZERO;
            }
            if !wait.is_zero() {
                sleep(wait.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
            }
            wait = (2 * wait).clamp(redial.wait_min, redial.wait_max.max(redial.wait_min));
        }
    }

    /// Opens the stream at `url` and delivers until it ends. `opened`: since when it is open.
    async fn stream(&self, url: &PeerUrl, opened: &mut Option<Instant>) -> StreamError {
        let (mut socket, incoming, early) = match self.open(url).await {
            Ok(open) => open,
            Err(error) => return error,
        };
        *opened = Some(Instant::now());
        let (peer, kind, direction) = (self.peer.id, self.kind, Direction::Incoming);
        let traffic = self.peer.traffic(kind);
        let _open = traffic.open_incoming();
        self.shared.raft.event(&Event::Opened { peer, kind, direction });
        let config = &self.shared.config;
        let mut delivery = Delivery {
            socket: &mut socket,
            incoming,
            early: early.into(),
            raft: &*self.shared.raft,
            traffic,
            local: config.id.0,
            from: peer,
            read_timeout: config.timeouts.read,
            deadline: ticks(config.timeouts.read),
            stall: Stall::default(),
            memory: None,
            busy_poll: config.busy_poll,
            idle_since: None,
        };
        std::future::poll_fn(|cx| delivery.poll(cx)).await
    }

    /// Connects, asks for the stream, and reads the answer, and what came with it of the stream.
    async fn open(&self, url: &PeerUrl) -> Result<(BoxSocket, Incoming<M>, Vec<u8>), StreamError> {
        let Shared { config, identity, dial, .. } = &*self.shared;
        let timeouts = &config.timeouts;
        let mut socket = timeout(timeouts.connect, dial.dial(url))
            .await
            .map_err(|_| StreamError::DialTimeout(timeouts.connect))?
            .map_err(StreamError::Dial)?;
        let asking = async {
            let request = request(identity, self.kind, self.peer.id, url);
            write_all(&mut socket, &request).await.map_err(StreamError::Io)?;
            read_answer(&mut socket, &config.head).await
        };
        let (head, mut rest) = timeout(timeouts.head, asking)
            .await
            .map_err(|_| StreamError::DialTimeout(timeouts.head))??;
        let text = match head.status {
            200 => Vec::new(),
            _ => read_text(&mut socket, &head, std::mem::take(&mut rest), timeouts.head).await,
        };
        judge(&head, &text, identity, self.kind)?;
        let codec = config.codec.clone().local(config.id.0).remote(self.peer.id.0);
        let received = ReceiveBuffer::new(config.pool.clone());
        let incoming = Incoming::new(self.kind, codec, head.body("GET")?, received);
        Ok((socket, incoming, rest))
    }
}

/// Reads a response's head, and what came with it of the body.
async fn read_answer(
    socket: &mut BoxSocket,
    limits: &HeadLimits,
) -> Result<(ResponseHead, Vec<u8>), StreamError> {
    let mut bytes = Vec::with_capacity(1 << 10);
    loop {
        match ResponseHead::parse(&bytes, limits)? {
            // An interim answer says nothing.
            Some((head, len)) if (100..200).contains(&head.status) && head.status != 101 => {
                bytes.drain(..len);
                continue;
            }
            Some((head, len)) => {
                bytes.drain(..len);
                return Ok((head, bytes));
            }
            None => {}
        }
        if socket.read_buf(&mut bytes).await.map_err(StreamError::Io)? == 0 {
            return Err(StreamError::HeadTruncated);
        }
    }
}

/// Reads the beginning of a refusal's text: what can be had of it.
async fn read_text(
    socket: &mut BoxSocket,
    head: &ResponseHead,
    mut raw: Vec<u8>,
    within: Duration,
) -> Vec<u8> {
    let mut text = Vec::new();
    let Ok(mut body) = head.body("GET") else {
        return text;
    };
    let reading = async {
        while text.len() < TEXT_BYTES_MAX {
            match body.step(&raw) {
                Ok(Some(Step::Framing(len))) => drop(raw.drain(..len)),
                Ok(Some(Step::Payload(len))) => text.extend(raw.drain(..len)),
                Ok(None) if !body.is_over() => match socket.read_buf(&mut raw).await {
                    Ok(1..) => {}
                    _ => break,
                },
                _ => break,
            }
        }
    };
    let _ = timeout(within, reading).await;
    text
}

/// An open stream, and whom its messages are for.
struct Delivery<'a, M: RaftMessage> {
    socket: &'a mut BoxSocket,
    incoming: Incoming<M>,
    /// What was read with the head, and has still to be received.
    early: Bytes,
    raft: &'a dyn Raft<M>,
    traffic: &'a Traffic,
    local: u64,
    from: crate::transport::MemberId,
    read_timeout: Duration,
    deadline: Interval,
    stall: Stall,
    /// While there is no memory.
    memory: Option<Pin<Box<Sleep>>>,
    busy_poll: Option<Duration>,
    /// Since when there was nothing to read, when polling busily.
    idle_since: Option<Instant>,
}

impl<M: Carried> Delivery<'_, M> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        while self.deadline.poll_tick(cx).is_ready() {
            if self.stall.tick() {
                return Poll::Ready(StreamError::ReadTimeout(self.read_timeout));
            }
        }
        if self.raft.poll_ready(self.from, cx).is_pending() {
            // It is not the peer that is silent.
            self.stall.moved();
            return Poll::Pending;
        }
        let result = match self.deliver() {
            // What it made the raft send is written before more is read.
            Ok(1..) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Ok(0) => ready!(self.poll_read(cx)),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(error) => Poll::Ready(error),
        }
    }

    /// Delivers what was received, up to a turn's worth, and returns how many messages that were.
    fn deliver(&mut self) -> Result<u32, StreamError> {
        let mut delivered = 0;
        let mut frames = 0;
        let result = loop {
            if frames == MESSAGES_PER_TURN {
                break Ok(());
            }
            match self.incoming.next() {
                Ok(Some(frame)) => {
                    frames += 1;
                    let head = frame.message.head();
                    if head.is_link_heartbeat() {
                        continue;
                    }
                    if head.to != self.local || !may_travel(head.message_type) {
                        self.traffic.rejected();
                        continue;
                    }
                    delivered += 1;
                    self.raft.process(frame.message);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if delivered > 0 {
            self.traffic.received_messages(delivered);
            self.raft.processed(self.from);
        }
        result.map(|()| frames)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if self.incoming.is_over() {
            return Poll::Ready(Err(self.incoming.finish()));
        }
        if let Some(wait) = &mut self.memory {
            ready!(wait.as_mut().poll(cx));
            self.memory = None;
        }
        let now = Instant::now();
        let mut room = match self.incoming.space(now.into_std()) {
            Ok(Space::Room(room)) => room,
            Ok(Space::Decode) => return Poll::Ready(Ok(())),
            Ok(Space::Wait { .. }) => {
                self.stall.moved();
                self.memory = Some(Box::pin(sleep(MEMORY_LOOK)));
                return Poll::Ready(Ok(()));
            }
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        let read = if self.early.is_empty() {
            pin!(self.socket.read_buf(&mut room)).poll(cx)
        } else {
            let len = self.early.len().min(room.remaining_mut());
            room.put(self.early.split_to(len));
            Poll::Ready(Ok(len))
        };
        match read {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(self.incoming.finish())),
            Poll::Ready(Ok(bytes)) => {
                self.traffic.read(bytes);
                self.stall.moved();
                self.idle_since = None;
                Poll::Ready(self.deliver().map(drop))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(StreamError::Io(error))),
            Poll::Pending => {
                if let Some(busy_poll) = self.busy_poll
                    && now - *self.idle_since.get_or_insert(now) < busy_poll
                {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}
