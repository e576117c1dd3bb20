//! What a member sends another, made up: in sizes and orders that make the codecs take every path.
//! Not here: a raft. Of the numbers only those that decide how a `MsgApp` is encoded make sense from
//! message to message.

use bytes::Bytes;
use fastrand::Rng;
use raftwire::raftpb::{Entry, EntryType, Message, MessageType};
use raftwire::transport::{MemberId, StreamKind};

/// So many `MsgApp`s have one term,
const TERM_APPS: u64 = 64;
/// the first of which carry entries of the term before, as to one that catches up.
const OLD_APPS: u64 = 4;
const ENTRIES_MAX: usize = 8;
const USUAL_BYTES_MAX: usize = 3000;
const LONG_BYTES: usize = 100 << 10;
/// The one `MsgApp` with an entry that is larger than any buffer.
const HUGE_APP: u64 = 600;
const HUGE_BYTES: usize = 2 << 20;

/// The messages one member sends another, in order.
pub(crate) struct Messages {
    from: MemberId,
    to: MemberId,
    apps: Rng,
    others: Rng,
    /// How many `MsgApp`s there were.
    count: u64,
    term: u64,
    /// The last entry sent,
    last: Place,
    /// and that before the first one of this term, which a probe names.
    probed: Place,
}

/// An entry's place in the log.
#[derive(Clone, Copy)]
struct Place {
    term: u64,
    index: u64,
}

impl Messages {
    pub(crate) fn new(from: MemberId, to: MemberId, seed: u64) -> Self {
        let mut seeds = Rng::with_seed(seed);
        let last = Place { term: 4, index: 1_000_000 };
        Self {
            from,
            to,
            apps: seeds.fork(),
            others: seeds.fork(),
            count: 0,
            term: 5,
            last,
            probed: last,
        }
    }

    /// The next message for this stream.
    pub(crate) fn next(&mut self, kind: StreamKind) -> Message {
        match kind {
            StreamKind::MsgApp => self.next_app(),
            StreamKind::Message => self.next_other(),
        }
    }

    fn next_app(&mut self) -> Message {
        let (number, place) = (self.count, self.count % TERM_APPS);
        self.count += 1;
        if number > 0 && place == 0 {
            self.term += 1;
            self.probed = self.last;
        }
        let rng = &mut self.apps;
        let entry_term = if place < OLD_APPS { self.term - 1 } else { self.term };
        let is_probe = place > OLD_APPS && rng.u8(..16) == 0;
        let (before, lengths) = match number {
            HUGE_APP => (self.last, vec![Some(HUGE_BYTES)]),
            _ if is_probe => (self.probed, Vec::new()),
            // With no entries it says what is committed.
            _ => (self.last, (0..rng.usize(..=ENTRIES_MAX)).map(|_| data_bytes(rng)).collect()),
        };
        let entries: Vec<_> = (before.index + 1..)
            .zip(lengths)
            .map(|(index, length)| Entry {
                entry_type: entry_type(rng),
                term: entry_term,
                index,
                data: length.map(|length| random_bytes(rng, length)),
            })
            .collect();
        if let Some(last) = entries.last() {
            self.last = Place { term: last.term, index: last.index };
        }
        Message {
            message_type: MessageType::APP,
            from: self.from.0,
            to: self.to.0,
            term: self.term,
            log_term: before.term,
            index: before.index,
            commit: before.index - rng.u64(..4),
            entries: entries.into(),
            ..Message::default()
        }
    }

    fn next_other(&mut self) -> Message {
        const TYPES: [MessageType; 12] = [
            MessageType::HEARTBEAT,
            MessageType::HEARTBEAT_RESP,
            MessageType::APP_RESP,
            MessageType::VOTE,
            MessageType::VOTE_RESP,
            MessageType::PRE_VOTE,
            MessageType::PRE_VOTE_RESP,
            MessageType::PROP,
            MessageType::READ_INDEX,
            MessageType::READ_INDEX_RESP,
            MessageType::TRANSFER_LEADER,
            MessageType::TIMEOUT_NOW,
        ];
        let rng = &mut self.others;
        let mut message = Message {
            message_type: TYPES[rng.usize(..TYPES.len())],
            from: self.from.0,
            to: self.to.0,
            ..Message::default()
        };
        if !matches!(message.message_type, MessageType::PROP | MessageType::READ_INDEX) {
            message.term = 1 + (number(rng) >> 1);
        }
        let request =
            |rng: &mut Rng| Entry { data: Some(random_bytes(rng, 8)), ..Entry::default() };
        match message.message_type {
            MessageType::HEARTBEAT => {
                message.commit = number(rng);
                message.context = context(rng);
            }
            MessageType::HEARTBEAT_RESP => message.context = context(rng),
            MessageType::APP_RESP => {
                message.index = number(rng);
                if rng.u8(..4) == 0 {
                    message.reject = true;
                    message.reject_hint = number(rng);
                    message.log_term = number(rng);
                }
            }
            MessageType::VOTE | MessageType::PRE_VOTE => {
                message.index = number(rng);
                message.log_term = number(rng);
                if message.message_type == MessageType::VOTE && rng.u8(..4) == 0 {
                    message.context = Some(Bytes::from_static(b"CampaignTransfer"));
                }
            }
            MessageType::VOTE_RESP | MessageType::PRE_VOTE_RESP => message.reject = rng.bool(),
            MessageType::PROP => {
                let proposed = (0..rng.usize(1..=4)).map(|_| Entry {
                    entry_type: entry_type(rng),
                    data: data_bytes(rng).map(|length| random_bytes(rng, length)),
                    ..Entry::default()
                });
                message.entries = proposed.collect();
            }
            MessageType::READ_INDEX => message.entries = vec![request(rng)].into(),
            MessageType::READ_INDEX_RESP => {
                message.index = number(rng);
                message.entries = vec![request(rng)].into();
            }
            _ => {}
        }
        message
    }
}

/// A number of any number of bits, so that every length of a varint occurs.
fn number(rng: &mut Rng) -> u64 {
    rng.u64(..).checked_shr(rng.u32(..=u64::BITS)).unwrap_or(0)
}

fn context(rng: &mut Rng) -> Option<Bytes> {
    match rng.u8(..16) {
        0 => Some(Bytes::new()),
        1..8 => None,
        _ => Some(random_bytes(rng, 8)),
    }
}

fn entry_type(rng: &mut Rng) -> EntryType {
    match rng.u8(..32) {
        0 => EntryType::CONF_CHANGE,
        1 => EntryType::CONF_CHANGE_V2,
        _ => EntryType::NORMAL,
    }
}

/// How long an entry's data is. A new leader's own entry has none.
fn data_bytes(rng: &mut Rng) -> Option<usize> {
    match rng.u8(..) {
        0 => Some(LONG_BYTES),
        1..=4 => None,
        5..=8 => Some(0),
        _ => Some(rng.usize(..=USUAL_BYTES_MAX)),
    }
}

fn random_bytes(rng: &mut Rng, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes.into()
}
