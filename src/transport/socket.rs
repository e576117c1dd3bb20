//! The sockets under the streams: what one must be able to do, how one is made, and its options.

use super::PeerUrl;
use socket2::{SockRef, TcpKeepalive};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

/// A connection that streams run over: a TCP socket, or whatever an embedder brings.
///
/// It is flushed when nothing more waits to be written, and shut down when its stream ends properly. A
/// vectored write must be one where [`is_write_vectored`](AsyncWrite::is_write_vectored) says so.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The TCP socket it is, if it is one as it stands.
    #[doc(hidden)]
    fn as_tcp(&self) -> Option<&TcpStream>;
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for S {
    fn as_tcp(&self) -> Option<&TcpStream> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Sets [`SocketOptions::unsent_bytes`].
pub(crate) fn limit_unsent(socket: &BoxSocket, bytes: u32) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(socket) = (**socket).as_tcp() {
        // Without it all works as well, and a heartbeat may come later.
        let _ = SockRef::from(socket).set_tcp_notsent_lowat(bytes);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (socket, bytes);
}

/// Lets acknowledgements wait for more to be received.
///
/// Nothing is ever sent on a stream that is read, so the system takes the connection for one-way and
/// acknowledges each read that empties the socket, within the read, with a packet of its own. Told
/// otherwise it waits, as it does where an answer could carry the acknowledgement: for two full
/// segments, or 40 ms. It goes back by itself when those 40 ms have passed.
pub(crate) fn delay_acks(socket: &BoxSocket) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(socket) = (**socket).as_tcp() {
        // It is a hint; without it all works as well, and costs more.
        let _ = SockRef::from(socket).set_tcp_quickack(false);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = socket;
}

/// A socket of any kind.
pub type BoxSocket = Box<dyn Socket>;

/// A connection that is being made.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<BoxSocket>> + Send>>;

/// How connections to peers are made.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `url`. The transport drops what takes longer than
    /// [`connect`](super::Timeouts::connect).
    fn dial(&self, url: &PeerUrl) -> Dialing;
}

/// The options of a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// `TCP_NODELAY`: a small batch leaves at once; on by default. Off, it may wait for the peer's
    /// acknowledgement, up to 40 ms.
    pub nodelay: bool,
    /// `SO_KEEPALIVE` with this idle time and interval; 30 s by default, as in etcd. It finds a dead
    /// host where no heartbeat runs.
    pub keepalive: Option<Duration>,
    /// `TCP_USER_TIMEOUT`, where there is one: how long written bytes may stay unacknowledged; 10 s by
    /// default. It finds a dead host behind a socket that still takes bytes, which the write timeout
    /// does not see.
    pub user_timeout: Option<Duration>,
    /// `TCP_NOTSENT_LOWAT`, where there is one, of message streams: how many bytes the socket takes beyond
    /// what is under way; 128 KiB by default. Else up to megabytes would lie in front of a heartbeat on
    /// a slow link. On `msgapp` streams it would halve what goes through, and is not set.
    pub unsent_bytes: Option<u32>,
    /// `SO_SNDBUF`, in bytes; the system's own choice by default, which on Linux grows with the load.
    pub send_bytes: Option<usize>,
    /// `SO_RCVBUF`, likewise.
    pub receive_bytes: Option<usize>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(Duration::from_secs(30)),
            user_timeout: Some(Duration::from_secs(10)),
            unsent_bytes: Some(128 << 10),
            send_bytes: None,
            receive_bytes: None,
        }
    }
}

impl SocketOptions {
    /// Sets them on a socket an embedder accepted or dialed.
    ///
    /// # Errors
    ///
    /// The system refused one.
    pub fn apply(&self, socket: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(idle) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(idle);
            #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
            let keepalive = keepalive.with_interval(idle);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(self.user_timeout)?;
        if let Some(bytes) = self.send_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        Ok(())
    }
}

/// Dials over TCP.
#[derive(Clone, Copy, Debug)]
pub struct TcpDial {
    options: SocketOptions,
    timeout: Duration,
}

impl TcpDial {
    /// Makes one whose sockets have these options. The addresses of a name have equal parts of
    /// `timeout`, so that one that is not answered leaves time for the next.
    #[must_use]
    pub fn new(options: SocketOptions, timeout: Duration) -> Self {
        Self { options, timeout }
    }
}

impl Dial for TcpDial {
    fn dial(&self, url: &PeerUrl) -> Dialing {
        let (url, Self { options, timeout }) = (url.clone(), *self);
        Box::pin(async move {
            if url.is_tls() {
                let text = "TLS is not supported by this dialer";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
            let addresses: Vec<_> = lookup_host((url.host(), url.port())).await?.collect();
            let part = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in addresses {
                match tokio::time::timeout(part, TcpStream::connect(address)).await {
                    Ok(Ok(socket)) => {
                        options.apply(&socket)?;
                        return Ok(Box::new(socket) as BoxSocket);
                    }
                    Ok(Err(error)) => last = error,
                    Err(_) => last = io::ErrorKind::TimedOut.into(),
                }
            }
            Err(last)
        })
    }
}

impl fmt::Debug for dyn Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}
