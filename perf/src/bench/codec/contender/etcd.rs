//! etcd's own codec, in a Go program of its own (`perf/peers/go`), one for each version: asking it
//! for one measurement at a time, and reading its answer. The dialogue is one JSON object a line. Not
//! here: building it (`bench::peers`), and what the program does, which its own folder documents.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Operation, Timed, Used};
use crate::bench::codec::load::Load;
use crate::bench::error::BenchError;
use crate::bench::payload::{FIRST_INDEX, TERM};
use crate::bench::peers;

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
    let programs = peers::build()?;
    VERSIONS
        .iter()
        .map(|(label, file)| Etcd::start(label, &programs.join(file)).map_err(|e| e.to_string()))
        .collect()
}

impl Etcd {
    fn start(label: &'static str, program: &Path) -> Result<Self, BenchError> {
        let version = peers::version(label, program)?;
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
