//! Why a member does not start, or ends.

use crate::members::ChangeRefused;
use crate::raft::ChangeError;
use crate::snap::SnapError;
use crate::wal::WalError;
use raftwire::transport::{MemberId, TransportError};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a member does not start, or ended. Nothing is acknowledged after it.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeError {
    /// A setting makes no sense.
    Config(&'static str),
    /// The data directory is another member's, or another cluster's.
    OtherMember {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        member: u64,
        /// Of which cluster.
        cluster: u64,
    },
    /// The log on disk: it cannot be read, or it cannot be written any more, as when the disk is full.
    Wal(WalError),
    /// A snapshot: it cannot be read or written.
    Snap(SnapError),
    /// The log begins behind an entry that no usable snapshot has.
    NoSnapshot,
    /// A snapshot whose state cannot be read.
    State(String),
    /// An entry that was committed is not there.
    Gap {
        /// Its index.
        index: u64,
    },
    /// An entry this member founds its cluster with is no change of the configuration.
    Change {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        error: ChangeError,
    },
    /// raft found a contradiction, and stopped: a peer, or this member's disk, lost what it had
    /// promised to keep.
    Raft(String),
    /// The transport did not start.
    Transport(TransportError),
    /// The system has no thread, or no way to wait for sockets, left.
    Thread(io::Error),
    /// The cluster removed this member.
    Removed(MemberId),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(what) => f.write_str(what),
            Self::OtherMember { dir, member, cluster } => {
                let (dir, member) = (dir.display(), MemberId(*member));
                write!(f, "{dir} is the data of member {member} of cluster {cluster:x}")
            }
            Self::Wal(error) => write!(f, "the log: {error}"),
            Self::Snap(error) => write!(f, "the snapshot: {error}"),
            Self::NoSnapshot => f.write_str("no snapshot is there that the log follows on"),
            Self::State(reason) => write!(f, "the snapshot's state: {reason}"),
            Self::Gap { index } => write!(f, "entry {index} was committed and is not there"),
            Self::Change { index, error } => {
                write!(f, "entry {index}, a change of the configuration: {error}")
            }
            Self::Raft(reason) => write!(f, "raft: {reason}"),
            Self::Transport(error) => write!(f, "the transport: {error}"),
            Self::Thread(error) => write!(f, "no thread for the member: {error}"),
            Self::Removed(id) => write!(f, "member {id} was removed from the cluster"),
        }
    }
}

impl std::error::Error for NodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Wal(error) => Some(error),
            Self::Snap(error) => Some(error),
            Self::Change { error, .. } => Some(error),
            Self::Transport(error) => Some(error),
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

impl From<WalError> for NodeError {
    fn from(error: WalError) -> Self {
        Self::Wal(error)
    }
}

impl From<SnapError> for NodeError {
    fn from(error: SnapError) -> Self {
        Self::Snap(error)
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProposeError {
    /// It was not proposed, and never will be: there is no leader, or leadership is being transferred.
    Dropped,
    /// It was proposed in vain, or not at all: the change is refused.
    Refused(ChangeRefused),
    /// It was not proposed: it has more bytes than a request may.
    TooLarge {
        /// How many.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// It was proposed and nothing was heard of it in time: it may still take effect, or not. A change
    /// that another one preceded on its way to the leader ends so, too.
    Timeout,
    /// The member ended before anything was heard of it: it may have taken effect, or not.
    Stopped,
}

impl fmt::Display for ProposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped => f.write_str("not proposed: there is no leader to take it"),
            Self::Refused(refused) => write!(f, "refused: {refused}"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "not proposed: {bytes} bytes, where {limit} are allowed")
            }
            Self::Timeout => f.write_str("timed out: it may take effect or not"),
            Self::Stopped => f.write_str("the member ended: it may have taken effect or not"),
        }
    }
}

impl std::error::Error for ProposeError {}

/// Why a read has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// No leader confirmed in time that it leads.
    Timeout,
    /// The member ended.
    Stopped,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "timed out: no leader confirmed the read",
            Self::Stopped => "the member ended",
        })
    }
}

impl std::error::Error for ReadError {}
