//! What the tests of the command share: running it, and the golden sessions it must agree with.
//! Nothing is asserted about `raftwire` here.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The dialects, as the command line names them, and the vectors etcd wrote in them.
pub(crate) const DIALECTS: [(&str, &str); 3] = [
    ("3.4", include_str!("../../../testdata/vectors/golden-vectors.json")),
    ("3.6", include_str!("../../../testdata/vectors/golden-vectors-3.6.json")),
    ("3.7", include_str!("../../../testdata/vectors/golden-vectors-3.7.json")),
];

/// A stream an etcd wrote.
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) stream: String,
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) frames: Vec<Frame>,
}

pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: String,
    /// The frame as it stands in the file.
    pub(crate) value: Value,
    /// The message a decoder gives, in the form `inspect` prints.
    pub(crate) decoded: Value,
}

impl Session {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|frame| frame.bytes.clone()).collect()
    }

    /// The options that describe the stream to `inspect`.
    pub(crate) fn options(&self) -> [&str; 6] {
        ["--stream", &self.stream, "--local", &self.local, "--remote", &self.remote]
    }
}

pub(crate) fn sessions(vectors: &str) -> Vec<Session> {
    let sessions: Vec<Value> = serde_json::from_str(vectors).unwrap();
    sessions.iter().map(session).collect()
}

/// The session of that name in etcd 3.4's vectors.
pub(crate) fn session_named(name: &str) -> Session {
    sessions(DIALECTS[0].1).into_iter().find(|session| session.name == name).unwrap()
}

fn session(value: &Value) -> Session {
    let text = |key: &str| value[key].as_str().unwrap().to_owned();
    Session {
        name: text("name"),
        stream: text("stream"),
        local: value["local"].to_string(),
        remote: value["remote"].to_string(),
        frames: value["frames"].as_array().unwrap().iter().map(frame).collect(),
    }
}

fn frame(value: &Value) -> Frame {
    let mut decoded = value.get("decoded").unwrap_or_else(|| &value["message"]).clone();
    if decoded["snapshot"].is_null() {
        decoded["snapshot"] = empty_snapshot();
    }
    Frame {
        bytes: const_hex::decode(value["hex"].as_str().unwrap()).unwrap(),
        kind: value["kind"].as_str().unwrap().to_owned(),
        value: value.clone(),
        decoded,
    }
}

pub(crate) fn empty_snapshot() -> Value {
    json!({"data": null, "metadata": {"conf_state": {"voters": [], "learners": [],
        "voters_outgoing": [], "learners_next": [], "auto_leave": false}, "index": 0, "term": 0}})
}

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_raftwire"))
}

/// Runs the command with `input` on its stdin.
pub(crate) fn run<'a>(args: impl IntoIterator<Item = &'a str>, input: &[u8]) -> Output {
    let mut child = command()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A command that refuses its input early closes the pipe.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    })
}

/// Runs `inspect` with JSON output and these options.
pub(crate) fn inspect<'a>(options: impl IntoIterator<Item = &'a str>, input: &[u8]) -> Output {
    run(["inspect", "--format", "json"].into_iter().chain(options), input)
}

/// The frames in `output`, which must be clean.
pub(crate) fn clean(output: &Output) -> Vec<Value> {
    assert_eq!((output.status.code(), stderr(output)), (Some(0), String::new()));
    frames(output)
}

/// The frames that were printed.
pub(crate) fn frames(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
