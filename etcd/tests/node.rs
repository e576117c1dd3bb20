//! Nodes in one process, on real sockets and disks: what one member does by itself and with two
//! others. Members that are killed, cut off and changed are processes of their own (`cluster`,
//! `kills`).

use bytes::Bytes;
use raftwire::transport::{ClusterId, MemberId};
use raftwire_etcd::config::{Config, Founder};
use raftwire_etcd::disk::OsDisk;
use raftwire_etcd::member::Role;
use raftwire_etcd::node::Node;
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
                status.role == Role::Leader && self.nodes.iter().all(|other| {
                    other.status().leader == Some(status.id)
                })
            })
        })
        .await
    }

    /// Waits until all members have applied the same, and returns its digests.
    async fn settle(&self) {
        let index = self.leader().await.status().commit;
        until(|| self.nodes.iter().all(|node| node.status().applied >= index).then_some(())).await;
    }
}

fn start_all(dirs: &[&Path], change: impl Fn(&mut Config)) -> Vec<Node> {
    let listeners: Vec<_> = dirs.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
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
            Node::start(config, listener, Arc::new(OsDisk::new())).unwrap()
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
        assert_eq!(node.put("mine".into(), "x".into()).await.is_ok(), true);
    }
    cluster.settle().await;
    let digests: Vec<_> = futures(&cluster.nodes).await;
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    assert_eq!((digests[0].keys, digests[0].versions), (11, 23));
    assert!(leader.syncs() >= 20);
}

async fn futures(nodes: &[Node]) -> Vec<raftwire_etcd::kv::Digest> {
    let mut digests = Vec::new();
    for node in nodes {
        digests.push(node.digest().await.unwrap());
    }
    digests
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
    cluster.settle().await;
    let before = futures(&cluster.nodes).await;
    let cluster = cluster.restart(small).await;
    cluster.leader().await;
    cluster.settle().await;
    let after = futures(&cluster.nodes).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.hash, before.keys, before.versions), (after.hash, after.keys, 180));
        assert!(after.applied > before.applied);
    }
    assert!(cluster.nodes.iter().all(|node| node.status().snapshot_index > 0));
    assert!(cluster.leader().await.get(b"key-179").await.unwrap().is_some());
}
