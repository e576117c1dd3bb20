//! Members by themselves and in twos and threes, moved by hand, on real files: moments that a cluster
//! hardly ever meets. Most are mistakes that were made here once.

use super::{Applied, ChangeRefused, Done, Member, PeerChange, ProposeError};
use crate::config::{Config, Founder};
use crate::disk::{Disk, OsDisk};
use crate::kv::{Request, Store};
use crate::members::{Kind, Members};
use crate::raft::{Change, Envelope};
use bytes::{Bytes, BytesMut};
use raft::StateRole;
use raft::eraftpb::{self, Entry, Message, MessageType};
use raftwire::transport::{ClusterId, MemberId, PeerUrl};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn urls(id: u64) -> Vec<PeerUrl> {
    vec![format!("http://127.0.0.1:{}", 100 + id).parse().unwrap()]
}

fn config(id: u64, members: u64, dir: &Path) -> Config {
    let mut config = Config::new(MemberId(id), ClusterId(1), dir);
    config.wal.segment_bytes = 1 << 20;
    config.members = (1..=members)
        .map(|id| Founder { id: MemberId(id), urls: urls(id), is_learner: false })
        .collect();
    config
}

fn open(config: &Config) -> Member {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let mut member = Member::open(config.clone(), &disk, 1).unwrap();
    turns(&mut member);
    member
}

/// Makes turns until there is nothing to do, and returns what was sent.
fn turns(member: &mut Member) -> Vec<Message> {
    let mut sent = Vec::new();
    let send = &mut |envelope: &Envelope| sent.push(envelope.0.clone());
    while member.has_work() {
        let turn = member.begin(send);
        member.apply_requests().unwrap();
        member.persist(turn, send).unwrap();
        member.apply().unwrap();
    }
    member.tell_commit(send);
    sent
}

fn put(id: u64) -> Bytes {
    let mut data = BytesMut::new();
    Request::Put { key: Bytes::from("k"), value: Bytes::from("v") }.encode(id, &mut data);
    data.freeze()
}

/// A leader's append behind `before`, an index and its term, up to index `last`.
fn append(term: u64, before: (u64, u64), last: u64, commit: u64) -> Envelope {
    let (index, log_term) = before;
    let mut message =
        Message { from: 2, to: 1, term, index, log_term, commit, ..Message::default() };
    message.set_msg_type(MessageType::MsgAppend);
    for index in index + 1..=last {
        message.entries.push(Entry { index, term, data: put(index), ..Entry::default() });
    }
    Envelope(message)
}

/// A leader's snapshot of a cluster of three with nothing in it.
fn snapshot(index: u64, term: u64) -> Envelope {
    let mut members = Members::default();
    for id in 1..=3 {
        let voter = Change::AddVoter { id: MemberId(id), urls: urls(id) };
        members.apply(&[voter], Kind::Simple).unwrap();
    }
    let mut snapshot =
        eraftpb::Snapshot { data: Store::default().encode(&members), ..Default::default() };
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (index, term);
    metadata.mut_conf_state().voters = vec![1, 2, 3];
    let mut message = Message { from: 2, to: 1, term, ..Message::default() };
    message.set_msg_type(MessageType::MsgSnapshot);
    message.set_snapshot(snapshot);
    Envelope(message)
}

/// Members whose messages are carried at once.
struct Cluster {
    members: Vec<Member>,
    _dirs: Vec<TempDir>,
}

impl Cluster {
    /// The first one leads.
    fn led(count: u64) -> Self {
        let dirs: Vec<_> = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
        let members =
            (1..).zip(&dirs).map(|(id, dir)| open(&config(id, count, dir.path()))).collect();
        let mut cluster = Self { members, _dirs: dirs };
        cluster.members[0].campaign();
        cluster.settle();
        assert_eq!(cluster.members[0].raft.state, StateRole::Leader);
        for member in &mut cluster.members {
            member.take_done();
        }
        cluster
    }

