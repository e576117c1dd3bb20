//! A cluster of members in processes of their own, with their data in a directory that goes with it,
//! and a network between them that can be cut.

use super::links::Links;
use super::process::{Process, Silence};
use super::until;
use raftwire_etcd::console::{
    ChangeLine, DigestLine, ErrorKind, ErrorLine, Id, Op, Outcome, StatusLine, ValueLine,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tempfile::TempDir;

/// How long an answer may take before a test gives up on it: longer than a member does.
const ANSWER: Duration = Duration::from_secs(20);
/// Lines of each member's log that are shown of a test that failed.
const LOG_LINES_SHOWN: usize = 60;

/// What all members are started with.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) members: u64,
    pub(crate) tick_ms: u64,
    pub(crate) flags: Vec<String>,
}

impl Options {
    /// Three members that elect fast, yet not so fast that a busy machine makes them.
    pub(crate) fn new() -> Self {
        Self { members: 3, tick_ms: 30, flags: Vec::new() }
    }

    pub(crate) fn members(self, members: u64) -> Self {
        Self { members, ..self }
    }

    pub(crate) fn switch(mut self, name: &str) -> Self {
        self.flags.push(format!("--{name}"));
        self
    }

    pub(crate) fn flag(mut self, name: &str, value: impl ToString) -> Self {
        self.flags.push(format!("--{name}"));
        self.flags.push(value.to_string());
        self
    }
}

pub(crate) struct Cluster {
    // Before the directory: its members write to it.
    running: Mutex<BTreeMap<u64, Arc<Process>>>,
    links: Mutex<Links>,
    /// Voters it was founded by.
    founders: Vec<u64>,
    options: Options,
    dir: TempDir,
}

impl Cluster {
    /// Founds a cluster, and waits for its leader.
    pub(crate) fn start(options: Options) -> Self {
        let cluster = Self::prepare(options);
        cluster.founders.iter().for_each(|id| cluster.start_member(*id));
        cluster.leader();
        cluster
    }

