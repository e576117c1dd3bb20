//! `raftwire inspect --wal` on a member's log: each record a line, in both formats; and on what is left
//! of it when it is torn, damaged or not there. Nothing is ever changed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use raftwire::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Dialect, Entry,
    EntryType, HardState, Message, RaftMessage, Wire,
};
use raftwire_etcd::disk::OsDisk;
use raftwire_etcd::wal::{Metadata, Options, Prepare, SnapshotRecord, Wal};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use support::{command, frames, stderr};

const MEMBER: u64 = 0x8211_f1d0_f64f_3269;

/// `put key1 val1`, asked for by 7, as etcd writes it, and a delete of `k` up to `l`.
const PUT: &[u8] = b"\x22\x0c\x0a\x04key1\x12\x04val1\xa2\x06\x02\x08\x07";
const DELETE: &[u8] = b"\x2a\x06\x0a\x01k\x12\x01l\xa2\x06\x02\x08\x08";

fn entry(entry_type: EntryType, term: u64, index: u64, data: Option<&[u8]>) -> Entry {
    Entry { entry_type, term, index, data: data.map(|data| data.to_vec().into()) }
}

/// A data directory with a log of two segments.
fn written(dir: &Path) -> PathBuf {
    let log = dir.join("member/wal");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    let mut options = Options::default();
    (options.segment_bytes, options.prepare) = (4096, Prepare::Inline);
    let metadata = Metadata { member: MEMBER, cluster: 0xef37 };
    let mut wal = Wal::create(Arc::new(OsDisk::new()), &log, metadata, options).unwrap();
    let change = ConfChange {
        id: 1,
        change_type: ConfChangeType::ADD_NODE,
        node_id: MEMBER,
        context: Some("{}".into()),
    };
    let changes = ConfChangeV2 {
        changes: vec![ConfChangeSingle { change_type: ConfChangeType::REMOVE_NODE, node_id: 2 }],
        ..ConfChangeV2::default()
    };
    let long = [b"\x00\xff\"".to_vec(), vec![b'x'; 4000]].concat();
    for entry in [
        entry(EntryType::CONF_CHANGE, 1, 1, Some(&change.encode(Dialect::V3_6))),
        entry(EntryType::NORMAL, 2, 2, None),
        entry(EntryType::NORMAL, 2, 3, Some(PUT)),
        entry(EntryType::NORMAL, 2, 4, Some(DELETE)),
        entry(EntryType::CONF_CHANGE_V2, 2, 5, Some(&changes.encode(Dialect::V3_6))),
        entry(EntryType::NORMAL, 2, 6, Some(&long)),
        entry(EntryType(9), 2, 7, Some(b"nine")),
    ] {
        wal.append(Message::entry(&entry));
        wal.set_hard_state(HardState { term: 2, vote: MEMBER, commit: entry.index - 1 });
        if entry.index == 3 {
            let conf_state = ConfState { voters: vec![MEMBER, 2], ..ConfState::default() };
            let conf_state = Some(conf_state);
            wal.append_snapshot(&SnapshotRecord { index: 2, term: 2, conf_state });
        }
        wal.sync().unwrap();
    }
    wal.close().unwrap();
    log
}

fn inspect<'a>(dir: &Path, options: impl IntoIterator<Item = &'a str>) -> Output {
    command().arg("inspect").arg("--wal").arg(dir).args(options).output().unwrap()
}

fn json_lines(dir: &Path) -> (Option<i32>, Vec<Value>) {
    let output = inspect(dir, ["--format", "json"]);
    (output.status.code(), frames(&output))
}

