//! The bytes of entries as they came from the wire, until they are on disk.
//!
//! A follower's entries go to disk as they came, in whatever dialect their leader writes. raft-rs keeps
//! entries apart from their bytes, and hands them out to be persisted by index and term; these two name
//! an entry in the whole cluster, so the bytes are found again by them.

use bytes::Bytes;
use raft::eraftpb::{Entry, Message};
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(crate) struct Encodings {
    /// In the order they came.
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    index: u64,
    term: u64,
    encoding: Bytes,
}

impl Encodings {
    /// Takes the encodings out of an append that came, whose entries' `context`s they are.
    pub(crate) fn take(&mut self, append: &mut Message) {
        for entry in append.entries.iter_mut() {
            let encoding = std::mem::take(&mut entry.context);
            if !encoding.is_empty() {
                self.kept.push_back(Kept { index: entry.index, term: entry.term, encoding });
            }
        }
    }

    /// The bytes `entry` came as, if it came. To be asked for in the order of the log.
    pub(crate) fn of(&mut self, entry: &Entry) -> Option<Bytes> {
        let at = self
            .kept
            .iter()
            .position(|kept| kept.index == entry.index && kept.term == entry.term)?;
        // Those before it were not wanted: raft had them already, or they were replaced.
        self.kept.drain(..at);
        self.kept.pop_front().map(|kept| kept.encoding)
    }

    /// Forgets the rest, once all of raft's new entries were persisted.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(entries: &[(u64, u64, &'static str)]) -> Message {
        let mut message = Message::default();
        for &(index, term, bytes) in entries {
            let context = Bytes::from_static(bytes.as_bytes());
            message.entries.push(Entry { index, term, context, ..Entry::default() });
        }
        message
    }

    #[test]
    fn finds_the_bytes_of_what_is_persisted_and_passes_over_the_rest() {
        let mut encodings = Encodings::default();
        let mut first = append(&[(1, 1, "a"), (2, 1, "b"), (3, 1, "c")]);
        let mut second = append(&[(3, 2, "d"), (4, 2, "e")]);
        encodings.take(&mut first);
        encodings.take(&mut second);
        assert!(first.entries.iter().all(|entry| entry.context.is_empty()));
        let entry = |index, term| Entry { index, term, ..Entry::default() };
        let mut of = |index, term| encodings.of(&entry(index, term));
        assert_eq!(of(2, 1).as_deref(), Some(&b"b"[..]));
        assert_eq!(of(3, 2).as_deref(), Some(&b"d"[..]));
        assert_eq!(of(4, 2).as_deref(), Some(&b"e"[..]));
        assert_eq!(of(4, 3), None);
    }
}
