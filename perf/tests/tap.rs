//! `raftwire tap` between a client and a server on the loopback.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use support::{clean, command, inspect, session_named};
use tempfile::TempDir;

/// A running tap. It is ended in the way a test wants to look at, or killed if the test fails.
struct Tap {
    child: Child,
    address: SocketAddr,
    out: TempDir,
}

impl Tap {
    fn start(to: SocketAddr, options: &[&str]) -> Self {
        let out = tempfile::tempdir().unwrap();
        let mut child = command()
            .args(["tap", "--listen", "127.0.0.1:0", "--to", &to.to_string(), "--out"])
            .arg(out.path())
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, address, out }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Stops it, and returns its index, its directory and what it complained of.
    fn stop(self) -> (Vec<Value>, TempDir, String) {
        self.stop_with(0)
    }

    /// The same of a tap that ends with this exit code.
    fn stop_with(mut self, code: i32) -> (Vec<Value>, TempDir, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut complaints = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{complaints}");
        let out = std::mem::replace(&mut self.out, tempfile::tempdir().unwrap());
        let index = std::fs::read_to_string(out.path().join("index.jsonl")).unwrap();
        let index = index.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (index, out, complaints)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Already ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn recorded(out: &Path, direction: &Value) -> Vec<u8> {
    std::fs::read(out.join(direction["file"].as_str().unwrap())).unwrap()
}

/// Bytes in which a lost, doubled or moved piece shows.
fn pattern(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed).to_le_bytes()[0]).collect()
}

fn receive_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn records_what_passes_in_both_directions() {
    const BYTES: usize = 3 << 20;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let tap = Tap::start(server.local_addr().unwrap(), &[]);
    let (request, answer) = (pattern(1, BYTES), pattern(2, BYTES + 17));
    thread::scope(|scope| {
        // Each side answers only when the other has closed: a half-close must pass alone.
        scope.spawn(|| {
            let (mut client, _) = server.accept().unwrap();
            assert!(receive_all(&mut client) == request);
            client.write_all(&answer).unwrap();
        });
        let mut client = tap.connect();
        client.write_all(&request).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(receive_all(&mut client) == answer);
    });
    let (index, out, complaints) = tap.stop();
    assert_eq!((index.len(), complaints.as_str()), (1, ""));
    let connection = &index[0];
    assert!(recorded(out.path(), &connection["to_server"]) == request);
    assert!(recorded(out.path(), &connection["to_client"]) == answer);
    assert_eq!(connection["to_server"]["bytes"], request.len());
    assert_eq!(connection["to_client"]["recorded_bytes"], answer.len());
    assert_eq!(connection["to_server"]["end"], "closed");
    assert_eq!(connection["to_client"]["end"], "closed");
    assert_eq!(connection["request"], Value::Null);
}

#[test]
fn records_each_connection_in_files_of_its_own() {
    const CONNECTIONS: usize = 40;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let tap = Tap::start(server.local_addr().unwrap(), &[]);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CONNECTIONS {
                let (mut client, _) = server.accept().unwrap();
                scope.spawn(move || {
                    let bytes = receive_all(&mut client);
                    client.write_all(&bytes).unwrap();
                });
            }
        });
        for number in 0..CONNECTIONS {
            let tap = &tap;
            scope.spawn(move || {
                let mut client = tap.connect();
                let line = format!("GET /raft/stream/message/{number} HTTP/1.1\r\n\r\n");
                let bytes = [line.as_bytes(), &pattern(number, 10_000 + number)].concat();
                client.write_all(&bytes).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                assert!(receive_all(&mut client) == bytes);
            });
        }
    });
    let (index, out, _) = tap.stop();
    let mut numbers: Vec<usize> = index
        .iter()
        .map(|connection| {
            let to_server = recorded(out.path(), &connection["to_server"]);
            assert!(to_server == recorded(out.path(), &connection["to_client"]));
            let request = connection["request"].as_str().unwrap();
            let number = request.split(['/', ' ']).nth(5).unwrap().parse().unwrap();
            assert!(to_server.ends_with(&pattern(number, 10_000 + number)));
            number
        })
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..CONNECTIONS));
}

#[test]
fn forwards_on_when_the_limit_is_reached() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let tap = Tap::start(server.local_addr().unwrap(), &["--limit", "1000"]);
    let request = pattern(3, 100_000);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, _) = server.accept().unwrap();
            assert!(receive_all(&mut client) == request);
            client.write_all(b"short").unwrap();
        });
        let mut client = tap.connect();
        client.write_all(&request).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&mut client), b"short");
    });
    let (index, out, _) = tap.stop();
    assert_eq!(recorded(out.path(), &index[0]["to_server"]), request[..1000]);
    assert_eq!(index[0]["to_server"]["bytes"], request.len());
    assert_eq!(index[0]["to_server"]["recorded_bytes"], 1000);
    assert_eq!(recorded(out.path(), &index[0]["to_client"]), b"short");
}

