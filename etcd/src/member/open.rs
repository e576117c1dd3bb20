//! How a member begins: founds its cluster, joins one, or goes on with what is on its disk.
//!
//! | on disk | `join` | |
//! |---|---|---|
//! | nothing | no | the log begins with an entry for each founder, in the order of their ids, committed: all founders write the same, as etcd's do |
//! | nothing | yes | the log is empty, and comes from the leader |
//! | a log | - | the newest snapshot that is whole and counts, and the entries behind it |
//!
//! Source: etcd `server/etcdserver/bootstrap.go`.

use super::commit_notices::CommitNotices;
use super::reads::Reads;
use super::snapshot::{Due, Sent, SnapshotDir, conf_state_of};
use super::{Done, Ids, Member, NodeError};
use crate::config::{Config, Founder};
use crate::disk::{Disk, DiskError};
use crate::kv::Store;
use crate::members::Members;
use crate::raft::{Change, Encodings, Log, Position, logger, proposal, wire_entry};
use crate::trace::Recorder;
use crate::wal::{self, Metadata, SnapshotRecord, Wal};
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};
use raft::{Raft, ReadOnlyOption, StateRole};
use raftwire::raftpb;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, RwLock};

/// The largest message of entries, as etcd's; one entry goes, however large.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// How many messages of entries may be on their way to a follower. etcd's are 512, of about an entry each;
/// here one holds all that was proposed in a turn, and a follower that is slow would have 40 MiB waiting for
/// it in the leader's memory.
const INFLIGHT_MESSAGES_MAX: usize = 64;
const HEARTBEAT_TICKS: usize = 1;
const ELECTION_TICKS_MAX: usize = 1 << 20;

/// What raft begins with.
struct Start {
    wal: Wal,
    hard_state: HardState,
    conf_state: ConfState,
    at: Position,
    entries: Vec<Entry>,
    store: Store,
    members: Members,
}

impl Member {
    /// Begins.
    ///
    /// `unix_ms` is the time, which makes ids of requests other than those of an earlier life.
    ///
    /// # Errors
    ///
    /// What is on disk cannot be read or is another member's, or the settings make no sense.
    pub fn open(config: Config, disk: &Arc<dyn Disk>, unix_ms: u64) -> Result<Self, NodeError> {
        check(&config)?;
        let member_dir = config.dir.join("member");
        let snap_dir = member_dir.join("snap");
        for dir in [&config.dir, &member_dir, &snap_dir] {
            create_dir(&**disk, dir).map_err(|error| NodeError::Snap(error.into()))?;
        }
        let snapshots = SnapshotDir::new(disk.clone(), snap_dir);
        let wal_dir = member_dir.join("wal");
        let start = if wal::exists(&**disk, &wal_dir)? {
            restart(&config, disk, &snapshots)?
        } else {
            found(&config, disk)?
        };
        let Start { wal, hard_state, conf_state, at, entries, store, members } = start;
        let log = Log::new(hard_state.clone(), conf_state, at, entries);
        let sink = config.log.clone();
        let raft = Raft::new(&raft_config(&config, at.index), log, &logger(&sink))
            .map_err(|error| NodeError::Raft(error.to_string()))?;
        let replayed = raft.raft_log.last_index();
        let known: Vec<_> = members.iter().map(|(id, known)| (id, known.urls.clone())).collect();
        let ids = Arc::new(Ids::new(config.id.0, unix_ms));
        let elections = config.election_seed.map(fastrand::Rng::with_seed);
        let mut member = Self {
            raft,
            wal,
            snapshots,
            encodings: Encodings::default(),
            store: Arc::new(RwLock::new(store)),
            members,
            hard_state,
            told: (0, StateRole::Follower),
            applied: at,
            snapshot: at,
            due: Due::default(),
            sent_snapshot: Sent::default(),
            notices: CommitNotices::default(),
            reads: Reads::default(),
            ids,
            done: Done::default(),
            log: sink,
            recorder: Recorder::default(),
            replayed,
            elections,
            config,
        };
        // One that joins knows its peers by what it was told only, until it has the log.
        if known.is_empty() {
            for founder in member.config.members.clone() {
                member.set_peer(founder.id, &founder.urls);
            }
        }
        for (id, urls) in known {
            member.set_peer(id, &urls);
        }
        Ok(member)
    }
}

/// Creates a directory, and those it lies in, so that they are still there after a crash. One that is
/// there may have been created by a process that died before it was durable.
fn create_dir(disk: &dyn Disk, path: &Path) -> Result<(), DiskError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match (disk.create_dir(path), parent) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            create_dir(disk, parent)?;
            disk.create_dir(path)?;
        }
        (created, _) => created?,
    }
    match disk.sync_dir(parent.unwrap_or_else(|| Path::new("."))) {
        // Somebody else's, who made the directory in it and let us have that.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn check(config: &Config) -> Result<(), NodeError> {
    let refuse = |what| Err(NodeError::Config(what));
    if config.id.0 == 0 {
        return refuse("the member's id is 0, which is nobody's");
    }
    if config.election_ticks <= HEARTBEAT_TICKS {
        return refuse("elections are due after no more than one tick");
    }
    if config.election_ticks > ELECTION_TICKS_MAX {
        return refuse("elections are due after more than a million ticks");
    }
    if config.tick.is_zero() {
        return refuse("a tick takes no time");
    }
    for (position, founder) in config.members.iter().enumerate() {
        if founder.id.0 == 0 {
            return refuse("a member's id is 0, which is nobody's");
        }
        let before = &config.members[..position];
        if before.iter().any(|other| other.id == founder.id) {
            return refuse("two members have the same id");
        }
    }
    Ok(())
}

