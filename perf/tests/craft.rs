//! `raftwire craft`: from JSON to the bytes etcd writes, and `inspect | craft` back to the input.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use serde_json::{Value, json};
use std::process::{Output, Stdio};
use support::{
    DIALECTS, Session, clean, empty_snapshot, inspect, run, session_named, sessions, stderr,
};

fn craft<'a>(options: impl IntoIterator<Item = &'a str>, input: &str) -> Output {
    run(["craft"].into_iter().chain(options), input.as_bytes())
}

/// The bytes in `output`, whose command must have taken its whole input.
fn crafted(output: Output) -> Vec<u8> {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output.stdout
}

fn lines<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    values.into_iter().map(|value| format!("{value}\n")).collect()
}

fn messages(output: &Output) -> Vec<Value> {
    clean(output).into_iter().map(|mut frame| frame["message"].take()).collect()
}

#[test]
fn writes_what_etcd_wrote_from_the_vectors_frames() {
    for (dialect, vectors) in DIALECTS {
        for session in sessions(vectors) {
            let input = lines(session.frames.iter().map(|frame| &frame.value));
            for keep_kind in [&[][..], &["--keep-kind"]] {
                let options = ["--stream", &session.stream, "--dialect", dialect];
                let bytes = crafted(craft(options.iter().chain(keep_kind).copied(), &input));
                assert_eq!(bytes, session.bytes(), "{dialect} {}", session.name);
            }
        }
    }
}

#[test]
fn writes_what_etcd_wrote_from_bare_messages() {
    for (dialect, vectors) in DIALECTS {
        for session in sessions(vectors) {
            let input = lines(session.frames.iter().map(|frame| &frame.value["message"]));
            let options = ["--stream", &session.stream, "--dialect", dialect];
            let bytes = crafted(craft(options, &input));
            assert_eq!(bytes, session.bytes(), "{dialect} {}", session.name);
        }
    }
}

fn through(session: &Session, dialect: &str, extra: &[&str]) -> Vec<u8> {
    let printed = inspect(session.options(), &session.bytes());
    let options = ["--stream", &session.stream, "--dialect", dialect];
    let text = String::from_utf8(printed.stdout).unwrap();
    crafted(craft(options.iter().chain(extra).copied(), &text))
}

#[test]
fn gives_inspected_streams_back_byte_for_byte() {
    for (dialect, vectors) in DIALECTS {
        for session in sessions(vectors) {
            for extra in [&[][..], &["--keep-kind"]] {
                let bytes = through(&session, dialect, extra);
                assert_eq!(bytes, session.bytes(), "{dialect} {}", session.name);
            }
        }
    }
}

#[test]
fn gives_equal_messages_in_another_dialect() {
    for (_, vectors) in DIALECTS {
        for session in sessions(vectors) {
            let before = messages(&inspect(session.options(), &session.bytes()));
            for (dialect, _) in DIALECTS {
                let bytes = through(&session, dialect, &[]);
                let after = messages(&inspect(session.options(), &bytes));
                assert_eq!(after, before, "{dialect} {}", session.name);
            }
        }
    }
}

fn msg_app(index: u64) -> Value {
    json!({"type": "MsgApp", "from": 1, "to": 2, "term": 3, "logTerm": 3, "index": index})
}

fn kinds(bytes: &[u8]) -> Vec<Value> {
    let options = ["--local", "2", "--remote", "1"];
    clean(&inspect(options, bytes)).into_iter().map(|mut frame| frame["kind"].take()).collect()
}

#[test]
fn derives_the_kind_unless_told_to_keep_it() {
    let frame = json!({"kind": "MsgApp", "message": msg_app(7)});
    let input = lines([&frame, &frame]);
    assert_eq!(kinds(&crafted(craft([], &input))), ["MsgApp", "AppEntries"]);
    assert_eq!(kinds(&crafted(craft(["--keep-kind"], &input))), ["MsgApp", "MsgApp"]);
}

