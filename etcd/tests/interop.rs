//! etcd's own `wal` and `snap` packages on what a member wrote, and ours on what they wrote: the
//! programs `wal-3.6` and `wal-3.7` of `perf/peers/go`, whose README has what they answer.
//!
//! Both sides give an account of a log: whose it is, its hard state, its snapshot, and a digest of
//! the entries behind. The accounts must be the same.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use raftwire_etcd::console::{ChangeLine, Op};
use raftwire_etcd::disk::OsDisk;
use raftwire_etcd::snap;
use raftwire_etcd::wal::{self, Reader, Record, RecordKind, SnapshotRecord, Wal};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use support::account::settle;
use support::cluster::{Cluster, Options};
use support::load::{Load, Running};
use tempfile::TempDir;

const RELEASES: [&str; 2] = ["3.6", "3.7"];
const WHY: &str = "RAFTWIRE_PEERS names the folder perf/peers/go/build.sh wrote to";

/// Has etcd's program do a command on a log; what it could not do is the error's kind and text.
fn etcd(release: &str, command: &str, dir: &Path, options: &[&str]) -> Result<Value, String> {
    let folder = std::env::var_os("RAFTWIRE_PEERS").expect(WHY);
    let program = Path::new(&folder).join(format!("wal-{release}"));
    let output = Command::new(&program)
        .arg(command)
        .arg(dir)
        .args(options)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{command}: {}", String::from_utf8_lossy(&output.stderr)));
    match (output.status.code(), &answer["kind"]) {
        (Some(0), _) => Ok(answer),
        (Some(1), Value::String(kind)) => Err(format!("{kind}: {}", answer["error"])),
        _ => panic!("{command}: {}: {answer}", output.status),
    }
}

/// Our account of a member's log, and of the snapshot it begins at. The log is opened as a member
/// does: a torn end is repaired.
fn account(member: &Path) -> (Value, Option<Value>) {
    let (wal, snap) = (member.join("wal"), member.join("snap"));
    let disk = OsDisk::default();
    let usable = wal::usable_snapshots(&disk, &wal).unwrap();
    let snapshot = match snap.exists() {
        true => snap::load_newest(&disk, &snap, &usable).unwrap().snapshot,
        false => None,
    };
    let at = snapshot.as_ref().map(|snapshot| &snapshot.metadata);
    let (index, term) = at.map_or((0, 0), |metadata| (metadata.index, metadata.term));
    let from = usable.iter().rev().find(|record| (record.index, record.term) == (index, term));
    let from = from.cloned().unwrap_or_else(SnapshotRecord::default);
    let (opened, replay) = Wal::open(Arc::new(disk), &wal, &from, wal::Options::default()).unwrap();
    opened.close().unwrap();

    let mut sum = Sha256::new();
    for entry in &replay.entries {
        let data = entry.data.as_deref().unwrap_or_default();
        let entry_type = u64::try_from(entry.entry_type.0).unwrap();
        for number in [entry.term, entry.index, entry_type, data.len() as u64] {
            sum.update(number.to_be_bytes());
        }
        sum.update(data);
    }
    let index_of = |entry: Option<&raftwire::raftpb::Entry>| entry.map_or(0, |entry| entry.index);
    let state = replay.hard_state;
    let account = json!({
        "member": replay.metadata.member,
        "cluster": replay.metadata.cluster,
        "hard_state": {"term": state.term, "vote": state.vote, "commit": state.commit},
        "snapshot": {"index": index, "term": term},
        "first": index_of(replay.entries.first()),
        "last": index_of(replay.entries.last()),
        "entries": replay.entries.len(),
        "sha256": hex(&sum.finalize()),
    });
    let of_snapshot = snapshot.map(|snapshot| {
        let data = snapshot.data.as_deref().unwrap_or_default();
        json!({
            "index": index, "term": term,
            "data_bytes": data.len(),
            "sha256": hex(&Sha256::digest(data)),
        })
    });
    (account, of_snapshot)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// A copy of a member's data, to be opened and changed.
fn copy_of(member: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for part in ["wal", "snap"] {
        fs::create_dir(copy.path().join(part)).unwrap();
        for entry in fs::read_dir(member.join(part)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(part).join(entry.file_name())).unwrap();
        }
    }
    copy
}

