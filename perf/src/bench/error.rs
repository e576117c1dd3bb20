//! Why a benchmark ended without figures, and the exit status that says so.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Each names whose fault it is: the machine's, an input's, or a contender's answers.
#[derive(Debug)]
pub(crate) enum BenchError {
    Io {
        path: PathBuf,
        source: io::Error,
    },
    /// A captured stream that cannot be decoded.
    Capture {
        path: PathBuf,
        reason: String,
    },
    /// An older report that cannot be compared with.
    Report {
        path: PathBuf,
        reason: String,
    },
    /// A contender gave other messages or bytes than the others; its time would mean nothing.
    WrongAnswer {
        contender: String,
        input: String,
        what: String,
    },
    /// A program that was started answered something else than figures.
    Peer {
        name: String,
        reason: String,
    },
    Restart(io::Error),
    /// A folder that data cannot be written to as it was asked.
    Folder {
        path: PathBuf,
        reason: String,
    },
    /// Options that exclude each other.
    Usage(&'static str),
}

impl BenchError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// 1 where bytes or answers are wrong, 2 where the run could not be done as asked.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Capture { .. } | Self::WrongAnswer { .. } => 1,
            Self::Io { .. }
            | Self::Report { .. }
            | Self::Peer { .. }
            | Self::Folder { .. }
            | Self::Restart(_)
            | Self::Usage(_) => 2,
        }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Capture { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Report { path, reason } => {
                write!(f, "{}: cannot compare with it: {reason}", path.display())
            }
            Self::WrongAnswer { contender, input, what } => {
                write!(f, "{contender} gave a wrong answer for {input}: {what}")
            }
            Self::Peer { name, reason } => write!(f, "{name}: {reason}"),
            Self::Restart(source) => {
                write!(f, "cannot start again on the other allocator: {source}")
            }
            Self::Folder { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Usage(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for BenchError {}