/// All files below a directory.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn prints_a_line_for_each_record() {
    let temp = tempfile::tempdir().unwrap();
    let log = written(temp.path());
    let output = inspect(&log, []);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    let lines: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    let behind_offset = |line: &Vec<&str>| line[2.min(line.len())..].join(" ");
    let printed: Vec<_> = lines[2..lines.len() - 1].iter().map(behind_offset).collect();
    assert_eq!(lines[0].join(" "), "usable snapshot 2/2 voters 8211f1d0f64f3269 2");
    assert_eq!(lines[1].join(" "), "0000000000000000-0000000000000000.wal");
    let long = format!("\"\\x00\\xff\\\"{}\"…(+3939 B)", "x".repeat(61));
    let expected = [
        "crc - 00000000",
        "metadata - member=8211f1d0f64f3269 cluster=ef37",
        "snapshot 0/0 voters unknown",
        "entry 1/1 EntryConfChange ConfChangeAddNode 8211f1d0f64f3269 id=1 context=\"{}\"",
        "hard state 2/0 commit=0 vote=8211f1d0f64f3269",
        "entry 2/2 EntryNormal",
        "hard state 2/1 commit=1 vote=8211f1d0f64f3269",
        "entry 2/3 EntryNormal put \"key1\" \"val1\" id=7",
        "snapshot 2/2 voters 8211f1d0f64f3269 2",
        "hard state 2/2 commit=2 vote=8211f1d0f64f3269",
        "entry 2/4 EntryNormal delete \"k\" to \"l\" id=8",
        "hard state 2/3 commit=3 vote=8211f1d0f64f3269",
        "entry 2/5 EntryConfChangeV2 ConfChangeTransitionAuto ConfChangeRemoveNode 2",
        "hard state 2/4 commit=4 vote=8211f1d0f64f3269",
        &format!("entry 2/6 EntryNormal {long}"),
        "hard state 2/5 commit=5 vote=8211f1d0f64f3269",
        "",
        &printed[17],
        "metadata - member=8211f1d0f64f3269 cluster=ef37",
        "hard state 2/5 commit=5 vote=8211f1d0f64f3269",
        "entry 2/7 9 \"nine\"",
        "hard state 2/6 commit=6 vote=8211f1d0f64f3269",
    ];
    assert_eq!(printed, expected);
    assert_eq!(lines[18].join(" "), "0000000000000001-0000000000000007.wal");
    assert!(lines.last().unwrap().join(" ").ends_with(", not torn"), "{:?}", lines.last());
    let shorter = String::from_utf8(inspect(&log, ["--preview", "2"]).stdout).unwrap();
    assert!(shorter.contains(" put \"ke\"…(+2 B) \"va\"…(+2 B) id=7\n"), "{shorter}");
}

#[test]
fn prints_the_same_as_json_and_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let log = written(temp.path());
    let (code, lines) = json_lines(&log);
    assert_eq!(code, Some(0));
    let conf_state = json!({"voters": [MEMBER, 2], "learners": [], "voters_outgoing": [],
        "learners_next": [], "auto_leave": false});
    assert_eq!(
        lines[0]["usableSnapshot"],
        json!({"conf_state": conf_state, "index": 2, "term": 2})
    );
    let end = &lines.last().unwrap()["end"];
    assert_eq!(end["segment"], "0000000000000001-0000000000000007.wal");
    assert_eq!(end["torn"], Value::Null);
    // The records tile the segments.
    let (mut segment, mut offset) = (Value::Null, 0);
    for line in &lines[1..lines.len() - 1] {
        if segment != line["segment"] {
            (segment, offset) = (line["segment"].clone(), 0);
        }
        assert_eq!(line["offset"], offset);
        offset += line["len"].as_u64().unwrap();
    }
    assert_eq!(end["offset"], offset);

    let holding =
        |key: &str| -> Vec<&Value> { lines.iter().filter_map(|line| line.get(key)).collect() };
    assert_eq!(holding("metadata"), [&json!({"member": MEMBER, "cluster": 0xef37}); 2]);
    assert_eq!(holding("snapshot")[1], &lines[0]["usableSnapshot"]);
    assert_eq!(holding("hardState")[0], &json!({"term": 2, "vote": MEMBER, "commit": 0}));
    let entries = holding("entry");
    assert_eq!(entries.len(), 7);
    let put = json!({"type": "EntryNormal", "term": 2, "index": 3, "data": const_hex::encode(PUT)});
    assert_eq!((entries[1]["data"].clone(), entries[2]), (Value::Null, &put));
    assert_eq!(entries[6]["type"], 9);
    let key = json!({"key": "6b657931", "value": "76616c31", "lease": 0});
    assert_eq!(holding("request")[0], &json!({"id": 7, "put": key}));
    let range = json!({"key": "6b", "rangeEnd": "6c"});
    assert_eq!(holding("request")[1], &json!({"id": 8, "deleteRange": range}));
    let change = json!({"id": 1, "type": "ConfChangeAddNode", "nodeId": MEMBER, "context": "7b7d"});
    assert_eq!(holding("confChange"), [&change]);
    assert_eq!(holding("confChangeV2")[0]["changes"][0]["nodeId"], 2);

    // The keys are in a stated order.
    let text = String::from_utf8(inspect(&log, ["--format", "json"]).stdout).unwrap();
    let line = text.lines().find(|line| line.contains("\"put\"")).unwrap();
    let keys = ["segment", "offset", "len", "kind", "crc", "entry", "type", "request", "put"];
    let positions = keys.map(|key| line.find(&format!("\"{key}\":")).unwrap());
    assert!(positions.is_sorted(), "{line}");
}

