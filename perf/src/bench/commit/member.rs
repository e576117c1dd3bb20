//! One member of a cluster of ours that is measured: a process of its own, so that what it uses can be
//! told apart. The control loop sleeps on standard input while the member's thread works. Not here:
//! the dialogue's lines (`protocol`), and the proposers (`load`).

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use raftwire::transport::{ClusterId, MemberId, PeerUrl};
use raftwire_etcd::config::{Config, Founder};
use raftwire_etcd::disk::OsDisk;
use raftwire_etcd::member::Role;
use raftwire_etcd::node::Node;
use raftwire_etcd::trace::{Followed, Led, Trace};

use super::load::{self, Sampled};
use super::protocol::{
    Checked, Connect, Elected, Ran, Request, Run, Sample, Start, Started, Traced, Usage,
};
use super::trace::{Append, Proposal};
use crate::allocator;
use crate::bench::consumed::{Consumed, consumed};
use crate::bench::dialogue::{Done, Failure, write};
use crate::bench::process::peak_memory_bytes_of;

/// How long a member tries to lead.
const CAMPAIGN_TIME_MAX: Duration = Duration::from_secs(30);
/// How often it asks for votes, and how often it looks what came of it.
const CAMPAIGN_PAUSE: Duration = Duration::from_secs(1);
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// Streams with each peer: one of each kind, both ways.
const STREAMS_PER_PEER: usize = 4;

/// Answers lines until there are no more.
pub(crate) fn run() -> ExitCode {
    allocator::resume();
    match control() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raftwire bench-member: {error}");
            ExitCode::from(2)
        }
    }
}

fn control() -> io::Result<()> {
    let mut member = Member::default();
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let consumed = consumed();
        let mut reply = Vec::new();
        let stop = member.answer(&line, consumed, &mut reply);
        reply.push(b'\n');
        output.write_all(&reply)?;
        output.flush()?;
        if stop {
            return Ok(());
        }
    }
}

#[derive(Debug, Default)]
struct Member {
    /// Until the cluster is founded.
    started: Option<(Start, TcpListener)>,
    node: Option<Node>,
    members: usize,
    sampled: Vec<Sampled>,
}

impl Member {
    /// Writes the answer to `line`; true if it was the last one.
    fn answer(&mut self, line: &str, consumed: Consumed, reply: &mut Vec<u8>) -> bool {
        let request = serde_json::from_str::<Request>(line).map_err(|error| error.to_string());
        let stop = matches!(request, Ok(Request::Stop));
        if let Err(error) = request.and_then(|request| self.serve(request, consumed, reply)) {
            reply.clear();
            write(reply, &Failure { error });
        }
        stop
    }

    fn serve(
        &mut self,
        request: Request,
        consumed: Consumed,
        reply: &mut Vec<u8>,
    ) -> Result<(), String> {
        match request {
            Request::Start(start) => write(reply, &self.start(start)?),
            Request::Connect(connect) => {
                self.connect(&connect)?;
                write(reply, &Done {});
            }
            Request::Campaign => write(reply, &self.campaign()?),
            Request::Run(run) => write(reply, &self.run(run)?),
            Request::Usage => write(reply, &self.usage(consumed)?),
            Request::Check => write(reply, &self.check()?),
            Request::Sample(Sample { every }) => {
                self.node()?.sample(every);
                self.sampled.clear();
                write(reply, &Done {});
            }
            Request::Trace => write(reply, &self.trace()?),
            Request::Stop => {
                if let Some(node) = self.node.take() {
                    node.handle().block_on(node.stop());
                }
                write(reply, &Done {});
            }
        }
        Ok(())
    }

    fn node(&self) -> Result<&Node, String> {
        self.node.as_ref().ok_or_else(|| "the cluster is not founded".to_owned())
    }

    fn start(&mut self, start: Start) -> Result<Started, String> {
        if self.started.is_some() || self.node.is_some() {
            return Err("it was started before".to_owned());
        }
        let listen = || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listen().map_err(|error: io::Error| error.to_string())?;
        self.started = Some((start, listener));
        Ok(Started { url: format!("http://{address}") })
    }

