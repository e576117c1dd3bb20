//! The loop: requests from standard input to the node, answers to standard output.
//!
//! Three threads beside the node's own: one reads, one writes, and the first waits for what ends the
//! member. A request is a task on the node's thread; tasks begin in the order of the lines.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge of the program: it starts threads, and dates its log"
)]

use super::args::Args;
use super::ask::{ask, failed};
use super::line::{Answer, ErrorKind, Event, Id, Op, Outcome, Request, Said};
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use crate::disk::OsDisk;
use crate::log::{Level, Sink};
use crate::member::NodeError;
use crate::node::Node;
use serde::Deserialize;
use std::fmt;
use std::io::{self, BufReader, BufWriter, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The exit code of a member that could not go on.
pub const ENDED: u8 = 1;
/// The exit code of a member that could not start.
pub const NOT_STARTED: u8 = 2;

/// Requests that wait for their answer at a time; the next line is read when one has it.
const REQUESTS_MAX: usize = 16 << 10;
const READ_BYTES: usize = 64 << 10;
/// For how long the last lines may take to be written, and how often that is looked at.
const WRITER_LOOK: Duration = Duration::from_millis(5);
const WRITER_LOOKS: u32 = 200;

/// Runs a member, from its start until it ends.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let (node, url) = match start(args) {
        Ok(started) => started,
        Err(error) => {
            log_line(Level::Error, format_args!("{error}"));
            return ExitCode::from(NOT_STARTED);
        }
    };
    let (said, writer) = write_to_stdout();
    let _ = said.send(Message::Line(Said::Event(Event::Ready { id: Id(args.id), url })));

    let (ends, end) = mpsc::channel();
    // Not waited for: it may be reading when the process ends.
    let reader = Reader { node: node.clone(), said: said.clone(), ends: ends.clone() };
    thread::spawn(move || reader.read());
    let ended = node.clone();
    node.handle().spawn(async move {
        if let Some(error) = ended.ended().await {
            let _ = ends.send(End::Failed(error));
        }
    });

    let code = match end.recv() {
        Ok(End::Failed(error)) => {
            log_line(Level::Error, format_args!("{error}"));
            let ended = Event::Ended { text: error.to_string() };
            let _ = said.send(Message::Line(Said::Event(ended)));
            ExitCode::from(ENDED)
        }
        Ok(End::Stop(id)) => {
            stop(&node);
            let _ = said.send(Message::answer(Some(id), Outcome::Done {}));
            ExitCode::SUCCESS
        }
        Ok(End::Closed) | Err(mpsc::RecvError) => {
            stop(&node);
            ExitCode::SUCCESS
        }
    };
    let _ = said.send(Message::Last);
    // What it could not write, nobody reads: who does not is not waited for.
    for _ in 0..WRITER_LOOKS {
        if writer.is_finished() {
            break;
        }
        thread::park_timeout(WRITER_LOOK);
    }
    code
}

/// What ends the member.
enum End {
    /// It was told to, by this request.
    Stop(u64),
    /// Nobody is left to tell it anything.
    Closed,
    /// It cannot go on.
    Failed(Arc<NodeError>),
}

/// Why a member does not start.
enum StartError {
    Listen { address: String, error: io::Error },
    Node(NodeError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Node(error) => write!(f, "cannot start: {error}"),
        }
    }
}

fn start(args: &Args) -> Result<(Node, String), StartError> {
    let refused = |error| StartError::Listen { address: args.listen.clone(), error };
    let listener = TcpListener::bind(&args.listen).map_err(refused)?;
    let url = format!("http://{}", listener.local_addr().map_err(refused)?);
    let mut config = args.config();
    if !args.quiet {
        config.log = Sink::new(|level, line| {
            if level > Level::Debug {
                log_line(level, line);
            }
        });
    }
    let node =
        Node::start(config, listener, Arc::new(OsDisk::default())).map_err(StartError::Node)?;
    Ok((node, url))
}

