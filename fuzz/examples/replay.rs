//! Replays the corpora through etcd's own decoders (`perf/peers/go`), and compares what they make of
//! each stream with what we make of it as etcd would: which frames, and how it ends. Any difference
//! that [`why`] does not list fails.
//!
//! `replay 3.6=PROGRAM 3.7=PROGRAM`; `fuzz/replay-etcd.sh` builds the programs first.

use raftwire::codec::Frame;
use raftwire::error::{DecodeError, DecodeErrorKind as Kind};
use raftwire::fuzzing::{Stream, decode_as_etcd, stream_header_bytes};
use raftwire::raftpb::Message;
use raftwire_perf::json::Written;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LOCAL: u64 = 2;
const REMOTE: u64 = 1;

/// Why etcd may see something else than we do, which is known and meant.
///
/// What is no difference: where we return an error, etcd may return one, panic, or try to allocate
/// what was announced (which its replay program refuses to do).
fn why(version: &str, error: &DecodeError) -> Option<&'static str> {
    let go = version == "3.6";
    Some(match error.kind {
        Kind::Limit { .. } if error.field == "Message.responses" => {
            "etcd does not bound the responses of a message"
        }
        Kind::Limit { .. } if error.field.starts_with("ConfState.") => {
            "etcd does not bound the ids of a conf state"
        }
        Kind::Nesting => "Go nests deeper: gogo without end, Google's 10 000 levels",
        Kind::Varint if go => "gogo takes varints of 65 bits and more, and loses the upper ones",
        Kind::Key if go => "gogo takes keys of more than 32 bits, and any key inside a group",
        Kind::Group if go => "gogo counts the ends of groups, and does not compare their numbers",
        Kind::WireType(_) if !go => "to Google's a known field of another wire type is unknown",
        _ => return None,
    })
}

/// How a stream ended, in the words of the peer program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum End {
    Eof,
    UnexpectedEof,
    Error,
    Panic,
    RefusedToAllocate,
}

#[derive(Debug, Deserialize)]
struct Answer {
    frames: Vec<AnsweredFrame>,
    end: End,
    error: String,
}

#[derive(Debug, PartialEq, Deserialize)]
struct AnsweredFrame {
    kind: String,
    message: Value,
}

/// etcd's decoder of one version.
struct Peer {
    version: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(argument: &str) -> Result<Self> {
        let (version, program) = argument.split_once('=').ok_or("expected VERSION=PROGRAM")?;
        let mut child = Command::new(program)
            .arg("replay")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { version: version.to_owned(), child, input, output })
    }

    fn replay(&mut self, case: &Case) -> Result<Answer> {
        let hex: String = case.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let stream = match case.stream {
            Stream::MsgAppV2 => "msgappv2",
            Stream::Message => "message",
        };
        let line = json!({
            "id": case.name, "stream": stream, "local": LOCAL, "remote": REMOTE, "hex": hex,
        });
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        let mut parser = serde_json::Deserializer::from_str(&answer);
        parser.disable_recursion_limit();
        Ok(Answer::deserialize(&mut parser).map_err(|error| format!("{error}: {answer}"))?)
    }

    fn stop(self) -> Result<()> {
        let Self { mut child, input, .. } = self;
        drop(input);
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(status.to_string().into()) }
    }
}

/// A stream of the corpora.
struct Case {
    name: String,
    stream: Stream,
    bytes: Vec<u8>,
}

