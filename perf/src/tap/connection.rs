//! One connection through the tap: dialed on, then pumped in both directions until both have ended.
//!
//! A direction whose sender closes it is closed towards the receiver, and the other goes on (TCP's
//! half-close). Nothing is read while the receiver does not take what was read before, so the tap
//! adds one buffer a direction to what the two ends hold in flight.

use super::index::{Connection, Direction, End};
use super::recording::Recording;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

/// etcd dials its peers with the same patience.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What is read at once: larger than a socket usually holds for a reader that keeps up.
const BUFFER_BYTES: usize = 64 * 1024;

/// A longer first line is not recorded in the index.
const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) to: String,
    pub(super) out: PathBuf,
    pub(super) limit: u64,
    pub(super) stop: CancellationToken,
}

impl Tap {
    /// Forwards a connection until it has ended, and returns what the index shall say of it.
    pub(super) async fn forward(
        self: Arc<Self>,
        client: TcpStream,
        mut connection: Connection,
    ) -> Connection {
        let server = match self.dial().await {
            Ok(server) => server,
            Err(error) => {
                connection.error = Some(format!("{}: {error}", self.to));
                return connection.ended();
            }
        };
        // A proxy must not hold small writes back; etcd's own sockets do not either. Where the
        // option cannot be set the bytes still pass, only later.
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let abort = CancellationToken::new();
        let number = connection.connection;
        let mut request = RequestLine::default();
        let (up, down) = tokio::join!(
            self.pump(number, "to-server", from_client, to_server, &abort, |bytes| {
                request.take(bytes);
            }),
            self.pump(number, "to-client", from_server, to_client, &abort, |_| {}),
        );
        connection.request = request.text();
        connection.to_server = Some(up);
        connection.to_client = Some(down);
        connection.ended()
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        tokio::select! {
            () = self.stop.cancelled() => Err(io::Error::other("stopped while dialing")),
            dialed = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(&self.to)) => dialed?,
        }
    }

    /// Forwards one direction; `look` sees the bytes that pass.
    async fn pump(
        &self,
        connection: u64,
        direction: &str,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        abort: &CancellationToken,
        mut look: impl FnMut(&[u8]),
    ) -> Direction {
        let file = format!("conn-{connection:04}-{direction}.bin");
        let mut recording = Recording::create(&self.out.join(&file), self.limit).await;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut bytes = 0;
        let end = loop {
            let count = match self.unless(abort, from.read(&mut buffer)).await {
                Err(end) => break end,
                Ok(Ok(count)) => count,
                Ok(Err(error)) => {
                    // The sender is gone and cannot receive either.
                    abort.cancel();
                    break End::ReadError(error.to_string());
                }
            };
            if count == 0 {
                // An error here is one the other direction will meet, or none at all.
                let _ = to.shutdown().await;
                break End::Closed;
            }
            let read = &buffer[..count];
            bytes += count as u64;
            look(read);
            recording.write(read).await;
            match self.unless(abort, to.write_all(read)).await {
                Err(end) => break end,
                Ok(Ok(())) => {}
                // What the receiver sent before it went may still be on its way.
                Ok(Err(error)) => break End::WriteError(error.to_string()),
            }
        };
        let (recorded_bytes, recording_error) = recording.finish().await;
        Direction { file, bytes, recorded_bytes, recording_error, end }
    }

    /// What `work` gives, unless the connection is to end first.
    async fn unless<T>(
        &self,
        abort: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> Result<T, End> {
        tokio::select! {
            biased;
            () = abort.cancelled() => Err(End::Aborted),
            () = self.stop.cancelled() => Err(End::Stopped),
            done = work => Ok(done),
        }
    }
}

/// The first line of what a client sends.
#[derive(Debug, Default)]
struct RequestLine {
    bytes: Vec<u8>,
    whole: bool,
}

impl RequestLine {
    fn take(&mut self, bytes: &[u8]) {
        if self.whole || self.bytes.len() > REQUEST_LINE_BYTES_MAX {
            return;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        self.bytes.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        self.whole = end.is_some();
    }

    /// The line, if it is a whole request line.
    fn text(self) -> Option<String> {
        let line = String::from_utf8(self.bytes).ok().filter(|_| self.whole)?;
        let line = line.strip_suffix('\r')?;
        let (_, version) = line.rsplit_once(' ')?;
        version.starts_with("HTTP/1.").then(|| line.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_request_line_for_every_split() {
        let bytes = b"GET /raft/stream/msgapp/1 HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 0..=bytes.len() {
            let mut request = RequestLine::default();
            request.take(&bytes[..cut]);
            request.take(&bytes[cut..]);
            assert_eq!(request.text().as_deref(), Some("GET /raft/stream/msgapp/1 HTTP/1.1"));
        }
    }

    #[test]
    fn takes_no_other_line_for_a_request() {
        for bytes in [&b"\x16\x03\x01\0\n"[..], b"GET / HTTP/1.1", b"hello\r\n", b"a b\n"] {
            let mut request = RequestLine::default();
            request.take(bytes);
            assert_eq!(request.text(), None);
        }
    }
}
