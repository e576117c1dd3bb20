//! The dialogue with a member of a cluster that is measured: lines of JSON (`bench::dialogue`). etcd's
//! programs speak it too (`perf/peers/go`). Not here: what a member does (`member`), and in which order
//! it is asked (`cluster`).
//!
//! ```text
//! {"op":"start","id":1,"cluster":"cdf8...","dir":"/path","snapshot_entries":10000,"catch_up_entries":5000}
//!   -> {"url":"http://127.0.0.1:PORT"}    listens; its data is in dir
//! {"op":"connect","members":[{"id":1,"url":"http://..."},...]}
//!   -> {}            founds the cluster with these voters; raft and the transport begin
//! {"op":"campaign"}
//!   -> {"term":2}    it campaigns; answered once it leads, the streams of all peers are active, and it
//!                    has committed an entry of its term
//! {"op":"run","proposers":16,"value_bytes":256,"keys":10000,"duration_ms":1000,"rate":0,"seed":1,"sample_every":0}
//!   -> {"ops":N,"seconds":S,"histogram":[[value_ns,count],...],"max_ns":M,
//!       "usage":{"cpu_us":..,"allocations":..,"allocated_bytes":..}}
//! {"op":"usage"}
//!   -> {"cpu_us":..,"allocations":..,"allocated_bytes":..,"rss_peak_bytes":..,"fsyncs":N,"applied":INDEX}
//! {"op":"check"}     -> {"applied":INDEX,"keys":K,"hash":"<16 hex>"}
//! {"op":"sample","every":N}    -> {}                                  ours alone
//! {"op":"trace"}     -> {"proposals":[...],"appends":[...]}           ours alone
//! {"op":"stop"}      -> {}
//! ```
//!
//! `run`: so many `proposers` each put a random one of `keys` keys (8 digits) with a value of
//! `value_bytes`, inside of the leader, and wait until it is committed and applied there; that is an
//! operation, and its latency is counted. With rate 0 each begins its next one at once for
//! `duration_ms`, and what was begun in time is finished and counts. With another rate, operation `i`
//! is due at start + i/rate: a proposer takes the next one, waits until it is due, and its latency
//! counts from then. The histogram has latencies by their 9 most significant bits, ascending. `usage`
//! is of this process, during the run in the answer to `run`, since it began in the answer to `usage`.
//!
//! `check`: FNV-1a, 64 bits, over key and value of every key, in key order.
//!
//! `sample`: entries whose index is a multiple of `every` are recorded from here on, none with 0, and
//! what was recorded before is gone. `trace`: what was recorded since it was last asked (`trace`).

use serde::{Deserialize, Serialize};

use super::trace::Moments;
use crate::bench::consumed::Consumed;

/// A line to a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    Start(Start),
    Connect(Connect),
    Campaign,
    Run(Run),
    Usage,
    Check,
    Sample(Sample),
    Trace,
    Stop,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) id: u64,
    pub(crate) cluster: String,
    pub(crate) dir: String,
    /// A snapshot is made after so many applied entries,
    pub(crate) snapshot_entries: u64,
    /// and so many before it are kept for those that are behind.
    pub(crate) catch_up_entries: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connect {
    pub(crate) members: Vec<Founder>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Founder {
    pub(crate) id: u64,
    pub(crate) url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) proposers: u32,
    pub(crate) value_bytes: usize,
    pub(crate) keys: u32,
    pub(crate) duration_ms: u64,
    /// Operations a second, whether or not earlier ones are done; 0: one after the other.
    pub(crate) rate: u64,
    pub(crate) seed: u64,
    /// What `sample` was told before; 0 with etcd's, which record nothing.
    pub(crate) sample_every: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) every: u64,
}

/// The answer to `start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) url: String,
}

/// The answer to `campaign`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Elected {
    pub(crate) term: u64,
}

/// The answer to `run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) ops: u64,
    /// From the first one's beginning to the last one's end.
    pub(crate) seconds: f64,
    /// A latency, and how many there were of it.
    pub(crate) histogram: Vec<(u64, u64)>,
    pub(crate) max_ns: u64,
    pub(crate) usage: Consumed,
}

/// The answer to `usage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    #[serde(flatten)]
    pub(crate) consumed: Consumed,
    pub(crate) rss_peak_bytes: u64,
    pub(crate) fsyncs: u64,
    pub(crate) applied: u64,
}

/// The answer to `check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checked {
    pub(crate) applied: u64,
    pub(crate) keys: u64,
    pub(crate) hash: String,
}

/// The answer to `trace`.
pub(crate) type Traced = Moments;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::dialogue::{STOP, answer};

    #[test]
    fn reads_what_it_writes() {
        let founder = Founder { id: 1, url: "http://127.0.0.1:1".to_owned() };
        let start = Start {
            id: 1,
            cluster: "cdf8".to_owned(),
            dir: "/d".to_owned(),
            snapshot_entries: 10_000,
            catch_up_entries: 5_000,
        };
        let run = Run {
            proposers: 16,
            value_bytes: 256,
            keys: 10_000,
            duration_ms: 1000,
            rate: 0,
            seed: 1,
            sample_every: 0,
        };
        for request in [
            Request::Start(start),
            Request::Connect(Connect { members: vec![founder] }),
            Request::Campaign,
            Request::Run(run),
            Request::Usage,
            Request::Check,
            Request::Sample(Sample { every: 3 }),
            Request::Trace,
            Request::Stop,
        ] {
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request, "{line}");
        }
        assert_eq!(serde_json::from_str::<Request>(STOP).unwrap(), Request::Stop);
    }

    #[test]
    fn lines_are_as_they_are_written_down() {
        let run = Run {
            proposers: 16,
            value_bytes: 256,
            keys: 10_000,
            duration_ms: 1000,
            rate: 0,
            seed: 1,
            sample_every: 0,
        };
        assert_eq!(
            serde_json::to_string(&Request::Run(run)).unwrap(),
            r#"{"op":"run","proposers":16,"value_bytes":256,"keys":10000,"duration_ms":1000,"rate":0,"seed":1,"sample_every":0}"#
        );
        assert_eq!(serde_json::to_string(&Request::Campaign).unwrap(), r#"{"op":"campaign"}"#);
    }

    #[test]
    fn takes_the_answers_of_other_members() {
        let line = r#"{"ops":7,"seconds":0.5,"histogram":[[512,3],[1024,4]],"max_ns":1030,
            "usage":{"cpu_us":1,"allocations":2,"allocated_bytes":3}}"#;
        let ran: Ran = answer(line).unwrap();
        assert_eq!((ran.ops, ran.histogram), (7, vec![(512, 3), (1024, 4)]));
        let line = r#"{"cpu_us":1,"allocations":2,"allocated_bytes":3,"rss_peak_bytes":4,
            "fsyncs":5,"applied":6,"more":7}"#;
        let consumed = Consumed { cpu_us: 1.0, allocations: 2, allocated_bytes: 3 };
        let usage = Usage { consumed, rss_peak_bytes: 4, fsyncs: 5, applied: 6 };
        assert_eq!(answer(line), Ok(usage));
    }
}
