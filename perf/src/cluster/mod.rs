//! `raftwire cluster`: a cluster on this machine with one command, to try things on. Its members are
//! processes of their own, which this one starts, asks and stops; what they log is one log, and
//! commands are read while they run.
//!
//! | file | holds |
//! |---|---|
//! | `place.rs` | the directory: whose cluster it holds, and that one command at a time uses it |
//! | `ports.rs` | where members listen |
//! | `command.rs` | what can be typed |
//! | `member.rs` | one member: its process, and asking it |
//! | `group.rs` | all members, and who leads |
//! | `screen.rs` | what is printed, and in which colour |
//!
//! Not here: the member itself, which is `raftwire_etcd::console` in a hidden subcommand.

mod command;
mod group;
mod member;
mod place;
mod ports;
mod screen;

use command::Command;
use group::Group;
use place::Place;
use raftwire_etcd::console;
use screen::Screen;
use std::fmt;
use std::io::{self, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Runs a cluster on this machine, for trying things
///
/// Starts its members as processes of their own, and stops them at ctrl-c, SIGTERM or `quit`. What
/// they log comes on standard error, each line with its member; what they are asked for, on standard
/// input while they run: `help` lists the commands. The data stays in the directory, and the next run
/// goes on from it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the cluster's data; made if missing, restarted from if it holds a cluster
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How many members a new cluster has [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=9))]
    members: Option<u64>,
    /// Log what raft itself says, too
    #[arg(long, short)]
    verbose: bool,
}

/// One member of such a cluster.
#[derive(Debug, clap::Args)]
pub struct MemberArgs {
    #[command(flatten)]
    args: console::Args,
}

/// The name of the subcommand that runs a member.
const MEMBER_COMMAND: &str = "cluster-member";
/// Lines that may wait to be carried out.
const LINES_MAX: usize = 64;

/// Runs a member, as its cluster started it.
#[must_use]
pub fn run_member(args: &MemberArgs) -> ExitCode {
    console::run(&args.args)
}

/// Runs the command. 0: all members stopped. 1: one of them did not, and was killed. 2: usage or I/O,
/// or a member did not start.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let screen = Screen::new(args.verbose);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let stopped = runtime
        .map_err(ClusterError::Io)
        .and_then(|runtime| runtime.block_on(serve(args, &screen)));
    match stopped {
        Ok(Stopped::Cleanly) => ExitCode::SUCCESS,
        Ok(Stopped::ByForce) => ExitCode::FAILURE,
        Err(error) => {
            screen.complain(format_args!("{error}"));
            ExitCode::from(2)
        }
    }
}

/// How the members ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Cleanly,
    ByForce,
}

/// Why there is no cluster.
#[derive(Debug)]
enum ClusterError {
    Place(place::PlaceError),
    Ports(io::Error),
    /// This program's own path, a pipe, a thread, or a signal cannot be had.
    Io(io::Error),
    /// A member ended before it was ready; why, it logged.
    NotStarted(u64),
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(error) => write!(f, "{error}"),
            Self::Ports(error) => write!(f, "no ports for the members: {error}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::NotStarted(number) => {
                write!(f, "member {number} did not start; its last line says why")
            }
        }
    }
}

async fn serve(args: &Args, screen: &Arc<Screen>) -> Result<Stopped, ClusterError> {
    // Before there is anything to stop.
    let mut signals = Signals::new().map_err(ClusterError::Io)?;
    let place = Place::open(&args.dir, args.members).map_err(ClusterError::Place)?;
    let mut group = Group::new(&place, screen).map_err(ClusterError::Ports)?;
    screen.say(format_args!(
        "{} of {} members in {}",
        if place.is_new { "a new cluster" } else { "the cluster" },
        place.members,
        args.dir.display()
    ));
    let started = tokio::select! {
        started = group.start_all() => started,
        () = signals.next() => return Ok(group.stop().await),
    };
    if let Err(error) = started {
        group.stop().await;
        return Err(error);
    }
    screen.say(format_args!("{}", command::TRY));

    let mut lines = read_commands();
    let mut looks = tokio::time::interval(group::LOOK);
    loop {
        tokio::select! {
            biased;
            () = signals.next() => break,
            _ = looks.tick() => group.look().await,
            line = lines.recv() => {
                let Some(line) = line else { break };
                match line.parse() {
                    Ok(Command::Quit) => break,
                    Ok(command) => {
                        tokio::select! {
                            biased;
                            () = signals.next() => break,
                            () = group.carry_out(command) => {}
                        }
                    }
                    Err(error) => screen.say(format_args!("{error}")),
                }
            }
        }
    }
    screen.say(format_args!("stopping"));
    Ok(group.stop().await)
}

/// Ctrl-c and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Reads lines from standard input, on a thread that is not waited for. The end of a terminal's input
/// is the end; where the input is none to begin with, such as `/dev/null`, the cluster runs on.
fn read_commands() -> mpsc::Receiver<String> {
    let (line, lines) = mpsc::channel(LINES_MAX);
    thread::spawn(move || {
        let is_terminal = io::stdin().is_terminal();
        let mut typed = console::Lines::new(BufReader::new(io::stdin()));
        while let Ok(Some(read)) = typed.read_line() {
            let text = match read {
                console::Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                // A command that does not exist.
                console::Line::TooLong => "(too long)".to_owned(),
            };
            if line.blocking_send(text).is_err() {
                return;
            }
        }
        if !is_terminal {
            // As long as it is there, the other end waits.
            std::mem::forget(line);
        }
    });
    lines
}
