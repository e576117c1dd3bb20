//! One member: its process, and asking it.
//!
//! Two threads read what the process says, and end with it. It stands in a process group of its own:
//! ctrl-c is for the command, which then closes the members' inputs, and that stops them. So does the
//! end of this process, whatever ended it.

use super::screen::Screen;
use raftwire_etcd::console::{
    Answer, Event, LINE_BYTES_MAX, Line, Lines, Op, Outcome, Request, Said,
};
use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::{oneshot, watch};

/// The member has no process, or it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Down;

/// A member's process.
pub(super) struct Member {
    number: u64,
    pub(super) pid: u32,
    child: Mutex<Child>,
    stdin: Mutex<Option<ChildStdin>>,
    heard: Arc<Heard>,
    progress: watch::Receiver<Progress>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Starting,
    Ready,
    Ended,
}

/// What the reader of its answers shares with who asks.
#[derive(Default)]
struct Heard {
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    last: u64,
    answers: HashMap<u64, oneshot::Sender<Outcome>>,
    /// It ends because it should.
    is_expected: bool,
    /// Nothing is answered any more.
    has_ended: bool,
}

impl Member {
    /// Starts a member with these flags of the command that runs it.
    pub(super) fn start(
        number: u64,
        program: &Path,
        flags: &[String],
        screen: &Arc<Screen>,
    ) -> io::Result<Arc<Self>> {
        let mut child = Command::new(program)
            .arg(super::MEMBER_COMMAND)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        // Always there: they were asked for.
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let heard = Arc::new(Heard::default());
        let (progresses, progress) = watch::channel(Progress::Starting);
        let pid = child.id();
        let member = Arc::new(Self {
            number,
            pid,
            child: Mutex::new(child),
            stdin: Mutex::new(stdin),
            heard,
            progress,
        });
        if let Some(stderr) = stderr {
            let screen = screen.clone();
            thread::Builder::new().spawn(move || log(number, stderr, &screen))?;
        }
        if let Some(stdout) = stdout {
            let (reader, screen) = (member.clone(), screen.clone());
            thread::Builder::new().spawn(move || reader.read(stdout, &progresses, &screen))?;
        }
        Ok(member)
    }

    /// Waits until it takes part; whether it does.
    pub(super) async fn is_ready(&self) -> bool {
        let mut progress = self.progress.clone();
        let begun = progress.wait_for(|progress| *progress != Progress::Starting).await;
        begun.is_ok_and(|progress| *progress == Progress::Ready)
    }

    /// Waits until its process has ended.
    pub(super) async fn ended(&self) {
        // No progress any more is an end, too.
        let _ = self.progress.clone().wait_for(|progress| *progress == Progress::Ended).await;
    }

    pub(super) fn is_running(&self) -> bool {
        *self.progress.borrow() != Progress::Ended
    }

    /// Asks it, and waits for its answer.
    pub(super) async fn ask(&self, op: Op) -> Result<Outcome, Down> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut asked = self.heard.lock();
            if asked.has_ended {
                return Err(Down);
            }
            asked.last += 1;
            let id = asked.last;
            asked.answers.insert(id, answer);
            id
        };
        let mut line = serde_json::to_vec(&Request { id, op }).map_err(|_| Down)?;
        line.push(b'\n');
        // Blocks while it does not read, which it always does.
        let written = match &mut *lock(&self.stdin) {
            Some(stdin) => stdin.write_all(&line),
            None => return Err(Down),
        };
        written.map_err(|_| Down)?;
        answered.await.map_err(|_| Down)
    }

    /// Closes its input, which stops it.
    pub(super) fn close(&self) {
        self.heard.lock().is_expected = true;
        drop(lock(&self.stdin).take());
    }

    /// Kills it.
    pub(super) fn kill(&self) {
        self.heard.lock().is_expected = true;
        // It may have ended.
        let _ = lock(&self.child).kill();
    }

    /// Hands out answers until the process ends.
    fn read(&self, stdout: ChildStdout, progress: &watch::Sender<Progress>, screen: &Screen) {
        let mut lines = Lines::new(BufReader::new(stdout));
        let mut why = None;
        while let Ok(Some(Line::Whole(line))) = lines.read_line() {
            match serde_json::from_slice(line) {
                Ok(Said::Answer(Answer { id: Some(id), outcome })) => {
                    // Whoever asked may not wait any more.
                    if let Some(answer) = self.heard.lock().answers.remove(&id) {
                        let _ = answer.send(outcome);
                    }
                }
                Ok(Said::Event(Event::Ready { url, .. })) => {
                    let Self { number, pid, .. } = self;
                    screen.say(format_args!("member {number} is at {url}, process {pid}"));
                    let _ = progress.send(Progress::Ready);
                }
                Ok(Said::Event(Event::Ended { text })) => why = Some(text),
                // Half a line, of one that was killed.
                _ => {}
            }
        }
        let status = lock(&self.child).wait();
        let is_expected = {
            let mut asked = self.heard.lock();
            asked.has_ended = true;
            asked.answers.clear();
            asked.is_expected
        };
        let was_ready = *self.progress.borrow() == Progress::Ready;
        if !is_expected && was_ready {
            self.lament(status.ok(), why.as_deref(), screen);
        }
        let _ = progress.send(Progress::Ended);
    }

    /// Says that it died, which nobody told it to.
    fn lament(&self, status: Option<ExitStatus>, why: Option<&str>, screen: &Screen) {
        let number = self.number;
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        screen.say(format_args!(
            "member {number} died ({status}{why}); start {number} starts it again"
        ));
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        lock(&self.asked)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints the log until it ends.
fn log(number: u64, stderr: ChildStderr, screen: &Screen) {
    let mut lines = Lines::new(BufReader::new(stderr));
    while let Ok(Some(line)) = lines.read_line() {
        match line {
            Line::Whole(line) => screen.log(number, line),
            Line::TooLong => {
                let text = format!("(a line of more than {LINE_BYTES_MAX} bytes)");
                screen.log(number, text.as_bytes());
            }
        }
    }
}
