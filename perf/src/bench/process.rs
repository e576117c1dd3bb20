//! The processes that are measured as the command sees them: started, asked a line at a time, ended; and
//! what the kernel tells of their memory. Not here: what they are asked (each part's
//! `protocol`).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::dialogue::{self, Done, STOP};

/// How long a process may take to stop before it is made to.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);

/// One of them.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl Process {
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Result<Self, String> {
        Self::spawn(program, Command::new(program).args(arguments))
    }

    /// In a process group of its own, so that ctrl-c is for whoever started it to deal with; it is
    /// killed when that thread has ended, whatever it is doing. What it has to say beside its answers
    /// goes to `log`.
    pub(crate) fn start_apart(
        program: &Path,
        arguments: &[&str],
        log: &Path,
    ) -> Result<Self, String> {
        let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0).stderr(file);
        // SAFETY: between fork and exec it makes one system call, which takes two numbers, touches no
        // memory, and takes no lock another thread could have held.
        unsafe { command.pre_exec(end_with_parent) };
        Self::spawn(program, &mut command)
    }

    fn spawn(program: &Path, command: &mut Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let (Some(requests), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("its input and output are not connected".to_owned());
        };
        // A thread waits for lines, as nothing else bounds the time an answer may take.
        let (lines, answers) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, requests, answers })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&mut self, request: &impl Serialize) -> Result<(), String> {
        let line = serde_json::to_string(request).map_err(|error| error.to_string())?;
        writeln!(self.requests, "{line}").map_err(|error| format!("its input: {error}"))
    }

    pub(crate) fn receive<T: for<'a> Deserialize<'a>>(
        &self,
        time_max: Duration,
    ) -> Result<T, String> {
        match self.answers.recv_timeout(time_max) {
            Ok(line) => dialogue::answer(&line),
            Err(RecvTimeoutError::Timeout) => Err(format!("no answer in {time_max:?}")),
            Err(RecvTimeoutError::Disconnected) => Err("it ended without an answer".to_owned()),
        }
    }

    pub(crate) fn ask<T: for<'a> Deserialize<'a>>(
        &mut self,
        request: &impl Serialize,
        time_max: Duration,
    ) -> Result<T, String> {
        self.send(request)?;
        self.receive(time_max)
    }

    /// Lets the memory this process held at most begin again at what it holds. Where the kernel does
    /// not allow it, the figure is of the process' whole life.
    pub(crate) fn reset_peak_memory(&self) {
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5");
    }

    /// The most memory it held; 0 if the kernel does not tell.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        peak_memory_bytes_of(self.id())
    }
}

/// The most memory a process held; 0 if the kernel does not tell.
pub(crate) fn peak_memory_bytes_of(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"));
    peak_bytes(&status.unwrap_or_default()).unwrap_or(0)
}

fn end_with_parent() -> io::Result<()> {
    // SAFETY: takes numbers, and touches no memory.
    let failed = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

impl Drop for Process {
    fn drop(&mut self) {
        if writeln!(self.requests, "{STOP}").is_ok() {
            let _ = self.receive::<Done>(STOP_TIME_MAX);
        }
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < STOP_TIME_MAX {
            thread::sleep(Duration::from_millis(1));
        }
        // Does nothing to one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_figure() {
        let status = "VmPeak:\t  300 kB\nVmHWM:\t     200 kB\nVmRSS:\t 100 kB\n";
        assert_eq!(peak_bytes(status), Some(200 * 1024));
        assert_eq!(peak_bytes("Name:\tx\n"), None);
    }
}
