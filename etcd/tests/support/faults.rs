//! What happens to a cluster, at random moments from a seed: members are killed, paused and cut off,
//! and come back.

use super::cluster::Cluster;
use super::load::Running;
use super::until;
use fastrand::Rng;
use std::thread;
use std::time::{Duration, Instant};

/// What may happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    Kills,
    /// Kills, pauses, and links held and cut.
    All,
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    pub(crate) kills: u32,
    pub(crate) pauses: u32,
    pub(crate) cuts: u32,
}

/// Makes things happen until so many members were killed, and leaves the cluster whole.
pub(crate) fn inflict(
    cluster: &Cluster,
    load: &Running<'_>,
    kinds: Kinds,
    kills: u32,
    seed: u64,
) -> Happened {
    let mut faults =
        Faults { cluster, load, rng: Rng::with_seed(seed), happened: Happened::default() };
    load.await_answers(50);
    while faults.happened.kills < kills {
        faults.wait_for_a_moment();
        match (kinds, faults.rng.u8(..10)) {
            (Kinds::All, 0..3) => faults.pause(),
            (Kinds::All, 3..7) => faults.cut_or_hold(),
            _ => faults.kill(),
        }
    }
    let happened = faults.happened;
    cluster.links().heal();
    load.await_answers(50);
    happened
}

struct Faults<'a> {
    cluster: &'a Cluster,
    load: &'a Running<'a>,
    rng: Rng,
    happened: Happened,
}

impl Faults<'_> {
    /// Mostly one at which the cluster is at work; else any, such as while it elects or recovers.
    fn wait_for_a_moment(&mut self) {
        if self.rng.u8(..4) > 0 {
            self.load.await_answers(self.rng.u64(1..100));
        }
        thread::sleep(self.millis(300));
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.rng.u64(..most * 1000))
    }

    /// Kills one member, sometimes two or all, and starts them again.
    fn kill(&mut self) {
        let mut ids = self.cluster.ids();
        self.rng.shuffle(&mut ids);
        ids.truncate(match self.rng.u8(..10) {
            0..7 => 1,
            7..9 => 2,
            _ => ids.len(),
        });
        for id in &ids {
            self.cluster.kill(*id);
            self.happened.kills += 1;
            if self.rng.bool() {
                thread::sleep(self.millis(20));
            }
        }
        for id in ids {
            thread::sleep(self.millis(400));
            self.cluster.start_member(id);
        }
    }

    fn pause(&mut self) {
        let ids = self.cluster.ids();
        let process = self.cluster.process(ids[self.rng.usize(..ids.len())]).unwrap();
        process.pause();
        thread::sleep(self.millis(1500));
        process.resume();
        self.happened.pauses += 1;
    }

    /// Cuts or holds a member's links to one other or to all, one way or both; heals them all.
    fn cut_or_hold(&mut self) {
        let mut ids = self.cluster.ids();
        self.rng.shuffle(&mut ids);
        let (member, others) = ids.split_first().unwrap();
        let others = if self.rng.bool() { others } else { &others[..1] };
        let ways = self.rng.u8(1..=3);
        let holds = self.rng.u8(..4) == 0;
        for other in others {
            for (way, link) in [(1, (*member, *other)), (2, (*other, *member))] {
                match (ways & way, holds) {
                    (0, _) => {}
                    (_, true) => self.cluster.links().hold(link),
                    (_, false) => self.cluster.links().cut(link),
                }
            }
        }
        thread::sleep(self.millis(1500));
        self.cluster.links().heal();
        self.happened.cuts += 1;
    }
}

/// The seed of a run: `RAFTWIRE_SEED`, or another each time. It is printed, and shown if the test
/// fails.
pub(crate) fn seed() -> u64 {
    let seed = number("RAFTWIRE_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    eprintln!("RAFTWIRE_SEED={seed}");
    seed
}

/// How many members are killed: `RAFTWIRE_KILLS`, or so many.
pub(crate) fn kills(usually: u32) -> u32 {
    number("RAFTWIRE_KILLS").map_or(usually, |kills| kills.try_into().unwrap())
}

/// How many members there are: `RAFTWIRE_MEMBERS`, or so many.
pub(crate) fn members(usually: u64) -> u64 {
    number("RAFTWIRE_MEMBERS").unwrap_or(usually)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Waits until time has passed in which something would have happened: for what must not.
pub(crate) fn pass(time: Duration) {
    let begin = Instant::now();
    until("time passes", || (begin.elapsed() >= time).then_some(()));
}
