//! All members of a cluster, started, asked and stopped together, and who of them leads.

use super::command::{Command, HELP};
use super::member::{Down, Member};
use super::place::Place;
use super::screen::Screen;
use super::{ClusterError, Stopped, ports};
use raftwire_etcd::console::{ErrorKind, Id, Op, Outcome, StatusLine};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// Between two looks at who leads.
pub(super) const LOOK: Duration = Duration::from_millis(200);
/// How long members have to stop before they are killed: a snapshot may have to be written.
const STOP: Duration = Duration::from_secs(20);
/// How long a command waits for a leader to take it.
const LEADERLESS: Duration = Duration::from_secs(5);
/// How long a member may take to say how it stands: it does so at once, unless it is paused.
const STATUS: Duration = Duration::from_secs(1);

/// The members.
pub(super) struct Group {
    members: BTreeMap<u64, Seat>,
    /// The flags that all share.
    flags: Vec<String>,
    /// Who led when last looked at, and in which term.
    led: Option<(u64, u64)>,
    screen: Arc<Screen>,
}

/// A member's place, whether it runs or not.
struct Seat {
    address: SocketAddr,
    flags: Vec<String>,
    process: Option<Arc<Member>>,
}

impl Group {
    pub(super) fn new(place: &Place, screen: &Arc<Screen>) -> io::Result<Self> {
        let addresses = (1..).zip(ports::find(place.members)?);
        let mut flags = vec![format!("--cluster-id={}", place.cluster)];
        let mut members = BTreeMap::new();
        for (number, address) in addresses {
            flags.push(format!("--voter={number:x}=http://{address}"));
            let dir = place.of_member(number);
            let own = vec![
                format!("--id={number:x}"),
                format!("--dir={}", dir.display()),
                format!("--listen={address}"),
            ];
            members.insert(number, Seat { address, flags: own, process: None });
        }
        Ok(Self { members, flags, led: None, screen: screen.clone() })
    }

    pub(super) async fn start_all(&mut self) -> Result<(), ClusterError> {
        let numbers: Vec<u64> = self.members.keys().copied().collect();
        for number in &numbers {
            self.spawn(*number).map_err(ClusterError::Io)?;
        }
        for number in numbers {
            if !self.running(number).ok_or(ClusterError::NotStarted(number))?.is_ready().await {
                return Err(ClusterError::NotStarted(number));
            }
        }
        Ok(())
    }

    fn spawn(&mut self, number: u64) -> io::Result<()> {
        let Some(seat) = self.members.get_mut(&number) else { return Ok(()) };
        let program = std::env::current_exe()?;
        let flags = [&self.flags[..], &seat.flags].concat();
        seat.process = Some(Member::start(number, &program, &flags, &self.screen)?);
        Ok(())
    }

    /// A member's process, if it has one that has not ended.
    fn running(&self, number: u64) -> Option<Arc<Member>> {
        let process = self.members.get(&number)?.process.clone();
        process.filter(|process| process.is_running())
    }

    /// Stops all, and kills those that do not.
    pub(super) async fn stop(&self) -> Stopped {
        let running: Vec<_> = self.members.keys().filter_map(|id| self.running(*id)).collect();
        running.iter().for_each(|member| member.close());
        let stopped = timeout(STOP, async {
            for member in &running {
                member.ended().await;
            }
        });
        if stopped.await.is_ok() {
            return Stopped::Cleanly;
        }
        for member in running {
            if member.is_running() {
                self.screen.complain(format_args!("process {} is killed", member.pid));
                member.kill();
                member.ended().await;
            }
        }
        Stopped::ByForce
    }

    /// Says so if another member leads than when last looked at, or none.
    pub(super) async fn look(&mut self) {
        let led = self.leader().await;
        if led == self.led {
            return;
        }
        match (led, self.led) {
            (Some((leader, term)), _) => {
                self.screen.say(format_args!("member {leader} leads in term {term}"));
            }
            (None, Some((leader, _))) => {
                self.screen.say(format_args!("nobody leads; member {leader} did"));
            }
            (None, None) => {}
        }
        self.led = led;
    }

    /// Who leads, of those that say so the one with the latest term.
    async fn leader(&self) -> Option<(u64, u64)> {
        let mut led = None;
        for number in self.members.keys() {
            if let Some(status) = self.status(*number).await
                && status.role == "leader"
                && led.is_none_or(|(_, term)| term < status.term)
            {
                led = Some((*number, status.term));
            }
        }
        led
    }

    async fn status(&self, number: u64) -> Option<StatusLine> {
        let member = self.running(number)?;
        match timeout(STATUS, member.ask(Op::Status)).await {
            Ok(Ok(Outcome::Status(status))) => Some(status),
            _ => None,
        }
    }