    fn settle(&mut self) {
        loop {
            let sent: Vec<_> = self.members.iter_mut().flat_map(turns).collect();
            if sent.is_empty() {
                return;
            }
            for message in sent {
                let to = usize::try_from(message.to).unwrap() - 1;
                self.members[to].receive(Envelope(message));
            }
        }
    }
}

#[test]
fn a_snapshot_that_was_written_does_not_commit_what_is_not_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(1, 3, dir.path());
    config.snapshot_entries = 5;
    let mut member = open(&config);
    member.receive(append(2, (3, 1), 20, 20));
    turns(&mut member);
    let written = member.snapshot_job().expect("due").run().unwrap();
    member.receive(append(2, (20, 2), 30, 20));
    member.receive(append(2, (30, 2), 31, 30));
    member.snapshotted(written).unwrap();
    // Killed before any of it was persisted.
    drop(member);
    let member = open(&config);
    assert_eq!((member.applied.index, member.raft.raft_log.last_index()), (20, 20));
}

#[test]
fn a_snapshot_that_was_received_does_not_commit_what_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(1, 3, dir.path());
    let mut member = open(&config);
    member.receive(snapshot(100, 2));
    member.receive(append(2, (100, 2), 110, 110));
    let unstable = member.raft.raft_log.unstable_snapshot().clone().unwrap();
    member.install(&unstable).unwrap();
    // Killed between the two fsyncs of one turn.
    drop(member);
    let member = open(&config);
    assert_eq!((member.applied.index, member.raft.raft_log.last_index()), (100, 100));
}

#[test]
fn what_a_received_snapshot_replaced_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(1, 3, dir.path());
    let mut member = open(&config);
    // Of a leader nobody else heard of.
    member.receive(append(3, (3, 1), 120, 3));
    turns(&mut member);
    member.receive(snapshot(100, 5));
    turns(&mut member);
    drop(member);
    let mut member = open(&config);
    assert_eq!(member.raft.raft_log.last_index(), 100);
    // A candidate without entry 100, which was committed, has no vote of it.
    let mut vote =
        Message { from: 3, to: 1, term: 7, index: 99, log_term: 4, ..Message::default() };
    vote.set_msg_type(MessageType::MsgRequestVote);
    member.receive(Envelope(vote));
    let answers = turns(&mut member);
    assert!(answers.iter().all(|answer| answer.reject), "{answers:?}");
    assert!(!answers.is_empty());
}

#[test]
fn an_old_answer_does_not_take_the_place_of_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut member = open(&config(1, 3, dir.path()));
    member.receive(append(2, (3, 1), 20, 20));
    turns(&mut member);
    member.receive(append(2, (20, 2), 30, 20));
    // Again, and late.
    member.receive(append(2, (3, 1), 5, 20));
    let answers = turns(&mut member);
    assert_eq!(answers.iter().map(|answer| answer.index).collect::<Vec<_>>(), [30]);
    member.receive(append(2, (30, 2), 40, 30));
    // And one of a leader that does not know that it is none any more.
    let mut old = append(1, (3, 1), 3, 3);
    old.0.from = 3;
    member.receive(old);
    let answers = turns(&mut member);
    assert!(answers.iter().any(|answer| (answer.to, answer.index) == (2, 40)), "{answers:?}");
}

#[test]
fn a_leader_that_removes_itself_hears_the_answers_to_what_is_on_its_way() {
    let mut cluster = Cluster::led(3);
    let leader = &mut cluster.members[0];
    leader.propose([put(1)]);
    leader.change(7, &Change::Remove { id: MemberId(1) }).unwrap();
    leader.propose([put(2)]);
    leader.propose([put(3)]);
    let mut answers = Vec::new();
    for message in turns(leader) {
        if let Some(follower) = cluster.members.get_mut(usize::try_from(message.to).unwrap() - 1) {
            follower.receive(Envelope(message));
            answers.extend(turns(follower));
        }
    }
    // One by one, as they come under load.
    let leader = &mut cluster.members[0];
    for answer in answers {
        leader.receive(Envelope(answer));
        turns(leader);
    }
    assert!(leader.is_removed());
    assert_eq!(leader.take_done().changed, [(7, Ok(()))]);
}