fn cases(corpus: &Path) -> Result<Vec<Case>> {
    let header = stream_header_bytes();
    let framed = |body: &[u8]| [&(body.len() as u64).to_be_bytes(), body].concat();
    let mut cases = Vec::new();
    for target in ["msgappv2_decode", "message_decode", "raftpb_message", "raftpb_entry"] {
        let mut paths: Vec<_> = fs::read_dir(corpus.join(target))?
            .map(|file| Ok(file?.path()))
            .collect::<Result<_>>()?;
        paths.sort();
        for path in paths {
            let input = fs::read(&path)?;
            let (stream, bytes) = match target {
                "msgappv2_decode" => {
                    (Stream::MsgAppV2, input.get(header..).unwrap_or_default().to_vec())
                }
                "message_decode" => {
                    (Stream::Message, input.get(header..).unwrap_or_default().to_vec())
                }
                "raftpb_message" => (Stream::Message, framed(&input)),
                // Alone in an AppEntries frame, before a commit index of 0.
                _ => {
                    let count = 1u64.to_be_bytes();
                    (Stream::MsgAppV2, [&[1], &count[..], &framed(&input), &[0; 8]].concat())
                }
            };
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            cases.push(Case { name: format!("{target}/{file}"), stream, bytes });
        }
    }
    Ok(cases)
}

fn frame(frame: &Frame<Message>) -> Result<AnsweredFrame> {
    let message = serde_json::to_value(Written(&frame.message))?;
    Ok(AnsweredFrame { kind: frame.kind.name().to_owned(), message })
}

/// `Ok(None)`: they agree. `Ok(Some)`: they differ for a known reason. `Err`: they differ.
fn compare(peer: &mut Peer, case: &Case, now: Instant) -> Result<Option<&'static str>> {
    let (frames, end) = decode_as_etcd(case.stream, (LOCAL, REMOTE), &case.bytes, now);
    let frames = frames.iter().map(frame).collect::<Result<Vec<_>>>()?;
    let answer = peer.replay(case)?;
    if !answer.frames.starts_with(&frames) {
        let at = frames.iter().zip(&answer.frames).position(|(ours, theirs)| ours != theirs);
        return Err(match at {
            Some(at) => format!("frame {at}: {:?}, etcd {:?}", frames[at], answer.frames[at]),
            None => {
                format!("{} frames, etcd {}: {}", frames.len(), answer.frames.len(), answer.error)
            }
        }
        .into());
    }
    let agree = frames.len() == answer.frames.len()
        && match (&end, answer.end) {
            // etcd sees no difference between the end of a stream and of one of its fields.
            (Ok(_), End::Eof) => true,
            (Err(error), End::UnexpectedEof) if error.kind == Kind::Truncated => true,
            // gogo calls a field that reaches too far an unexpected EOF, too.
            (Err(error), End::UnexpectedEof) => error.kind == Kind::Overrun,
            (Err(error), End::Error | End::Panic) => error.kind != Kind::Truncated,
            // An announced length whose bytes do not come: we wait, and then the stream has ended.
            (Ok(deviations), End::RefusedToAllocate) => !deviations.is_empty(),
            (Err(_), End::RefusedToAllocate) => true,
            _ => false,
        };
    if agree {
        return Ok(None);
    }
    let known = end.as_ref().err().and_then(|error| why(&peer.version, error));
    known.map(Some).ok_or_else(|| {
        let error = &answer.error;
        format!(
            "after {} frames {end:?}, etcd after {} {:?} {error}",
            frames.len(),
            answer.frames.len(),
            answer.end
        )
        .into()
    })
}

fn run() -> Result<bool> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let cases = cases(&corpus)?;
    let now = Instant::now();
    let mut good = !cases.is_empty();
    for argument in std::env::args().skip(1) {
        let mut peer = Peer::start(&argument)?;
        let (mut agreed, mut known) = (0, BTreeMap::<_, usize>::new());
        for case in &cases {
            match compare(&mut peer, case, now) {
                Ok(None) => agreed += 1,
                Ok(Some(reason)) => *known.entry(reason).or_default() += 1,
                Err(error) => {
                    good = false;
                    println!("{} etcd {}: {error}", case.name, peer.version);
                }
            }
        }
        println!("etcd {}: {agreed} of {} streams alike", peer.version, cases.len());
        for (reason, count) in known {
            println!("  {count} differ: {reason}");
        }
        peer.stop()?;
    }
    Ok(good)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("replay: {error}");
            ExitCode::from(2)
        }
    }
}
