//! etcd's own rafthttp: the program `transport` of `perf/peers/go`, whose README has its operations.

use super::digest::Digested;
use raftwire::transport::{ClusterId, MemberId, PeerUrl, StreamKind};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// One end of a link. It is stopped, or killed if the test fails.
pub(crate) struct Rafthttp {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Where it listens.
    pub(crate) url: PeerUrl,
    /// As etcd names it.
    pub(crate) version: String,
}

impl Rafthttp {
    /// Starts the program of an etcd release, `3.6` or `3.7`.
    pub(crate) fn start(release: &str, id: MemberId, peer: MemberId, cluster: ClusterId) -> Self {
        let folder = std::env::var_os("RAFTWIRE_PEERS").expect(
            "RAFTWIRE_PEERS names the folder perf/peers/go/build.sh wrote to; .ci/run interop sets it",
        );
        let program = Path::new(&folder).join(format!("transport-{release}"));
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut started = Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            url: "http://127.0.0.1:1".parse().unwrap(),
            version: String::new(),
        };
        let cluster = cluster.to_string();
        let answer =
            started.ask(&json!({"op": "start", "id": id.0, "peer": peer.0, "cluster": cluster}));
        started.url = answer["url"].as_str().unwrap().parse().unwrap();
        started.version = answer["version"].as_str().unwrap().to_owned();
        started
    }

    /// Has it do something; what it could not do is an error.
    pub(crate) fn try_ask(&mut self, line: &Value) -> Result<Value, String> {
        writeln!(self.stdin, "{line}").unwrap();
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "{line}: the program ended");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }

    /// Has it do something that it can do.
    pub(crate) fn ask(&mut self, line: &Value) -> Value {
        self.try_ask(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Waits until its streams are up, both ways as far as it sees; the first time it dials `url` and
    /// begins to serve.
    pub(crate) fn connect(&mut self, url: &PeerUrl) {
        self.ask(&json!({"op": "connect", "url": url.to_string()}));
    }

    /// Has it queue messages `from` to `from + count` of those it makes up.
    pub(crate) fn send(&mut self, kind: StreamKind, seed: u64, from: u64, count: u64) {
        self.ask(&json!({
            "op": "exchange", "stream": kind.name(), "seed": seed, "from": from, "count": count,
        }));
    }

    pub(crate) fn sent(&mut self, kind: StreamKind) -> Digested {
        self.digested("sent", kind)
    }

    pub(crate) fn received(&mut self, kind: StreamKind) -> Digested {
        self.digested("received", kind)
    }

    fn digested(&mut self, op: &str, kind: StreamKind) -> Digested {
        let answer = self.ask(&json!({"op": op, "stream": kind.name()}));
        assert_eq!(answer["bad"], 0, "messages that were for, or from, another member");
        Digested {
            count: answer["count"].as_u64().unwrap(),
            sha256: answer["sha256"].as_str().unwrap().to_owned(),
        }
    }

    /// How many messages it dropped, received ones included.
    pub(crate) fn dropped(&mut self) -> u64 {
        self.ask(&json!({"op": "usage"}))["dropped"].as_u64().unwrap()
    }

    /// Closes what it accepted: the streams it writes. [`connect`](Self::connect) waits for new ones.
    pub(crate) fn kill_connections(&mut self) {
        self.ask(&json!({"op": "kill_connections"}));
    }

    /// Ends it.
    pub(crate) fn stop(mut self) {
        self.ask(&json!({"op": "stop"}));
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Rafthttp {
    fn drop(&mut self) {
        // Already ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
