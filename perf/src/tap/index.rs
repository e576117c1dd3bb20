//! `index.jsonl`: one line for each connection, written when it has ended. What was said on it is
//! in the files the line names.

use super::about;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

/// The file, open for as long as the tap runs.
#[derive(Debug)]
pub(super) struct Index {
    file: File,
    /// The length of its whole lines.
    bytes: u64,
    /// Whether a line is missing.
    pub(super) failed: bool,
}

impl Index {
    /// Makes `out` ready for a recording.
    pub(super) fn create(out: &Path) -> io::Result<Self> {
        fs::create_dir_all(out).map_err(about(out.display()))?;
        let path = out.join("index.jsonl");
        // A recording is never written over: it may be the only one of its kind.
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = file.map_err(about(path.display()))?;
        Ok(Self { file, bytes: 0, failed: false })
    }

    /// Adds a line; after an error it can be called again, and the next line may find room.
    pub(super) fn add(&mut self, connection: &Connection) -> io::Result<()> {
        let mut line = serde_json::to_vec(connection)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // Half a line would spoil the next one too. Where this fails as well, it does.
            let _ = self.file.set_len(self.bytes);
            return Err(about("index.jsonl")(error));
        }
        self.bytes += line.len() as u64;
        Ok(())
    }
}

/// What is known of a connection.
#[derive(Debug, Serialize)]
pub(super) struct Connection {
    /// The number in the names of its files, from 1.
    pub(super) connection: u64,
    started_unix_ms: u128,
    ended_unix_ms: u128,
    /// The address that dialed.
    client: SocketAddr,
    /// The first line the client sent, if it is HTTP's: `GET /raft/stream/msgapp/… HTTP/1.1`.
    pub(super) request: Option<String>,
    /// Both directions; `None` if the other side could not be reached.
    pub(super) to_server: Option<Direction>,
    pub(super) to_client: Option<Direction>,
    /// Why the other side could not be reached.
    pub(super) error: Option<String>,
}

/// What passed in one direction.
#[derive(Debug, Serialize)]
pub(super) struct Direction {
    pub(super) file: String,
    /// Bytes that were read to be forwarded.
    pub(super) bytes: u64,
    /// Bytes of them that are in the file: fewer past the limit, or after an error.
    pub(super) recorded_bytes: u64,
    /// What ended the recording early, the limit apart.
    pub(super) recording_error: Option<String>,
    pub(super) end: End,
}

/// How a direction ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// The sender closed it, and so did the tap towards the receiver.
    Closed,
    /// Reading from the sender failed.
    ReadError(String),
    /// Writing to the receiver failed.
    WriteError(String),
    /// The other direction failed, and the connection with it.
    Aborted,
    /// The tap was stopped.
    Stopped,
}

impl Connection {
    pub(super) fn open(connection: u64, client: SocketAddr) -> Self {
        let now = unix_ms();
        Self {
            connection,
            started_unix_ms: now,
            ended_unix_ms: now,
            client,
            request: None,
            to_server: None,
            to_client: None,
            error: None,
        }
    }

    pub(super) fn ended(self) -> Self {
        Self { ended_unix_ms: unix_ms(), ..self }
    }

    pub(super) fn recording_error(&self) -> Option<&str> {
        [&self.to_server, &self.to_client]
            .into_iter()
            .flatten()
            .find_map(|direction| direction.recording_error.as_deref())
    }
}

fn unix_ms() -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_millis())
}