    pub(super) async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Put { key, value } => self.ask_any(Op::Put { key, value }).await,
            Command::Get { key } => self.ask_any(Op::Get { key }).await,
            Command::Delete { key } => self.ask_any(Op::Delete { key }).await,
            Command::Transfer(to) if !self.members.contains_key(&to) => self.is_nobody(to),
            Command::Transfer(to) => self.ask_any(Op::Transfer { to: Id::from(to) }).await,
            Command::Status => self.print_status().await,
            Command::Kill(number) => self.kill(number).await,
            Command::Start(number) => self.start(number).await,
            Command::Help => self.screen.say(format_args!("{HELP}")),
            Command::Quit | Command::Nothing => {}
        }
    }

    fn is_nobody(&self, number: u64) {
        let count = self.members.len();
        self.screen.say(format_args!("there is no member {number}, but 1 to {count}"));
    }

    /// Asks the leader, or whoever runs; again while there is no leader to take it.
    async fn ask_any(&self, op: Op) {
        let begin = Instant::now();
        let outcome = loop {
            let leader = self.leader().await.map(|(leader, _)| leader);
            let numbers = leader.into_iter().chain(self.members.keys().copied());
            let Some(member) = numbers.filter_map(|number| self.running(number)).next() else {
                return self.screen.say(format_args!("no member runs; start 1 starts one"));
            };
            let outcome = member.ask(op.clone()).await;
            if !is_dropped(&outcome) || begin.elapsed() > LEADERLESS {
                break outcome;
            }
            sleep(LOOK).await;
        };
        let millis = begin.elapsed().as_secs_f64() * 1e3;
        self.screen.say(format_args!("{}", answer(&op, outcome, millis)));
    }

    async fn kill(&self, number: u64) {
        if !self.members.contains_key(&number) {
            return self.is_nobody(number);
        }
        let Some(member) = self.running(number) else {
            return self.screen.say(format_args!("member {number} does not run"));
        };
        member.kill();
        member.ended().await;
        self.screen.say(format_args!("member {number} was killed"));
    }

    async fn start(&mut self, number: u64) {
        if !self.members.contains_key(&number) {
            return self.is_nobody(number);
        }
        if self.running(number).is_some() {
            return self.screen.say(format_args!("member {number} runs"));
        }
        if let Err(error) = self.spawn(number) {
            return self.screen.say(format_args!("member {number} does not start: {error}"));
        }
        let started = match self.running(number) {
            Some(member) => member.is_ready().await,
            None => false,
        };
        // One that started said so itself.
        if !started {
            self.screen.say(format_args!("member {number} did not start; its log says why"));
        }
    }

    async fn print_status(&self) {
        let mut table = String::from("member  role           term  commit  applied  log  address");
        for (number, seat) in &self.members {
            let _ = write!(table, "\n{number:<8}");
            let _ = match self.status(*number).await {
                Some(status) => write!(
                    table,
                    "{:<13}{:>6}{:>8}{:>9}  {}..{}  {}",
                    status.role,
                    status.term,
                    status.commit,
                    status.applied,
                    status.first_index,
                    status.last_index,
                    seat.address
                ),
                None if self.running(*number).is_some() => write!(table, "silent"),
                None => write!(table, "down"),
            };
        }
        self.screen.say(format_args!("{table}"));
    }
}

/// Whether it certainly did not happen, and may be tried again.
fn is_dropped(outcome: &Result<Outcome, Down>) -> bool {
    matches!(outcome, Ok(Outcome::Error(error)) if error.kind == ErrorKind::Dropped)
}

/// An answer, for people.
fn answer(asked: &Op, outcome: Result<Outcome, Down>, millis: f64) -> String {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(Down) => return "the member ended before it answered".to_owned(),
    };
    match (asked, outcome) {
        (_, Outcome::Applied { index, .. }) => {
            format!("committed as entry {index}, after {millis:.1} ms")
        }
        (Op::Get { key }, Outcome::Value(None)) => {
            format!("{} is not there, after {millis:.1} ms", printable(key))
        }
        (_, Outcome::Value(Some(value))) => {
            let (text, version) = (printable(&value.text), value.version);
            format!("{text} (version {version}, entry {}, after {millis:.1} ms)", value.index)
        }
        (Op::Transfer { .. }, Outcome::Done {}) => "the leader was asked".to_owned(),
        (_, Outcome::Error(error)) => format!("error: {}, after {millis:.1} ms", error.text),
        (_, other) => format!("{other:?}"),
    }
}

/// Text that does nothing to a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
