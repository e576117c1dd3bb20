//! One commit's way through the members: the moments they recorded of it, and how its latency divides
//! into phases along its critical path. All moments are nanoseconds of the one CLOCK_MONOTONIC that
//! every process of a machine reads; 0 is one that was not seen. Not here: recording them (`member`), and what many commits have
//! in common (`phases`).
//!
//! ```text
//! leader    called    taken  encoded  written      wal_begin  fsync_begin  fsync_end    acked  returned
//!              | queue  | encode | write |                                                 |  apply  |
//! follower                               | received  decoded  wal_begin  fsync_begin  fsync_end
//!                                        | wire | decode | wal wait | wal write | fsync | ack |
//! ```
//!
//! The critical path leads through the follower whose answer completed the quorum, the leader's own
//! vote counted in, or through the leader's own fsync where that ended later than the answer was
//! written: a leader that blocks in its fsync reads after it what had come long before. Through the
//! leader's fsync, `write` is what lies between encoding and its WAL, which is handing messages to
//! sockets; there is no wire; and `ack` is reading the answer that waited. A leader that applies what a
//! quorum of followers has before its own fsync ended has a path through the last of those.
//!
//! `wire` and `ack` end when the receiver's thread has read, however long it was busy before.
//!
//! `written` is when the writer's call returned. On two cores the peer may have read by then what that
//! call wrote: the write ends when it was read, and the wire took no time.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// What one member recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moments {
    /// What it proposed, as leader.
    pub(crate) proposals: Vec<Proposal>,
    /// What it appended, as follower.
    pub(crate) appends: Vec<Append>,
}

/// A commit on the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    pub(crate) index: u64,
    /// As the proposer counted it: what the phases must add up to.
    pub(crate) latency_ns: u64,
    /// The proposer is about to call the member,
    pub(crate) called: u64,
    /// and the member was called.
    pub(crate) proposed: u64,
    /// The raft loop took it.
    pub(crate) taken: u64,
    /// It was queued on the streams.
    pub(crate) encoded: u64,
    /// Handed to each peer's socket: member and moment.
    pub(crate) written: Vec<(u64, u64)>,
    pub(crate) wal_begin: u64,
    pub(crate) fsync_begin: u64,
    pub(crate) fsync_end: u64,
    /// Each peer's answer that covers it was read.
    pub(crate) acked: Vec<(u64, u64)>,
    pub(crate) committed: u64,
    pub(crate) applied: u64,
    /// The proposer's task ran again, within the member's call,
    pub(crate) answered: u64,
    /// and behind it.
    pub(crate) returned: u64,
}

/// A commit on a follower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Append {
    pub(crate) index: u64,
    /// The read that brought it returned.
    pub(crate) received: u64,
    /// Raft has it.
    pub(crate) decoded: u64,
    pub(crate) wal_begin: u64,
    pub(crate) fsync_begin: u64,
    pub(crate) fsync_end: u64,
    pub(crate) ack_queued: u64,
    pub(crate) ack_written: u64,
    pub(crate) applied: u64,
}

/// The parts of a latency, in the order of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Queue,
    Encode,
    Write,
    Wire,
    Decode,
    /// For the records before it.
    WalWait,
    WalWrite,
    Fsync,
    Ack,
    Apply,
}

pub(crate) const PHASES: [Phase; 10] = [
    Phase::Queue,
    Phase::Encode,
    Phase::Write,
    Phase::Wire,
    Phase::Decode,
    Phase::WalWait,
    Phase::WalWrite,
    Phase::Fsync,
    Phase::Ack,
    Phase::Apply,
];

impl Phase {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Encode => "encode",
            Self::Write => "write",
            Self::Wire => "wire",
            Self::Decode => "decode",
            Self::WalWait => "wal wait",
            Self::WalWrite => "wal write",
            Self::Fsync => "fsync",
            Self::Ack => "ack",
            Self::Apply => "apply",
        }
    }
}

/// A latency, divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) latency_ns: u64,
    /// As [`PHASES`] are ordered.
    pub(crate) phases_ns: [u64; PHASES.len()],
    /// The member it leads through; none: the leader's own fsync.
    pub(crate) through: Option<u64>,
    pub(crate) off: OffPath,
}

