//! Reads that are linearizable: each waits until a quorum confirmed that the leader leads, and until
//! what was committed by then is applied here.
//!
//! ```text
//! new ──one context for all──▶ asked ──leader's index──▶ confirmed ──applied so far──▶ readable
//! ```
//!
//! A context is a request's id, so that no two members' are alike: etcd's raft up to 3.6 knows reads by
//! it, and raft 3.7 reads eight bytes of it. Messages are lost, and leaders change: what is not
//! confirmed after 500 ms is asked for again, as etcd does.

use super::{Member, message};
use bytes::Bytes;
use raft::eraftpb::{Entry, Message, MessageType};
use std::collections::VecDeque;

/// How many ticks until a read is asked for again: 500 ms of ticks of 100 ms.
const RETRY_TICKS: u32 = 5;

/// How many reads of followers a leader holds that cannot answer yet. They ask again.
const HELD_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Reads {
    new: Vec<Wanted>,
    asked: VecDeque<Asked>,
    confirmed: Vec<Confirmed>,
    /// Of followers, which a leader that has committed nothing yet cannot answer.
    held: Vec<Message>,
    now_ticks: u64,
}

/// A read, and when it is given up: whoever waits for it has by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    request: u64,
    until_ticks: u64,
}

#[derive(Debug)]
struct Asked {
    context: u64,
    requests: Vec<Wanted>,
    ticks: u32,
}

#[derive(Debug)]
struct Confirmed {
    index: u64,
    requests: Vec<Wanted>,
}

impl Reads {
    /// Wants `request` to be read within so many ticks.
    pub(super) fn ask(&mut self, request: u64, ticks: u64) {
        self.new.push(Wanted { request, until_ticks: self.now_ticks + ticks });
    }

    pub(super) fn hold(&mut self, message: Message) {
        if self.held.len() < HELD_MAX {
            self.held.push(message);
        }
    }

    pub(super) fn tick(&mut self) {
        self.now_ticks += 1;
        for asked in &mut self.asked {
            asked.ticks += 1;
        }
        while self.asked.front().is_some_and(|asked| asked.ticks > RETRY_TICKS) {
            let requests = self.asked.pop_front().map(|asked| asked.requests);
            self.new.extend(requests.unwrap_or_default());
        }
        let now_ticks = self.now_ticks;
        self.new.retain(|wanted| wanted.until_ticks > now_ticks);
    }

    /// Whether there is something to ask, and somebody.
    pub(super) fn are_due(&self, member: &Member) -> bool {
        let has_any = !self.new.is_empty() || !self.held.is_empty();
        has_any && member.raft.leader_id != 0 && member.can_read()
    }

    fn confirm(&mut self, context: &[u8], index: u64) {
        let Ok(context) = <[u8; 8]>::try_from(context).map(u64::from_be_bytes) else { return };
        let at = self.asked.iter().position(|asked| asked.context == context);
        if let Some(asked) = at.and_then(|at| self.asked.remove(at)) {
            self.confirmed.push(Confirmed { index, requests: asked.requests });
        }
    }

    fn take_readable(&mut self, applied: u64, readable: &mut Vec<u64>) {
        self.confirmed.retain_mut(|confirmed| {
            let waits = confirmed.index > applied;
            if !waits {
                readable.extend(confirmed.requests.drain(..).map(|wanted| wanted.request));
            }
            waits
        });
    }
}

impl Member {
    /// Asks for the reads that are new, all in one.
    pub(super) fn ask_reads(&mut self) {
        if !self.reads.are_due(self) {
            return;
        }
        for message in std::mem::take(&mut self.reads.held) {
            self.step(message);
        }
        if !self.reads.new.is_empty() {
            let context = self.ids.next();
            let requests = std::mem::take(&mut self.reads.new);
            self.reads.asked.push_back(Asked { context, requests, ticks: 0 });
            let context = Bytes::copy_from_slice(&context.to_be_bytes());
            let mut read = message(MessageType::MsgReadIndex, 0);
            read.set_entries(vec![Entry { data: context, ..Entry::default() }].into());
            self.step_local(read);
        }
    }

    pub(super) fn confirm_reads(&mut self) {
        for state in self.raft.read_states.drain(..) {
            self.reads.confirm(&state.request_ctx, state.index);
        }
        self.find_readable();
    }

    /// Finds the reads that may be answered from what is applied.
    pub(super) fn find_readable(&mut self) {
        if !self.reads.confirmed.is_empty() {
            self.reads.take_readable(self.applied.index, &mut self.done.readable);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(reads: &mut Reads, context: u64) {
        let requests = std::mem::take(&mut reads.new);
        reads.asked.push_back(Asked { context, requests, ticks: 0 });
    }

    #[test]
    fn answers_when_what_was_committed_is_applied() {
        let mut reads = Reads::default();
        reads.ask(1, 20);
        reads.ask(2, 20);
        asked(&mut reads, 70);
        reads.ask(3, 20);
        asked(&mut reads, 71);
        reads.confirm(&71_u64.to_be_bytes(), 9);
        reads.confirm(&70_u64.to_be_bytes(), 8);
        // Neither known nor of eight bytes.
        reads.confirm(&72_u64.to_be_bytes(), 1);
        reads.confirm(b"x", 1);
        let mut readable = Vec::new();
        reads.take_readable(7, &mut readable);
        assert_eq!(readable, [] as [u64; 0]);
        reads.take_readable(8, &mut readable);
        assert_eq!(readable, [1, 2]);
        reads.take_readable(9, &mut readable);
        assert_eq!(readable, [1, 2, 3]);
    }

    #[test]
    fn asks_again_after_half_a_second() {
        let mut reads = Reads::default();
        reads.ask(1, 20);
        asked(&mut reads, 70);
        for _ in 0..RETRY_TICKS {
            reads.tick();
        }
        assert!(reads.new.is_empty());
        reads.tick();
        assert_eq!(reads.new, [Wanted { request: 1, until_ticks: 20 }]);
        // An answer to the first question comes too late to count.
        reads.confirm(&70_u64.to_be_bytes(), 1);
        assert!(reads.confirmed.is_empty());
    }

    #[test]
    fn gives_up_what_nobody_waits_for_any_more() {
        let mut reads = Reads::default();
        reads.ask(1, 3);
        reads.ask(2, 20);
        asked(&mut reads, 70);
        reads.ask(3, 3);
        for _ in 0..=RETRY_TICKS {
            reads.tick();
        }
        assert_eq!(reads.new, [Wanted { request: 2, until_ticks: 20 }]);
    }
}
