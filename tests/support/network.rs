//! A network in memory, under virtual time: what a dialed address reaches is set by the test, and
//! each dial is written down.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use raftwire::raftpb::Message;
use raftwire::transport::{BoxSocket, Dial, Dialing, PeerUrl, Transport};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::Instant;

/// How many bytes a socket holds that its other end has not read.
const SOCKET_BYTES: usize = 64 << 10;

/// What an address reaches.
#[derive(Clone)]
pub(crate) enum Reaches {
    /// Nobody, and that is told at once.
    Nobody,
    /// Nobody, and that is never told.
    Void,
    /// A socket that says nothing.
    Silence,
    /// A server that reads a request, answers with these bytes, and closes the connection after
    /// that long, if ever.
    Answer(Vec<u8>, Option<Duration>),
    /// One whose answer comes in two pieces, the second from this byte on; it stays.
    Pieces(Vec<u8>, usize),
    Member(Transport<Message>),
}

#[derive(Default)]
struct State {
    reaches: HashMap<String, Reaches>,
    dials: Vec<(Instant, String)>,
    requests: Vec<(Instant, String)>,
    links: Vec<Arc<LinkState>>,
    silent: Vec<DuplexStream>,
}

#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<State>>);

impl Network {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what `url` reaches from now on.
    pub(crate) fn set(&self, url: &PeerUrl, reaches: Reaches) {
        self.state().reaches.insert(url.to_string(), reaches);
    }

    /// All dials: when, and of what.
    pub(crate) fn dials(&self) -> Vec<(Instant, String)> {
        self.state().dials.clone()
    }

    /// All requests that servers were asked: when, and the first line.
    pub(crate) fn requests(&self) -> Vec<(Instant, String)> {
        self.state().requests.clone()
    }

    /// Lets all connections with members swallow what is written from now on.
    pub(crate) fn swallow(&self) {
        for link in &self.state().links {
            link.mode.store(SWALLOWS, Ordering::Release);
        }
    }

    /// Cuts all connections with members.
    pub(crate) fn cut(&self) {
        for link in std::mem::take(&mut self.state().links) {
            link.mode.store(CUT, Ordering::Release);
            let wakers = std::mem::take(&mut *link.wakers());
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    fn connect(&self, url: &PeerUrl) -> Dialing {
        let mut state = self.state();
        state.dials.push((Instant::now(), url.to_string()));
        let reaches = state.reaches.get(&url.to_string()).cloned();
        let (near, mut far) = tokio::io::duplex(SOCKET_BYTES);
        let socket: BoxSocket = match reaches.unwrap_or(Reaches::Nobody) {
            Reaches::Nobody => {
                return Box::pin(async {
                    tokio::task::yield_now().await;
                    Err(io::ErrorKind::ConnectionRefused.into())
                });
            }
            Reaches::Void => return Box::pin(std::future::pending()),
            Reaches::Silence => {
                state.silent.push(far);
                Box::new(near)
            }
            Reaches::Answer(answer, lives) => {
                let network = self.clone();
                tokio::spawn(async move {
                    let request = read_head(&mut far).await;
                    let line = request.lines().next().unwrap_or_default().to_owned();
                    network.state().requests.push((Instant::now(), line));
                    let _ = far.write_all(&answer).await;
                    match lives {
                        Some(lives) => tokio::time::sleep(lives).await,
                        None => std::future::pending().await,
                    }
                });
                Box::new(near)
            }
            Reaches::Pieces(answer, cut) => {
                tokio::spawn(async move {
                    read_head(&mut far).await;
                    let _ = far.write_all(&answer[..cut]).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    let _ = far.write_all(&answer[cut..]).await;
                    std::future::pending::<()>().await;
                });
                Box::new(near)
            }
            Reaches::Member(transport) => {
                let link = Arc::new(LinkState::default());
                state.links.push(link.clone());
                let far = Link { socket: far, state: link.clone() };
                if transport.accept(Box::new(far)).is_err() {
                    return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
                }
                Box::new(Link { socket: near, state: link })
            }
        };
        Box::pin(async move { Ok(socket) })
    }
}

impl Dial for Network {
    fn dial(&self, url: &PeerUrl) -> Dialing {
        self.connect(url)
    }
}

/// Reads a head, or what there is of it.
pub(crate) async fn read_head(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

const SWALLOWS: u8 = 1;
const CUT: u8 = 2;

#[derive(Default)]
struct LinkState {
    mode: AtomicU8,
    wakers: Mutex<Vec<Waker>>,
}

impl LinkState {
    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mode(&self, cx: &Context<'_>) -> u8 {
        let mut wakers = self.wakers();
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        self.mode.load(Ordering::Acquire)
    }
}

/// One end of a connection that the network can spoil.
struct Link {
    socket: DuplexStream,
    state: Arc<LinkState>,
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.state.mode(cx) {
            SWALLOWS => Poll::Pending,
            CUT => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            _ => Pin::new(&mut self.socket).poll_read(cx, room),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.state.mode(cx) {
            SWALLOWS => Poll::Ready(Ok(bytes.len())),
            CUT => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            _ => Pin::new(&mut self.socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
