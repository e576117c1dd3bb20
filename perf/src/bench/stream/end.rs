//! One end of a pair: a process of its own, so that what it uses can be told apart. The control
//! loop sleeps on standard input while the transport's thread works. Not here: the dialogue's lines
//! (`protocol`), the load (`member`), and the transports (`contender`).

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;

use super::contender::ours::Ours;
use super::contender::plain::Plain;
use super::contender::tonic::Tonic;
use super::member::Member;
use super::message::Message;
use super::protocol::{Request, Start, Started, Usage};
use crate::allocator;
use crate::bench::consumed::{Consumed, consumed};
use crate::bench::dialogue::{Done, Failure, write};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose transport
    #[arg(long, value_enum)]
    contender: Which,
}

/// The transports that are written in Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    Raftwire,
    RaftwirePolling,
    RaftwireSleeping,
    Plain,
    Tonic,
}

/// A transport with its thread, as the control loop drives it.
pub(crate) trait End: Sized {
    type Message: Message;

    /// Listens, and returns its URL; what arrives goes to `member`.
    fn start(
        start: Start<'_>,
        member: &Arc<Member<Self::Message>>,
    ) -> Result<(Self, String), String>;

    /// Connects with the peer at `url`, both ways.
    fn connect(&mut self, url: &str) -> Result<(), String>;

    /// Has the transport's thread begin the run that was prepared.
    fn begin(&self);

    /// Messages it gave up.
    fn dropped(&self) -> u64;
}

/// Answers lines until there are no more.
pub(crate) fn run(args: &Args) -> ExitCode {
    allocator::resume();
    let result = match args.contender {
        Which::Raftwire => control(Ours::start),
        Which::RaftwirePolling => control(Ours::start_polling),
        Which::RaftwireSleeping => control(Ours::start_sleeping),
        Which::Plain => control(Plain::start),
        Which::Tonic => control(Tonic::start),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raftwire bench-end: {error}");
            ExitCode::from(2)
        }
    }
}

/// Starts an end, and returns the URL it listens at.
type Starting<E> = fn(Start<'_>, &Arc<Member<<E as End>::Message>>) -> Result<(E, String), String>;

fn control<E: End>(start: Starting<E>) -> io::Result<()> {
    let mut controlled = Controlled { member: Arc::new(Member::new()), start, end: None };
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    // Both grow to their size before anything is measured, and are used again.
    let (mut line, mut reply) = (String::new(), Vec::new());
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let consumed = consumed();
        reply.clear();
        let stop = controlled.answer(&line, consumed, &mut reply);
        reply.push(b'\n');
        output.write_all(&reply)?;
        output.flush()?;
        if stop {
            return Ok(());
        }
    }
}

struct Controlled<E: End> {
    member: Arc<Member<E::Message>>,
    start: Starting<E>,
    end: Option<E>,
}

impl<E: End> Controlled<E> {
    /// Writes the answer to `line`; true if it was the last one.
    fn answer(&mut self, line: &str, consumed: Consumed, reply: &mut Vec<u8>) -> bool {
        let request = Request::parse(line);
        let stop = matches!(request, Ok(Request::Stop));
        let done = match request {
            Ok(request) => self.serve(request, consumed, reply),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            reply.clear();
            write(reply, &Failure { error });
        }
        stop
    }

    fn serve(
        &mut self,
        request: Request<'_>,
        consumed: Consumed,
        reply: &mut Vec<u8>,
    ) -> Result<(), String> {
        match (request, &mut self.end) {
            (Request::Start(start), None) => {
                let (end, url) = (self.start)(start, &self.member)?;
                self.end = Some(end);
                write(reply, &Started { url });
            }
            (Request::Start(_), Some(_)) => return Err("it was started before".to_owned()),
            (Request::Stop, _) => write(reply, &Done {}),
            (_, None) => return Err("it was not started".to_owned()),
            (Request::Connect(connect), Some(end)) => {
                end.connect(connect.url)?;
                write(reply, &Done {});
            }
            (Request::Answer(answer), Some(_)) => {
                self.member.answer_every(answer.every);
                write(reply, &Done {});
            }
            (Request::Run(run), Some(end)) => {
                if run.entries == 0 || run.window == 0 {
                    return Err("a run has at least one entry, and one message in flight".into());
                }
                self.member.prepare(run);
                end.begin();
                write(reply, &self.member.wait()?);
            }
            (Request::Usage, Some(end)) => {
                let received = self.member.received()?;
                let usage = Usage {
                    cpu_us: consumed.cpu_us,
                    allocations: consumed.allocations,
                    allocated_bytes: consumed.allocated_bytes,
                    received: received.messages,
                    dropped: end.dropped(),
                    received_payload_bytes: received.payload_bytes,
                };
                write(reply, &usage);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_cannot_do() {
        let mut controlled =
            Controlled { member: Arc::new(Member::new()), start: Plain::start, end: None };
        for line in [r#"{"op":"usage"}"#, r#"{"op":"dance"}"#, "x"] {
            let mut reply = Vec::new();
            assert!(!controlled.answer(line, Consumed::default(), &mut reply));
            assert!(reply.starts_with(br#"{"error":"#), "{line}");
        }
        assert!(controlled.answer(r#"{"op":"stop"}"#, Consumed::default(), &mut Vec::new()));
    }
}