#[test]
fn keeps_the_kind_of_a_frame_that_would_lose_something() {
    let mut message = msg_app(7);
    message["context"] = "6331".into();
    let frame = json!({"kind": "MsgApp", "message": message});
    let input = lines([&frame, &frame]);
    assert_eq!(kinds(&crafted(craft([], &input))), ["MsgApp", "MsgApp"]);
    // Etcd's encoder would lose it, and a line that does not say otherwise asks for its bytes.
    let output = craft([], &lines([&message, &message]));
    let notes = stderr(&output);
    assert!(notes.contains("line 2: note: the frame does not carry context"), "{notes}");
    assert_eq!(kinds(&crafted(output)), ["MsgApp", "AppEntries"]);
}

#[test]
fn keeps_a_kind_the_state_does_not_suggest() {
    let mut message = msg_app(7);
    message["commit"] = 9.into();
    let frame = json!({"kind": "AppEntries", "message": message});
    let bytes = crafted(craft(["--keep-kind"], &lines([&frame])));
    assert_eq!(bytes, [&[1][..], &[0; 15], &[9]].concat());
}

#[test]
fn refuses_a_kind_of_the_other_stream() {
    let frame = json!({"kind": "AppEntries", "message": msg_app(7)}).to_string();
    let output = craft(["--keep-kind", "--stream", "message"], &frame);
    assert_eq!(output.status.code(), Some(1));
    let frame = json!({"kind": "message", "message": msg_app(7)}).to_string();
    let output = craft(["--keep-kind"], &frame);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn takes_a_heartbeat_from_0_to_0_for_a_link_heartbeat() {
    let input = r#"{"type":"MsgHeartbeat"}"#;
    assert_eq!(crafted(craft([], input)), [0]);
    let framed = crafted(craft(["--stream", "message", "--dialect", "3.7"], input));
    assert_eq!(framed, [0, 0, 0, 0, 0, 0, 0, 2, 8, 8]);
    assert_ne!(crafted(craft([], r#"{"type":"MsgHeartbeat","to":1}"#)), [0]);
}

#[test]
fn encodes_from_the_message_and_not_from_stored_bytes() {
    let session = session_named("v2-first-frame-is-msgapp");
    let mut frame = session.frames[0].value.clone();
    frame["hex"] = "00".into();
    frame["len"] = 1.into();
    frame["offset"] = "nowhere".into();
    assert_eq!(crafted(craft([], &frame.to_string())), session.bytes());
}

#[test]
fn accepts_missing_keys_null_snapshots_and_blank_lines() {
    let session = session_named("v2-first-frame-is-msgapp");
    let mut full = session.frames[0].value["message"].clone();
    full["snapshot"] = Value::Null;
    let input = format!("\n{full}\r\n  \n");
    assert_eq!(crafted(craft([], &input)), session.bytes());
    let keys = full.as_object_mut().unwrap();
    for key in ["snapshot", "reject", "rejectHint", "context"] {
        keys.remove(key);
    }
    assert_eq!(crafted(craft([], &full.to_string())), session.bytes());
}

#[test]
fn loses_nothing_a_message_can_hold() {
    let nested = json!({"type": "MsgAppResp", "to": 1, "from": 2, "term": 3, "logTerm": 0,
        "index": u64::MAX, "entries": [], "commit": 0, "snapshot": empty_snapshot(),
        "reject": true, "rejectHint": 7, "context": ""});
    let snapshot = json!({"data": "ff", "metadata": {"conf_state": {"voters": [1, u64::MAX],
        "learners": [3], "voters_outgoing": [4], "learners_next": [5], "auto_leave": true},
        "index": u64::MAX, "term": 1}});
    let message = json!({"type": 99, "to": u64::MAX, "from": 1, "term": u64::MAX,
        "logTerm": 1, "index": 9_007_199_254_740_993_u64, "entries": [
            {"type": -1, "term": 1, "index": 2, "data": null},
            {"type": "EntryConfChangeV2", "term": 1, "index": 3, "data": ""}],
        "commit": 1, "snapshot": snapshot, "reject": true, "rejectHint": 1, "context": "00ff",
        "vote": 6, "responses": [nested]});
    for dialect in ["3.6", "3.7"] {
        let options = ["--stream", "message", "--dialect", dialect];
        let bytes = crafted(craft(options, &message.to_string()));
        let printed = messages(&inspect(["--stream", "message"], &bytes));
        assert_eq!(printed, std::slice::from_ref(&message), "{dialect}");
    }
}

#[test]
fn nests_as_deep_as_the_decoder() {
    let nested =
        |levels| format!("{}{{}}{}", r#"{"responses":["#.repeat(levels), "]}".repeat(levels));
    let options = ["--stream", "message", "--dialect", "3.6"];
    let bytes = crafted(craft(options, &nested(99)));
    let printed = inspect(["--stream", "message"], &bytes);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    let text = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(crafted(craft(options, &text)), bytes);
    let output = craft(options, &nested(1000));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nested too deep"), "{}", stderr(&output));
}

#[test]
fn names_the_line_and_the_key_of_what_it_cannot_read() {
    for (line, words) in [
        (r#"{"type":"MsgAp"}"#, &["`type`", "MsgAp"][..]),
        (r#"{"tpye":"MsgApp"}"#, &["unknown field", "tpye"]),
        (r#"{"term":"5"}"#, &["`term`", "string"]),
        (r#"{"term":1.5}"#, &["`term`"]),
        (r#"{"term":-1}"#, &["`term`"]),
        (r#"{"term":18446744073709551616}"#, &["`term`"]),
        (r#"{"type":4294967296}"#, &["`type`"]),
        (r#"{"term":1,"term":2}"#, &["duplicate", "term"]),
        (r#"{"context":"0"}"#, &["`context`", "odd"]),
        (r#"{"context":"0x00"}"#, &["`context`", "0x"]),
        (r#"{"context":"zz"}"#, &["`context`"]),
        (r#"{"entries":[{"data":7}]}"#, &["`entries[0].data`"]),
        (r#"{"entries":null}"#, &["`entries`"]),
        (r#"{"message":{"entries":[{},{"x":7}]}}"#, &["message.entries[1]", "x"]),
        (r#"{"message":{},"kinds":"MsgApp"}"#, &["kinds"]),
        (r#"{"message":{},"kind":"msgapp"}"#, &["`kind`", "msgapp"]),
        (r#"{"message":{},"term":1}"#, &["term"]),
        (r#"{"message":{}"#, &["EOF"]),
        (r#"{} {}"#, &["trailing"]),
        ("[]", &["expected an object"]),
        (r#"{"entries":[[]]}"#, &["`entries[0]`", "expected an object"]),
        (r#"{"snapshot":{"metadata":[]}}"#, &["`snapshot.metadata`", "expected an object"]),
        (r#"{"message":[]}"#, &["`message`", "expected an object"]),
        (r#"{"message":null}"#, &["`message`", "expected an object"]),
        ("hello", &["column"]),
        ("\u{0}", &["column"]),
    ] {
        let output = craft([], &format!("{{\"type\":\"MsgHeartbeat\"}}\n{line}\n{{}}\n"));
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(output.stdout, [0], "what was read before stays: {line}");
        let error = stderr(&output);
        assert!(error.contains("line 2") && error.lines().count() == 1, "{error}");
        for word in words {
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}

#[test]
fn tells_usage_and_io_errors_from_malformed_input() {
    for options in [&["--stream", "x"][..], &["--dialect", "4"], &["/no/such/file"]] {
        let output = craft(options.iter().copied(), "");
        assert_eq!(output.status.code(), Some(2), "{options:?}");
    }
}

#[test]
fn makes_nothing_of_nothing() {
    assert_eq!(crafted(craft([], "")), b"");
}

#[test]
#[cfg(target_os = "linux")]
fn keeps_its_exit_code_when_stderr_is_full() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = support::command().args(["craft", "/"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    // A note, and then an error.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lines.jsonl");
    std::fs::write(&path, "{\"type\":\"MsgHeartbeat\",\"term\":1}\n[]\n").unwrap();
    let status = support::command()
        .arg("craft")
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(full())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}
