//! From a request to what the node is asked, and from what it says to an answer.

use super::line::{
    ChangeLine, DigestLine, ErrorKind, ErrorLine, Id, Op, Outcome, StatusLine, ValueLine,
};
use crate::kv::{Digest, Value};
use crate::member::{Applied, ProposeError, ReadError, Status};
use crate::node::Node;
use crate::raft::Change;
use bytes::Bytes;
use raftwire::transport::{PeerUrl, UrlError};

/// Has the node do it. `Stop` is the loop's: here it does nothing.
pub(super) async fn ask(node: &Node, op: Op) -> Outcome {
    match op {
        Op::Put { key, value } => written(node.put(Bytes::from(key), Bytes::from(value)).await),
        Op::Delete { key } => written(node.delete(Bytes::from(key)).await),
        Op::Get { key } => match node.get(key.as_bytes()).await {
            Ok(value) => Outcome::Value(value.map(value_line)),
            Err(error) => unread(error),
        },
        Op::GetLocal { key } => Outcome::Value(node.get_local(key.as_bytes()).map(value_line)),
        Op::Status => Outcome::Status(status_line(&node.status())),
        Op::Digest => match node.digest().await {
            Ok(digest) => Outcome::Digest(digest_line(digest)),
            Err(error) => unread(error),
        },
        Op::Change { change } => match change_of(change) {
            Ok(change) => match node.change(change).await {
                Ok(()) => Outcome::Done {},
                Err(error) => failed(error_kind(error), &error),
            },
            Err(error) => failed(ErrorKind::BadLine, &error),
        },
        Op::Campaign => {
            node.campaign();
            Outcome::Done {}
        }
        Op::Transfer { to } => {
            node.transfer_leader(to.0);
            Outcome::Done {}
        }
        Op::Stop => Outcome::Done {},
    }
}

fn written(applied: Result<Applied, ProposeError>) -> Outcome {
    match applied {
        Ok(Applied { index, version, .. }) => Outcome::Applied { index, version },
        Err(error) => failed(error_kind(error), &error),
    }
}

fn unread(error: ReadError) -> Outcome {
    let kind = match error {
        ReadError::Stopped => ErrorKind::Stopped,
        ReadError::Timeout => ErrorKind::Timeout,
    };
    failed(kind, &error)
}

fn error_kind(error: ProposeError) -> ErrorKind {
    match error {
        ProposeError::Dropped => ErrorKind::Dropped,
        ProposeError::Refused(_) | ProposeError::TooLarge { .. } => ErrorKind::Refused,
        ProposeError::Timeout => ErrorKind::Timeout,
        ProposeError::Stopped => ErrorKind::Stopped,
    }
}

pub(super) fn failed(kind: ErrorKind, text: &impl ToString) -> Outcome {
    Outcome::Error(ErrorLine { kind, text: text.to_string() })
}

fn value_line(value: Value) -> ValueLine {
    let Value { value, version, index } = value;
    ValueLine { text: String::from_utf8_lossy(&value).into_owned(), version, index }
}

fn status_line(status: &Status) -> StatusLine {
    let ids = |ids: &[u64]| ids.iter().copied().map(Id::from).collect();
    StatusLine {
        id: Id(status.id),
        role: status.role.name().to_owned(),
        leader: status.leader.map(Id),
        term: status.term,
        commit: status.commit,
        applied: status.applied,
        last_index: status.last_index,
        first_index: status.first_index,
        snapshot_index: status.snapshot_index,
        voters: ids(&status.voters),
        voters_outgoing: ids(&status.voters_outgoing),
        learners: ids(&status.learners),
    }
}

fn digest_line(digest: Digest) -> DigestLine {
    let Digest { applied, hash, keys, versions } = digest;
    DigestLine { applied, hash, keys, versions }
}

fn change_of(line: ChangeLine) -> Result<Change, UrlError> {
    let parsed = |urls: Vec<String>| -> Result<Vec<PeerUrl>, UrlError> {
        urls.iter().map(|url| url.parse()).collect()
    };
    Ok(match line {
        ChangeLine::AddVoter { id, urls } => Change::AddVoter { id: id.0, urls: parsed(urls)? },
        ChangeLine::AddLearner { id, urls } => Change::AddLearner { id: id.0, urls: parsed(urls)? },
        ChangeLine::Promote { id } => Change::Promote { id: id.0 },
        ChangeLine::Update { id, urls } => Change::Update { id: id.0, urls: parsed(urls)? },
        ChangeLine::Remove { id } => Change::Remove { id: id.0 },
        ChangeLine::Joint(changes) => {
            let changes = changes.into_iter().map(change_of).collect::<Result<_, _>>();
            Change::Joint(changes?)
        }
        ChangeLine::LeaveJoint => Change::LeaveJoint,
    })
}
