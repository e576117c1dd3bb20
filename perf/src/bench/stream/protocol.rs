//! The dialogue with an end: one JSON object a line on its standard input, each answered by one on
//! its standard output. etcd's programs speak it too (`perf/peers/go`). Not here: what an end does
//! (`end`), and whom it is asked by (`pair`).
//!
//! ```text
//! {"op":"start","id":1,"peer":2,"cluster":"cdf8..."}   -> {"url":"http://127.0.0.1:40123",...}
//! {"op":"connect","url":"http://127.0.0.1:40124"}      -> {}   connected both ways
//! {"op":"answer","every":256}                          -> {}   the follower: one MsgAppResp for so many
//! {"op":"run","entries":1,"bytes":64,"window":1024,...} -> {"messages":1000,"seconds":0.01,...}
//! {"op":"usage"}                                       -> {"cpu_us":12.0,"allocations":3,...}
//! {"op":"stop"}                                        -> {}   and it ends
//! ```
//!
//! Reading and answering `usage` allocates nothing, so that what lies between two of them is the
//! transport's alone.

use serde::{Deserialize, Serialize};

use crate::bench::consumed::Consumed;

/// The members: the leader sends MsgApps, the follower answers them.
pub(crate) const LEADER: u64 = 1;
pub(crate) const FOLLOWER: u64 = 2;

/// A line to an end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request<'a> {
    #[serde(borrow)]
    Start(Start<'a>),
    #[serde(borrow)]
    Connect(Connect<'a>),
    Answer(Answer),
    Run(Run),
    Usage,
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start<'a> {
    pub(crate) id: u64,
    pub(crate) peer: u64,
    pub(crate) cluster: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connect<'a> {
    pub(crate) url: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) every: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) entries: usize,
    /// Of each entry's data.
    pub(crate) bytes: usize,
    /// Messages in flight, at most and, but for the end of a run, at least.
    pub(crate) window: u64,
    pub(crate) answers: Answers,
    /// How many messages, if not 0.
    pub(crate) messages: u64,
    /// How long, if `messages` is 0.
    pub(crate) duration_ms: u64,
    /// Always 0: what warms up is a run of its own, so that nothing of it is counted.
    pub(crate) warmup_ms: u64,
    pub(crate) seed: u64,
}

/// How the follower answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answers {
    /// One MsgAppResp for each MsgApp.
    Every,
    /// One for each quarter of a window.
    Sparse,
    /// One for each, which the next MsgApp waits for.
    RoundTrip,
}

impl Answers {
    /// How many MsgApps are answered by one MsgAppResp.
    pub(crate) fn group(self, window: u64) -> u64 {
        match self {
            Self::Every | Self::RoundTrip => 1,
            Self::Sparse => (window / 4).max(1),
        }
    }
}

impl<'a> Request<'a> {
    /// Reads a line without allocating, which serde's own tagged enums do.
    pub(crate) fn parse(line: &'a str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Op<'a> {
            op: &'a str,
        }
        fn of<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, String> {
            serde_json::from_str(line).map_err(|error| error.to_string())
        }
        Ok(match of::<Op<'_>>(line)?.op {
            "start" => Self::Start(of(line)?),
            "connect" => Self::Connect(of(line)?),
            "answer" => Self::Answer(of(line)?),
            "run" => Self::Run(of(line)?),
            "usage" => Self::Usage,
            "stop" => Self::Stop,
            other => return Err(format!("no such op: {other}")),
        })
    }
}

/// The answer to `start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) url: String,
}

/// The answer to `run`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) messages: u64,
    /// Those messages took.
    pub(crate) seconds: f64,
    pub(crate) rtt_us: Option<RoundTrips>,
    /// Of the leader's process, while it sent them.
    pub(crate) usage: Consumed,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoundTrips {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// The answer to `usage`: everything since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) cpu_us: f64,
    pub(crate) allocations: u64,
    pub(crate) allocated_bytes: u64,
    /// Messages that arrived and were in order.
    pub(crate) received: u64,
    /// Messages the transport gave up.
    pub(crate) dropped: u64,
    pub(crate) received_payload_bytes: u64,
}

impl Usage {
    pub(crate) fn consumed(self) -> Consumed {
        let Self { cpu_us, allocations, allocated_bytes, .. } = self;
        Consumed { cpu_us, allocations, allocated_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::dialogue::answer;

    #[test]
    fn reads_what_it_writes() {
        let run = Run {
            entries: 1,
            bytes: 64,
            window: 1024,
            answers: Answers::RoundTrip,
            messages: 0,
            duration_ms: 100,
            warmup_ms: 0,
            seed: 1,
        };
        let start = Start { id: LEADER, peer: FOLLOWER, cluster: "1" };
        for request in [
            Request::Start(start),
            Request::Connect(Connect { url: "http://127.0.0.1:1" }),
            Request::Answer(Answer { every: 3 }),
            Request::Run(run),
            Request::Usage,
            Request::Stop,
        ] {
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(Request::parse(&line).as_ref(), Ok(&request), "{line}");
        }
    }

    #[test]
    fn takes_the_answers_of_other_ends() {
        let line = r#"{"messages":7,"seconds":0.5,"rtt_us":null,
            "usage":{"cpu_us":1,"allocations":2,"allocated_bytes":3,"more":4}}"#;
        let usage = Consumed { cpu_us: 1.0, allocations: 2, allocated_bytes: 3 };
        assert_eq!(answer(line), Ok(Ran { messages: 7, seconds: 0.5, rtt_us: None, usage }));
        assert!(answer::<Ran>("{}").is_err());
        assert!(Request::parse(r#"{"op":"dance"}"#).is_err());
    }

    #[test]
    fn a_sparse_answer_is_for_a_quarter_of_a_window() {
        assert_eq!(Answers::Sparse.group(1024), 256);
        assert_eq!(Answers::Sparse.group(2), 1);
        assert_eq!(Answers::Every.group(1024), 1);
    }
}
