//! Clients that write and read through random members, and note what they saw. Every value is
//! unique, so that a read tells which write it saw.
//!
//! | keys | operations | what they are for |
//! |---|---|---|
//! | `register-N`, N even | put, get | hot: the version counts the puts |
//! | `register-N`, N odd | put, delete, get | hot |
//! | `once-CLIENT-N` | one put | nothing overwrites it |

use super::cluster::Cluster;
use super::process::Silence;
use fastrand::Rng;
use raftwire_etcd::console::{Op, Outcome, ValueLine};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// How long a client waits for an answer, after which it knows nothing of a write: less than the
/// member itself does, so that both ways not to know occur.
const PATIENCE: Duration = Duration::from_secs(3);
/// Before a client tries again what was not proposed.
const BACK_OFF: Duration = Duration::from_millis(2);
/// What most values are padded to at most, and the few large ones.
const VALUE_BYTES_MAX: usize = 300;
const LARGE_VALUE_BYTES: usize = 40 << 10;

/// The members clients may ask, the keys, and the clock of the notes.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) clients: u32,
    pub(crate) registers: u32,
    pub(crate) members: u64,
    pub(crate) seed: u64,
}

/// What a client did, and what it saw of it.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) client: u32,
    pub(crate) key: Key,
    pub(crate) did: Did,
    pub(crate) member: u64,
    /// Nanoseconds since the load began.
    pub(crate) called: u64,
    pub(crate) returned: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Register(u32),
    /// Of a client, and how many it had written before.
    Once(u32, u32),
}

#[derive(Clone, Debug)]
pub(crate) enum Did {
    /// Put the value of this number.
    Put(u64, Write),
    Delete(Write),
    Read(Option<Found>),
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Applied {
        index: u64,
        version: u64,
    },
    Unknown,
    /// Certainly not done.
    Dropped,
}

/// The value that a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: u64,
    pub(crate) version: u64,
    pub(crate) index: u64,
}

impl Key {
    pub(crate) fn text(self) -> String {
        match self {
            Self::Register(number) => format!("register-{number}"),
            Self::Once(client, number) => format!("once-{client}-{number}"),
        }
    }
}

/// The load while it runs.
pub(crate) struct Running<'a> {
    load: Load,
    cluster: &'a Cluster,
    begin: Instant,
    is_over: AtomicBool,
    /// Operations that were answered.
    answered: AtomicU64,
    notes: Mutex<Vec<Note>>,
}

impl<'a> Running<'a> {
    pub(crate) fn new(cluster: &'a Cluster, load: Load) -> Self {
        Self {
            load,
            cluster,
            begin: Instant::now(),
            is_over: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            notes: Mutex::default(),
        }
    }

    /// Runs the clients while `during` does something, and returns what they noted.
    pub(crate) fn run(self, during: impl FnOnce(&Self)) -> Vec<Note> {
        thread::scope(|scope| {
            let clients = self.spawn(scope);
            // If it fails, the clients must end, too.
            let ends = Ends(&self.is_over);
            during(&self);
            drop(ends);
            for client in clients {
                client.join().unwrap();
            }
        });
        self.notes.into_inner().unwrap()
    }

    fn spawn<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
    ) -> Vec<ScopedJoinHandle<'scope, ()>> {
        let client = |number| scope.spawn(move || Client::new(self, number).run());
        (0..self.load.clients).map(client).collect()
    }

    /// How many operations were answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more operations were answered.
    #[track_caller]
    pub(crate) fn await_answers(&self, count: u64) {
        let before = self.answered();
        super::until("clients get answers", || (self.answered() >= before + count).then_some(()));
    }

    /// Nanoseconds since the load began.
    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos().try_into().unwrap()
    }
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Client<'a> {
    running: &'a Running<'a>,
    number: u32,
    rng: Rng,
    values: u32,
    once: u32,
    notes: Vec<Note>,
}

