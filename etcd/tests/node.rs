//! Nodes in one process, on real sockets and disks: what one member does by itself and with two
//! others. Members that are killed, cut off and changed are processes of their own (`cluster`,
//! `kills`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use bytes::Bytes;
use raftwire::transport::{ClusterId, MemberId};
use raftwire_etcd::config::{Config, Founder};
use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::disk::{Disk, OsDisk};
use raftwire_etcd::kv::Digest;
use raftwire_etcd::member::{NodeError, ProposeError, ReadError, Role};
use raftwire_etcd::node::Node;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

const CLUSTER: ClusterId = ClusterId(0xc1);

struct Cluster {
    nodes: Vec<Node>,
    dirs: Vec<TempDir>,
}

impl Cluster {
    async fn start(count: u64, change: impl Fn(&mut Config)) -> Self {
        let dirs: Vec<_> = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
        let nodes = start_all(&dirs.iter().map(TempDir::path).collect::<Vec<_>>(), change);
        let cluster = Self { nodes, dirs };
        cluster.nodes[0].campaign();
        cluster.leader().await;
        cluster
    }

    async fn restart(self, change: impl Fn(&mut Config)) -> Self {
        for node in &self.nodes {
            node.stop().await;
        }
        let dirs = self.dirs;
        let nodes = start_all(&dirs.iter().map(TempDir::path).collect::<Vec<_>>(), change);
        Self { nodes, dirs }
    }

    async fn leader(&self) -> &Node {
        until(|| {
            self.nodes.iter().find(|node| {
                let status = node.status();
                status.role == Role::Leader
                    && self.nodes.iter().all(|other| other.status().leader == Some(status.id))
            })
        })
        .await
    }

    /// Waits until all members have applied the same, and returns its digests.
    async fn settled(&self) -> Vec<Digest> {
        let settled = async {
            loop {
                let mut digests = Vec::new();
                for node in &self.nodes {
                    digests.push(node.digest().await.unwrap());
                }
                // Asked once more: nothing is on its way.
                let is_even = digests.iter().all(|digest| digest.applied == digests[0].applied);
                if is_even && digests[0] == self.nodes[0].digest().await.unwrap() {
                    return digests;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_secs(30), settled).await.expect("they should agree by now")
    }
}

fn start_all(dirs: &[&Path], change: impl Fn(&mut Config)) -> Vec<Node> {
    start_on(dirs, change, |_| Arc::new(OsDisk::new()))
}

fn start_on(
    dirs: &[&Path],
    change: impl Fn(&mut Config),
    disk: impl Fn(u64) -> Arc<dyn Disk>,
) -> Vec<Node> {
    let listeners: Vec<_> =
        dirs.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let founders: Vec<_> = listeners
        .iter()
        .zip(1..)
        .map(|(listener, id)| Founder {
            id: MemberId(id),
            urls: vec![format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()],
            is_learner: false,
        })
        .collect();
    let starts = listeners.into_iter().zip(dirs).zip(1..);
    starts
        .map(|((listener, dir), id)| {
            let mut config = Config::new(MemberId(id), CLUSTER, dir);
            config.members.clone_from(&founders);
            config.wal.segment_bytes = 1 << 20;
            change(&mut config);
            Node::start(config, listener, disk(id)).unwrap()
        })
        .collect()
}

/// Polls until there is an answer. The deadline only ends a test that would hang.
async fn until<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let polled = async {
        loop {
            if let Some(value) = poll() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(30), polled).await.expect("it should have come by now")
}

fn key(number: usize) -> Bytes {
    format!("key-{number}").into()
}

#[tokio::test]
async fn three_members_agree() {
    let cluster = Cluster::start(3, |_| {}).await;
    let leader = cluster.leader().await;
    for number in 0..20 {
        let applied = leader.put(key(number % 10), vec![7; 256].into()).await.unwrap();
        assert_eq!(applied.version, 1 + number as u64 / 10);
    }
    for node in &cluster.nodes {
        let value = node.get(b"key-3").await.unwrap().unwrap();
        assert_eq!((value.version, value.value.len()), (2, 256));
        // A follower's write is forwarded.
        assert!(node.put("mine".into(), "x".into()).await.is_ok());
    }
    let digests = cluster.settled().await;
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    assert_eq!((digests[0].keys, digests[0].versions), (11, 23));
    assert!(leader.syncs() >= 20);
}

#[tokio::test]
async fn goes_on_with_what_is_on_disk() {
    let small = |config: &mut Config| {
        config.snapshot_entries = 50;
        config.catch_up_entries = 10;
    };
    let cluster = Cluster::start(3, small).await;
    let leader = cluster.leader().await;
    for number in 0..180 {
        leader.put(key(number), vec![7; 64].into()).await.unwrap();
    }
    let before = cluster.settled().await;
    let cluster = cluster.restart(small).await;
    cluster.leader().await;
    let after = cluster.settled().await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.hash, before.keys, before.versions), (after.hash, after.keys, 180));
        assert!(after.applied > before.applied);
    }
    assert!(cluster.nodes.iter().all(|node| node.status().snapshot_index > 0));
    assert!(cluster.leader().await.get(b"key-179").await.unwrap().is_some());
}

