//! etcd's own codec, in a Go program of its own (`perf/peers/go`), one for each version: building
//! it, asking it for one measurement at a time, and reading its answer. The dialogue is one JSON
//! object a line. Not here: what the program does, which its own folder documents.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Operation, Timed, Used};
use crate::bench::error::BenchError;
use crate::bench::load::{FIRST_INDEX, Load, TERM};

/// The versions that are built, the label of each ending in its version.
const VERSIONS: [(&str, &str); 2] = [("etcd 3.6", "peer-3.6"), ("etcd 3.7", "peer-3.7")];

/// Its figure contains one copy of the stream: etcd's decoder copies out of a reader.
pub(crate) const DECODE: Operation = Operation::DecodeCopied;

#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) label: &'static str,
    pub(crate) version: String,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

#[derive(Debug, Serialize)]
struct Request {
    op: &'static str,
    what: &'static str,
    entries: usize,
    bytes: usize,
    duration_ms: u128,
    seed: u64,
    term: u64,
    index: u64,
}

/// What `peer version` answers.
#[derive(Debug, Deserialize)]
struct Version {
    etcd: String,
    raft: String,
    go: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    messages: u64,
    ns_per_message: f64,
    allocs_per_message: f64,
    alloc_bytes_per_message: f64,
    stream_bytes_per_message: f64,
}

/// One answer, in the terms of the other contenders.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) timed: Timed,
    pub(crate) used: Used,
    pub(crate) stream_bytes_per_message: f64,
}

/// Builds and starts the program of every version; or says why it cannot be measured here.
pub(crate) fn start_all() -> Result<Vec<Etcd>, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/go");
    let build = sources.join("build.sh");
    if !build.is_file() {
        return Err(format!("there is no {}", build.display()));
    }
    let go = go_on_path().ok_or("there is no `go` on the path")?;
    let programs = build_folder();
    let mut path = std::ffi::OsString::from(go);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let built = Command::new("bash")
        .arg(&build)
        .arg(&programs)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("bash: {error}"))?;
    if !built.status.success() {
        let errors = String::from_utf8_lossy(&built.stderr);
        let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(format!("{}: {}: {last}", build.display(), built.status));
    }
    VERSIONS
        .iter()
        .map(|(label, file)| Etcd::start(label, &programs.join(file)).map_err(|e| e.to_string()))
        .collect()
}

/// The folder of `go`: where its own installer puts it often is on no path.
fn go_on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/local/go/bin")])
        .find(|folder| folder.join("go").is_file())
}

/// Beside our own program, so that a clean build folder has no old peer in it.
fn build_folder() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("peers")
}

impl Etcd {
    fn start(label: &'static str, program: &Path) -> Result<Self, BenchError> {
        let version = Command::new(program)
            .arg("version")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| BenchError::io(program, source))?;
        let version = serde_json::from_slice::<Version>(&version.stdout).map_err(|error| {
            BenchError::Peer { name: label.to_owned(), reason: format!("its version: {error}") }
        })?;
        let version = format!("{}, raft {}, {}", version.etcd, version.raft, version.go);
        let mut child = Command::new(program)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| BenchError::io(program, source))?;
        let requests = child.stdin.take();
        let Some(answers) = child.stdout.take() else {
            let reason = "its output is not connected".to_owned();
            return Err(BenchError::Peer { name: label.to_owned(), reason });
        };
        Ok(Self { label, version, child, requests, answers: BufReader::new(answers) })
    }

    /// None where it has no such operation, or the load is not one it can make.
    pub(crate) fn measure(
        &mut self,
        load: &Load,
        operation: Operation,
        seed: u64,
        budget: Duration,
    ) -> Result<Option<Measured>, BenchError> {
        let (Some(shape), Some(what)) = (load.shape, what(operation)) else {
            return Ok(None);
        };
        let request = Request {
            op: "bench",
            what,
            entries: shape.entries,
            bytes: shape.bytes,
            duration_ms: budget.as_millis().max(1),
            seed,
            term: TERM,
            index: FIRST_INDEX,
        };
        let answer = self.ask(&request)?;
        let ours = load.stream_bytes_per_message();
        // 3.7 leaves an entry's zero type out, which is two bytes.
        let shortest = ours - 2.0 * shape.entries as f64;
        if !(shortest..=ours).contains(&answer.stream_bytes_per_message) {
            return Err(BenchError::WrongAnswer {
                contender: self.label.to_owned(),
                input: load.input.clone(),
                what: format!("{} bytes a message, not {ours}", answer.stream_bytes_per_message),
            });
        }
        let used = Used {
            messages: answer.messages,
            allocations_per_message: answer.allocs_per_message,
            allocated_bytes_per_message: answer.alloc_bytes_per_message,
            copied_bytes_per_message: None,
        };
        let ns_per_message = answer.ns_per_message;
        let timed = Timed { messages: answer.messages, ns_per_message, passes: None };
        let stream_bytes_per_message = answer.stream_bytes_per_message;
        Ok(Some(Measured { timed, used, stream_bytes_per_message }))
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, BenchError> {
        let fail = |reason: String| BenchError::Peer { name: self.label.to_owned(), reason };
        let line = serde_json::to_string(request).map_err(|error| fail(error.to_string()))?;
        let Some(requests) = &mut self.requests else {
            return Err(fail("it is ending".into()));
        };
        writeln!(requests, "{line}").map_err(|error| fail(error.to_string()))?;
        requests.flush().map_err(|error| fail(error.to_string()))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|error| fail(error.to_string()))?;
        if answer.is_empty() {
            return Err(fail("it ended without an answer".into()));
        }
        serde_json::from_str(&answer).map_err(|_| fail(format!("it answered {}", answer.trim())))
    }
}

fn what(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Encode => Some("encode"),
        DECODE => Some("decode"),
        _ => None,
    }
}

impl Drop for Etcd {
    /// The program ends at the end of its input.
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_answer_with_more_keys_than_it_needs() {
        let line = r#"{"messages":10,"ns_per_message":1.5,"allocs_per_message":3,
            "alloc_bytes_per_message":100,"stream_bytes_per_message":99,"mb_per_s":66,"gc_cycles":0}"#;
        let answer: Answer = serde_json::from_str(line).unwrap();
        assert_eq!(answer.messages, 10);
    }

    #[test]
    fn has_no_decoding_from_a_filled_block() {
        assert_eq!(what(Operation::DecodeFilled), None);
        assert_eq!(what(Operation::DecodeCopied), Some("decode"));
    }
}
