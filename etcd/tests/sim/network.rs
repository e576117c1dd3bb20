//! The network between the members: two streams from each to each, encoded and decoded as on real
//! sockets, and what happens to them. Time is steps of the simulation.
//!
//! ```text
//! lane      what it carries                 codec
//! Append    MsgApp                          msgappv2
//! Bulk      MsgProp, MsgSnap, and MsgApp    message
//!           while there is no other
//! Rest      everything else                 message
//! ```
//!
//! Within a lane order holds, between lanes it does not: what may be long is overtaken on the message
//! stream. A stream that is cut loses all behind a frame of its own choice; what still arrives of it
//! may arrive behind what the next one brings. Nothing is duplicated. Not here: who is told of what was
//! lost (`world.rs`).

use super::Verdict;
use bytes::{Buf, Bytes};
use fastrand::Rng;
use raftwire::buf::{Pool, PoolConfig, ReceiveBuffer, WriteQueue};
use raftwire::codec::{Config, message, msgappv2};
use raftwire::raftpb::{Dialect, MessageType, RaftMessage};
use raftwire_etcd::raft::Envelope;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

pub(crate) struct Network {
    links: BTreeMap<(u64, u64), Link>,
    dialects: BTreeMap<u64, Dialect>,
    received: ReceiveBuffer,
    queue: WriteQueue,
    /// Only asked for where memory is short, which it is not.
    now: Instant,
}

/// All that goes from one member to another.
struct Link {
    lanes: [Lane; 3],
    /// Until when nothing passes.
    blocked_until: u64,
    /// Until when no stream can be opened.
    down_until: [u64; 3],
    /// How long a message takes at most.
    delay_max: u64,
}

#[derive(Default)]
struct Lane {
    /// The last one is open, if `is_open`; the others were cut.
    connections: VecDeque<Connection>,
    is_open: bool,
}

struct Connection {
    codec: Codec,
    frames: VecDeque<Frame>,
}

struct Frame {
    at: u64,
    bytes: Bytes,
    is_snapshot: bool,
}

#[allow(clippy::large_enum_variant, reason = "few, and short-lived")]
enum Codec {
    Append(msgappv2::Encoder, msgappv2::Decoder<Envelope>),
    Message(message::Encoder, message::Decoder<Envelope>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneKind {
    Append,
    Bulk,
    Rest,
}

/// What a stream took with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lost {
    pub(crate) any: bool,
    pub(crate) snapshot: bool,
}

/// A message that arrived.
pub(crate) struct Arrived {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) message: Envelope,
}

impl LaneKind {
    pub(crate) const ALL: [Self; 3] = [Self::Append, Self::Bulk, Self::Rest];

    const fn of(kind: MessageType) -> Self {
        match kind {
            MessageType::APP => Self::Append,
            MessageType::PROP | MessageType::SNAP => Self::Bulk,
            _ => Self::Rest,
        }
    }
}

impl Link {
    fn new() -> Self {
        let lanes = [Lane::default(), Lane::default(), Lane::default()];
        Self { lanes, blocked_until: 0, down_until: [0; 3], delay_max: 2 }
    }
}

impl Connection {
    fn new(lane: LaneKind, dialect: Dialect, from: u64, to: u64) -> Self {
        let writes = Config::default().dialect(dialect);
        let reads = Config::default().local(to).remote(from);
        let codec = match lane {
            LaneKind::Append => {
                Codec::Append(msgappv2::Encoder::new(writes), msgappv2::Decoder::new(reads))
            }
            _ => Codec::Message(message::Encoder::new(writes), message::Decoder::new(reads)),
        };
        Self { codec, frames: VecDeque::new() }
    }

    fn encode(&mut self, message: &Envelope, queue: &mut WriteQueue) -> Verdict<Bytes> {
        let encoded = match &mut self.codec {
            Codec::Append(encoder, _) => encoder.encode(message, queue),
            Codec::Message(encoder, _) => encoder.encode(message, queue),
        };
        encoded.map_err(|error| format!("{message:?} cannot be encoded: {error}"))?;
        Ok(queue.copy_to_bytes(queue.remaining()))
    }

    fn decode(
        &mut self,
        mut bytes: Bytes,
        received: &mut ReceiveBuffer,
        now: Instant,
    ) -> Verdict<Envelope> {
        loop {
            let needed = match &self.codec {
                Codec::Append(_, decoder) => decoder.needed(),
                Codec::Message(_, decoder) => decoder.needed(),
            };
            let space = received.space(needed, now).map_err(|error| error.to_string())?;
            if let Some(mut room) = space.room() {
                use bytes::BufMut;
                let count = room.remaining_mut().min(bytes.len());
                room.put(bytes.split_to(count));
            }
            let decoded = match &mut self.codec {
                Codec::Append(_, decoder) => decoder.decode(received),
                Codec::Message(_, decoder) => decoder.decode(received),
            };
            match decoded {
                Ok(Some(frame)) if bytes.is_empty() && received.unparsed().is_empty() => {
                    return Ok(frame.message);
                }
                Ok(Some(_)) => return Err("a frame was decoded before its end".to_owned()),
                Ok(None) if bytes.is_empty() => return Err("a frame is not whole".to_owned()),
                Ok(None) => {}
                Err(error) => return Err(format!("a frame cannot be decoded: {error}")),
            }
        }
    }
}