#[test]
fn a_leader_that_was_removed_reads_nothing_by_itself() {
    let mut cluster = Cluster::led(2);
    cluster.members[0].change(7, &Change::Remove { id: MemberId(1) }).unwrap();
    cluster.settle();
    // The other one leads now, and writes.
    let mut removed = cluster.members.remove(0);
    assert!(removed.is_removed());
    let other = &mut cluster.members[0];
    other.campaign();
    turns(other);
    other.propose([put(9)]);
    turns(other);
    assert!(other.applied.index > removed.applied.index);
    removed.take_done();
    removed.read(55);
    turns(&mut removed);
    assert_eq!(removed.take_done().readable, [] as [u64; 0]);
}

#[test]
fn snapshots_that_do_not_count_push_out_none_that_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(1, 1, dir.path());
    config.snapshot_entries = 1;
    for life in 0..8 {
        let mut member = open(&config);
        member.campaign();
        turns(&mut member);
        for id in 0..5 {
            member.propose([put(id)]);
            turns(&mut member);
        }
        let written = member.snapshot_job().unwrap().run().unwrap();
        // The others are killed before the log has a record of theirs.
        if life == 0 {
            member.snapshotted(written).unwrap();
        }
    }
    assert!(open(&config).snapshot.index > 0, "none is left that counts");
}

#[test]
fn keeps_no_bytes_of_entries_it_does_not_take() {
    let dir = tempfile::tempdir().unwrap();
    let mut member = open(&config(1, 3, dir.path()));
    let encoding = Bytes::from(vec![0; 1000]);
    for term in [9, 2] {
        // Entries of a term above the message's, and some behind a gap.
        let mut odd = append(2, (30, 2), 31, 3);
        odd.0.entries[0].term = term;
        odd.0.entries[0].context = encoding.clone();
        member.receive(odd);
    }
    turns(&mut member);
    assert!(encoding.is_unique());
}

#[test]
fn answers_who_asked_once_what_they_asked_is_applied() {
    let mut cluster = Cluster::led(3);
    let leader = &mut cluster.members[0];
    let request = leader.ids().next();
    assert!(leader.propose([put(request)]));
    leader.read(55);
    cluster.settle();
    let Done { applied, readable, .. } = cluster.members[0].take_done();
    let [(answered, Applied { version: 1, .. })] = applied[..] else { panic!("{applied:?}") };
    assert_eq!((answered, &readable[..]), (request, &[55][..]));
    // Nobody asked the followers.
    assert!(cluster.members[1].take_done().applied.is_empty());
}

#[test]
fn changes_one_thing_at_a_time() {
    let mut cluster = Cluster::led(3);
    let leader = &mut cluster.members[0];
    let learner = Change::AddLearner { id: MemberId(4), urls: urls(4) };
    leader.change(7, &learner).unwrap();
    let pending = Err(ProposeError::Refused(ChangeRefused::Pending));
    assert_eq!(leader.change(8, &Change::Remove { id: MemberId(2) }), pending);
    assert_eq!(leader.change(8, &Change::LeaveJoint), pending);
    // The learner is nobody here.
    let sent: Vec<_> = turns(leader).into_iter().filter(|message| message.to <= 3).collect();
    for message in sent {
        cluster.members[usize::try_from(message.to).unwrap() - 1].receive(Envelope(message));
    }
    let answers: Vec<_> = cluster.members[1..].iter_mut().flat_map(turns).collect();
    let leader = &mut cluster.members[0];
    for answer in answers {
        leader.receive(Envelope(answer));
    }
    turns(leader);
    let Done { changed, peers, .. } = leader.take_done();
    assert_eq!(changed, [(7, Ok(()))]);
    assert_eq!(peers, [PeerChange::Set(MemberId(4), urls(4))]);
    assert_eq!(leader.conf_state().learners, [4]);
    // One that is there already is refused by all alike, when it is applied.
    leader.change(9, &learner).unwrap();
}