/// Asserts that etcd reads a member's log as we do, opens it, and reads its snapshot.
fn assert_agreed(member: &Path) {
    let ours = copy_of(member);
    let (account, snapshot) = account(ours.path());
    for release in RELEASES {
        let theirs = copy_of(member);
        let wal = theirs.path().join("wal");
        let read = etcd(release, "read", &wal, &[]).unwrap();
        assert_eq!(read, account, "{release} reads");
        let opened = match etcd(release, "open", &wal, &[]) {
            // A tail that is torn is repaired, by the member that starts as by etcd.
            Err(error) if error.starts_with("torn") => {
                etcd(release, "repair", &wal, &[]).unwrap();
                etcd(release, "open", &wal, &[])
            }
            opened => opened,
        };
        assert_eq!(opened.unwrap(), account, "{release} opens");
        let files = fs::read_dir(theirs.path().join("snap")).unwrap().count();
        if let Some(snapshot) = &snapshot {
            let mut read = etcd(release, "snap", &theirs.path().join("snap"), &[]).unwrap();
            read.as_object_mut().unwrap().remove("conf_state");
            assert_eq!(&read, snapshot, "{release}");
        } else {
            assert_eq!(files, 0);
        }
        // And what etcd has opened, we open.
        assert_eq!(self::account(theirs.path()).0, account, "opened by {release}");
    }
    // What we have opened, and repaired if it was torn, etcd opens.
    for release in RELEASES {
        let opened = etcd(release, "open", &ours.path().join("wal"), &[]).unwrap();
        assert_eq!(opened, account, "{release} opens what we opened");
    }
}

fn member(cluster: &Cluster, id: u64) -> PathBuf {
    cluster.dir(id).join("member")
}

fn options() -> Options {
    Options::new()
        .flag("segment-bytes", 128 << 10)
        .flag("snapshot-entries", 100)
        .flag("catch-up-entries", 20)
}

#[test]
#[ignore = "needs RAFTWIRE_PEERS, etcd's own programs"]
fn etcd_reads_what_members_wrote_and_they_go_on_from_what_it_opened() {
    for dialect in ["3.4", "3.6", "3.7"] {
        let cluster = Cluster::start(options().flag("dialect", dialect));
        let leader = cluster.leader();
        let urls = vec![cluster.url(4)];
        cluster.change(leader, &ChangeLine::AddLearner { id: 4.into(), urls });
        for number in 0..250 {
            let value = "v".repeat(number * 7 % 3000);
            cluster.put(leader, &format!("key-{}", number % 40), &value);
        }
        cluster.ask(leader, Op::Delete { key: "key-1".to_owned() });
        cluster.change(leader, &ChangeLine::Remove { id: 4.into() });
        let before = cluster.assert_equal();
        for id in 1..=3 {
            cluster.stop_member(id);
            assert_agreed(&member(&cluster, id));
            etcd("3.6", "open", &member(&cluster, id).join("wal"), &[]).unwrap();
        }
        for id in 1..=3 {
            cluster.start_member(id);
        }
        cluster.leader();
        let after = cluster.assert_equal();
        assert_eq!((after.hash, after.keys), (before.hash, before.keys), "{dialect}");
    }
}

#[test]
#[ignore = "needs RAFTWIRE_PEERS, etcd's own programs"]
fn etcd_reads_what_killed_members_left() {
    let cluster = Cluster::start(options());
    let load = Load { clients: 6, registers: 8, members: 3, seed: 5 };
    let notes = Running::new(&cluster, load).run(|running| {
        for _ in 0..4 {
            running.await_answers(200);
            for id in 1..=3 {
                cluster.kill(id);
            }
            for id in 1..=3 {
                assert_agreed(&member(&cluster, id));
                cluster.start_member(id);
            }
        }
        running.await_answers(50);
    });
    settle(&cluster, notes);
}

/// The last entry of at least so many bytes.
fn last_large_entry(wal: &Path, bytes_min: usize) -> Record {
    let mut reader = Reader::open(&OsDisk::default(), wal).unwrap();
    let mut found = None;
    while let Some(record) = reader.next_record().unwrap() {
        if record.kind == RecordKind::ENTRY && record.data.len() >= bytes_min {
            found = Some(record);
        }
    }
    found.unwrap()
}