#[test]
fn keeps_what_passed_before_it_is_stopped() {
    let session = session_named("v2-msgapp-then-appentries-1-3-0");
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for frame in &session.frames {
        write!(answer, "{:x}\r\n", frame.bytes.len()).unwrap();
        answer.extend_from_slice(&frame.bytes);
        answer.extend_from_slice(b"\r\n");
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let tap = Tap::start(server.local_addr().unwrap(), &[]);
    let mut client = tap.connect();
    let (mut accepted, _) = server.accept().unwrap();
    accepted.write_all(&answer).unwrap();
    let mut received = vec![0; answer.len()];
    client.read_exact(&mut received).unwrap();
    assert!(received == answer);
    let (index, out, _) = tap.stop();
    assert_eq!(index[0]["to_client"]["end"], "stopped");
    // Both ends see it go.
    assert!(matches!(client.read(&mut received), Ok(0) | Err(_)));
    assert!(matches!(accepted.read(&mut received), Ok(0) | Err(_)));
    // The stream was alive: all its frames are there, its last chunk is not.
    let recorded = recorded(out.path(), &index[0]["to_client"]);
    assert!(recorded == answer);
    let options = session.options().into_iter().chain(["--http"]);
    let cut = inspect(options, &recorded);
    assert_eq!(cut.status.code(), Some(1));
    assert_eq!(support::frames(&cut).len(), session.frames.len());
    let whole = [&recorded[..], b"0\r\n\r\n"].concat();
    clean(&inspect(session.options().into_iter().chain(["--http"]), &whole));
}

#[test]
fn passes_on_that_a_side_is_gone() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let tap = Tap::start(server.local_addr().unwrap(), &[]);
    let mut client = tap.connect();
    client.write_all(b"unread").unwrap();
    let (accepted, _) = server.accept().unwrap();
    // A socket closed with bytes unread resets its connection.
    accepted.peek(&mut [0]).unwrap();
    drop(accepted);
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    let (index, out, _) = tap.stop();
    assert!(index[0]["to_client"]["end"]["read_error"].is_string(), "{}", index[0]);
    assert_eq!(index[0]["to_server"]["end"], "aborted");
    assert_eq!(recorded(out.path(), &index[0]["to_server"]), b"unread");
}

#[test]
fn tells_of_a_server_it_cannot_reach() {
    // The port of a connected socket: nobody listens there, and nobody else can begin to.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let holder = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let nobody = holder.local_addr().unwrap();
    let tap = Tap::start(nobody, &[]);
    assert!(matches!(tap.connect().read(&mut [0]), Ok(0) | Err(_)));
    let (index, _out, _) = tap.stop();
    assert!(index[0]["error"].as_str().unwrap().contains(&nobody.to_string()));
    assert_eq!(index[0]["to_server"], Value::Null);
}

#[test]
fn writes_over_no_recording() {
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("index.jsonl"), "").unwrap();
    let output = command()
        .args(["tap", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = command().args(["tap", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = command()
        .args(["tap", "--listen", "nowhere", "--to", "127.0.0.1:1", "--out"])
        .arg(out.path().join("new"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    // The command can be corrected and given again.
    assert!(!out.path().join("new/index.jsonl").exists());
}

#[test]
fn forwards_on_when_the_disk_is_full() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let out = tempfile::tempdir().unwrap();
    // No file may grow, and the signal that would say so is ignored.
    let mut child = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 0; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_raftwire"),
        ])
        .args(["tap", "--listen", "127.0.0.1:0", "--to"])
        .arg(server.local_addr().unwrap().to_string())
        .arg("--out")
        .arg(out.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr =
        line.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
    let tap = Tap { child, address, out };
    let connect = || {
        let client = tap.connect();
        (client, server.accept().unwrap().0)
    };
    let pass = |from: &mut TcpStream, to: &mut TcpStream| {
        from.write_all(b"passes").unwrap();
        let mut received = [0; 6];
        to.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"passes");
    };
    let (mut open_client, mut open_server) = connect();
    pass(&mut open_client, &mut open_server);
    // Two connections end, and cannot be entered into the index; the first lives on.
    for _ in 0..2 {
        let (mut client, mut accepted) = connect();
        pass(&mut client, &mut accepted);
        client.shutdown(Shutdown::Write).unwrap();
        assert!(receive_all(&mut accepted).is_empty());
        accepted.shutdown(Shutdown::Write).unwrap();
        assert!(receive_all(&mut client).is_empty());
        pass(&mut open_client, &mut open_server);
        pass(&mut open_server, &mut open_client);
    }
    let (index, _out, complaints) = tap.stop_with(2);
    assert!(index.is_empty());
    assert_eq!(complaints.matches("not in the index").count(), 1, "{complaints}");
}