#[test]
fn an_entry_that_cannot_be_read_changes_nothing() {
    let mut cluster = Cluster::led(3);
    let leader = &mut cluster.members[0];
    let mut garbage = Message { from: 2, to: 1, ..Message::default() };
    garbage.set_msg_type(MessageType::MsgPropose);
    garbage.entries.push(Entry { data: Bytes::from_static(b"\xff\xff"), ..Entry::default() });
    // A peer's is not even proposed.
    let last = leader.raft.raft_log.last_index();
    leader.receive(Envelope(garbage));
    assert_eq!(leader.raft.raft_log.last_index(), last);
    // In the log, whoever wrote it: etcd 3.4's, and changes of other kinds.
    let mut entries = vec![Entry { data: Bytes::from_static(b"\xff"), ..Entry::default() }];
    for kind in [eraftpb::EntryType::EntryConfChange, eraftpb::EntryType::EntryConfChangeV2] {
        let context = Bytes::from_static(b"\xff\xff");
        entries.push(Entry { entry_type: kind, context, ..Entry::default() });
        let leader = &mut cluster.members[0];
        assert!(leader.propose_entries(std::mem::take(&mut entries)));
        cluster.settle();
        let leader = &cluster.members[0];
        let commit = leader.raft.raft_log.committed;
        assert!(cluster.members.iter().all(|member| member.applied.index == commit));
        assert_eq!(leader.conf_state().voters.len(), 3);
        goes_on(&mut cluster);
    }
}

/// Nothing keeps the cluster from going on.
fn goes_on(cluster: &mut Cluster) {
    let leader = &mut cluster.members[0];
    let request = leader.ids().next();
    assert!(leader.propose([put(request)]));
    cluster.settle();
    assert_eq!(cluster.members[0].take_done().applied.len(), 1);
}

#[test]
fn a_follower_passes_on_what_has_a_term() {
    let mut cluster = Cluster::led(3);
    let follower = &mut cluster.members[1];
    for kind in [MessageType::MsgPropose, MessageType::MsgReadIndex] {
        let mut message = Message { from: 3, to: 2, term: 2, ..Message::default() };
        message.set_msg_type(kind);
        message.entries.push(Entry { data: put(1), ..Entry::default() });
        follower.receive(Envelope(message));
        assert!(turns(follower).iter().any(|sent| (sent.msg_type, sent.term) == (kind, 0)));
    }
}

#[test]
fn a_joint_change_of_nobodys_vote_is_refused() {
    let mut cluster = Cluster::led(3);
    let update = Change::Update { id: MemberId(2), urls: urls(9) };
    for change in [Change::Joint(Vec::new()), Change::Joint(vec![update])] {
        let refused = cluster.members[0].change(7, &change);
        assert_eq!(refused, Err(ProposeError::Refused(ChangeRefused::Impossible)));
    }
}

#[test]
fn an_answer_beyond_the_log_is_not_counted() {
    let mut cluster = Cluster::led(3);
    let leader = &mut cluster.members[0];
    leader.propose([put(1)]);
    turns(leader);
    let commit = leader.raft.raft_log.committed;
    for from in [2, 3] {
        let term = leader.raft.term;
        let mut answer = Message { from, to: 1, term, index: u64::MAX, ..Message::default() };
        answer.set_msg_type(MessageType::MsgAppendResponse);
        leader.receive(Envelope(answer));
    }
    turns(leader);
    assert_eq!(leader.raft.raft_log.committed, commit);
}