/// Writes a line of the log: the time of day, the level, and what happened.
fn log_line(level: Level, line: fmt::Arguments<'_>) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs() % 86_400, since.subsec_millis());
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // One write a line, so that lines of processes that share it do not mix. Nothing ends because
    // nobody hears.
    let line = format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z {level:5} {line}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

fn stop(node: &Node) {
    let (stopped, wait) = mpsc::channel::<()>();
    let stopping = node.clone();
    // Its runtime may end with it: dropping the task is an answer, too.
    node.handle().spawn(async move {
        stopping.stop().await;
        drop(stopped);
    });
    let _ = wait.recv();
}

/// What the writer is told.
enum Message {
    Line(Said),
    /// Nothing follows.
    Last,
}

impl Message {
    fn answer(id: Option<u64>, outcome: Outcome) -> Self {
        Self::Line(Said::Answer(Answer { id, outcome }))
    }
}

fn write_to_stdout() -> (mpsc::Sender<Message>, thread::JoinHandle<io::Result<()>>) {
    let (said, lines) = mpsc::channel();
    (said, thread::spawn(move || write(&lines)))
}

/// Writes lines, those that are there at once with one call.
fn write(lines: &mpsc::Receiver<Message>) -> io::Result<()> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            let Message::Line(line) = message else { return stdout.flush() };
            serde_json::to_writer(&mut stdout, &line)?;
            stdout.write_all(b"\n")?;
            next = lines.try_recv().ok();
        }
        stdout.flush()?;
    }
    Ok(())
}

struct Reader {
    node: Node,
    said: mpsc::Sender<Message>,
    ends: mpsc::Sender<End>,
}

impl Reader {
    fn read(self) {
        let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, io::stdin()));
        let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
        // An input that cannot be read is closed.
        while let Ok(Some(line)) = lines.read_line() {
            match request(&line) {
                Ok(Some(Request { id, op: Op::Stop })) => {
                    let _ = self.ends.send(End::Stop(id));
                    return;
                }
                Ok(Some(request)) => {
                    let permit = self.node.handle().block_on(Arc::clone(&permits).acquire_owned());
                    let Ok(permit) = permit else { return };
                    self.begin(request, permit);
                }
                Ok(None) => {}
                Err(BadLine { id, text }) => {
                    let bad = failed(ErrorKind::BadLine, &text);
                    let _ = self.said.send(Message::answer(id, bad));
                }
            }
        }
        let _ = self.ends.send(End::Closed);
    }

    fn begin(&self, request: Request, permit: OwnedSemaphorePermit) {
        let (node, said) = (self.node.clone(), self.said.clone());
        self.node.handle().spawn(async move {
            let outcome = ask(&node, request.op).await;
            let _ = said.send(Message::answer(Some(request.id), outcome));
            drop(permit);
        });
    }
}

struct BadLine {
    id: Option<u64>,
    text: String,
}

/// Reads a request; an empty line is none.
fn request(line: &Line<'_>) -> Result<Option<Request>, BadLine> {
    let line = match line {
        Line::Whole(line) => line.trim_ascii(),
        Line::TooLong => {
            let text = format!("a line of more than {LINE_BYTES_MAX} bytes");
            return Err(BadLine { id: None, text });
        }
    };
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(line).map(Some).map_err(|error| {
        #[derive(Deserialize)]
        struct Numbered {
            id: u64,
        }
        let id = serde_json::from_slice::<Numbered>(line).ok().map(|numbered| numbered.id);
        BadLine { id, text: error.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_told_apart_by_its_number_if_it_has_one() {
        for (line, expected) in [
            (&br#"{"id":7,"op":"fly"}"#[..], Some(7)),
            (br#"{"id":7,"op":"put"}"#, Some(7)),
            (br#"{"op":"status"}"#, None),
            (b"put a b", None),
            (b"\xff", None),
        ] {
            let bad = request(&Line::Whole(line)).unwrap_err();
            assert_eq!(bad.id, expected, "{}", bad.text);
        }
        assert!(request(&Line::TooLong).is_err());
        assert!(request(&Line::Whole(b"  ")).is_ok_and(|none| none.is_none()));
        let status = request(&Line::Whole(b" {\"id\":1,\"op\":\"status\"}\r")).ok().flatten();
        assert_eq!(status, Some(Request { id: 1, op: Op::Status }));
    }
}
