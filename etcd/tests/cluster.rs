//! What a cluster does across three processes: elections, leadership that is lost and handed over,
//! reads, changes of the members, snapshots, restarts.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use raftwire_etcd::console::{Answer, ChangeLine, ErrorKind, Event, Op, Outcome, Said};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use support::cluster::{Cluster, Options, ids};
use support::faults::pass;
use support::process::error_kind;
use support::until;

/// Some elections' worth of time, for what must not happen in it: ticks are 30 ms, and an election
/// is due after 20 at most.
const ELECTIONS: Duration = Duration::from_millis(2500);

fn get(key: &str) -> Op {
    Op::Get { key: key.to_owned() }
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.to_owned(), value: value.to_owned() }
}

/// What a member itself holds of a key.
fn local(cluster: &Cluster, id: u64, key: &str) -> Option<String> {
    match cluster.ask(id, Op::GetLocal { key: key.to_owned() }) {
        Outcome::Value(value) => value.map(|value| value.text),
        other => panic!("{other:?}"),
    }
}

/// Puts so many keys, of which each value names its number.
fn put_many(cluster: &Cluster, id: u64, from: u64, count: u64) {
    for number in from..from + count {
        cluster.put(id, &format!("key-{number}"), &number.to_string());
    }
}

fn others(cluster: &Cluster, id: u64) -> Vec<u64> {
    cluster.ids().into_iter().filter(|other| *other != id).collect()
}

/// Hands the leadership to a member.
fn transfer(cluster: &Cluster, to: u64) {
    until(&format!("member {to} leads"), || {
        let leader = cluster.leader();
        if leader == to {
            return Some(());
        }
        cluster.ask(leader, Op::Transfer { to: to.into() });
        None
    });
}

#[test]
fn a_member_that_was_cut_off_does_not_raise_the_term() {
    let cluster = Cluster::start(Options::new());
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let term = cluster.status(leader).term;
    cluster.links().isolate(follower, 1..=3);
    cluster.until_status("it would stand for election", follower, |status| {
        status.role == "pre-candidate"
    });
    cluster.put(leader, "meanwhile", "written");
    pass(ELECTIONS);
    assert_eq!(cluster.status(follower).term, term);

    cluster.links().heal();
    cluster.until_status("it follows again", follower, |status| {
        status.leader == Some(leader.into()) && status.role == "follower"
    });
    assert_eq!(cluster.text(follower, "meanwhile").as_deref(), Some("written"));
    assert_eq!((cluster.leader(), cluster.status(leader).term), (leader, term));
}

#[test]
fn without_pre_vote_a_member_that_was_cut_off_raises_the_term() {
    let cluster = Cluster::start(Options::new().switch("no-pre-vote"));
    let follower = cluster.follower();
    let term = cluster.status(follower).term;
    cluster.links().isolate(follower, 1..=3);
    cluster.until_status("it stands for election", follower, |status| status.term > term + 1);
    cluster.links().heal();
    assert!(cluster.status(cluster.leader()).term > term);
}

#[test]
fn a_leader_without_followers_steps_down_and_answers_nobody() {
    let cluster = Cluster::start(Options::new().flag("request-timeout-ms", 1000));
    let leader = cluster.leader();
    cluster.put(leader, "key", "old");
    cluster.links().isolate(leader, 1..=3);
    // Whether it has noticed or not.
    for _ in 0..3 {
        let outcome = cluster.ask(leader, put("key", "lost?"));
        assert!(error_kind(&outcome).is_some(), "{outcome:?}");
        let outcome = cluster.ask(leader, get("key"));
        assert_eq!(error_kind(&outcome), Some(ErrorKind::Timeout), "{outcome:?}");
    }
    cluster.until_status("it stepped down", leader, |status| {
        status.role != "leader" && status.leader.is_none()
    });
    let rest = others(&cluster, leader);
    let next = cluster.leader_of(&rest);
    cluster.put(next, "key", "new");

    cluster.links().heal();
    assert_eq!(cluster.text(leader, "key").as_deref(), Some("new"));
    cluster.assert_equal();
}