/// Whatever is asked of a leader whose disk fails from some operation on, nothing is acknowledged that is not
/// on the others' disks, and the leader says why it ended.
#[tokio::test]
async fn a_disk_that_fails_ends_its_member() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        let faulty = FaultDisk::new(1);
        let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let paths = [Path::new("/data"), dirs[1].path(), dirs[2].path()];
        let quiet = |config: &mut Config| config.request_timeout = Duration::from_secs(20);
        let nodes = start_on(&paths, quiet, |id| match id {
            1 => Arc::new(faulty.clone()),
            _ => Arc::new(OsDisk::new()),
        });
        let cluster = Cluster { nodes, dirs };
        until(|| (cluster.nodes[0].open_streams() == 8).then_some(())).await;
        cluster.nodes[0].campaign();
        let leader = cluster.leader().await;
        assert_eq!(leader.status().id, MemberId(1));
        leader.put("before".into(), "x".into()).await.unwrap();

        faulty.fail_at(faulty.operations(), kind);
        let asked: Vec<_> = (0..20)
            .map(|number| {
                let leader = leader.clone();
                tokio::spawn(async move { leader.put(key(number), "after".into()).await })
            })
            .collect();
        let why = timeout(Duration::from_secs(10), leader.ended()).await.expect("it ends");
        let why = why.expect("and not because it was told to");
        assert!(matches!(*why, NodeError::Wal(_)), "{why}");
        let text = std::error::Error::source(&*why).expect("what failed").to_string();
        assert!(text.contains("/data/member/wal"), "{text}");
        for (number, asked) in asked.into_iter().enumerate() {
            // Two that wrote it are enough, and this one may have heard of them.
            match asked.await.unwrap() {
                Err(ProposeError::Stopped) => {}
                Ok(_) => {
                    let others = cluster.nodes[1].get(&key(number)).await.unwrap();
                    assert!(others.is_some(), "{number} was acknowledged");
                }
                other => panic!("{other:?}"),
            }
        }
        // It answers nothing any more, and the others go on.
        let put = leader.put("late".into(), "x".into()).await;
        assert_eq!(put, Err(ProposeError::Stopped));
        assert_eq!(leader.get(b"before").await, Err(ReadError::Stopped));
        let others = Cluster { nodes: cluster.nodes[1..].to_vec(), dirs: Vec::new() };
        let leader = others.leader().await;
        leader.put("on".into(), "y".into()).await.unwrap();
        assert!(leader.get(b"before").await.unwrap().is_some());
        assert!(leader.get(b"late").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn refuses_the_data_of_another_member() {
    let cluster = Cluster::start(1, |_| {}).await;
    cluster.nodes[0].stop().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config::new(MemberId(7), CLUSTER, cluster.dirs[0].path());
    let error = Node::start(config, listener, Arc::new(OsDisk::new())).unwrap_err();
    assert!(matches!(error, NodeError::OtherMember { member: 1, cluster: 0xc1, .. }), "{error}");
    assert!(error.to_string().contains("is the data of member 1 of cluster c1"), "{error}");
}

#[tokio::test]
async fn a_member_by_itself_leads_and_commits() {
    let cluster = Cluster::start(1, |_| {}).await;
    let node = &cluster.nodes[0];
    assert_eq!(node.put("a".into(), "x".into()).await.unwrap().version, 1);
    assert_eq!(node.put("a".into(), "y".into()).await.unwrap().version, 2);
    assert_eq!(node.delete("a".into()).await.unwrap().version, 0);
    assert_eq!(node.get(b"a").await.unwrap(), None);
    // Dropped, not stopped: its thread ends all the same, and lets go of the directory.
    let Cluster { nodes, dirs } = cluster;
    let ended = nodes[0].clone();
    drop(nodes);
    ended.stop().await;
    assert!(ended.ended().await.is_none());
    drop(dirs);
}

/// There is always something to do: time passes all the same, and the member ends when it is told to.
#[tokio::test]
async fn time_passes_under_load() {
    let quick = |config: &mut Config| config.tick = Duration::from_millis(5);
    let cluster = Cluster::start(1, quick).await;
    let node = &cluster.nodes[0];
    let load: Vec<_> = (0..64)
        .map(|proposer| {
            let node = node.clone();
            node.handle()
                .clone()
                .spawn(async move { while node.put(key(proposer), "x".into()).await.is_ok() {} })
        })
        .collect();
    let begun = node.ticks();
    until(|| (node.ticks() > begun + 20).then_some(())).await;
    timeout(Duration::from_secs(10), node.stop()).await.expect("it ends");
    for proposer in load {
        proposer.await.unwrap();
    }
}
