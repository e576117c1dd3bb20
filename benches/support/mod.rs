//! What the benches measure: messages over the grid of shapes, and the stream they make; and the
//! receiving end of a stream. Not here: what is timed or counted.

#![allow(dead_code, reason = "each bench uses a part of it")]

use bytes::{Buf, BufMut, Bytes};
use raftwire::buf::{Pool, ReceiveBuffer, WriteQueue};
use raftwire::codec::{Config, Frame, FrameKind, message, msgappv2};
use raftwire::error::DecodeError;
use raftwire::raftpb::{Dialect, Entry, Message, MessageType};
use std::fmt;
use std::time::Instant;

/// How many entries of how many bytes an AppEntries carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

impl Shape {
    pub(crate) const fn new(entries: usize, bytes: usize) -> Self {
        Self { entries, bytes }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entries_{}_bytes_{}", self.entries, self.bytes)
    }
}

/// The shapes etcd's own codec was measured over.
pub(crate) const GRID: [Shape; 7] = [
    Shape::new(1, 64),
    Shape::new(1, 1 << 10),
    Shape::new(1, 64 << 10),
    Shape::new(8, 1 << 10),
    Shape::new(64, 64),
    Shape::new(64, 1 << 10),
    Shape::new(64, 64 << 10),
];

/// One term, and indexes a cluster has after some hours: both take the varint lengths of real ones.
const TERM: u64 = 5;
const FIRST_INDEX: u64 = 1_000_000;

/// Messages in the order of one stream. The first `lead` of them bring both ends into step and are
/// never measured.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) messages: Vec<Message>,
    pub(crate) lead: usize,
    pub(crate) stream: Vec<u8>,
    pub(crate) lead_bytes: usize,
}

impl Load {
    /// `count` AppEntries of one shape, behind the MsgApp that sets the stream's state.
    pub(crate) fn app_entries(shape: Shape, count: usize) -> Self {
        let payloads: Vec<Bytes> =
            (0..shape.entries).map(|entry| payload(entry as u64, shape.bytes)).collect();
        let mut index = FIRST_INDEX;
        let mut messages = vec![msg_app(index, Vec::new())];
        for _ in 0..count {
            let entries = payloads.iter().zip(index + 1..);
            let entries = entries.map(|(data, index)| Entry {
                term: TERM,
                index,
                data: Some(data.clone()),
                ..Entry::default()
            });
            messages.push(msg_app(index, entries.collect()));
            index += shape.entries as u64;
        }
        let mut encoder = msgappv2::Encoder::new(Config::default());
        let mut kinds = Vec::new();
        let load = Self::encoded(messages, 1, |message, queue| {
            kinds.push(encoder.encode(message, queue).expect("a valid message"));
        });
        assert_eq!(kinds[0], FrameKind::MsgApp);
        assert!(kinds[1..].iter().all(|kind| *kind == FrameKind::AppEntries));
        load
    }

    /// `count` messages of the message stream, all like `message`.
    pub(crate) fn repeated(message: &Message, count: usize, dialect: Dialect) -> Self {
        let mut encoder = message::Encoder::new(Config::default().dialect(dialect));
        Self::encoded(vec![message.clone(); count], 0, |message, queue| {
            encoder.encode(message, queue).expect("a valid message");
        })
    }

    fn encoded(
        messages: Vec<Message>,
        lead: usize,
        mut encode: impl FnMut(&Message, &mut WriteQueue),
    ) -> Self {
        let mut queue = WriteQueue::new();
        let mut stream = Vec::new();
        let mut lead_bytes = 0;
        for (position, message) in messages.iter().enumerate() {
            encode(message, &mut queue);
            if position < lead {
                lead_bytes += queue.len();
            }
            stream.put(&mut queue);
        }
        Self { messages, lead, stream, lead_bytes }
    }

    pub(crate) fn lead(&self) -> &[Message] {
        &self.messages[..self.lead]
    }

    pub(crate) fn measured(&self) -> &[Message] {
        &self.messages[self.lead..]
    }

    /// Stream bytes of each measured message, in the mean.
    pub(crate) fn bytes_per_message(&self) -> u64 {
        ((self.stream.len() - self.lead_bytes) / self.measured().len()) as u64
    }
}