#[test]
fn a_deposed_leader_that_does_not_know_serves_no_stale_read() {
    // Without CheckQuorum it goes on believing that it leads.
    let options = Options::new().switch("no-check-quorum").flag("request-timeout-ms", 700);
    let cluster = Cluster::start(options);
    let deposed = cluster.leader();
    cluster.put(deposed, "key", "old");
    let rest = others(&cluster, deposed);
    cluster.links().isolate(deposed, 1..=3);
    let leader = cluster.leader_of(&rest);
    cluster.put(leader, "key", "new");

    for _ in 0..5 {
        assert_eq!(cluster.status(deposed).role, "leader");
        // It could answer wrongly, but does not.
        assert_eq!(local(&cluster, deposed, "key").as_deref(), Some("old"));
        let outcome = cluster.ask(deposed, get("key"));
        assert_eq!(error_kind(&outcome), Some(ErrorKind::Timeout), "{outcome:?}");
    }
    cluster.links().heal();
    assert_eq!(cluster.text(deposed, "key").as_deref(), Some("new"));
}

#[test]
fn a_leader_that_hears_nobody_serves_no_stale_read() {
    // It still sends heartbeats, which keep the others quiet, but hears no answers.
    let cluster = Cluster::start(Options::new().flag("request-timeout-ms", 1000));
    let leader = cluster.leader();
    cluster.put(leader, "key", "old");
    let rest = others(&cluster, leader);
    for other in &rest {
        cluster.links().cut((*other, leader));
    }
    let outcome = cluster.ask(leader, get("key"));
    assert_eq!(error_kind(&outcome), Some(ErrorKind::Timeout), "{outcome:?}");
    let next = cluster.leader_of(&rest);
    cluster.put(next, "key", "new");
    cluster.links().heal();
    assert_eq!(cluster.text(leader, "key").as_deref(), Some("new"));
}

#[test]
fn what_was_acknowledged_anywhere_is_read_everywhere() {
    let cluster = Cluster::start(Options::new());
    for number in 0..60 {
        let (writer, value) = (number % 3 + 1, number.to_string());
        cluster.put(writer, "key", &value);
        for reader in 1..=3 {
            assert_eq!(cluster.text(reader, "key"), Some(value.clone()), "member {reader}");
        }
    }
}

#[test]
fn leadership_is_handed_over() {
    let cluster = Cluster::start(Options::new());
    let leader = cluster.leader();
    let term = cluster.status(leader).term;
    let [first, second] = others(&cluster, leader)[..] else { panic!() };
    transfer(&cluster, first);
    assert_eq!(cluster.leader(), first);
    assert!(cluster.status(first).term > term);
    // Through one that does not lead itself.
    cluster.ask(leader, Op::Transfer { to: second.into() });
    until("the leadership went on", || (cluster.leader() == second).then_some(()));
    cluster.put(leader, "key", "value");
    assert_eq!(cluster.text(first, "key").as_deref(), Some("value"));
}

#[test]
fn a_member_campaigns_when_told_to() {
    // With CheckQuorum the others, which hear of their leader, would not vote.
    let cluster = Cluster::start(Options::new().switch("no-check-quorum"));
    let follower = cluster.follower();
    until("it leads", || {
        cluster.ask(follower, Op::Campaign);
        (cluster.leader() == follower).then_some(())
    });
}