    fn connect(&mut self, connect: &Connect) -> Result<(), String> {
        let Some((start, listener)) = self.started.take() else {
            return Err("it was not started, or the cluster is founded".to_owned());
        };
        let config = config(&start, connect)?;
        self.members = config.members.len();
        let node = Node::start(config, listener, Arc::new(OsDisk::new()));
        self.node = Some(node.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn campaign(&self) -> Result<Elected, String> {
        let node = self.node()?;
        let began = Instant::now();
        let mut asked: Option<Instant> = None;
        while began.elapsed() < CAMPAIGN_TIME_MAX {
            let status = node.status();
            let open = node.open_streams();
            if open < STREAMS_PER_PEER * (self.members - 1) {
                // Without them votes would be asked of nobody.
            } else if status.role == Role::Leader {
                // Answered at once only by a leader that has committed an entry of its term.
                let read = node.handle().block_on(node.get(b""));
                read.map_err(|error| self.reason(error.to_string()))?;
                return Ok(Elected { term: status.term });
            } else if asked.is_none_or(|asked| asked.elapsed() >= CAMPAIGN_PAUSE) {
                match status.leader {
                    Some(_) => node.transfer_leader(status.id),
                    None => node.campaign(),
                }
                asked = Some(Instant::now());
            }
            thread::sleep(LOOK_PAUSE);
        }
        Err(self.reason(format!(
            "not elected in {CAMPAIGN_TIME_MAX:?}: {:?}, with {} streams open",
            node.status(),
            node.open_streams()
        )))
    }

    fn run(&mut self, run: Run) -> Result<Ran, String> {
        let (ran, sampled) = load::run(self.node()?, run).map_err(|error| self.reason(error))?;
        self.sampled.extend(sampled);
        Ok(ran)
    }

    fn usage(&self, consumed: Consumed) -> Result<Usage, String> {
        let node = self.node()?;
        Ok(Usage {
            consumed,
            rss_peak_bytes: peak_memory_bytes_of(std::process::id()),
            fsyncs: node.syncs(),
            applied: node.status().applied,
        })
    }

    fn check(&self) -> Result<Checked, String> {
        let node = self.node()?;
        let digest = node.handle().block_on(node.digest());
        let digest = digest.map_err(|error| self.reason(error.to_string()))?;
        Ok(Checked {
            applied: digest.applied,
            keys: digest.keys,
            hash: format!("{:016x}", digest.hash),
        })
    }

    fn trace(&mut self) -> Result<Traced, String> {
        let Trace { led, followed, lost, .. } = self.node()?.take_trace();
        if lost > 0 {
            return Err(format!("{lost} sampled entries found no room"));
        }
        let sampled = self.sampled.drain(..).map(|sampled| (sampled.index, sampled));
        let sampled: HashMap<u64, Sampled> = sampled.collect();
        // What else was led, by an election, has no proposer here.
        let measured = |led: Led| Some(proposal(*sampled.get(&led.index)?, led));
        Ok(Traced {
            proposals: led.into_iter().filter_map(measured).collect(),
            appends: followed.into_iter().map(append).collect(),
        })
    }

    /// Why something failed: a member that ended by itself knows better than who asked it.
    fn reason(&self, error: String) -> String {
        let Some(node) = &self.node else { return error };
        let ended = async {
            // It may be about to.
            let ended = tokio::time::timeout(Duration::from_millis(100), node.ended()).await;
            ended.ok().flatten()
        };
        match node.handle().block_on(ended) {
            Some(ended) => format!("{error}; the member ended: {ended}"),
            None => error,
        }
    }
}

fn config(start: &Start, connect: &Connect) -> Result<Config, String> {
    let cluster: ClusterId =
        start.cluster.parse().map_err(|error| format!("cluster {}: {error}", start.cluster))?;
    let founder = |of: &super::protocol::Founder| {
        let url: PeerUrl = of.url.parse().map_err(|error| format!("{}: {error}", of.url))?;
        Ok(Founder { id: MemberId(of.id), urls: vec![url], is_learner: false })
    };
    let mut config = Config::new(MemberId(start.id), cluster, PathBuf::from(&start.dir));
    config.members = connect.members.iter().map(founder).collect::<Result<_, String>>()?;
    config.snapshot_entries = start.snapshot_entries;
    config.catch_up_entries = start.catch_up_entries;
    if !config.members.iter().any(|founder| founder.id == config.id) {
        return Err(format!("member {} is not among the founders", start.id));
    }
    Ok(config)
}

fn proposal(sampled: Sampled, led: Led) -> Proposal {
    let by_member = |moments: Vec<(MemberId, u64)>| {
        moments.into_iter().map(|(member, moment)| (member.0, moment)).collect()
    };
    Proposal {
        index: led.index,
        latency_ns: sampled.latency_ns,
        called: sampled.called_ns,
        proposed: led.proposed_ns,
        taken: led.taken_ns,
        encoded: led.encoded_ns,
        written: by_member(led.written_ns),
        wal_begin: led.wal_begin_ns,
        fsync_begin: led.fsync_begin_ns,
        fsync_end: led.fsync_end_ns,
        acked: by_member(led.acked_ns),
        committed: led.committed_ns,
        applied: led.applied_ns,
        answered: led.answered_ns,
        returned: sampled.returned_ns,
    }
}

fn append(followed: Followed) -> Append {
    Append {
        index: followed.index,
        received: followed.received_ns,
        decoded: followed.decoded_ns,
        wal_begin: followed.wal_begin_ns,
        fsync_begin: followed.fsync_begin_ns,
        fsync_end: followed.fsync_end_ns,
        ack_queued: followed.ack_queued_ns,
        ack_written: followed.ack_written_ns,
        applied: followed.applied_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(member: &mut Member, line: &str) -> String {
        let mut reply = Vec::new();
        member.answer(line, Consumed::default(), &mut reply);
        String::from_utf8(reply).unwrap()
    }

    #[test]
    fn says_what_it_cannot_do() {
        let mut member = Member::default();
        for line in [
            r#"{"op":"campaign"}"#,
            r#"{"op":"usage"}"#,
            r#"{"op":"check"}"#,
            r#"{"op":"connect","members":[]}"#,
            r#"{"op":"dance"}"#,
            "x",
        ] {
            let reply = answer(&mut member, line);
            assert!(reply.starts_with(r#"{"error":"#), "{line}: {reply}");
        }
    }

    #[test]
    fn listens_before_it_is_connected() {
        let mut member = Member::default();
        let start = r#"{"op":"start","id":1,"cluster":"cdf8","dir":"/nowhere",
            "snapshot_entries":1,"catch_up_entries":1}"#;
        let reply = answer(&mut member, start);
        assert!(reply.starts_with(r#"{"url":"http://127.0.0.1:"#), "{reply}");
        assert!(answer(&mut member, start).contains("started before"));
        let others = r#"{"op":"connect","members":[{"id":2,"url":"http://127.0.0.1:1"}]}"#;
        assert!(answer(&mut member, others).contains("not among the founders"));
    }

    #[test]
    fn ends_alone_and_in_the_middle() {
        let mut reply = Vec::new();
        let mut member = Member::default();
        assert!(member.answer(r#"{"op":"stop"}"#, Consumed::default(), &mut reply));
        assert_eq!(reply, b"{}");
    }
}