fn raft_config(config: &Config, applied: u64) -> raft::Config {
    raft::Config {
        id: config.id.0,
        election_tick: config.election_ticks,
        heartbeat_tick: HEARTBEAT_TICKS,
        applied,
        max_size_per_msg: MESSAGE_BYTES_MAX,
        max_inflight_msgs: INFLIGHT_MESSAGES_MAX,
        check_quorum: config.check_quorum,
        pre_vote: config.pre_vote,
        read_only_option: ReadOnlyOption::Safe,
        max_committed_size_per_ready: MESSAGE_BYTES_MAX,
        ..raft::Config::default()
    }
}

fn found(config: &Config, disk: &Arc<dyn Disk>) -> Result<Start, NodeError> {
    let founders = if config.join { &[][..] } else { &config.members };
    if !config.join && founders.iter().all(|founder| founder.id != config.id) {
        return Err(NodeError::Config("it is not among the members that found the cluster"));
    }
    let entries = founding_entries(founders)?;
    let commit = entries.len() as u64;
    let term = u64::from(commit > 0);
    let metadata = Metadata { member: config.id.0, cluster: config.cluster.0 };
    let dir = config.dir.join("member").join("wal");
    let mut wal = Wal::create(disk.clone(), &dir, metadata, config.wal)?;
    if commit > 0 {
        for entry in &entries {
            wal.append(wire_entry(entry));
        }
        wal.set_hard_state(raftpb::HardState { term, vote: 0, commit });
        wal.sync()?;
    }
    Ok(Start {
        wal,
        hard_state: HardState { term, commit, ..HardState::default() },
        conf_state: ConfState::default(),
        at: Position::default(),
        entries,
        store: Store::default(),
        members: Members::default(),
    })
}

/// The entries every founder writes.
fn founding_entries(founders: &[Founder]) -> Result<Vec<Entry>, NodeError> {
    let mut founders: Vec<_> = founders.iter().collect();
    founders.sort_by_key(|founder| founder.id.0);
    let entry = |(founder, index): (&Founder, u64)| {
        let (id, urls) = (founder.id, founder.urls.clone());
        let change = match founder.is_learner {
            false => Change::AddVoter { id, urls },
            true => Change::AddLearner { id, urls },
        };
        let mut entry =
            proposal(0, &change).map_err(|error| NodeError::Change { index, error })?.entry;
        // Nobody proposes it, so only etcd's form is of use.
        entry.data = std::mem::take(&mut entry.context);
        (entry.index, entry.term) = (index, 1);
        Ok(entry)
    };
    founders.into_iter().zip(1..).map(entry).collect()
}

fn restart(
    config: &Config,
    disk: &Arc<dyn Disk>,
    snapshots: &SnapshotDir,
) -> Result<Start, NodeError> {
    let dir = config.dir.join("member").join("wal");
    let usable = wal::usable_snapshots(&**disk, &dir)?;
    let snapshot = snapshots.newest(&usable, &config.log)?;
    let (at, conf_state, store, members) = match snapshot {
        None => (Position::default(), ConfState::default(), Store::default(), Members::default()),
        Some(snapshot) => {
            let native: raft::eraftpb::Snapshot = snapshot.into();
            let metadata = native.get_metadata();
            let (store, members) = Store::decode(native.data.clone())
                .map_err(|error| NodeError::State(error.to_string()))?;
            let at = Position { index: metadata.index, term: metadata.term };
            (at, metadata.get_conf_state().clone(), store, members)
        }
    };
    let from = SnapshotRecord {
        index: at.index,
        term: at.term,
        conf_state: (at.index > 0).then(|| conf_state_of(conf_state.clone())),
    };
    let (wal, replay) = Wal::open(disk.clone(), &dir, &from, config.wal)?;
    let Metadata { member, cluster } = replay.metadata;
    if (member, cluster) != (config.id.0, config.cluster.0) {
        return Err(NodeError::OtherMember { dir: config.dir.clone(), member, cluster });
    }
    let entries: Vec<_> = replay.entries.into_iter().map(native_entry).collect();
    let last = entries.last().map_or(at.index, |entry| entry.index);
    if entries.first().is_some_and(|entry| entry.index != at.index + 1) {
        return Err(NodeError::NoSnapshot);
    }
    let raftpb::HardState { term, vote, commit } = replay.hard_state;
    // The commit index is not synced by itself; that of a snapshot is known all the same.
    let commit = commit.max(at.index);
    if commit > last {
        let reason = format!("the log ends at entry {last}, though {commit} was committed");
        return Err(NodeError::Raft(reason));
    }
    if let Some(repair) = &replay.repaired {
        config.log.line(
            crate::log::Level::Warn,
            format_args!(
                "the log ended within a record: cut at {} of {}, which is kept as {}",
                repair.offset,
                repair.path.display(),
                repair.broken.display()
            ),
        );
    }
    Ok(Start {
        wal,
        hard_state: HardState { term, vote, commit, ..HardState::default() },
        conf_state,
        at,
        entries,
        store,
        members,
    })
}

fn native_entry(entry: raftpb::Entry) -> Entry {
    let entry_type = match entry.entry_type {
        raftpb::EntryType::CONF_CHANGE => EntryType::EntryConfChange,
        raftpb::EntryType::CONF_CHANGE_V2 => EntryType::EntryConfChangeV2,
        _ => EntryType::EntryNormal,
    };
    Entry {
        entry_type,
        term: entry.term,
        index: entry.index,
        data: entry.data.unwrap_or_default(),
        ..Entry::default()
    }
}
