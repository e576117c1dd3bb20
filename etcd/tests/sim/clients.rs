//! Who asks the members for something: clients that write and read, and the operator's requests.

use super::process::Input;
use super::request::Request;
use super::world::World;
use bytes::Bytes;

/// Keys that everybody writes.
const HOT_KEYS: u32 = 5;
/// For how long clients prefer a member.
const FAVOUR_STEPS: u64 = 400;

impl World {
    pub(super) fn ask(&mut self) {
        let plan = self.plan.clone();
        if self.chance(plan.load)
            && let Some(id) = self.random_running()
        {
            // Whoever leads alone goes on taking what never will be committed.
            let favours = plan.favours && self.random.u32(..5) > 0;
            self.ask_writes(if favours { self.favourite() } else { id });
        }
        if self.chance(plan.reads)
            && let Some(id) = self.random_running()
        {
            self.ask_read(id);
        }
        if self.chance(plan.changes)
            && let Some(id) = self.random_running()
        {
            self.ask_change(id);
        }
        if self.chance(plan.elections)
            && let Some(id) = self.random_running()
        {
            let to = self.random_running().unwrap_or(id);
            let input = if self.random.bool() { Input::Campaign } else { Input::Transfer(to) };
            self.push(id, input);
        }
    }

    fn favourite(&self) -> u64 {
        1 + self.now() / FAVOUR_STEPS % self.plan.founders
    }

    /// An id as the member's own are, which no other has.
    pub(super) fn id_of(&mut self, member: u64) -> u64 {
        self.next_id += 1;
        // Above those the member itself gives to reads in all its lives.
        member << 48 | 1 << 40 | self.next_id
    }

    pub(super) fn ask_writes(&mut self, member: u64) {
        let count = if self.random.u32(..4) == 0 { self.random.usize(1..8) } else { 1 };
        let mut requests = Vec::new();
        for _ in 0..count {
            let id = self.id_of(member);
            let request = self.request(id);
            self.judge.asked_write(member, id);
            requests.push((id, request.encode()));
        }
        self.push(member, Input::Propose(requests));
    }

    pub(super) fn request(&mut self, id: u64) -> Request {
        let hot = Bytes::from(format!("hot{}", self.random.u32(..HOT_KEYS)));
        let mut value = format!("{id:x}").into_bytes();
        // Some are long enough to be sent by reference, and to fill a segment.
        let len = if self.random.u32(..60) == 0 { 5000 } else { self.random.usize(16..80) };
        value.resize(value.len().max(len), b'.');
        match self.random.u32(..20) {
            0..13 => Request { id, key: hot, value: Some(value.into()) },
            13..18 => Request { id, key: hot, value: None },
            _ => Request { id, key: format!("once{id:x}").into(), value: Some(value.into()) },
        }
    }

    pub(super) fn ask_read(&mut self, member: u64) {
        let id = self.id_of(member);
        self.judge.asked_read(member, id);
        self.push(member, Input::Read(id));
    }

    pub(super) fn ask_change(&mut self, member: u64) {
        let id = self.id_of(member);
        if let Some(change) = self.operator.pick(id, &mut self.random) {
            self.say(format_args!("{member} is asked for {change:?}"));
            self.push(member, Input::Change(id, change));
        }
    }
}
