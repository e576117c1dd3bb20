//! Accepting connections, and what is done with one: requests answered, until one opens a stream and
//! the connection is its writer's.

use super::server::{Connection, Next, Refusal};
use super::shared::{Carried, Open, Shared};
use super::socket::limit_unsent;
use super::stream::{Attached, write_all};
use super::{BoxSocket, Direction, Event, StreamKind};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long nothing is accepted after the system had no socket left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the task is dropped, and those it accepted with it.
pub(crate) async fn accept<M: Carried>(shared: Arc<Shared<M>>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        // Those that ended are forgotten.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(_) if shared.is_stopping.load(Ordering::Acquire) => {}
            Ok((socket, _)) => {
                // A socket whose peer is gone already takes no options; its first read will tell.
                let _ = shared.config.socket.apply(&socket);
                let shared = shared.clone();
                connections.spawn(async move { serve(&shared, Box::new(socket)).await });
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                shared.raft.event(&Event::NotAccepted { error: &error });
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether accepting failed because of the one connection that was to be accepted.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// A connection that is no stream, counted while it is one.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        let waiting = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < max).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve<M: Carried>(shared: &Shared<M>, mut socket: BoxSocket) {
    let from = (*socket).as_tcp().and_then(|socket| socket.peer_addr().ok());
    let Some(waiting) = Waiting::new(&shared.waiting, shared.config.connections_max) else {
        let reason = "too many connections";
        shared.raft.event(&Event::Refused { from, status: None, reason });
        return;
    };
    let Some(Next::Stream { kind, to, bare }) = answer(shared, &mut socket, from).await else {
        return;
    };
    drop(waiting);
    let Some(peer) = shared.peer(to) else {
        return;
    };
    let (direction, timeouts) = (Direction::Outgoing, &shared.config.timeouts);
    if let (StreamKind::Message, Some(bytes)) = (kind, shared.config.socket.unsent_bytes) {
        limit_unsent(&socket, bytes);
    }
    let outgoing = peer.outgoing(kind);
    let wrote = |messages| shared.raft.wrote(peer.id, kind, messages);
    let attached = Attached::new(socket, outgoing, peer.traffic(kind), timeouts, !bare, &wrote);
    let Some(attached) = attached else {
        return;
    };
    // What waited for the connection before.
    shared.dropped.notify_one();
    let mut open = Open::new(shared, &peer, kind, direction, attached.number());
    // Dropped before `open`, so that what it had not written is reported with its end.
    let mut attached = attached;
    open.error = attached.run().await;
}

/// Answers requests until one opens a stream, or the connection ends.
async fn answer<M: Carried>(
    shared: &Shared<M>,
    socket: &mut BoxSocket,
    from: Option<SocketAddr>,
) -> Option<Next> {
    let timeouts = &shared.config.timeouts;
    let mut connection = Connection::new(shared.config.head);
    let mut out = Vec::new();
    let mut read = Vec::with_capacity(1 << 10);
    // For a whole request: one that trickles in is not waited for longer than one that does not.
    let mut patience = timeouts.head;
    loop {
        let request = async {
            loop {
                out.clear();
                let date = || httpdate::fmt_http_date(now());
                let membership = |id| shared.membership(id);
                match connection.next(&shared.identity, membership, date, &mut out) {
                    Next::Read => {}
                    next => return Some(next),
                }
                read.clear();
                match socket.read_buf(&mut read).await {
                    Ok(1..) => connection.received(&read),
                    _ => return None,
                }
            }
        };
        let next = timeout(patience, request).await.ok().flatten()?;
        let written = timeout(timeouts.write, write_all(socket, &out)).await;
        if let Next::Answered(refusal) | Next::Closing(refusal) = &next {
            let Refusal { status, text } = refusal;
            shared.raft.event(&Event::Refused { from, status: Some(*status), reason: text });
        }
        match next {
            _ if !matches!(written, Ok(Ok(()))) => return None,
            Next::Answered(_) => patience = timeouts.idle,
            Next::Stream { .. } => return Some(next),
            Next::Closing(_) | Next::Read => {
                // What the peer still sends would make the system cut the connection, and with it
                // the answer.
                let _ = tokio::io::AsyncWriteExt::shutdown(socket).await;
                let _ = timeout(LINGER, discard(socket)).await;
                return None;
            }
        }
    }
}

/// How long, and how much of, what follows a refused request is read.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: usize = 256 << 10;

async fn discard(socket: &mut BoxSocket) {
    let mut room = vec![0; 4 << 10];
    let mut discarded = 0;
    while discarded < LINGER_BYTES_MAX {
        match socket.read(&mut room).await {
            Ok(bytes @ 1..) => discarded += bytes,
            _ => return,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the Date header; the core has none")]
fn now() -> SystemTime {
    SystemTime::now()
}
