//! A leader's appends without entries, which mostly tell followers what was committed.
//!
//! raft sends one to each follower at every commit, and gets an answer to it. Where the next entries
//! are already on their way they tell it as well: the notice is held back until the member has nothing
//! else to do, and dropped when entries go to the same follower. To lose such a message is always
//! allowed; to hold it for part of a millisecond costs nothing, as the member did nothing else.

use super::SendTo;
use crate::raft::Envelope;
use raft::eraftpb::{Message, MessageType};

#[derive(Debug, Default)]
pub(super) struct CommitNotices {
    held: Vec<Envelope>,
}

impl CommitNotices {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Forgets what is held back.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// Sends `message`, or holds it back.
    pub(super) fn send(&mut self, message: Message, send: &mut SendTo<'_>) {
        if message.msg_type == MessageType::MsgAppend {
            self.held.retain(|held| held.0.to != message.to);
            if message.entries.is_empty() {
                self.held.push(Envelope(message));
                return;
            }
        }
        send(&Envelope(message));
    }

    /// Sends what was held back.
    pub(super) fn flush(&mut self, send: &mut SendTo<'_>) {
        for held in self.held.drain(..) {
            send(&held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn append(to: u64, commit: u64, entries: usize) -> Message {
        let mut message = Message { to, commit, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        message.set_entries(vec![Entry::default(); entries].into());
        message
    }

    #[test]
    fn holds_back_what_later_entries_tell() {
        let mut notices = CommitNotices::default();
        let mut sent = Vec::new();
        let mut send = |envelope: &Envelope| sent.push((envelope.0.to, envelope.0.commit));
        notices.send(append(1, 5, 0), &mut send);
        notices.send(append(2, 5, 0), &mut send);
        notices.send(append(1, 6, 0), &mut send);
        notices.send(append(2, 6, 1), &mut send);
        let heartbeat = Message { to: 2, commit: 7, ..Message::default() };
        notices.send(heartbeat, &mut send);
        assert!(!notices.is_empty());
        notices.flush(&mut send);
        assert!(notices.is_empty());
        assert_eq!(sent, [(2, 6), (2, 7), (1, 6)]);
    }
}