#[test]
fn finds_the_log_in_a_data_directory_while_it_is_open() {
    let temp = tempfile::tempdir().unwrap();
    let log = written(temp.path());
    let expected = inspect(&log, []).stdout;
    let open =
        Wal::open(Arc::new(OsDisk::new()), &log, &SnapshotRecord::default(), Options::default());
    for dir in [temp.path(), &temp.path().join("member")] {
        let output = inspect(dir, []);
        assert_eq!((output.status.code(), &output.stdout), (Some(0), &expected));
    }
    drop(open);
}

#[test]
fn tells_a_torn_end_and_repairs_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let log = written(temp.path());
    let (_, whole) = json_lines(&log);
    let last = log.join("0000000000000001-0000000000000007.wal");
    let end = whole.last().unwrap()["end"]["offset"].as_u64().unwrap();
    fs::File::options().write(true).open(&last).unwrap().set_len(end - 8).unwrap();
    let before = contents(&log);
    let (code, lines) = json_lines(&log);
    assert_eq!(code, Some(1));
    assert_eq!(lines[..lines.len() - 1], whole[..whole.len() - 2]);
    let torn = &lines.last().unwrap()["end"];
    assert!(torn["torn"].as_str().unwrap().contains("bytes where"), "{torn}");
    let output = inspect(&log, []);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().last().unwrap().contains(", torn: frame of "), "{text}");
    let offset = torn["offset"].as_u64().unwrap();
    assert!(stderr(&output).contains(&format!("is torn at byte {offset}")), "{}", stderr(&output));
    assert_eq!(contents(&log), before);
}

#[test]
fn prints_the_records_before_one_that_is_damaged() {
    let temp = tempfile::tempdir().unwrap();
    let log = written(temp.path());
    let (_, whole) = json_lines(&log);
    let first = log.join("0000000000000000-0000000000000000.wal");
    let mut bytes = fs::read(&first).unwrap();
    let put = bytes.windows(4).position(|bytes| bytes == b"val1").unwrap();
    bytes[put] ^= 1;
    fs::write(&first, bytes).unwrap();
    let output = inspect(&log, ["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    // No snapshot is known to be usable.
    assert_eq!(frames(&output), whole[1..8]);
    assert!(stderr(&output).contains("record says CRC "), "{}", stderr(&output));
    assert!(stderr(&output).contains(" at byte "), "{}", stderr(&output));
}

#[test]
fn a_directory_without_a_log_is_an_error_of_usage() {
    let temp = tempfile::tempdir().unwrap();
    for dir in [temp.path().to_owned(), temp.path().join("none")] {
        let output = inspect(&dir, []);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert!(stderr(&output).contains("holds no log"), "{}", stderr(&output));
    }
    let output = inspect(temp.path(), ["--stream", "message"]);
    assert_eq!(output.status.code(), Some(2));
}