#[test]
fn a_learner_catches_up_and_is_promoted() {
    let cluster = Cluster::start(Options::new());
    let (leader, follower) = (cluster.leader(), cluster.follower());
    put_many(&cluster, leader, 0, 50);
    let urls = vec![cluster.url(4)];
    cluster.change(follower, &ChangeLine::AddLearner { id: 4.into(), urls });
    cluster.join_member(4, &[1, 2, 3, 4]);
    let applied = cluster.status(leader).applied;
    let status = cluster.until_status("it has caught up", 4, |status| status.applied >= applied);
    assert_eq!((ids(&status.voters), ids(&status.learners)), (vec![1, 2, 3], vec![4]));
    assert_eq!(cluster.text(4, "key-49").as_deref(), Some("49"));

    // It has no vote: with the leader, one voter is no majority of three.
    let voters = others(&cluster, leader).into_iter().filter(|id| *id != 4);
    for id in voters.clone() {
        cluster.links().isolate(id, 1..=4);
    }
    let outcome = cluster.ask(leader, put("key", "in vain"));
    assert!(error_kind(&outcome).is_some(), "{outcome:?}");
    cluster.links().heal();
    cluster.leader();

    cluster.change(follower, &ChangeLine::Promote { id: 4.into() });
    let status = cluster.until_status("it votes", 4, |status| status.learners.is_empty());
    assert_eq!(ids(&status.voters), [1, 2, 3, 4]);
    transfer(&cluster, 4);
    cluster.put(4, "key", "of the new one");
    cluster.assert_equal();
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let cluster = Cluster::start(Options::new());
    let leader = cluster.leader();
    let refused = |change: ChangeLine| {
        let outcome = cluster.ask(leader, Op::Change { change: change.clone() });
        assert_eq!(error_kind(&outcome), Some(ErrorKind::Refused), "{change:?}: {outcome:?}");
    };
    let urls = vec!["http://127.0.0.1:9".to_owned()];
    refused(ChangeLine::AddVoter { id: 1.into(), urls: urls.clone() });
    refused(ChangeLine::AddLearner { id: 1.into(), urls: urls.clone() });
    refused(ChangeLine::AddVoter { id: 4.into(), urls: vec![cluster.url(2)] });
    refused(ChangeLine::Promote { id: 1.into() });
    refused(ChangeLine::Promote { id: 9.into() });
    refused(ChangeLine::Remove { id: 9.into() });
    refused(ChangeLine::Update { id: 9.into(), urls });
    let status = cluster.status(leader);
    assert_eq!((ids(&status.voters), ids(&status.learners)), (vec![1, 2, 3], vec![]));
    cluster.put(leader, "key", "value");
    cluster.assert_equal();
}

#[test]
fn a_removed_member_ends_and_is_not_let_in_again() {
    let cluster = Cluster::start(Options::new());
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let removed = cluster.process(follower).unwrap();
    cluster.change(leader, &ChangeLine::Remove { id: follower.into() });
    let (status, why) = removed.wait();
    assert_eq!(status.code(), Some(1));
    assert!(why.as_deref().is_some_and(|why| why.contains("was removed")), "{why:?}");
    cluster.kill(follower);

    assert_eq!(ids(&cluster.status(leader).voters).len(), 2);
    cluster.put(leader, "key", "value");
    let urls = vec![cluster.url(follower)];
    let again = ChangeLine::AddVoter { id: follower.into(), urls };
    let outcome = cluster.ask(leader, Op::Change { change: again });
    assert_eq!(error_kind(&outcome), Some(ErrorKind::Refused), "{outcome:?}");
}

#[test]
fn a_leader_that_is_removed_leaves_the_others_to_elect() {
    let cluster = Cluster::start(Options::new());
    let leader = cluster.leader();
    let removed = cluster.process(leader).unwrap();
    cluster.put(leader, "key", "old");
    let asked =
        cluster.ask(leader, Op::Change { change: ChangeLine::Remove { id: leader.into() } });
    // It may end before it has told.
    let is_done = matches!(asked, Outcome::Done {});
    assert!(is_done || error_kind(&asked) == Some(ErrorKind::Stopped), "{asked:?}");
    let (status, _) = removed.wait();
    assert_eq!(status.code(), Some(1));
    cluster.kill(leader);
    let next = cluster.leader();
    assert_ne!(next, leader);
    assert_eq!(cluster.text(next, "key").as_deref(), Some("old"));
    cluster.put(next, "key", "new");
    cluster.assert_equal();
}