impl Network {
    pub(crate) fn new(now: Instant) -> Self {
        let mut config = PoolConfig::default();
        config.block_bytes = 16 << 10;
        Self {
            links: BTreeMap::new(),
            dialects: BTreeMap::new(),
            received: ReceiveBuffer::new(Pool::new(config)),
            queue: WriteQueue::new(),
            now,
        }
    }

    pub(crate) fn set_dialect(&mut self, member: u64, dialect: Dialect) {
        self.dialects.insert(member, dialect);
    }

    fn link(&mut self, from: u64, to: u64) -> &mut Link {
        self.links.entry((from, to)).or_insert_with(Link::new)
    }

    /// Sends; false if there is no stream to send on, and the message is lost at once.
    pub(crate) fn send(
        &mut self,
        from: u64,
        to: u64,
        message: &Envelope,
        step: u64,
        random: &mut Rng,
    ) -> Verdict<bool> {
        let dialect = self.dialects.get(&from).copied().unwrap_or_default();
        let link = self.links.entry((from, to)).or_insert_with(Link::new);
        let kind = message.head().message_type;
        let mut lane_kind = LaneKind::of(kind);
        if lane_kind == LaneKind::Append && link.down_until[lane_kind as usize] > step {
            lane_kind = LaneKind::Bulk;
        }
        if link.down_until[lane_kind as usize] > step {
            return Ok(false);
        }
        let lane = &mut link.lanes[lane_kind as usize];
        if !lane.is_open {
            lane.connections.push_back(Connection::new(lane_kind, dialect, from, to));
            lane.is_open = true;
        }
        let Some(connection) = lane.connections.back_mut() else { return Ok(false) };
        let bytes = connection.encode(message, &mut self.queue)?;
        let after = connection.frames.back().map_or(0, |frame| frame.at);
        let at = after.max(step + random.u64(0..=link.delay_max));
        let is_snapshot = kind == MessageType::SNAP;
        connection.frames.push_back(Frame { at, bytes, is_snapshot });
        Ok(true)
    }

    /// What arrives in this step.
    pub(crate) fn arrived(&mut self, step: u64) -> Verdict<Vec<Arrived>> {
        let mut arrived = Vec::new();
        for (&(from, to), link) in &mut self.links {
            if link.blocked_until > step {
                continue;
            }
            for lane in &mut link.lanes {
                for connection in &mut lane.connections {
                    while connection.frames.front().is_some_and(|frame| frame.at <= step)
                        && let Some(frame) = connection.frames.pop_front()
                    {
                        let decoded = connection.decode(frame.bytes, &mut self.received, self.now);
                        let message =
                            decoded.map_err(|error| format!("from {from} to {to}: {error}"))?;
                        arrived.push(Arrived { from, to, message });
                    }
                }
                let open = usize::from(lane.is_open);
                while lane.connections.len() > open
                    && lane.connections.front().is_some_and(|old| old.frames.is_empty())
                {
                    lane.connections.pop_front();
                }
            }
        }
        Ok(arrived)
    }

    /// Cuts a stream; what was sent on it arrives up to some frame, or not at all if not even `some` is
    /// to.
    pub(crate) fn cut(
        &mut self,
        (from, to): (u64, u64),
        lane: LaneKind,
        some: bool,
        down_until: u64,
        random: &mut Rng,
    ) -> Lost {
        let link = self.link(from, to);
        link.down_until[lane as usize] = link.down_until[lane as usize].max(down_until);
        let lane = &mut link.lanes[lane as usize];
        lane.is_open = false;
        let mut lost = Lost::default();
        for connection in &mut lane.connections {
            let kept = if some { random.usize(0..=connection.frames.len()) } else { 0 };
            for frame in connection.frames.drain(kept..) {
                lost.any = true;
                lost.snapshot |= frame.is_snapshot;
            }
        }
        lost
    }

    /// Lets nothing pass from one member to another for a while. It is not lost.
    pub(crate) fn block(&mut self, from: u64, to: u64, until: u64) {
        self.link(from, to).blocked_until = until;
    }

    pub(crate) fn set_delay(&mut self, from: u64, to: u64, delay_max: u64) {
        self.link(from, to).delay_max = delay_max;
    }

    /// Ends everything that is wrong with the network.
    pub(crate) fn heal(&mut self) {
        for link in self.links.values_mut() {
            link.blocked_until = 0;
            link.down_until = [0; 3];
            link.delay_max = 2;
        }
    }
}