/// Work the commit did not wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OffPath {
    /// The leader's own WAL, from its beginning to the end of its fsync.
    pub(crate) leader_wal_ns: Option<u64>,
    /// Followers the path does not lead through, from reading it to having answered.
    pub(crate) followers_ns: Vec<u64>,
    /// On every follower, from having answered to having applied it.
    pub(crate) follower_applies_ns: Vec<u64>,
}

/// Why a sample has no path, or one that proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A moment of the path was not recorded.
    Incomplete,
    /// A moment lies before the one it follows on: where.
    Backwards(&'static str),
    /// The phases are not the latency that was measured.
    Sum,
}

/// How far the phases' sum may be from the measured latency.
const SUM_TOLERANCE: f64 = 0.02;

/// What each follower recorded of one commit, by member.
pub(crate) type Appends<'a> = HashMap<u64, &'a Append>;

/// Divides one commit's latency; `appends` are what followers recorded of the same index.
pub(crate) fn path(
    proposal: &Proposal,
    appends: &Appends<'_>,
    members: usize,
) -> Result<Path, Violation> {
    let closer = closer(proposal, appends, members)?;
    let (through, moments) = match closer {
        Closer::Leader { acked } => (None, through_leader(proposal, acked)),
        Closer::Follower(member) => (Some(member), through_follower(proposal, member, appends)?),
    };
    if moments.contains(&0) {
        return Err(Violation::Incomplete);
    }
    let mut phases_ns = [0; PHASES.len()];
    for ((phase, ns), pair) in PHASES.iter().zip(&mut phases_ns).zip(moments.windows(2)) {
        *ns = between(pair[0], pair[1], phase.label())?;
    }
    // The first and the last phase have a moment of the member's own within.
    between(proposal.called, proposal.proposed, Phase::Queue.label())?;
    between(proposal.proposed, proposal.taken, Phase::Queue.label())?;
    between(proposal.applied, proposal.answered, Phase::Apply.label())?;
    between(proposal.answered, proposal.returned, Phase::Apply.label())?;
    let sum = proposal.returned - proposal.called;
    if (sum as f64 - proposal.latency_ns as f64).abs() > proposal.latency_ns as f64 * SUM_TOLERANCE
    {
        return Err(Violation::Sum);
    }
    let off = off_path(proposal, appends, through)?;
    Ok(Path { latency_ns: proposal.latency_ns, phases_ns, through, off })
}

/// Whom the commit waited for last.
enum Closer {
    /// Its own fsync; the answer that completed the quorum was read after it.
    Leader {
        acked: u64,
    },
    Follower(u64),
}

fn closer(proposal: &Proposal, appends: &Appends<'_>, members: usize) -> Result<Closer, Violation> {
    let quorum = members / 2 + 1;
    let mut acked = proposal.acked.clone();
    acked.sort_by_key(|(_, moment)| *moment);
    let (with_leader, without) = (acked.get(quorum - 2), acked.get(quorum - 1));
    if proposal.applied == 0 {
        return Err(Violation::Incomplete);
    }
    if proposal.fsync_end == 0 || proposal.fsync_end > proposal.applied {
        // Applied before its own fsync: the followers were a quorum without it.
        let (member, _) = *without.ok_or(Violation::Incomplete)?;
        return Ok(Closer::Follower(member));
    }
    let (member, acked) = *with_leader.ok_or(Violation::Incomplete)?;
    let append = appends.get(&member).ok_or(Violation::Incomplete)?;
    if append.ack_written == 0 {
        return Err(Violation::Incomplete);
    }
    if append.ack_written <= proposal.fsync_end {
        // On several threads it may have been read during the fsync.
        return Ok(Closer::Leader { acked: acked.max(proposal.fsync_end) });
    }
    Ok(Closer::Follower(member))
}

/// The moments between the phases, one more than there are phases.
type Boundaries = [u64; PHASES.len() + 1];

fn through_leader(proposal: &Proposal, acked: u64) -> Boundaries {
    let Proposal { called, taken, encoded, wal_begin, fsync_begin, fsync_end, .. } = *proposal;
    // Written, and no wire, decoding or waiting.
    let write = [wal_begin; 4];
    [
        called,
        taken,
        encoded,
        write[0],
        write[1],
        write[2],
        write[3],
        fsync_begin,
        fsync_end,
        acked,
        proposal.returned,
    ]
}