#[test]
fn a_member_that_moved_is_reached_at_its_new_address() {
    let cluster = Cluster::start(Options::new());
    let (leader, moved) = (cluster.leader(), cluster.follower());
    let third = others(&cluster, leader).into_iter().find(|id| *id != moved).unwrap();
    let urls = vec![cluster.links().move_member(moved)];
    cluster.change(leader, &ChangeLine::Update { id: moved.into(), urls });
    // Without the third, nothing is committed but through the one that moved.
    cluster.kill(third);
    let leader = cluster.leader();
    cluster.put(leader, "key", "value");
    cluster.start_member(third);
    cluster.leader();
    // Once all know on their disks that the change is committed, which each entry tells of those
    // before it, they find each other without being told.
    put_many(&cluster, leader, 0, 5);
    cluster.assert_equal();
    for id in 1..=3 {
        cluster.kill(id);
    }
    for id in 1..=3 {
        cluster.restart_member(id);
    }
    cluster.leader();
    assert_eq!(cluster.text(moved, "key").as_deref(), Some("value"));
    cluster.assert_equal();
}

#[test]
fn two_of_three_members_are_replaced_at_once_and_again() {
    let cluster = Cluster::start(Options::new());
    put_many(&cluster, cluster.leader(), 0, 20);
    transfer(&cluster, 1);
    replace(&cluster, [2, 3], [4, 5]);
    replace(&cluster, [4, 5], [6, 7]);
    assert_eq!(cluster.text(7, "key-19").as_deref(), Some("19"));
    cluster.assert_equal();
}

/// Replaces two members beside member 1, which leads.
fn replace(cluster: &Cluster, old: [u64; 2], new: [u64; 2]) {
    let add = |id: u64| ChangeLine::AddVoter { id: id.into(), urls: vec![cluster.url(id)] };
    let remove = |id: u64| ChangeLine::Remove { id: id.into() };
    let mut changes: Vec<_> = new.into_iter().map(add).collect();
    changes.extend(old.into_iter().map(remove));
    cluster.change(1, &ChangeLine::Joint(changes));
    let status = cluster.status(1);
    assert_eq!(ids(&status.voters), [1, new[0], new[1]]);
    assert_eq!(ids(&status.voters_outgoing), [1, old[0], old[1]]);
    for id in new {
        cluster.join_member(id, &[1, old[0], old[1], new[0], new[1]]);
    }
    // Both majorities are there, and both are needed.
    cluster.put(1, "jointly", "written");
    cluster.change(1, &ChangeLine::LeaveJoint);
    for id in [1, new[0], new[1]] {
        cluster.until_status("only the new ones vote", id, |status| {
            status.voters_outgoing.is_empty() && ids(&status.voters) == [1, new[0], new[1]]
        });
    }
    for id in old {
        let (status, _) = cluster.process(id).unwrap().wait();
        assert_eq!(status.code(), Some(1));
        cluster.kill(id);
    }
    cluster.put(new[1], "by the new", "written");
    transfer(cluster, 1);
}

#[test]
fn a_follower_that_fell_behind_catches_up_by_snapshot() {
    let options = Options::new().flag("snapshot-entries", 40).flag("catch-up-entries", 10);
    let cluster = Cluster::start(options);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    put_many(&cluster, leader, 0, 10);
    let last_index = cluster.status(follower).last_index;
    cluster.kill(follower);
    put_many(&cluster, leader, 10, 200);
    cluster
        .until_status("the entries are gone", leader, |status| status.first_index > last_index + 1);
    cluster.start_member(follower);
    let applied = cluster.status(leader).applied;
    let caught_up =
        cluster.until_status("it caught up", follower, |status| status.applied >= applied);
    assert!(caught_up.first_index > last_index + 1, "no snapshot was needed: {caught_up:?}");
    assert_eq!(cluster.text(follower, "key-0").as_deref(), Some("0"));
    assert_eq!(local(&cluster, follower, "key-209").as_deref(), Some("209"));
    cluster.assert_equal();

    // What it received is on its disk.
    cluster.kill(follower);
    cluster.start_member(follower);
    cluster.leader();
    cluster.put(leader, "key", "value");
    cluster.assert_equal();
}

