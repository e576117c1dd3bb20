//! The task that dials a peer for one of its streams and delivers what comes over it, and dials again
//! when it ends.

use super::spin::Spin;
use super::{Incoming, Stall, ticks, write_all};
use crate::buf::{ReceiveBuffer, Space};
use crate::http::{HeadLimits, ResponseHead, Step};
use crate::raftpb::RaftMessage;
use crate::transport::class::may_travel;
use crate::transport::dialer::{TEXT_BYTES_MAX, judge, request};
use crate::transport::shared::{Carried, Open, Peer, Shared};
use crate::transport::socket::delay_acks;
use crate::transport::{
    BoxSocket, Direction, Event, MemberId, PeerUrl, Raft, StreamError, StreamKind, Traffic,
};
use bytes::{BufMut, Bytes};
use std::future::Future;
use std::mem::Discriminant;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, Interval, Sleep, sleep, timeout};

/// How many messages are delivered before what they made the raft send is written.
///
/// Fewer, and a busy link takes more calls: 0.012 a message with 256, 0.0044 with 1024, of 64 bytes
/// each way. More, and the first of them is answered later: 1024 take a quarter of a millisecond.
const MESSAGES_PER_TURN: u32 = 1024;

/// How many reads there are to one hint that acknowledgements may wait.
const READS_PER_ACK_HINT: u32 = 32;

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
        let mut failures = Vec::new();
        loop {
            let url = self.peer.pick();
            let opened = match &url {
                Some(url) => self.open(url).await,
                None => Err(StreamError::NoUrl),
            };
            match opened {
                Ok(opened) => {
                    failures.clear();
                    let since = Instant::now();
                    self.deliver(opened).await;
                    if since.elapsed() >= redial.wait_max {
                        wait = Duration::ZERO;
                    }
                }
                Err(error) => {
                    if let Some(url) = &url {
                        self.peer.unreachable(url);
                    }
                    self.tell(&mut failures, url, &error);
                }
            }
            if !wait.is_zero() {
                let wait = wait.mul_f64(0.5 + 0.5 * fastrand::f64());
                // A new address is tried at once.
                let _ = timeout(wait, self.peer.updated()).await;
            }
            wait = wait.saturating_mul(2).clamp(redial.wait_min, redial.wait_max);
        }
    }

    /// Tells that a stream could not be opened: the same failure at the same address once, until
    /// another comes between.
    fn tell(&self, failures: &mut Vec<Failure>, url: Option<PeerUrl>, error: &StreamError) {
        let failure = (url, std::mem::discriminant(error));
        if failures.contains(&failure) {
            return;
        }
        failures.retain(|(url, _)| *url != failure.0);
        // Those of addresses the peer had long ago.
        failures.drain(..failures.len().saturating_sub(FAILURES_MAX));
        failures.push(failure);
        let (peer, kind) = (self.peer.id, self.kind);
        self.shared.raft.event(&Event::Failed { peer, kind, error });
        if matches!(error, StreamError::Removed) {
            self.shared.raft.removed(peer);
        }
    }

    /// Delivers what comes over an open stream, until that ends.
    async fn deliver(&self, opened: Opened<M>) {
        let Opened { mut socket, incoming, early } = opened;
        let (peer, kind, direction) = (self.peer.id, self.kind, Direction::Incoming);
        let traffic = self.peer.traffic(kind);
        let (connection, _open) = traffic.open_incoming();
        let raft = &*self.shared.raft;
        // The task may be dropped, at a stop or when the peer is removed.
        let mut open = Open::new(&self.shared, &self.peer, kind, direction, connection);
        let config = &self.shared.config;
        let mut delivery = Delivery {
            socket: &mut socket,
            incoming,
            early: early.into(),
            raft,
            traffic,
            local: config.id.0,
            from: peer,
            kind,
            read_timeout: config.timeouts.read,
            deadline: ticks(config.timeouts.read),
            stall: Stall::default(),
            memory: None,
            spin: Spin::new(config.polling),
            reads: 0,
        };
        open.error = std::future::poll_fn(|cx| {
            // What the embedder's code panics of costs this stream, not the transport.
            catch_unwind(AssertUnwindSafe(|| delivery.poll(cx)))
                .unwrap_or(Poll::Ready(StreamError::Panicked))
        })
        .await;
    }

    /// Connects, asks for the stream, and reads the answer, and what came with it of the stream.
    async fn open(&self, url: &PeerUrl) -> Result<Opened<M>, StreamError> {
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
        Ok(Opened { socket, incoming, early: rest })
    }
}

