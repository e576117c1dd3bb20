//! The lines of the dialogue, as types: what serde makes of them is the format.

use raftwire::transport::MemberId;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A member's id, in hex: `"1a"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "a number")]
pub struct Id(pub MemberId);

impl From<u64> for Id {
    fn from(id: u64) -> Self {
        Self(MemberId(id))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// Something to do, and the number its answer will carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "callers make them")]
pub struct Request {
    /// Any number; the member does not look at it.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub op: Op,
}

/// What a member can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// Writes; answered when it is committed, and applied here.
    Put {
        /// Of which key,
        key: String,
        /// what.
        value: String,
    },
    /// Deletes; answered like a write.
    Delete {
        /// Of which key.
        key: String,
    },
    /// Reads what was last written in the cluster.
    Get {
        /// Of which key.
        key: String,
    },
    /// Reads what this member has applied.
    GetLocal {
        /// Of which key.
        key: String,
    },
    /// Asks for the state of its raft.
    Status,
    /// Asks for a hash of its state machine.
    Digest,
    /// Changes the members of the cluster.
    Change {
        /// How.
        change: ChangeLine,
    },
    /// Has it stand for election; answered at once.
    Campaign,
    /// Has the leader hand over to another member; answered at once.
    Transfer {
        /// To which.
        to: Id,
    },
    /// Ends it.
    Stop,
}

/// A change of the members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ChangeLine {
    /// One more, with a vote.
    AddVoter {
        /// Its id,
        id: Id,
        /// and where it is reached.
        urls: Vec<String>,
    },
    /// One more, without a vote.
    AddLearner {
        /// Its id,
        id: Id,
        /// and where it is reached.
        urls: Vec<String>,
    },
    /// Gives a learner a vote.
    Promote {
        /// Which.
        id: Id,
    },
    /// Changes where a member is reached.
    Update {
        /// Its id,
        id: Id,
        /// and its new addresses.
        urls: Vec<String>,
    },
    /// One less.
    Remove {
        /// Which.
        id: Id,
    },
    /// Several at once, through a joint configuration.
    Joint(Vec<Self>),
    /// Ends a joint configuration.
    LeaveJoint,
}

/// A line of the member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Said {
    /// To a request.
    Answer(Answer),
    /// Unasked.
    Event(Event),
}

/// What a member says unasked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// It has started: the first line.
    Ready {
        /// Its id,
        id: Id,
        /// and where it listens.
        url: String,
    },
    /// It cannot go on: the last line.
    Ended {
        /// Why.
        text: String,
    },
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "read by the other side")]
pub struct Answer {
    /// The request's number; null for a line in which none could be read.
    pub id: Option<u64>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A write is committed and applied.
    Applied {
        /// As which entry of the log.
        index: u64,
        /// How often the key was put since it last was not there; 0: it is not there.
        version: u64,
    },
    /// What a read found, if anything.
    Value(Option<ValueLine>),
    /// The state of its raft.
    Status(StatusLine),
    /// The hash of its state machine.
    Digest(DigestLine),
    /// It is done.
    Done {},
    /// It is not, or nobody knows.
    Error(ErrorLine),
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "read by the other side")]
pub struct ValueLine {
    /// The value; what in it is no UTF-8 is replaced, and only what wrote past this dialogue can have
    /// put such.
    pub text: String,
    /// How often the key was put since it last was not there.
    pub version: u64,
    /// The entry that put it.
    pub index: u64,
}

/// A member's raft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "read by the other side")]
pub struct StatusLine {
    /// Its id.
    pub id: Id,
    /// `follower`, `pre-candidate`, `candidate` or `leader`; a learner is a follower.
    pub role: String,
    /// Who leads, as far as it knows.
    pub leader: Option<Id>,
    /// The term it is in.
    pub term: u64,
    /// Up to which entry the log is committed, as far as it knows.
    pub commit: u64,
    /// Up to which it has applied it.
    pub applied: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// The first entry that is still in memory.
    pub first_index: u64,
    /// The last entry that is in its last snapshot.
    pub snapshot_index: u64,
    /// Who votes.
    pub voters: Vec<Id>,
    /// Who voted before the joint configuration it is in, if it is in one.
    pub voters_outgoing: Vec<Id>,
    /// Who only learns.
    pub learners: Vec<Id>,
}

