//! `raftwire tap`: a proxy for a peer port that records what passes. It forwards bytes as they
//! come and looks at none of them but the first line, which tells what a connection is for.
//!
//! ```text
//! DIR/conn-0001-to-server.bin   the bytes of the side that dialed
//! DIR/conn-0001-to-client.bin   the answer: what `raftwire inspect --http` opens
//! DIR/index.jsonl               a line for each connection, written when it has ended
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `connection.rs` | one connection: both directions pumped until both have ended |
//! | `recording.rs` | the file of one direction, and its limit |
//! | `index.rs` | the lines of `index.jsonl` |

mod connection;
mod index;
mod recording;

use connection::Tap;
use index::{Connection, Index};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Records what passes through a peer port
///
/// Accepts connections, forwards each to a member's peer port, and writes one file per direction
/// and connection, with an index. Ends at ctrl-c or SIGTERM; connections that are open then are
/// closed, and what passed through them is kept. An index line is written when a connection has
/// ended: if the tap is killed (SIGKILL), the files of connections that were open then are there
/// without one, and may lack the last bytes that passed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to accept connections on, port 0 for any; the actual one is printed
    #[arg(long, value_name = "HOST:PORT")]
    listen: String,
    /// Address to forward to
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// Directory to record into; made if missing, refused if it holds a recording
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Bytes to record of each direction; what follows is forwarded and counted [default: all]
    #[arg(long, value_name = "BYTES")]
    limit: Option<u64>,
}

/// Connections at a time: two sockets and two files each, within the usual 4096 descriptors. etcd
/// holds a handful per peer; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1000;

/// How long to wait after an error of `accept`, such as no descriptors left, as Go's server does.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs the command. 0: stopped. 2: usage or I/O, also if part of a recording failed.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let served = tokio::runtime::Runtime::new().and_then(|runtime| runtime.block_on(serve(args)));
    match served {
        Ok(Recorded::Whole) => ExitCode::SUCCESS,
        Ok(Recorded::InPart) => ExitCode::from(2),
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Whether everything that was to be recorded was.
#[derive(Clone, Copy, PartialEq)]
enum Recorded {
    Whole,
    InPart,
}

async fn serve(args: &Args) -> io::Result<Recorded> {
    let listener = TcpListener::bind(&args.listen).await.map_err(about(&args.listen))?;
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    // Not before the rest is known to work: the command, once corrected, would be refused for it.
    let mut index = Index::create(&args.out)?;
    let tap = Arc::new(Tap {
        to: args.to.clone(),
        out: args.out.clone(),
        limit: args.limit.unwrap_or(u64::MAX),
        stop: stop.clone(),
    });
    announce(&listener)?;

    let mut recorded = Recorded::Whole;
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            Some(ended) = connections.join_next() => {
                note(&mut index, &ended?, &mut recorded);
            }
            () = stop.cancelled() => break,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((client, address)) => {
                    number += 1;
                    let connection = Connection::open(number, address);
                    connections.spawn(Arc::clone(&tap).forward(client, connection));
                }
                Err(error) => {
                    complain(format_args!("accept: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        note(&mut index, &ended?, &mut recorded);
    }
    Ok(recorded)
}

/// Enters an ended connection into the index, and says on stderr what of it was not recorded.
///
/// Fails no connection: those that are open go on without the index.
fn note(index: &mut Index, ended: &Connection, recorded: &mut Recorded) {
    let number = ended.connection;
    if let Err(error) = index.add(ended) {
        *recorded = Recorded::InPart;
        // Once is enough: while the disk is full, every connection would say so.
        if !index.failed {
            complain(format_args!("connection {number}: not in the index: {error}"));
        }
        index.failed = true;
    }
    if let Some(error) = ended.recording_error() {
        *recorded = Recorded::InPart;
        complain(format_args!("connection {number}: not recorded as a whole: {error}"));
    }
}

/// Tells stderr, if it can be told: nothing ends because nobody hears.
fn complain(what: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "raftwire tap: {what}");
}

/// Prints the actual address, which is how a script finds the port it was given.
fn announce(listener: &TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "listening on {address}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Cancels `stop` at the first ctrl-c or SIGTERM.
fn stop_on_signal(stop: CancellationToken) -> io::Result<()> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    Ok(())
}

/// Names what an error is about: `io::Error` alone does not.
fn about(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}