#[test]
fn a_cluster_restarts_from_snapshots_and_logs() {
    let options = Options::new()
        .flag("snapshot-entries", 40)
        .flag("catch-up-entries", 10)
        .flag("segment-bytes", 64 << 10);
    let cluster = Cluster::start(options);
    let leader = cluster.leader();
    put_many(&cluster, leader, 0, 150);
    cluster.ask(leader, Op::Delete { key: "key-3".to_owned() });
    let before = cluster.assert_equal();
    for is_killed in [false, true] {
        for id in 1..=3 {
            if is_killed { cluster.kill(id) } else { cluster.stop_member(id) }
        }
        for id in 1..=3 {
            cluster.start_member(id);
            assert!(cluster.status(id).snapshot_index > 0);
        }
        cluster.leader();
        let after = cluster.assert_equal();
        assert_eq!(
            (after.hash, after.keys, after.versions),
            (before.hash, before.keys, before.versions)
        );
        assert!(after.applied > before.applied);
    }
    assert_eq!(cluster.text(2, "key-149").as_deref(), Some("149"));
    assert_eq!(cluster.text(2, "key-3"), None);
}

#[test]
fn a_member_that_cannot_start_says_why() {
    let cluster = Cluster::start(Options::new());
    // Its directory is in use.
    let error = cluster.try_start_member(1).unwrap_err();
    assert!(error.contains("exit status: 2") && error.contains("cannot start"), "{error}");
    // It is another member's.
    cluster.stop_member(1);
    cluster.stop_member(2);
    std::fs::rename(cluster.dir(1), cluster.dir(2).join("kept")).unwrap();
    std::fs::rename(cluster.dir(2), cluster.dir(1)).unwrap();
    let error = cluster.try_start_member(1).unwrap_err();
    assert!(error.contains("is the data of member 2 of cluster c1"), "{error}");
}

/// Runs a member by itself, with this as its input.
fn alone(flags: &[&str], input: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_raftwire-etcd"))
        .args(["--id", "1", "--cluster-id", "c1", "--dir"])
        .arg(dir.path())
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not start reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

const ALONE: [&str; 2] = ["--voter", "1=http://127.0.0.1:9"];

#[test]
fn lines_that_are_no_requests_are_answered_and_the_rest_too() {
    let input = "\n{\"id\":1,\"op\":\"fly\"}\nput a b\n{\"id\":3,\"op\":\"stop\"}\n";
    let output = alone(&ALONE, input);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<Said> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(matches!(said[0], Said::Event(Event::Ready { .. })), "{said:?}");
    let bad = said[1..].iter().filter_map(|said| match said {
        Said::Answer(Answer { id, outcome }) if error_kind(outcome) == Some(ErrorKind::BadLine) => {
            Some(*id)
        }
        _ => None,
    });
    assert_eq!(bad.collect::<Vec<_>>(), [Some(1), None]);
    assert_eq!(said.last(), Some(&Said::Answer(Answer { id: Some(3), outcome: Outcome::Done {} })));
}

#[test]
fn what_was_asked_before_a_stop_is_answered_before_it() {
    // One member alone elects itself.
    let put = r#"{"id":1,"op":"put","key":"a","value":"b"}"#;
    let stop = r#"{"id":2,"op":"stop"}"#;
    let output = alone(&ALONE, &format!("{put}\n{stop}\n"));
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    let last = said.lines().last().unwrap();
    assert_eq!(last, r#"{"id":2,"done":{}}"#);
    assert!(said.contains(r#"{"id":1,"#), "{said}");
}

#[test]
fn flags_that_make_no_sense_are_refused_with_the_reason() {
    for (flags, reason) in [
        (&["--voter", "1"][..], "not of the form ID=URL"),
        (&["--voter", "g=http://127.0.0.1:9"], "not a hexadecimal number"),
        (&["--voter", "1=127.0.0.1:9"], "begins with http"),
        (&["--voter", "1=http://127.0.0.1:9", "--dialect", "3.5"], "one of 3.4, 3.6 and 3.7"),
        (&["--voter", "1=http://127.0.0.1:9", "--tick-ms", "0"], "0 is not in 1..=60000"),
        (&["--voter", "1=http://127.0.0.1:9", "--listen", "nowhere"], "cannot listen on nowhere"),
        // A founder is among those that found.
        (&[], "cannot start"),
        (&["--voter", "2=http://127.0.0.1:9"], "cannot start"),
    ] {
        let output = alone(flags, "");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        assert!(error.contains(reason) && output.stdout.is_empty(), "{flags:?}: {error}");
    }
}
