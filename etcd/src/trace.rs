//! Where the time of a commit goes: the moments of sampled entries, on the leader and on followers.
//!
//! All are nanoseconds of `CLOCK_MONOTONIC`, which is one for all processes of a machine, so that the
//! moments of several members there can be put in one row. An entry is sampled by its index, so that all
//! members sample the same ones. While nothing is sampled, which is the default, it costs one load where
//! a moment would be taken.
//!
//! Not here: what the moments mean together (`raftwire bench commit`).

use raftwire::transport::{MemberId, StreamKind};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The moments of an entry on the member that proposed it as leader, in their usual order. 0: not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Led {
    /// The entry's.
    pub index: u64,
    /// [`Node::put`](crate::node::Node::put) was called.
    pub proposed_ns: u64,
    /// The member's loop took it.
    pub taken_ns: u64,
    /// raft had it, and its messages were queued, encoded, on the streams.
    pub encoded_ns: u64,
    /// The batch with it was handed to the socket of a peer.
    pub written_ns: Vec<(MemberId, u64)>,
    /// Its record was begun to be put together for the log.
    pub wal_begin_ns: u64,
    /// The log was begun to be written and synced.
    pub fsync_begin_ns: u64,
    /// It was durable here.
    pub fsync_end_ns: u64,
    /// A peer's answer that covers it was stepped.
    pub acked_ns: Vec<(MemberId, u64)>,
    /// raft said that it is committed.
    pub committed_ns: u64,
    /// It was applied.
    pub applied_ns: u64,
    /// Whoever called `put` went on.
    pub answered_ns: u64,
}

/// The moments of an entry on a follower. 0: not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Followed {
    /// The entry's.
    pub index: u64,
    /// The read that brought it returned.
    pub received_ns: u64,
    /// It was decoded, and the member's loop was about to step it.
    pub decoded_ns: u64,
    /// Its record was begun to be put together for the log.
    pub wal_begin_ns: u64,
    /// The log was begun to be written and synced.
    pub fsync_begin_ns: u64,
    /// It was durable here.
    pub fsync_end_ns: u64,
    /// The answer was queued, encoded, on the stream.
    pub ack_queued_ns: u64,
    /// The batch with the answer was handed to the socket.
    pub ack_written_ns: u64,
    /// It was applied.
    pub applied_ns: u64,
}

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// Entries this member led, whole: they were answered.
    pub led: Vec<Led>,
    /// Entries it followed, and answered.
    pub followed: Vec<Followed>,
    /// How many were not kept, because nobody took what was recorded.
    pub lost: u64,
}

/// How many entries are kept until they are taken.
const KEPT_MAX: usize = 1 << 17;
/// How many may be on their way. Those whose end is never seen make room for others.
const OPEN_MAX: usize = 4096;

/// Takes the moments. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Each so many an entry is sampled; 0: none.
    every: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    led: VecDeque<Led>,
    followed: VecDeque<Followed>,
    /// When the last read from each peer returned.
    received: Vec<(MemberId, StreamKind, u64)>,
    trace: Trace,
}

pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000_000 + nanoseconds
}