/// A state machine, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "read by the other side")]
pub struct DigestLine {
    /// Up to which entry it has applied the log.
    pub applied: u64,
    /// A hash of all it holds.
    pub hash: u64,
    /// How many keys.
    pub keys: u64,
    /// The sum of the versions of all keys.
    pub versions: u64,
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "read by the other side")]
pub struct ErrorLine {
    /// What to make of it,
    pub kind: ErrorKind,
    /// and for people.
    pub text: String,
}

/// What to make of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// No answer in time: a write may have happened, or may yet.
    Timeout,
    /// Certainly not done, and worth another try.
    Dropped,
    /// The member is ending: a write may have happened, or may yet.
    Stopped,
    /// Certainly not done, for it is not allowed.
    Refused,
    /// The line is no request.
    BadLine,
}

impl ErrorKind {
    /// Whether a write so answered may have happened, or may happen yet.
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Timeout | Self::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn reads_as_it_writes<T>(value: &T, line: &Value)
    where
        T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug,
    {
        assert_eq!(&serde_json::to_value(value).unwrap(), line);
        assert_eq!(&serde_json::from_value::<T>(line.clone()).unwrap(), value);
    }

    #[test]
    fn requests_are_flat() {
        let put = Op::Put { key: "k".into(), value: "v".into() };
        let line = json!({"id": 1, "op": "put", "key": "k", "value": "v"});
        reads_as_it_writes(&Request { id: 1, op: put }, &line);
        let line = json!({"id": u64::MAX, "op": "status"});
        reads_as_it_writes(&Request { id: u64::MAX, op: Op::Status }, &line);
        let line = json!({"id": 2, "op": "transfer", "to": "8211f1d0f64f3269"});
        let to = Id::from(0x8211_f1d0_f64f_3269);
        reads_as_it_writes(&Request { id: 2, op: Op::Transfer { to } }, &line);
        let change = ChangeLine::Joint(vec![
            ChangeLine::AddVoter { id: 4.into(), urls: vec!["http://a:1".into()] },
            ChangeLine::Remove { id: 26.into() },
        ]);
        let line = json!({"id": 3, "op": "change", "change": {"joint": [
            {"add_voter": {"id": "4", "urls": ["http://a:1"]}},
            {"remove": {"id": "1a"}},
        ]}});
        reads_as_it_writes(&Request { id: 3, op: Op::Change { change } }, &line);
        let line = json!({"id": 4, "op": "change", "change": "leave_joint"});
        let op = Op::Change { change: ChangeLine::LeaveJoint };
        reads_as_it_writes(&Request { id: 4, op }, &line);
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let answer = |id, outcome| Said::Answer(Answer { id, outcome });
        let said = answer(Some(1), Outcome::Applied { index: u64::MAX, version: 2 });
        let line = json!({"id": 1, "applied": {"index": u64::MAX, "version": 2}});
        reads_as_it_writes(&said, &line);
        reads_as_it_writes(
            &answer(Some(1), Outcome::Value(None)),
            &json!({"id": 1, "value": null}),
        );
        reads_as_it_writes(&answer(Some(1), Outcome::Done {}), &json!({"id": 1, "done": {}}));
        let error = ErrorLine { kind: ErrorKind::BadLine, text: "t".into() };
        let line = json!({"id": null, "error": {"kind": "bad_line", "text": "t"}});
        reads_as_it_writes(&answer(None, Outcome::Error(error)), &line);
        let ready = Event::Ready { id: 1.into(), url: "http://a:1".into() };
        let line = json!({"ready": {"id": "1", "url": "http://a:1"}});
        reads_as_it_writes(&Said::Event(ready), &line);
        let line = json!({"ended": {"text": "disk full"}});
        reads_as_it_writes(&Said::Event(Event::Ended { text: "disk full".into() }), &line);
    }

    #[test]
    fn refuses_what_is_no_request() {
        for line in [
            json!({"op": "status"}),
            json!({"id": 1}),
            json!({"id": 1, "op": "fly"}),
            json!({"id": -1, "op": "status"}),
            json!({"id": 1, "op": "put", "key": "k"}),
            json!({"id": 1, "op": "transfer", "to": 2}),
            json!({"id": 1, "op": "change", "change": {"remove": {"id": "1", "urls": []}}}),
        ] {
            assert!(serde_json::from_value::<Request>(line.clone()).is_err(), "{line}");
        }
    }
}
