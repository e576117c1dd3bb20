//! One member, as a process of its own: `raftwire-etcd`. It is killed when it is dropped, and ends by
//! itself, for its input is closed, when the tests are killed.

use raftwire_etcd::console::{Answer, ErrorKind, Event, Op, Outcome, Request, Said};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// No answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The process ended.
    Gone,
    /// It took too long, such as when the process is paused.
    Late,
}

pub(crate) struct Process {
    child: Mutex<Child>,
    stdin: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<Waiting>>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    /// None: nothing will be answered any more.
    answers: Option<HashMap<u64, Sender<Outcome>>>,
    /// Why it ended, if it said so.
    ended: Option<String>,
}

impl Process {
    /// Starts a member and waits until it is ready; its log is appended to a file. What it said if it
    /// does not start.
    pub(crate) fn start(flags: &[String], log: &Path) -> Result<Self, String> {
        let log_file = File::options().create(true).append(true).open(log).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_raftwire-etcd"))
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Ok(Said::Event(Event::Ready { url, .. })) = serde_json::from_str(&line) else {
            let status = child.wait().unwrap();
            let log = std::fs::read_to_string(log).unwrap();
            return Err(format!("{status}: {}", log.lines().last().unwrap_or_default()));
        };
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        let waiting = Waiting { answers: Some(HashMap::new()), ..Waiting::default() };
        let waiting = Arc::new(Mutex::new(waiting));
        let reader = Arc::clone(&waiting);
        // Ends with the process.
        thread::spawn(move || read(stdout, &reader));
        let stdin = Mutex::new(child.stdin.take());
        Ok(Self { child: Mutex::new(child), stdin, waiting, address })
    }

    /// Asks without waiting; the answer comes there, unless the process ends first.
    pub(crate) fn begin(&self, op: Op) -> (u64, Receiver<Outcome>) {
        let (answer, answered) = channel();
        let id = {
            let mut waiting = self.waiting.lock().unwrap();
            waiting.last += 1;
            let id = waiting.last;
            if let Some(answers) = &mut waiting.answers {
                answers.insert(id, answer);
            }
            id
        };
        let mut line = serde_json::to_vec(&Request { id, op }).unwrap();
        line.push(b'\n');
        if let Some(stdin) = &mut *self.stdin.lock().unwrap() {
            // A process that ended closes its answers.
            let _ = stdin.write_all(&line);
        }
        (id, answered)
    }

    /// Asks, and waits so long at most.
    pub(crate) fn ask_within(&self, op: Op, limit: Duration) -> Result<Outcome, Silence> {
        let (id, answered) = self.begin(op);
        answered.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Disconnected => Silence::Gone,
            RecvTimeoutError::Timeout => {
                if let Some(answers) = &mut self.waiting.lock().unwrap().answers {
                    answers.remove(&id);
                }
                Silence::Late
            }
        })
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        // It may have ended by itself.
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// Stops it from running, until `resume`.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Closes its input, and waits for its end.
    pub(crate) fn close(&self) -> ExitStatus {
        drop(self.stdin.lock().unwrap().take());
        self.child.lock().unwrap().wait().unwrap()
    }

    /// Waits for an end of its own: its status, and why.
    pub(crate) fn wait(&self) -> (ExitStatus, Option<String>) {
        let status = self.child.lock().unwrap().wait().unwrap();
        // The reader is through when it has taken the channels away.
        super::until("the last line is read", || {
            self.waiting.lock().unwrap().answers.is_none().then_some(())
        });
        (status, self.waiting.lock().unwrap().ended.clone())
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.waiting.lock().unwrap().answers.is_none()
    }

    fn signal(&self, signal: Signal) {
        let mut child = self.child.lock().unwrap();
        // Not one that was waited for: its number may be another's by now.
        if child.try_wait().unwrap().is_none() {
            let id = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
            kill_process(id, signal).unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Hands out answers until the process ends.
fn read(stdout: BufReader<ChildStdout>, waiting: &Mutex<Waiting>) {
    for line in stdout.lines() {
        // A line that was cut by a kill is none.
        let Ok(line) = line else { break };
        let Ok(said) = serde_json::from_str(&line) else { continue };
        let mut waiting = waiting.lock().unwrap();
        match said {
            Said::Answer(Answer { id: Some(id), outcome }) => {
                let answers = waiting.answers.as_mut().unwrap();
                // Nobody may be waiting any more.
                if let Some(answer) = answers.remove(&id) {
                    let _ = answer.send(outcome);
                }
            }
            Said::Event(Event::Ended { text }) => waiting.ended = Some(text),
            other => panic!("{other:?}"),
        }
    }
    waiting.lock().unwrap().answers = None;
}

/// The kind of an error, of an outcome that is one.
pub(crate) fn error_kind(outcome: &Outcome) -> Option<ErrorKind> {
    match outcome {
        Outcome::Error(error) => Some(error.kind),
        _ => None,
    }
}