#[test]
#[ignore = "needs RAFTWIRE_PEERS, etcd's own programs"]
fn a_torn_tail_is_repaired_alike() {
    // One segment: the entry that is torn is in the last one.
    let cluster = Cluster::start(Options::new());
    let leader = cluster.leader();
    for number in 0..20 {
        cluster.put(leader, &format!("key-{number}"), &"v".repeat(6000));
    }
    cluster.assert_equal();
    cluster.stop_member(leader);
    let stopped = member(&cluster, leader);
    let (whole, _) = account(copy_of(&stopped).path());
    let entry = last_large_entry(&stopped.join("wal"), 6000);
    let tear = |at: &Path, cuts: bool| {
        let segment = at.join("wal").join(entry.segment.to_string());
        let file = File::options().write(true).open(segment).unwrap();
        let middle = entry.offset + entry.bytes / 2;
        if cuts {
            // As a file that was not yet that long.
            file.set_len(middle).unwrap();
        } else {
            // As sectors that were not written: the second half of it, and all behind it.
            let middle = middle.next_multiple_of(512);
            let behind = file.metadata().unwrap().len() - middle;
            file.write_all_at(&vec![0; behind.try_into().unwrap()], middle).unwrap();
        }
    };
    for cuts in [true, false] {
        let torn = copy_of(&stopped);
        tear(torn.path(), cuts);
        let ours = copy_of(torn.path());
        let (repaired, _) = account(ours.path());
        assert_ne!(repaired, whole, "nothing was torn");
        assert!(repaired["last"].as_u64().unwrap() >= 15, "{repaired}");
        for release in RELEASES {
            let theirs = copy_of(torn.path());
            let wal = theirs.path().join("wal");
            let error = etcd(release, "open", &wal, &[]).unwrap_err();
            assert!(error.starts_with("torn"), "{error}");
            let answer = etcd(release, "repair", &wal, &[]).unwrap();
            assert_eq!(answer, json!({"repaired": true}));
            assert_eq!(etcd(release, "open", &wal, &[]).unwrap(), repaired, "{release}");
            // Theirs by us, and ours by them.
            assert_eq!(account(theirs.path()).0, repaired, "repaired by {release}");
            let read = etcd(release, "open", &ours.path().join("wal"), &[]).unwrap();
            assert_eq!(read, repaired, "{release} opens what we repaired");
        }
    }

    // And the member itself: it has lost what the others still have.
    tear(&stopped, false);
    cluster.start_member(leader);
    cluster.leader();
    assert_eq!(cluster.text(leader, "key-19").map(|value| value.len()), Some(6000));
    cluster.assert_equal();
    cluster.stop_member(leader);
    assert_agreed(&stopped);
}

#[test]
#[ignore = "needs RAFTWIRE_PEERS, etcd's own programs"]
fn what_etcd_wrote_is_read_alike() {
    for release in RELEASES {
        for seed in 1..=6 {
            let seed = seed.to_string();
            for options in [
                &["--entries", "100"][..],
                &["--entries", "400", "--segment-bytes", "8192"],
                &["--entries", "400", "--segment-bytes", "8192", "--snapshot-at", "150"],
                &["--entries", "60", "--bytes", "3000", "--torn"],
                &["--entries", "300", "--snapshot-at", "290", "--torn"],
            ] {
                let dir = tempfile::tempdir().unwrap();
                let wal = dir.path().join("wal");
                let options = [options, &["--seed", &seed]].concat();
                let wrote = etcd(release, "write", &wal, &options).unwrap();
                assert!(wrote["entries"].as_u64().unwrap() > 0);
                if !dir.path().join("snap").exists() {
                    fs::create_dir(dir.path().join("snap")).unwrap();
                }
                let (account, snapshot) = account(dir.path());
                assert_eq!(account, wrote, "{release}, {options:?}");
                let has_snapshot = options.contains(&"--snapshot-at");
                assert_eq!(snapshot.is_some(), has_snapshot, "{release}, {options:?}");
                // It is repaired by now.
                assert_eq!(etcd(release, "open", &wal, &[]).unwrap(), wrote);
            }
        }
    }
}