    fn prepare(options: Options) -> Self {
        Self {
            running: Mutex::default(),
            links: Mutex::new(Links::new()),
            founders: (1..=options.members).collect(),
            options,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap()
    }

    /// The url at which a member's peers reach it.
    pub(crate) fn url(&self, id: u64) -> String {
        self.links().url(id)
    }

    /// A member's data directory.
    pub(crate) fn dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("member-{id}"))
    }

    fn log(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("member-{id}.log"))
    }

    /// Starts a founder, or starts it again.
    pub(crate) fn start_member(&self, id: u64) {
        self.try_start_member(id).unwrap_or_else(|error| panic!("member {id}: {error}"));
    }

    pub(crate) fn try_start_member(&self, id: u64) -> Result<(), String> {
        let voters: Vec<u64> = self.founders.clone();
        self.start_with(id, &voters, &[])
    }

    /// Starts a member that was added to the cluster, which has these members.
    pub(crate) fn join_member(&self, id: u64, members: &[u64]) {
        let started = self.start_with(id, members, &["--join".to_owned()]);
        started.unwrap_or_else(|error| panic!("member {id}: {error}"));
    }

    /// Starts a member with the addresses that are in its log.
    pub(crate) fn restart_member(&self, id: u64) {
        let started = self.start_with(id, &[], &[]);
        started.unwrap_or_else(|error| panic!("member {id}: {error}"));
    }

    fn start_with(&self, id: u64, members: &[u64], flags: &[String]) -> Result<(), String> {
        let mut all = vec![
            format!("--id={id:x}"),
            "--cluster-id=c1".to_owned(),
            format!("--dir={}", self.dir(id).display()),
            format!("--tick-ms={}", self.options.tick_ms),
        ];
        all.extend(members.iter().map(|id| format!("--voter={id:x}={}", self.url(*id))));
        all.extend_from_slice(flags);
        all.extend_from_slice(&self.options.flags);
        let process = Process::start(&all, &self.log(id))?;
        self.links().reach(id, process.address);
        self.running().insert(id, Arc::new(process));
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Process>>> {
        self.running.lock().unwrap()
    }

    /// A member's process, if it has one.
    pub(crate) fn process(&self, id: u64) -> Option<Arc<Process>> {
        self.running().get(&id).cloned()
    }

    /// The members that have a process.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.running().keys().copied().collect()
    }

    pub(crate) fn kill(&self, id: u64) {
        let process = self.running().remove(&id);
        process.expect("it runs").kill();
    }

    /// Stops a member as its owner would.
    pub(crate) fn stop_member(&self, id: u64) {
        let process = self.running().remove(&id).expect("it runs");
        let status = process.close();
        assert!(status.success(), "member {id}: {status}");
    }

    pub(crate) fn try_ask(&self, id: u64, op: Op) -> Result<Outcome, Silence> {
        let process = self.process(id).ok_or(Silence::Gone)?;
        process.ask_within(op, ANSWER)
    }

    #[track_caller]
    pub(crate) fn ask(&self, id: u64, op: Op) -> Outcome {
        let asked = format!("{op:?}");
        self.try_ask(id, op).unwrap_or_else(|silence| panic!("member {id}, {asked}: {silence:?}"))
    }

    #[track_caller]
    pub(crate) fn status(&self, id: u64) -> StatusLine {
        match self.ask(id, Op::Status) {
            Outcome::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn digest(&self, id: u64) -> DigestLine {
        match self.ask(id, Op::Digest) {
            Outcome::Digest(digest) => digest,
            other => panic!("{other:?}"),
        }
    }

    /// Puts through a member, and again while it does not work out: then it may be done twice.
    #[track_caller]
    pub(crate) fn put(&self, id: u64, key: &str, value: &str) -> u64 {
        until(&format!("a put of {key} through member {id}"), || {
            let put = Op::Put { key: key.to_owned(), value: value.to_owned() };
            match self.ask(id, put) {
                Outcome::Applied { index, .. } => Some(index),
                Outcome::Error(ErrorLine {
                    kind: ErrorKind::Timeout | ErrorKind::Dropped, ..
                }) => None,
                other => panic!("{other:?}"),
            }
        })
    }

    /// Reads through a member, again if it cannot be confirmed.
    #[track_caller]
    pub(crate) fn get(&self, id: u64, key: &str) -> Option<ValueLine> {
        until(&format!("a read of {key} through member {id}"), || {
            match self.ask(id, Op::Get { key: key.to_owned() }) {
                Outcome::Value(value) => Some(value),
                Outcome::Error(ErrorLine {
                    kind: ErrorKind::Timeout | ErrorKind::Dropped, ..
                }) => None,
                other => panic!("{other:?}"),
            }
        })
    }

    #[track_caller]
    pub(crate) fn text(&self, id: u64, key: &str) -> Option<String> {
        self.get(id, key).map(|value| value.text)
    }

    /// Changes the members, and tries again while another change is not done.
    #[track_caller]
    pub(crate) fn change(&self, id: u64, change: &ChangeLine) {
        until(&format!("{change:?} through member {id}"), || {
            match self.ask(id, Op::Change { change: change.clone() }) {
                Outcome::Done {} => Some(()),
                Outcome::Error(ErrorLine { kind: ErrorKind::Dropped, .. }) => None,
                Outcome::Error(error) if error.text.contains("not done yet") => None,
                other => panic!("{change:?}: {other:?}"),
            }
        });
    }

    /// Waits until one member leads and all that run follow it.
    #[track_caller]
    pub(crate) fn leader(&self) -> u64 {
        self.leader_of(&self.ids())
    }

    /// Waits until one of these members leads and the others follow it.
    #[track_caller]
    pub(crate) fn leader_of(&self, ids: &[u64]) -> u64 {
        until(&format!("members {ids:?} agree on a leader"), || {
            let statuses: Vec<StatusLine> = ids.iter().map(|id| self.status(*id)).collect();
            let leads = statuses.iter().find(|status| status.role == "leader")?;
            let follows =
                |status: &StatusLine| status.leader == Some(leads.id) && status.term == leads.term;
            statuses.iter().all(follows).then_some(leads.id.0.0)
        })
    }

    /// A running member that does not lead.
    #[track_caller]
    pub(crate) fn follower(&self) -> u64 {
        let leader = self.leader();
        self.ids().into_iter().find(|id| *id != leader).unwrap()
    }

    /// Waits until a member's status is as it should be.
    #[track_caller]
    pub(crate) fn until_status(
        &self,
        what: &str,
        id: u64,
        holds: impl Fn(&StatusLine) -> bool,
    ) -> StatusLine {
        until(&format!("member {id}: {what}"), || {
            let status = self.status(id);
            holds(&status).then_some(status)
        })
    }

    /// Waits until all members that run have applied the same, and holds their states against each
    /// other. Nothing may be written meanwhile.
    #[track_caller]
    pub(crate) fn assert_equal(&self) -> DigestLine {
        let ids = self.ids();
        let digests = until("all members have applied the same entries", || {
            let statuses: Vec<StatusLine> = ids.iter().map(|id| self.status(*id)).collect();
            let last = statuses.iter().map(|status| status.last_index).max()?;
            let digests: Vec<DigestLine> = ids.iter().map(|id| self.digest(*id)).collect();
            digests.iter().all(|digest| digest.applied == last).then_some(digests)
        });
        for (id, digest) in ids.iter().zip(&digests) {
            assert_eq!(*digest, digests[0], "members {} and {id}", ids[0]);
        }
        digests[0]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for id in 1..=9 {
                let Ok(log) = std::fs::read_to_string(self.log(id)) else { continue };
                let lines: Vec<&str> = log.lines().collect();
                for line in &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..] {
                    eprintln!("member {id}: {line}");
                }
            }
        }
    }
}

pub(crate) fn ids(of: &[Id]) -> Vec<u64> {
    of.iter().map(|id| id.0.0).collect()
}
