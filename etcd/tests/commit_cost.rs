//! What a commit costs in things that can be counted: allocations and fsyncs of three members together,
//! who share this process, in steady state. Times are `raftwire bench commit`'s.
//!
//! The binary has an allocator of its own and nothing else may run in it, hence no harness.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use bytes::Bytes;
use raftwire::transport::{ClusterId, MemberId};
use raftwire_etcd::config::{Config, Founder};
use raftwire_etcd::disk::OsDisk;
use raftwire_etcd::member::Role;
use raftwire_etcd::node::Node;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

#[path = "../../tests/support/counting.rs"]
mod counting;

/// How many commits are counted, and how many before them: queues and pools have grown by then, and
/// every key is there.
const COMMITS: u64 = 2000;
const WARM_UP: u64 = 1000;
const KEYS: u64 = 64;

/// Of three members, for one commit by itself: etcd 3.6 takes 73 to 101.
const ALLOCATIONS_ALONE_MAX: f64 = 12.0;
/// And where 64 ask at once: etcd 3.6 takes 38 to 49.
const ALLOCATIONS_TOGETHER_MAX: f64 = 5.0;
/// Of the leader, where 64 ask at once.
const SYNCS_TOGETHER_MAX: f64 = 0.2;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let nodes = start(&dirs);
    let leader = &nodes[0];
    until(|| leader.open_streams() == 8).await;
    leader.campaign();
    until(|| leader.status().role == Role::Leader && leader.status().applied > 3).await;

    let (allocations, syncs) = cost(leader, 1).await;
    println!(
        "one proposer: {allocations:.2} allocations, {syncs:.3} fsyncs of the leader a commit"
    );
    assert!(allocations <= ALLOCATIONS_ALONE_MAX, "{allocations} allocations for a commit");
    // Each waits for its own; a follower that is behind takes several in one.
    assert!((1.0..1.1).contains(&syncs), "{syncs} fsyncs for a commit");

    let (allocations, syncs) = cost(leader, 64).await;
    println!(
        "64 proposers: {allocations:.2} allocations, {syncs:.3} fsyncs of the leader a commit"
    );
    assert!(allocations <= ALLOCATIONS_TOGETHER_MAX, "{allocations} allocations for a commit");
    assert!(syncs <= SYNCS_TOGETHER_MAX, "{syncs} fsyncs for a commit");

    for node in &nodes {
        node.stop().await;
    }
}

/// How many allocations and fsyncs a commit takes that `proposers` ask for at once: the allocations of
/// all members, the fsyncs of the leader.
async fn cost(leader: &Node, proposers: u64) -> (f64, f64) {
    put_all(leader, proposers, WARM_UP).await;
    let before = (counting::allocations(), leader.syncs());
    put_all(leader, proposers, COMMITS).await;
    let (allocations, syncs) = (counting::allocations() - before.0, leader.syncs() - before.1);
    (allocations as f64 / COMMITS as f64, syncs as f64 / COMMITS as f64)
}

/// Puts, on the leader's own thread, as what serves its clients does.
async fn put_all(leader: &Node, proposers: u64, commits: u64) {
    let tasks: Vec<_> = (0..proposers)
        .map(|proposer| {
            let leader = leader.clone();
            leader.handle().clone().spawn(async move {
                let value = Bytes::from(vec![7; 256]);
                let keys: Vec<_> = (0..KEYS).map(|key| Bytes::from(format!("{key:08}"))).collect();
                for number in 0..commits / proposers {
                    let key = &keys[usize::try_from((number + proposer) % KEYS).unwrap()];
                    leader.put(key.clone(), value.clone()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn start(dirs: &[tempfile::TempDir; 3]) -> [Node; 3] {
    let listeners: Vec<_> =
        dirs.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let urls = listeners
        .iter()
        .map(|listener| format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    let founders: Vec<_> = (1..)
        .zip(urls)
        .map(|(id, url)| Founder { id: MemberId(id), urls: vec![url], is_learner: false })
        .collect();
    let nodes = listeners.into_iter().zip(dirs).zip(1..).map(|((listener, dir), id)| {
        let mut config = Config::new(MemberId(id), ClusterId(1), dir.path());
        config.members.clone_from(&founders);
        Node::start(config, listener, Arc::new(OsDisk::new())).unwrap()
    });
    nodes.collect::<Vec<_>>().try_into().expect("as many as directories")
}

/// Polls. The deadline only ends a test that would hang.
async fn until(mut is_so: impl FnMut() -> bool) {
    let polled = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), polled).await.expect("it should be so by now");
}
