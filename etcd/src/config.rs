//! What a member is told when it starts.

use crate::log::Sink;
use crate::wal;
use raftwire::raftpb::Dialect;
use raftwire::transport::{ClusterId, MemberId, PeerUrl, Polling};
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a member. Those that shape elections should be alike on all members.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// This member.
    pub id: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Where it keeps its data: `DIR/member/wal` and `DIR/member/snap`, as etcd does.
    pub dir: PathBuf,
    /// The members the cluster begins with, this one among them. On a restart their addresses are used
    /// in place of those in the log.
    pub members: Vec<Founder>,
    /// Whether it joins a cluster that is there: `members` are that cluster's then, and the log comes
    /// from them. Not by default; of no meaning on a restart.
    pub join: bool,
    /// raft's unit of time; 100 ms by default, as etcd. A leader sends heartbeats each tick.
    pub tick: Duration,
    /// How many ticks without a leader make a follower ask for votes; 10 by default, as etcd, and up to
    /// twice that by chance.
    pub election_ticks: usize,
    /// What the chance in election timeouts follows from, for what is to be repeated exactly; none by
    /// default: every member's and every life's are others.
    pub election_seed: Option<u64>,
    /// Whether a member that would ask for votes first asks whether it would get them, so that one that
    /// was cut off does not disturb the others; as etcd from 3.5 on, it does by default.
    pub pre_vote: bool,
    /// Whether a leader that does not hear from a quorum steps down; by default it does, as etcd.
    pub check_quorum: bool,
    /// After how many applied entries a snapshot is written, if they are also several times as many bytes
    /// as the last one had (4, or 16 up to a segment); 10 000 by default, as etcd from 3.6 on. Fewer make restarts faster and write
    /// more.
    pub snapshot_entries: u64,
    /// How many entries that were applied stay in memory, for followers that are behind; 5000 by default,
    /// as etcd. One that is farther behind gets a snapshot.
    pub catch_up_entries: u64,
    /// The log on disk.
    pub wal: wal::Options,
    /// What this member writes on the wire; 3.6's form by default.
    pub dialect: Dialect,
    /// What readers of streams do that have nothing to read: they sleep by default.
    /// [`Polling::Adaptive`] takes some 50 µs off a commit, and may use a core it has for itself.
    pub polling: Polling,
    /// How long a request may take before its outcome is given up as unknown; 5 s by default.
    pub request_timeout: Duration,
    /// The most bytes a request's key and value may have together; 1.5 MiB by default, as etcd's.
    pub request_bytes_max: usize,
    /// Takes the member's log; nobody by default.
    pub log: Sink,
}

/// A member a cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made by whoever starts a member")]
pub struct Founder {
    /// Its id.
    pub id: MemberId,
    /// Where its peers reach it.
    pub urls: Vec<PeerUrl>,
    /// Whether it only learns at first.
    pub is_learner: bool,
}

impl Config {
    /// Makes the default settings of a member that keeps its data in `dir`.
    #[must_use]
    pub fn new(id: MemberId, cluster: ClusterId, dir: impl Into<PathBuf>) -> Self {
        Self {
            id,
            cluster,
            dir: dir.into(),
            members: Vec::new(),
            join: false,
            tick: Duration::from_millis(100),
            election_ticks: 10,
            election_seed: None,
            pre_vote: true,
            check_quorum: true,
            snapshot_entries: 10_000,
            catch_up_entries: 5000,
            wal: wal::Options::default(),
            dialect: Dialect::V3_6,
            polling: Polling::Never,
            request_timeout: Duration::from_secs(5),
            request_bytes_max: 3 << 19,
            log: Sink::default(),
        }
    }

    /// The request timeout in ticks.
    pub(crate) fn request_ticks(&self) -> u64 {
        let ticks = self.request_timeout.as_nanos() / self.tick.as_nanos().max(1);
        u64::try_from(ticks).unwrap_or(u64::MAX).clamp(1, u64::MAX >> 1)
    }
}
