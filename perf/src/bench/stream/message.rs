//! The messages of the load, in each contender's own type: what the leader fills in again for each
//! MsgApp, and what the follower looks at. Not here: when they are sent (`member`).

use bytes::Bytes;
use raftwire::raftpb::{self, plain};

use super::protocol::{FOLLOWER, LEADER};
use crate::bench::payload::TERM;

/// A message type a contender moves.
pub(crate) trait Message: Send + 'static {
    /// A MsgApp with these entries; its indexes are set by [`set_index`](Self::set_index).
    fn append(payloads: &[Bytes]) -> Self;

    /// A MsgAppResp.
    fn answer() -> Self;

    /// The index before the entries, and the commit, as far as a leader is that waits for nothing; or
    /// the index that is answered.
    fn set_index(&mut self, index: u64);

    fn arrived(&self) -> Arrived;
}

/// What the load must know of a message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    Append {
        index: u64,
        entries: u64,
        payload_bytes: u64,
        /// The entries' indexes follow on each other and on `index`.
        consecutive: bool,
    },
    Answer {
        index: u64,
    },
    Other,
}

const MSG_APP: i32 = 3;
const MSG_APP_RESP: i32 = 4;

impl Arrived {
    #[inline]
    fn append(index: u64, entries: impl ExactSizeIterator<Item = (u64, usize)>) -> Self {
        let count = entries.len() as u64;
        let (mut next, mut payload_bytes, mut consecutive) = (index, 0, true);
        for (index, data) in entries {
            next += 1;
            consecutive &= index == next;
            payload_bytes += data as u64;
        }
        Self::Append { index, entries: count, payload_bytes, consecutive }
    }
}

/// As prost users have them: a field that is at its default is not set.
impl Message for plain::Message {
    fn append(payloads: &[Bytes]) -> Self {
        let entry = |data: &Bytes| plain::Entry {
            term: Some(TERM),
            data: Some(data.clone()),
            ..plain::Entry::default()
        };
        Self {
            r#type: Some(MSG_APP),
            to: Some(FOLLOWER),
            from: Some(LEADER),
            term: Some(TERM),
            log_term: Some(TERM),
            entries: payloads.iter().map(entry).collect(),
            ..Self::default()
        }
    }

    fn answer() -> Self {
        Self {
            r#type: Some(MSG_APP_RESP),
            to: Some(LEADER),
            from: Some(FOLLOWER),
            term: Some(TERM),
            ..Self::default()
        }
    }

    fn set_index(&mut self, index: u64) {
        self.index = Some(index);
        if self.r#type == Some(MSG_APP) {
            self.commit = Some(index);
        }
        for (entry, index) in self.entries.iter_mut().zip(index + 1..) {
            entry.index = Some(index);
        }
    }

    fn arrived(&self) -> Arrived {
        match self.r#type() {
            MSG_APP => {
                let data = |entry: &plain::Entry| entry.data.as_ref().map_or(0, Bytes::len);
                let entries = self.entries.iter().map(|entry| (entry.index(), data(entry)));
                Arrived::append(self.index(), entries)
            }
            MSG_APP_RESP => Arrived::Answer { index: self.index() },
            _ => Arrived::Other,
        }
    }
}

impl Message for raftpb::Message {
    fn append(payloads: &[Bytes]) -> Self {
        let entry = |data: &Bytes| raftpb::Entry {
            term: TERM,
            data: Some(data.clone()),
            ..raftpb::Entry::default()
        };
        Self {
            message_type: raftpb::MessageType::APP,
            to: FOLLOWER,
            from: LEADER,
            term: TERM,
            log_term: TERM,
            entries: payloads.iter().map(entry).collect(),
            ..Self::default()
        }
    }

    fn answer() -> Self {
        Self {
            message_type: raftpb::MessageType::APP_RESP,
            to: LEADER,
            from: FOLLOWER,
            term: TERM,
            ..Self::default()
        }
    }

    fn set_index(&mut self, index: u64) {
        self.index = index;
        if self.message_type == raftpb::MessageType::APP {
            self.commit = index;
        }
        for (entry, index) in self.entries.iter_mut().zip(index + 1..) {
            entry.index = index;
        }
    }

    fn arrived(&self) -> Arrived {
        match self.message_type {
            raftpb::MessageType::APP => {
                let data = |entry: &raftpb::Entry| entry.data.as_ref().map_or(0, Bytes::len);
                let entries = self.entries.iter().map(|entry| (entry.index, data(entry)));
                Arrived::append(self.index, entries)
            }
            raftpb::MessageType::APP_RESP => Arrived::Answer { index: self.index },
            _ => Arrived::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<M: Message>() {
        let payloads = [Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
        let mut append = M::append(&payloads);
        append.set_index(7);
        let expected =
            Arrived::Append { index: 7, entries: 2, payload_bytes: 5, consecutive: true };
        assert_eq!(append.arrived(), expected);
        let mut answer = M::answer();
        answer.set_index(9);
        assert_eq!(answer.arrived(), Arrived::Answer { index: 9 });
    }

    #[test]
    fn every_type_carries_the_load() {
        check::<plain::Message>();
        check::<raftpb::Message>();
    }

    #[test]
    fn sees_a_gap_between_entries() {
        let mut append = plain::Message::append(&[Bytes::new(), Bytes::new()]);
        append.set_index(7);
        append.entries[1].index = Some(8);
        assert!(matches!(append.arrived(), Arrived::Append { consecutive: false, .. }));
    }
}
