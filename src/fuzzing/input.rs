//! Turns a fuzzer's bytes into choices. An input that ends early gives zeros, so that every input
//! means something; and nearby inputs mean nearby things, which is what a fuzzer climbs on.

use crate::codec::Limits;
use crate::raftpb::{
    ConfState, Dialect, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata,
};
use bytes::Bytes;

/// What is left of the input.
#[derive(Clone, Debug)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// The bytes that are left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    fn choice<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    pub(super) fn dialect(&mut self) -> Dialect {
        self.choice(&Dialect::ALL)
    }

    /// Mostly small numbers, and the largest ones.
    pub(super) fn number(&mut self) -> u64 {
        match self.byte() {
            // The numbers that wrap when something is added.
            byte @ 0xf8.. => u64::MAX - u64::from(0xff - byte),
            byte @ 0xf0.. => 1 << (8 * (byte & 7)),
            byte => u64::from(byte),
        }
    }

    fn payload(&mut self) -> Option<Bytes> {
        // Around the size from which payloads are queued by reference.
        let len = match self.byte() {
            0 => return None,
            byte @ 0xf0.. => crate::buf::SHARE_BYTES_MIN - 8 + usize::from(byte & 0xf),
            byte => usize::from(byte) - 1,
        };
        let fill = self.byte();
        Some(Bytes::from(vec![fill; len]))
    }

    fn entry_type(&mut self) -> EntryType {
        match self.byte() {
            byte @ 0xf0.. => EntryType(-i32::from(byte)),
            byte => EntryType(i32::from(byte) % 5),
        }
    }

    fn message_type(&mut self) -> MessageType {
        match self.byte() {
            byte @ 0xf0.. => MessageType(-i32::from(byte)),
            byte => MessageType(i32::from(byte) % 26),
        }
    }

    fn ids(&mut self) -> Vec<u64> {
        (0..self.byte() % 4).map(|_| self.number()).collect()
    }

    fn snapshot(&mut self) -> Snapshot {
        Snapshot {
            data: self.payload(),
            metadata: SnapshotMetadata {
                conf_state: ConfState {
                    voters: self.ids(),
                    learners: self.ids(),
                    voters_outgoing: self.ids(),
                    learners_next: self.ids(),
                    auto_leave: self.byte() & 1 == 1,
                },
                index: self.number(),
                term: self.number(),
            },
        }
    }

    /// A message with every field that the choices set.
    fn any_message(&mut self, levels: u32) -> Message {
        let message_type = self.message_type();
        let entries = (0..self.byte() % 4)
            .map(|_| Entry {
                entry_type: self.entry_type(),
                term: self.number(),
                index: self.number(),
                data: self.payload(),
            })
            .collect();
        let responses = if levels > 0 { self.byte() % 3 } else { 0 };
        Message {
            message_type,
            to: self.number(),
            from: self.number(),
            term: self.number(),
            log_term: self.number(),
            index: self.number(),
            entries,
            commit: self.number(),
            snapshot: (self.byte() & 1 == 1).then(|| Box::new(self.snapshot())),
            reject: self.byte() & 1 == 1,
            reject_hint: self.number(),
            context: self.payload(),
            vote: self.number(),
            responses: (0..responses).map(|_| self.any_message(levels - 1)).collect(),
        }
    }

    /// The next message of a stream that is at `term` and `index`: as often as not one that follows
    /// on it.
    pub(super) fn message(&mut self, term: u64, index: u64) -> Message {
        let kind = self.byte();
        if kind & 3 == 3 {
            return self.any_message(2);
        }
        if kind & 3 == 2 {
            return Message { message_type: MessageType::HEARTBEAT, ..Message::default() };
        }
        let mut entries = Vec::new();
        for position in 1..=u64::from(self.byte() % 6) {
            let (term, index) = (term, index.wrapping_add(position));
            let (entry_type, data) = (self.entry_type(), self.payload());
            entries.push(Entry { entry_type, term, index, data });
        }
        let mut message = Message {
            message_type: MessageType::APP,
            to: 2,
            from: 1,
            term,
            log_term: term,
            index,
            entries: entries.into(),
            commit: self.number(),
            ..Message::default()
        };
        // Now and then something is off by a little.
        match kind >> 2 & 7 {
            1 => message.term = self.number(),
            2 => message.log_term = self.number(),
            3 => message.index = self.number(),
            4 => message.message_type = self.message_type(),
            5 => {
                let (number, other) = (self.number(), self.byte() & 1 == 1);
                if let Some(entry) = message.entries.last_mut() {
                    *(if other { &mut entry.term } else { &mut entry.index }) = number;
                }
            }
            6 => message.context = self.payload(),
            _ => {}
        }
        message
    }

    pub(super) fn limits(&mut self) -> Limits {
        let mut limits = Limits::default();
        let max = self.choice(&[Limits::ETCD_BYTES_MAX, 64, 1000, u64::MAX]);
        limits.entry_bytes_max = max;
        limits.frame_bytes_max = max;
        limits.message_bytes_max = max;
        limits
    }

    /// Sizes of pieces, without end.
    pub(super) fn sizes(&mut self) -> impl Iterator<Item = usize> + Clone + use<> {
        // Marsaglia's xorshift32: the pattern is a function of one byte of the input.
        let mut state = u32::from(self.byte()) + 1;
        std::iter::from_fn(move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            // Mostly around a frame's fields, sometimes around a block.
            Some(if state & 7 == 0 { state >> 8 & 0xfff } else { state >> 8 & 0xf } as usize + 1)
        })
    }
}