impl Recorder {
    /// Samples each entry whose index `every` divides; 0: none.
    pub(crate) fn sample(&self, every: u64) {
        let mut state = self.state();
        *state = State::default();
        self.0.every.store(every, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.every.load(Ordering::Relaxed) != 0
    }

    /// The time, where it is wanted.
    #[inline]
    pub(crate) fn moment(&self) -> Option<u64> {
        self.is_on().then(now_ns)
    }

    pub(crate) fn take(&self) -> Trace {
        std::mem::take(&mut self.state().trace)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn samples(&self, index: u64) -> bool {
        let every = self.0.every.load(Ordering::Relaxed);
        every != 0 && index.is_multiple_of(every)
    }

    /// Entries from `first` on were taken now, which were proposed when `proposed_ns` says.
    pub(crate) fn proposed(&self, first: u64, proposed_ns: impl Iterator<Item = u64>) {
        let taken_ns = now_ns();
        let mut state = self.state();
        for (index, proposed_ns) in (first..).zip(proposed_ns) {
            if self.samples(index) && proposed_ns != 0 {
                if state.led.len() == OPEN_MAX {
                    state.led.pop_front();
                }
                state.led.push_back(Led { index, proposed_ns, taken_ns, ..Led::default() });
            }
        }
    }

    pub(crate) fn encoded(&self) {
        self.each_led(|led, now| set(&mut led.encoded_ns, now));
    }

    /// A batch was handed to a socket.
    pub(crate) fn wrote(&self, to: MemberId, kind: StreamKind) {
        let Some(now) = self.moment() else { return };
        let mut state = self.state();
        if kind == StreamKind::MsgApp {
            for led in &mut state.led {
                if led.encoded_ns != 0 && !led.written_ns.iter().any(|(peer, _)| *peer == to) {
                    led.written_ns.push((to, now));
                }
            }
        } else {
            let mut written = 0;
            for followed in &mut state.followed {
                if followed.ack_queued_ns == 0 {
                    break;
                }
                set(&mut followed.ack_written_ns, now);
                written += 1;
            }
            // What is still to come of it is off the path.
            for _ in 0..written {
                if let Some(followed) = state.followed.pop_front() {
                    state.trace.keep(Ended::Followed(followed));
                }
            }
        }
    }

    /// A read from a peer returned.
    pub(crate) fn received(&self, from: MemberId, kind: StreamKind) {
        let Some(now) = self.moment() else { return };
        let mut state = self.state();
        let known = state.received.iter_mut().find(|(peer, of, _)| (*peer, *of) == (from, kind));
        match known {
            Some((_, _, last)) => *last = now,
            None => state.received.push((from, kind, now)),
        }
    }

    /// When the last read of appends from a peer returned.
    pub(crate) fn last_received(&self, from: MemberId) -> u64 {
        let state = self.state();
        let appends = StreamKind::MsgApp;
        let known = state.received.iter().find(|(peer, kind, _)| (*peer, *kind) == (from, appends));
        known.map_or(0, |(_, _, last)| *last)
    }

    /// Entries from a leader are about to be stepped.
    pub(crate) fn decoded(&self, indexes: impl Iterator<Item = u64>, received_ns: u64) {
        let now = now_ns();
        let mut state = self.state();
        for index in indexes.filter(|index| self.samples(*index)) {
            if state.followed.len() == OPEN_MAX {
                state.followed.pop_front();
            }
            let received_ns = if received_ns == 0 { now } else { received_ns };
            let followed = Followed { index, received_ns, decoded_ns: now, ..Followed::default() };
            state.followed.push_back(followed);
        }
    }

    pub(crate) fn wal_begin(&self) {
        self.each(|led| &mut led.wal_begin_ns, |followed| &mut followed.wal_begin_ns);
    }

    pub(crate) fn fsync_begin(&self) {
        self.each(|led| &mut led.fsync_begin_ns, |followed| &mut followed.fsync_begin_ns);
    }

    pub(crate) fn fsync_end(&self) {
        self.each(|led| &mut led.fsync_end_ns, |followed| &mut followed.fsync_end_ns);
    }

    /// What had to wait for the disk was sent.
    pub(crate) fn ack_queued(&self) {
        let Some(now) = self.moment() else { return };
        for followed in &mut self.state().followed {
            if followed.fsync_end_ns != 0 {
                set(&mut followed.ack_queued_ns, now);
            }
        }
    }

    /// A peer said that it has all up to `index`.
    pub(crate) fn acked(&self, peer: MemberId, index: u64) {
        let Some(now) = self.moment() else { return };
        for led in &mut self.state().led {
            if led.index <= index && !led.acked_ns.iter().any(|(known, _)| *known == peer) {
                led.acked_ns.push((peer, now));
            }
        }
    }

    /// All up to `index` is committed.
    pub(crate) fn committed(&self, index: u64) {
        self.each_led(|led, now| {
            if led.index <= index {
                set(&mut led.committed_ns, now);
            }
        });
    }

    /// All up to `index` is applied.
    pub(crate) fn applied(&self, index: u64) {
        self.each_led(|led, now| {
            if led.index <= index {
                set(&mut led.applied_ns, now);
            }
        });
    }

    /// Who proposed the entry of `index` goes on.
    pub(crate) fn answered(&self, index: u64) {
        if !self.samples(index) {
            return;
        }
        let now = now_ns();
        let mut state = self.state();
        if let Some(at) = state.led.iter().position(|led| led.index == index)
            && let Some(mut led) = state.led.remove(at)
        {
            led.answered_ns = now;
            state.trace.keep(Ended::Led(led));
            // A list that grows takes its time.
            if let Some(led) = state.trace.led.last_mut().filter(|led| led.index == index) {
                led.answered_ns = now_ns();
            }
        }
    }

    fn each_led(&self, mut at: impl FnMut(&mut Led, u64)) {
        let Some(now) = self.moment() else { return };
        for led in &mut self.state().led {
            at(led, now);
        }
    }

    fn each(
        &self,
        of_led: impl Fn(&mut Led) -> &mut u64,
        of_followed: impl Fn(&mut Followed) -> &mut u64,
    ) {
        let Some(now) = self.moment() else { return };
        let mut state = self.state();
        for led in &mut state.led {
            set(of_led(led), now);
        }
        for followed in &mut state.followed {
            set(of_followed(followed), now);
        }
    }
}

fn set(at: &mut u64, now: u64) {
    if *at == 0 {
        *at = now;
    }
}

enum Ended {
    Led(Led),
    Followed(Followed),
}

impl Trace {
    fn keep(&mut self, ended: Ended) {
        if self.led.len() + self.followed.len() >= KEPT_MAX {
            self.lost += 1;
            return;
        }
        match ended {
            Ended::Led(led) => self.led.push(led),
            Ended::Followed(followed) => self.followed.push(followed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_no_moments_unless_told_to() {
        let recorder = Recorder::default();
        assert_eq!(recorder.moment(), None);
        recorder.proposed(1, [5].into_iter());
        recorder.answered(1);
        assert_eq!(recorder.take(), Trace::default());
    }

    #[test]
    fn follows_a_sampled_entry_on_its_leader() {
        let recorder = Recorder::default();
        recorder.sample(2);
        let peer = MemberId(9);
        recorder.proposed(3, [1, 1, 1].into_iter());
        recorder.wrote(peer, StreamKind::MsgApp);
        recorder.encoded();
        recorder.wrote(peer, StreamKind::MsgApp);
        recorder.wal_begin();
        recorder.fsync_begin();
        recorder.fsync_end();
        recorder.acked(peer, 3);
        recorder.acked(peer, 4);
        recorder.committed(4);
        recorder.applied(4);
        recorder.answered(3);
        recorder.answered(4);
        let trace = recorder.take();
        let [led] = &trace.led[..] else { panic!("one is sampled: {trace:?}") };
        assert_eq!((led.index, led.proposed_ns), (4, 1));
        let row = [
            led.taken_ns,
            led.encoded_ns,
            led.written_ns[0].1,
            led.wal_begin_ns,
            led.fsync_begin_ns,
            led.fsync_end_ns,
            led.acked_ns[0].1,
            led.committed_ns,
            led.applied_ns,
            led.answered_ns,
        ];
        assert!(row[0] > 0 && row.is_sorted(), "{row:?}");
        assert_eq!(recorder.take(), Trace::default());
    }

    #[test]
    fn follows_it_on_a_follower_until_the_answer_left() {
        let recorder = Recorder::default();
        recorder.sample(1);
        let leader = MemberId(1);
        recorder.received(leader, StreamKind::MsgApp);
        recorder.decoded(7..9, recorder.last_received(leader));
        recorder.wal_begin();
        recorder.fsync_begin();
        recorder.fsync_end();
        recorder.ack_queued();
        recorder.decoded(9..10, 0);
        recorder.wrote(leader, StreamKind::Message);
        let trace = recorder.take();
        let indexes: Vec<_> = trace.followed.iter().map(|followed| followed.index).collect();
        assert_eq!(indexes, [7, 8]);
        let Followed { received_ns, decoded_ns, fsync_end_ns, ack_written_ns, .. } =
            trace.followed[0];
        assert!([received_ns, decoded_ns, fsync_end_ns, ack_written_ns].is_sorted());
    }
}
