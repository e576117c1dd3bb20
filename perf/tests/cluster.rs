//! `raftwire cluster`, run, asked, hurt and stopped.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use support::command;

/// How long it may say nothing where something is expected of it.
const LINE: Duration = Duration::from_secs(60);
/// How long members may live on when what ran them was killed.
const END: Duration = Duration::from_secs(20);

/// A running cluster. It is ended in the way a test wants to look at, or killed if the test fails:
/// its members end with it.
struct Cluster {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    log: Option<JoinHandle<String>>,
    /// All it said so far.
    said: Vec<String>,
    /// Processes and addresses of the members, by number.
    members: BTreeMap<u64, (String, String)>,
}

impl Cluster {
    /// Starts one, and waits until it asks for commands.
    fn start(dir: &Path, options: &[&str]) -> Self {
        let mut child = command()
            .args(["cluster", "--dir"])
            .arg(dir)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut cluster = Self {
            stdin: child.stdin.take(),
            stdout: lines(child.stdout.take().unwrap()),
            child,
            log: Some(log),
            said: Vec::new(),
            members: BTreeMap::new(),
        };
        cluster.until("try: ");
        cluster
    }

    fn line(&mut self) -> String {
        let line = self.stdout.recv_timeout(LINE).expect("it says something");
        self.said.push(line.clone());
        // member 1 is at http://127.0.0.1:1, process 2
        if let Some((number, rest)) =
            line.strip_prefix("member ").and_then(|rest| rest.split_once(" is at http://"))
        {
            let (address, process) = rest.split_once(", process ").unwrap();
            let member = (process.to_owned(), address.to_owned());
            self.members.insert(number.parse().unwrap(), member);
        }
        line
    }

    /// Reads on to the line that begins so.
    fn until(&mut self, begin: &str) -> String {
        loop {
            let line = self.line();
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    fn type_in(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for a leader, and returns its number.
    fn leader(&mut self) -> u64 {
        loop {
            let line = self.until("member ");
            if let Some((leader, _)) = line[7..].split_once(" leads ") {
                return leader.parse().unwrap();
            }
        }
    }

    fn signal(&self, signal: &str) {
        kill(signal, &self.child.id().to_string());
    }

    /// Waits for its end, and asserts that it ended well and left nothing; returns its log.
    fn ended(mut self) -> String {
        let rest: Vec<String> = self.stdout.iter().collect();
        let status = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert!(status.success(), "{status}: {rest:?} {log}");
        for (process, address) in self.members.values() {
            assert!(!is_there(process), "member {process} is left");
            assert!(TcpStream::connect(address).is_err(), "something is left at {address}");
        }
        log
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.said.join("\n"));
        }
        // Already ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines beside, so that a test can stop to wait for one.
fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (line, lines) = channel();
    thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|read| line.send(read))
    });
    lines
}

fn kill(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
}

fn is_there(process: &str) -> bool {
    Command::new("kill").args(["-0", process]).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn serves_commands_while_members_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), &["--members", "3"]);
    assert_eq!(cluster.members.len(), 3);
    let leader = cluster.leader();
    cluster.type_in("put color deep blue");
    cluster.until("committed as entry ");
    cluster.type_in("get color");
    cluster.until("deep blue (version 1, ");

    cluster.type_in(&format!("kill {leader}"));
    cluster.until(&format!("member {leader} was killed"));
    assert!(!is_there(&cluster.members[&leader].0));
    cluster.type_in("get color");
    cluster.until("deep blue (version 1, ");
    cluster.type_in("status");
    cluster.until("member  role ");
    let rows: Vec<String> = (0..3).map(|_| cluster.line()).collect();
    assert_eq!(rows.iter().filter(|row| row.contains(" leader ")).count(), 1, "{rows:#?}");
    assert_eq!(rows.iter().filter(|row| row.ends_with("down")).count(), 1, "{rows:#?}");

    cluster.type_in(&format!("start {leader}"));
    cluster.until(&format!("member {leader} is at "));
    cluster.type_in("del color");
    cluster.until("committed as entry ");
    cluster.type_in("get color");
    cluster.until("color is not there");
    cluster.type_in("fly");
    cluster.until("there is no \"fly\"");
    cluster.type_in("kill 4");
    cluster.until("there is no member 4");
    cluster.type_in("quit");
    let log = cluster.ended();
    // One log, a line of each member in it, and no colours where nobody sees them.
    for number in 1..=3 {
        assert!(log.lines().any(|line| line.starts_with(&format!("{number} | "))), "{log}");
    }
    assert!(!log.contains('\x1b'), "{log}");
}

#[test]
fn hands_the_leadership_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), &[]);
    let leader = cluster.leader();
    let next = leader % 3 + 1;
    cluster.type_in("put a 1");
    cluster.until("committed as entry ");
    cluster.type_in(&format!("transfer {next}"));
    assert_eq!(cluster.leader(), next);
    cluster.signal("-INT");
    cluster.ended();
}

#[test]
fn stops_at_signals_and_goes_on_from_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    for (turn, signal) in [(1, "-INT"), (2, "-TERM")] {
        let mut cluster = Cluster::start(dir.path(), &[]);
        cluster.leader();
        cluster.type_in("put turns some");
        cluster.until("committed as entry ");
        cluster.type_in("get turns");
        cluster.until(&format!("some (version {turn}, "));
        // Not a terminal: the end of its input is no reason to end.
        drop(cluster.stdin.take());
        cluster.signal(signal);
        cluster.ended();
    }
}

#[test]
fn says_that_a_member_died() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), &[]);
    // A follower: what a leader was given when it died may be lost with it.
    let follower = cluster.leader() % 3 + 1;
    kill("-KILL", &cluster.members[&follower].0.clone());
    let line = cluster.until(&format!("member {follower} died"));
    assert!(line.contains("signal: 9") && line.contains(&format!("start {follower}")), "{line}");
    cluster.type_in("put a 1");
    cluster.until("committed as entry ");
    cluster.type_in(&format!("start {follower}"));
    cluster.until(&format!("member {follower} is at "));
    cluster.signal("-INT");
    cluster.ended();
}

#[test]
fn members_end_with_the_command_whatever_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), &[]);
    cluster.leader();
    cluster.signal("-KILL");
    cluster.child.wait().unwrap();
    let begin = Instant::now();
    while cluster.members.values().any(|(process, _)| is_there(process)) {
        assert!(begin.elapsed() < END, "members are left");
        thread::sleep(Duration::from_millis(10));
    }
    // And it can be run again.
    let mut cluster = Cluster::start(dir.path(), &[]);
    cluster.leader();
    cluster.signal("-INT");
    cluster.ended();
}

#[test]
fn refuses_directories_it_cannot_use() {
    let refused = |dir: &Path, options: &[&str]| {
        let output = command().args(["cluster", "--dir"]).arg(dir).args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), &["--members", "1"]);
    let error = refused(dir.path(), &[]);
    assert!(error.contains("is in use by another raftwire cluster"), "{error}");
    cluster.signal("-INT");
    cluster.ended();
    let error = refused(dir.path(), &["--members", "3"]);
    assert!(error.contains("holds a cluster of 1 members"), "{error}");

    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("file"), "").unwrap();
    let error = refused(other.path(), &[]);
    assert!(error.contains("holds something that is no cluster"), "{error}");
    let error = refused(&other.path().join("file"), &[]);
    assert!(error.contains("file: "), "{error}");
}