fn msg_app(index: u64, entries: Vec<Entry>) -> Message {
    Message {
        message_type: MessageType::APP,
        from: 1,
        to: 2,
        term: TERM,
        log_term: TERM,
        index,
        commit: index,
        entries: entries.into(),
        ..Message::default()
    }
}

/// A leader's heartbeat, with the context of a linearizable read.
pub(crate) fn heartbeat() -> Message {
    Message {
        message_type: MessageType::HEARTBEAT,
        from: 1,
        to: 2,
        term: TERM,
        commit: FIRST_INDEX,
        context: Some(payload(1, 8)),
        ..Message::default()
    }
}

/// A follower's answer to an AppEntries.
pub(crate) fn app_resp() -> Message {
    Message {
        message_type: MessageType::APP_RESP,
        from: 2,
        to: 1,
        term: TERM,
        index: FIRST_INDEX,
        ..Message::default()
    }
}

/// The same between members whose ids are 64 random bits, as etcd's are.
pub(crate) fn app_resp_long_ids() -> Message {
    Message { from: 0x8e9e_05c5_2164_694d, to: 0x91bc_3c39_8fb3_c146, ..app_resp() }
}

/// A follower's answer to a heartbeat without a context.
pub(crate) fn heartbeat_resp() -> Message {
    Message {
        message_type: MessageType::HEARTBEAT_RESP,
        from: 2,
        to: 1,
        term: TERM,
        ..Message::default()
    }
}

/// Bytes without a pattern (splitmix64), the same in every run.
pub(crate) fn payload(seed: u64, bytes: usize) -> Bytes {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

/// The decoder of either stream.
pub(crate) trait Decode {
    fn needed(&self) -> usize;

    fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<Message>>, DecodeError>;
}

impl Decode for msgappv2::Decoder<Message> {
    #[inline]
    fn needed(&self) -> usize {
        self.needed()
    }

    #[inline]
    fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<Message>>, DecodeError> {
        self.decode(received)
    }
}

impl Decode for message::Decoder<Message> {
    #[inline]
    fn needed(&self) -> usize {
        self.needed()
    }

    #[inline]
    fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<Message>>, DecodeError> {
        self.decode(received)
    }
}

/// The receiving end of a stream.
#[derive(Debug)]
pub(crate) struct Receiver<D> {
    decoder: D,
    received: ReceiveBuffer,
    /// Only a wait for memory would look at the time.
    now: Instant,
}

impl<D: Decode> Receiver<D> {
    pub(crate) fn new(make: impl FnOnce(Config) -> D, pool: Pool) -> Self {
        #[allow(clippy::disallowed_methods, reason = "a bench may ask the clock")]
        let now = Instant::now();
        Self {
            decoder: make(Config::default().local(2).remote(1)),
            received: ReceiveBuffer::new(pool),
            now,
        }
    }

    /// Does what a socket read does: copies as much into the block as fits.
    #[inline]
    pub(crate) fn fill(&mut self, from: &mut &[u8]) {
        let space = self.received.space(self.decoder.needed(), self.now);
        let mut room = space.ok().and_then(|space| space.room());
        let room = room.as_mut().expect("the pool's budget is not reached");
        let count = room.remaining_mut().min(from.len());
        room.put_slice(&from[..count]);
        from.advance(count);
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Frame<Message>>, DecodeError> {
        self.decoder.decode(&mut self.received)
    }

    /// Decodes what was filled in.
    #[inline]
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Frame<Message>)) {
        while let Some(frame) = self.next().expect("a valid stream") {
            take(frame);
        }
    }
}

/// Checks that the load's stream decodes to its messages, which is what makes its times and counts
/// worth reading.
pub(crate) fn check<D: Decode>(load: &Load, make: impl FnOnce(Config) -> D) {
    let mut receiver = Receiver::new(make, Pool::default());
    let mut decoded = Vec::new();
    let mut rest = &load.stream[..];
    while !rest.is_empty() {
        receiver.fill(&mut rest);
        receiver.drain(|frame| decoded.push(frame.message));
    }
    assert_eq!(decoded.len(), load.messages.len());
    assert!(decoded == load.messages, "decoded messages differ");
}
