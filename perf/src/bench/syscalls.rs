//! How many system calls some processes make together, all of their threads, while they do one thing: counted
//! from outside, by the first of these that works here, the same for every contender.
//!
//! 1. `perf stat -e raw_syscalls:sys_enter`, which must be allowed to see the kernel's tracepoints;
//! 2. `strace -f -c`, which stops the processes at each call, and must be allowed to trace them;
//! 3. nothing, and the report says that they were not measured.
//!
//! Not here: what they are divided by.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

/// What counts, once it is known what works here.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    ways: Option<Vec<Way>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Perf,
    Strace,
}

impl Counter {
    /// Counts from here on; none where that is not possible.
    pub(crate) fn begin(&mut self, processes: &[u32]) -> Option<Counting> {
        let ways = self.ways.get_or_insert_with(|| vec![Way::Perf, Way::Strace]);
        while let Some(way) = ways.first() {
            if let Some(counting) = way.begin(processes) {
                return Some(counting);
            }
            // It will not work the next time either.
            ways.remove(0);
        }
        None
    }

    /// How much longer a run takes that is counted, about.
    pub(crate) fn slowdown(&self) -> f64 {
        match self.ways.as_deref() {
            Some([Way::Strace]) => 20.0,
            _ => 1.0,
        }
    }

    /// What counts, in words.
    pub(crate) fn label(&self) -> &'static str {
        match self.ways.as_ref().and_then(|ways| ways.first()) {
            Some(Way::Perf) => "perf stat -e raw_syscalls:sys_enter",
            Some(Way::Strace) => "strace -f -c",
            None => "not measured",
        }
    }
}

impl Way {
    fn begin(self, processes: &[u32]) -> Option<Counting> {
        match self {
            Self::Perf => begin_perf(processes),
            Self::Strace => begin_strace(processes),
        }
    }
}

/// A tool that is counting; without [`end`](Self::end) it is killed.
#[derive(Debug)]
pub(crate) struct Counting {
    way: Way,
    tool: Child,
    acknowledgements: Option<BufReader<ChildStdout>>,
    errors: BufReader<ChildStderr>,
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Does nothing to one that has ended.
        let _ = self.tool.kill();
        let _ = self.tool.wait();
    }
}

/// Started with its counter off, which it switches on and off again on command, and says when it is
/// done: nothing is counted but what happens in between.
fn begin_perf(processes: &[u32]) -> Option<Counting> {
    let ids = processes.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let mut tool = Command::new("perf")
        .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "--delay", "-1"])
        .args(["--control", "fd:0,1", "--pid", &ids])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let acknowledgements = tool.stdout.take().map(BufReader::new);
    let errors = BufReader::new(tool.stderr.take()?);
    let mut counting = Counting { way: Way::Perf, tool, acknowledgements, errors };
    counting.command("enable").then_some(counting)
}

fn begin_strace(processes: &[u32]) -> Option<Counting> {
    let mut tool = Command::new("strace")
        .args(["-f", "-c"])
        .args(processes.iter().flat_map(|id| ["-p".to_owned(), id.to_string()]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let errors = BufReader::new(tool.stderr.take()?);
    let mut counting = Counting { way: Way::Strace, tool, acknowledgements: None, errors };
    // It says so for each process, or why it cannot, and ends.
    let mut attached = 0;
    let mut line = String::new();
    while attached < processes.len() {
        line.clear();
        if counting.errors.read_line(&mut line).ok()? == 0 {
            return None;
        }
        attached += usize::from(line.contains(" attached"));
    }
    // Its threads follow the process they belong to in the same breath.
    std::thread::sleep(Duration::from_millis(20));
    Some(counting)
}

impl Counting {
    /// Stops counting, and returns the calls of all processes.
    pub(crate) fn end(mut self) -> Option<u64> {
        if self.way == Way::Perf && !self.command("disable") {
            return None;
        }
        interrupt(&self.tool);
        let mut summary = String::new();
        self.errors.read_to_string(&mut summary).ok()?;
        match self.way {
            Way::Perf => perf_count(&summary),
            Way::Strace => strace_count(&summary),
        }
    }

    /// Has perf obey, and waits until it did.
    fn command(&mut self, command: &str) -> bool {
        let (Some(commands), Some(answers)) =
            (self.tool.stdin.as_mut(), self.acknowledgements.as_mut())
        else {
            return false;
        };
        if writeln!(commands, "{command}").and_then(|()| commands.flush()).is_err() {
            return false;
        }
        let mut line = String::new();
        // It writes a NUL behind each line. One that cannot count has ended, and so have its answers.
        answers.read_line(&mut line).is_ok() && line.trim_matches(['\0', '\n']) == "ack"
    }
}

/// Both tools print what they counted when they are interrupted.
fn interrupt(tool: &Child) {
    let Ok(id) = libc::pid_t::try_from(tool.id()) else { return };
    // SAFETY: takes two numbers and touches no memory. The process is our child and was not waited
    // for, so its number belongs to no other.
    unsafe { libc::kill(id, libc::SIGINT) };
}

/// `1234,,raw_syscalls:sys_enter,...`; what could not be counted has words for a number.
fn perf_count(summary: &str) -> Option<u64> {
    let line = summary.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.trim().parse().ok()
}

/// What stands in the column `calls` of the last line, `total`, of strace's table. Other columns of
/// that line may be empty, so it is found by where it stands: below the fourth rule.
fn strace_count(summary: &str) -> Option<u64> {
    let rules = summary.lines().find(|line| line.starts_with("---"))?;
    let total = summary.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    let mut columns = rules.split(' ').scan(0, |end, rule| {
        let begin = *end;
        *end += rule.len() + 1;
        Some(begin..*end - 1)
    });
    total.get(columns.nth(3)?)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_perf_counted() {
        let summary = "\n12345,,raw_syscalls:sys_enter,2000,100.00,,\n";
        assert_eq!(perf_count(summary), Some(12_345));
        let refused = "<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n";
        assert_eq!(perf_count(refused), None);
        assert_eq!(perf_count("event syntax error\n"), None);
    }

    #[test]
    fn reads_what_strace_counted() {
        let table = |total: &str| {
            format!(
                "strace: Process 7 detached\n\
                 % time     seconds  usecs/call     calls    errors syscall\n\
                 ------ ----------- ----------- --------- --------- ----------------\n \
                 60.00    0.000600           6       100           epoll_wait\n\
                 ------ ----------- ----------- --------- --------- ----------------\n\
                 {total}\n"
            )
        };
        let with_errors = "100.00    0.001000           6       166        12 total";
        assert_eq!(strace_count(&table(with_errors)), Some(166));
        let without = "100.00    0.001000           6       166           total";
        assert_eq!(strace_count(&table(without)), Some(166));
        let older = "100.00    0.001000                   166        12 total";
        assert_eq!(strace_count(&table(older)), Some(166));
        assert_eq!(strace_count("strace: attach: Operation not permitted\n"), None);
    }

    #[test]
    fn says_what_counts() {
        assert_eq!(Counter::default().label(), "not measured");
        let unknown = Counter { ways: Some(vec![Way::Strace]) };
        assert_eq!(unknown.label(), "strace -f -c");
    }
}