/// A stream that was opened.
struct Opened<M: RaftMessage> {
    socket: BoxSocket,
    incoming: Incoming<M>,
    /// What came with the head.
    early: Vec<u8>,
}

/// How many are remembered.
const FAILURES_MAX: usize = 64;

/// At which address which kind of failure was told last.
type Failure = (Option<PeerUrl>, Discriminant<StreamError>);

/// How many interim answers are skipped, as in Go's client.
const INTERIM_MAX: u32 = 5;

/// Reads a response's head, and what came with it of the body.
async fn read_answer(
    socket: &mut BoxSocket,
    limits: &HeadLimits,
) -> Result<(ResponseHead, Vec<u8>), StreamError> {
    let mut bytes = Vec::with_capacity(1 << 10);
    let mut interim = 0;
    loop {
        match ResponseHead::parse(&bytes, limits)? {
            // An interim answer says nothing.
            Some((head, len)) if (100..200).contains(&head.status) && head.status != 101 => {
                bytes.drain(..len);
                interim += 1;
                if interim > INTERIM_MAX {
                    return Err(StreamError::Status(head.status));
                }
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

/// How a turn of delivering ended.
enum Turn {
    /// Something was delivered, and there may be more.
    Delivered,
    /// There was nothing to deliver.
    Dry,
    /// The raft takes no more for now.
    Unwelcome,
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
    from: MemberId,
    kind: StreamKind,
    read_timeout: Duration,
    deadline: Interval,
    stall: Stall,
    /// While there is no memory.
    memory: Option<Pin<Box<Sleep>>>,
    spin: Spin,
    reads: u32,
}

impl<M: Carried> Delivery<'_, M> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        while self.deadline.poll_tick(cx).is_ready() {
            if self.stall.tick() {
                return Poll::Ready(StreamError::ReadTimeout(self.read_timeout));
            }
        }
        let delivered = match self.deliver(cx) {
            Ok(Turn::Dry) => ready!(self.poll_read(cx)),
            delivered => delivered,
        };
        match delivered {
            // What it made the raft send is written before more is read.
            Ok(Turn::Delivered | Turn::Dry) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Turn::Unwelcome) => {
                // It is not the peer that is silent.
                self.stall.moved();
                Poll::Pending
            }
            Err(error) => Poll::Ready(error),
        }
    }

    /// Delivers what was received, up to a turn's worth.
    fn deliver(&mut self, cx: &mut Context<'_>) -> Result<Turn, StreamError> {
        let mut delivered = 0;
        let mut frames = 0;
        let result = loop {
            if frames == MESSAGES_PER_TURN {
                break Ok(Turn::Delivered);
            }
            if self.raft.poll_ready(self.from, cx).is_pending() {
                break Ok(Turn::Unwelcome);
            }
            match self.incoming.next() {
                Ok(Some(frame)) => {
                    frames += 1;
                    if !frame.deviations.is_empty() {
                        self.traffic.deviated();
                    }
                    let head = frame.message.head();
                    if head.is_link_heartbeat() {
                        continue;
                    }
                    if head.to != self.local || !may_travel(head.message_type) {
                        self.traffic.rejected();
                        continue;
                    }
                    delivered += 1;
                    self.raft.process(self.from, frame.message);
                }
                Ok(None) if frames == 0 => break Ok(Turn::Dry),
                Ok(None) => break Ok(Turn::Delivered),
                Err(error) => break Err(error),
            }
        };
        if delivered > 0 {
            self.traffic.received_messages(delivered);
            self.raft.processed(self.from);
        }
        result
    }

    /// Reads, and delivers what came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Turn, StreamError>> {
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
            Ok(Space::Decode) => return Poll::Ready(Ok(Turn::Dry)),
            Ok(Space::Wait { .. }) => {
                self.stall.moved();
                self.memory = Some(Box::pin(sleep(MEMORY_LOOK)));
                return Poll::Ready(Ok(Turn::Dry));
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
                self.raft.received(self.from, self.kind);
                self.traffic.read(bytes);
                self.stall.moved();
                self.spin.wet(now);
                let result = self.deliver(cx);
                self.reads = self.reads.wrapping_add(1);
                if self.reads.is_multiple_of(READS_PER_ACK_HINT) {
                    delay_acks(self.socket);
                }
                Poll::Ready(result)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(StreamError::Io(error))),
            Poll::Pending => {
                // The rest of a frame is not looked for: it would be found in small pieces.
                if !self.incoming.is_within_frame() && self.spin.dry(now) {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}