fn through_follower(
    proposal: &Proposal,
    member: u64,
    appends: &Appends<'_>,
) -> Result<Boundaries, Violation> {
    let append = appends.get(&member).ok_or(Violation::Incomplete)?;
    let written = of(&proposal.written, member)?;
    let acked = of(&proposal.acked, member)?;
    Ok([
        proposal.called,
        proposal.taken,
        proposal.encoded,
        written.min(append.received),
        append.received,
        append.decoded,
        append.wal_begin,
        append.fsync_begin,
        append.fsync_end,
        acked,
        proposal.returned,
    ])
}

const OFF: &str = "beside the path";

fn between(from: u64, to: u64, place: &'static str) -> Result<u64, Violation> {
    to.checked_sub(from).ok_or(Violation::Backwards(place))
}

fn of(moments: &[(u64, u64)], member: u64) -> Result<u64, Violation> {
    let found = moments.iter().find(|(of, _)| *of == member);
    found.map(|(_, moment)| *moment).ok_or(Violation::Incomplete)
}

fn off_path(
    proposal: &Proposal,
    appends: &Appends<'_>,
    through: Option<u64>,
) -> Result<OffPath, Violation> {
    let mut off = OffPath::default();
    if through.is_some() && proposal.fsync_end != 0 {
        off.leader_wal_ns = Some(between(proposal.wal_begin, proposal.fsync_end, OFF)?);
    }
    for (member, append) in appends {
        if through != Some(*member) && append.ack_written != 0 {
            off.followers_ns.push(between(append.received, append.ack_written, OFF)?);
        }
        if append.applied != 0 && append.ack_written != 0 {
            // A follower may apply what it has not answered yet, if the commit came along.
            off.follower_applies_ns.push(append.applied.saturating_sub(append.ack_written));
        }
    }
    Ok(off)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A commit whose phases last 1, 2, 3 ... through member 2, with member 3 later.
    pub(crate) fn commit() -> (Proposal, [Append; 2]) {
        let proposal = Proposal {
            index: 7,
            latency_ns: 55,
            called: 1000,
            proposed: 1000,
            taken: 1001,
            encoded: 1003,
            written: vec![(2, 1006), (3, 1007)],
            wal_begin: 1008,
            fsync_begin: 1010,
            fsync_end: 1040,
            acked: vec![(3, 1050), (2, 1045)],
            committed: 1046,
            applied: 1050,
            answered: 1054,
            returned: 1055,
        };
        let second = Append {
            index: 7,
            received: 1010,
            decoded: 1015,
            wal_begin: 1021,
            fsync_begin: 1028,
            fsync_end: 1036,
            ack_queued: 1037,
            ack_written: 1041,
            applied: 1060,
        };
        let third = Append { received: 1012, ack_written: 1048, applied: 0, ..second };
        (proposal, [second, third])
    }

    fn divide(proposal: &Proposal, appends: &[Append]) -> Result<Path, Violation> {
        let appends = (2..).zip(appends).collect();
        path(proposal, &appends, 3)
    }

    #[test]
    fn leads_through_the_follower_that_completed_the_quorum() {
        let (proposal, appends) = commit();
        let path = divide(&proposal, &appends).unwrap();
        assert_eq!(path.through, Some(2));
        assert_eq!(path.phases_ns, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(path.phases_ns.iter().sum::<u64>(), path.latency_ns);
        let off = OffPath {
            leader_wal_ns: Some(32),
            followers_ns: vec![36],
            follower_applies_ns: vec![19],
        };
        assert_eq!(path.off, off);
    }

    #[test]
    fn leads_through_the_leaders_fsync_if_that_ended_later() {
        let (mut proposal, appends) = commit();
        proposal.fsync_end = 1042;
        let path = divide(&proposal, &appends).unwrap();
        assert_eq!(path.through, None);
        assert_eq!(path.phases_ns, [1, 2, 5, 0, 0, 0, 2, 32, 3, 10]);
        proposal.fsync_end = 1048;
        let read_meanwhile = divide(&proposal, &appends).unwrap();
        assert_eq!(read_meanwhile.phases_ns[7..], [38, 0, 7]);
        assert_eq!(path.off.leader_wal_ns, None);
        assert_eq!(path.off.followers_ns.len(), 2);
    }

    #[test]
    fn leads_through_followers_alone_if_applied_before_the_leaders_fsync_ended() {
        let (mut proposal, appends) = commit();
        proposal.fsync_end = 1052;
        let path = divide(&proposal, &appends).unwrap();
        assert_eq!(path.through, Some(3));
        assert_eq!(path.phases_ns[8..], [14, 5]);
        proposal.fsync_end = 0;
        let unsynced = divide(&proposal, &appends).unwrap();
        assert_eq!((unsynced.through, unsynced.off.leader_wal_ns), (Some(3), None));
    }

    #[test]
    fn a_quorum_of_five_needs_two_followers() {
        let (mut proposal, appends) = commit();
        proposal.acked = vec![(2, 1041), (3, 1049), (4, 1050), (5, 1051)];
        let appends: Appends<'_> = (2..).zip(&appends).collect();
        assert_eq!(path(&proposal, &appends, 5).unwrap().through, Some(3));
    }

    #[test]
    fn what_was_not_recorded_is_no_path() {
        let (proposal, appends) = commit();
        assert_eq!(divide(&proposal, &[]), Err(Violation::Incomplete));
        let unacked = Proposal { acked: Vec::new(), ..proposal.clone() };
        assert_eq!(divide(&unacked, &appends), Err(Violation::Incomplete));
        let unwritten = Proposal { written: vec![(3, 1007)], ..proposal.clone() };
        assert_eq!(divide(&unwritten, &appends), Err(Violation::Incomplete));
        let unseen = [Append { fsync_begin: 0, ..appends[0] }, appends[1]];
        assert_eq!(divide(&proposal, &unseen), Err(Violation::Incomplete));
        let unapplied = Proposal { applied: 0, ..proposal };
        assert_eq!(divide(&unapplied, &appends), Err(Violation::Incomplete));
    }

    #[test]
    fn moments_must_not_run_backwards() {
        let (proposal, [second, third]) = commit();
        let early = Append { received: 1002, ..second };
        let before_it_was_encoded = divide(&proposal, &[early, third]);
        assert_eq!(before_it_was_encoded, Err(Violation::Backwards("write")));
        let late = Proposal { taken: 1004, ..proposal.clone() };
        let divided = divide(&late, &[second, third]);
        assert_eq!(divided, Err(Violation::Backwards("encode")));
        let proposed_before_called = Proposal { called: 1001, ..proposal.clone() };
        let divided = divide(&proposed_before_called, &[second, third]);
        assert_eq!(divided, Err(Violation::Backwards("queue")));
        let answered_before_applied = Proposal { answered: 1049, ..proposal.clone() };
        let divided = divide(&answered_before_applied, &[second, third]);
        assert_eq!(divided, Err(Violation::Backwards("apply")));
        let answered_before_received = Append { ack_written: 1000, ..second };
        let appends = [second, answered_before_received];
        assert_eq!(divide(&proposal, &appends), Err(Violation::Backwards(OFF)));
    }

    #[test]
    fn what_is_read_before_the_write_returns_was_no_time_on_the_wire() {
        let (proposal, [second, third]) = commit();
        let early = Append { received: 1005, ..second };
        let path = divide(&proposal, &[early, third]).unwrap();
        assert_eq!(path.phases_ns[..5], [1, 2, 2, 0, 10]);
        assert_eq!(path.phases_ns.iter().sum::<u64>(), 55);
    }

    #[test]
    fn the_sum_must_be_the_measured_latency() {
        let (proposal, appends) = commit();
        for (latency_ns, is_met) in [(54, true), (56, true), (53, false), (57, false)] {
            let measured = Proposal { latency_ns, ..proposal.clone() };
            let divided = divide(&measured, &appends);
            assert_eq!(divided.is_ok(), is_met, "{latency_ns}: {divided:?}");
            assert!(is_met || divided == Err(Violation::Sum));
        }
    }
}