impl<'a> Client<'a> {
    fn new(running: &'a Running<'a>, number: u32) -> Self {
        let rng = Rng::with_seed(running.load.seed.wrapping_add(u64::from(number) << 32));
        Self { running, number, rng, values: 0, once: 0, notes: Vec::new() }
    }

    fn run(mut self) {
        while !self.running.is_over.load(Ordering::Relaxed) {
            let key = match self.rng.u8(..4) {
                0 => Key::Once(self.number, self.once),
                _ => Key::Register(self.rng.u32(..self.running.load.registers)),
            };
            let is_odd = matches!(key, Key::Register(number) if number % 2 == 1);
            match (key, self.rng.u8(..10)) {
                (Key::Register(_), 0..4) => self.read(key),
                (Key::Register(_), 4) if is_odd => self.delete(key),
                (Key::Register(_), _) => {
                    self.put(key);
                }
                // What was certainly not done may be tried again.
                (Key::Once(..), _) => {
                    if !matches!(self.put(key), None | Some(Write::Dropped)) {
                        self.once += 1;
                    }
                }
            }
        }
        self.running.notes.lock().unwrap().append(&mut self.notes);
    }

    /// Puts a new value, if it finds a member to ask.
    fn put(&mut self, key: Key) -> Option<Write> {
        self.values += 1;
        let value = u64::from(self.number) << 32 | u64::from(self.values);
        let bytes = match self.rng.u16(..1000) {
            0 => LARGE_VALUE_BYTES,
            _ => self.rng.usize(..VALUE_BYTES_MAX),
        };
        let text = format!("{value} {}", "x".repeat(bytes));
        let asked = self.ask(Op::Put { key: key.text(), value: text })?;
        let write = asked.write();
        self.note(key, Did::Put(value, write), &asked);
        Some(write)
    }

    fn delete(&mut self, key: Key) {
        let Some(asked) = self.ask(Op::Delete { key: key.text() }) else { return };
        self.note(key, Did::Delete(asked.write()), &asked);
    }

    fn read(&mut self, key: Key) {
        let Some(asked) = self.ask(Op::Get { key: key.text() }) else { return };
        // A read without an answer tells nothing.
        if let Ok(Outcome::Value(value)) = &asked.outcome {
            self.note(key, Did::Read(value.as_ref().map(found)), &asked);
        }
    }

    /// Asks a random member, if it runs.
    fn ask(&mut self, op: Op) -> Option<Asked> {
        let member = self.rng.u64(1..=self.running.load.members);
        let Some(process) = self.running.cluster.process(member) else {
            thread::sleep(BACK_OFF);
            return None;
        };
        let called = self.running.now();
        let outcome = process.ask_within(op, PATIENCE);
        let returned = self.running.now();
        match &outcome {
            Ok(Outcome::Error(_)) | Err(Silence::Gone) => thread::sleep(BACK_OFF),
            Ok(_) => {
                self.running.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(Silence::Late) => {}
        }
        Some(Asked { outcome, member, called, returned })
    }

    fn note(&mut self, key: Key, did: Did, asked: &Asked) {
        let &Asked { member, called, returned, .. } = asked;
        self.notes.push(Note { client: self.number, key, did, member, called, returned });
    }
}

struct Asked {
    outcome: Result<Outcome, Silence>,
    member: u64,
    called: u64,
    returned: u64,
}

impl Asked {
    /// What came of a write.
    fn write(&self) -> Write {
        match &self.outcome {
            Ok(Outcome::Applied { index, version }) => {
                Write::Applied { index: *index, version: *version }
            }
            Ok(Outcome::Error(error)) if error.kind.is_unknown() => Write::Unknown,
            Ok(Outcome::Error(_)) => Write::Dropped,
            Ok(other) => panic!("{other:?}"),
            Err(_) => Write::Unknown,
        }
    }
}

pub(crate) fn found(line: &ValueLine) -> Found {
    let (value, padding) = line.text.split_once(' ').unwrap();
    assert!(padding.bytes().all(|byte| byte == b'x'), "a value nobody put: {}", line.text);
    Found { value: value.parse().unwrap(), version: line.version, index: line.index }
}
