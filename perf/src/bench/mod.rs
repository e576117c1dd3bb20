//! `raftwire bench`: what the codec, the transport and a commit cost, beside what else would do their
//! work. Here is the command line; the parts are measured in `codec`, `stream` and `commit`, and what
//! they share lies beside them. Not here: instruction counts and criterion, which are the library's own benches.

mod codec;
mod commit;
mod compare;
mod consumed;
mod dialogue;
mod error;
mod html;
mod machine;
mod payload;
mod peers;
mod plot;
mod process;
mod progress;
mod report;
mod run;
mod section;
mod shape;
mod stack;
mod stats;
mod stream;
mod syscalls;
mod table;
mod turns;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::allocator::{self, Allocator};
use codec::copies;
use codec::load::StreamKind;
use error::BenchError;
use shape::Shape;

pub(crate) use commit::member::run as run_member;
pub(crate) use stream::end::{Args as EndArgs, run as run_end};

/// Measures what raft messages cost, to encode and decode, and to move between two processes; and what
/// a commit costs in a cluster of processes with a log on disk.
///
/// The codec is measured beside a plain prost codec, the transport beside a tonic stream and prost
/// over a length-delimited codec; all three beside etcd's own with `--against etcd`. Exits with 0; 1 if
/// answers were wrong, members disagreed, a captured stream was malformed, or `--compare` found a row worse; 2 on usage
/// or I/O errors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure [default: all]
    #[arg(value_enum)]
    what: Option<What>,

    /// Repeat and take longer: what a figure that is published is measured with
    #[arg(long)]
    full: bool,

    /// Measure the codec and the stream on this shape instead of the grids: entries x bytes of each,
    /// such as 64x1KiB
    #[arg(long = "shape", value_name = "NxBYTES", value_delimiter = ',')]
    shapes: Vec<Shape>,

    /// How long one measurement takes: one contender, operation, shape and repetition [default:
    /// codec 40ms, stream 100ms, commit 250ms; with --full 250ms, 1s and 3s]
    #[arg(long, value_name = "TIME")]
    duration: Option<Time>,

    /// How often contenders take turns [default: 3; with --full codec 7, stream and commit 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: Option<u32>,

    /// What the entries' bytes, keys and values are made from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Which allocator the command runs on [default: system]
    #[arg(long, value_enum)]
    allocator: Option<Allocator>,

    /// Measure this too, alternating with ours
    #[arg(long, value_enum)]
    against: Option<Against>,

    /// Measure the messages of this captured stream instead of the grid
    #[arg(long = "captures", value_name = "FILE", conflicts_with = "shapes")]
    captures: Vec<PathBuf>,

    /// Which stream the captured files hold
    #[arg(long, value_enum, default_value_t = StreamKind::Msgappv2, requires = "captures")]
    stream: StreamKind,

    /// Write report.html and report.json there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print the change since that report, and exit with 1 where ours is worse
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,

    /// How much slower a row may be, in percent, when it is beyond the spread too
    #[arg(long, value_name = "PCT", default_value_t = 10.0, requires = "compare")]
    threshold: f64,

    /// Print the report as JSON instead of tables
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    commit: commit::Options,

    /// Do one operation on one shape, print the counters, and measure nothing: what runs under
    /// valgrind to check the counters
    #[arg(long, value_name = "NxBYTES", hide = true, requires = "messages")]
    count_only: Option<Shape>,

    /// At least how many messages --count-only goes through
    #[arg(long, value_name = "N", hide = true)]
    messages: Option<u64>,

    /// What --count-only does
    #[arg(long, value_enum, hide = true, default_value_t = copies::Direction::Encode)]
    direction: copies::Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Encoding and decoding messages in memory
    Codec,
    /// Moving messages between two processes over loopback
    Stream,
    /// Committing values in a cluster of processes, with a log on disk
    Commit,
}

impl Args {
    /// Captured streams have a codec's work in them, and no pace of their own to be sent at; a commit
    /// has no shape.
    fn parts(&self) -> &[What] {
        match self.what {
            _ if !self.captures.is_empty() => &[What::Codec],
            None if !self.shapes.is_empty() => &[What::Codec, What::Stream],
            None => &[What::Codec, What::Stream, What::Commit],
            Some(What::Codec) => &[What::Codec],
            Some(What::Stream) => &[What::Stream],
            Some(What::Commit) => &[What::Commit],
        }
    }

    /// Refuses options that say nothing about what is measured.
    fn check(&self) -> Result<(), &'static str> {
        if self.what.is_some_and(|what| what != What::Codec) && !self.captures.is_empty() {
            return Err("captured messages are measured by the codec alone");
        }
        let is_commit = self.parts().contains(&What::Commit);
        if is_commit && !self.shapes.is_empty() {
            return Err("a commit has no --shape: see --value-bytes and --proposers");
        }
        if !is_commit && self.commit.is_given() {
            return Err("--members, --value-bytes, --proposers, --rate, --disk and --tmpfs are \
                        options of `bench commit`");
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// The codecs and transports of etcd 3.6 and 3.7, in Go programs; needs Go
    Etcd,
}

/// Does what the command line says, and gives the command's exit status.
pub(crate) fn run(args: &Args) -> ExitCode {
    let result = match args.allocator {
        Some(wanted) => allocator::ensure(wanted).map_err(BenchError::Restart),
        None => Ok(()),
    };
    let result = result.and_then(|()| match args.count_only {
        Some(shape) => copies::count_only(shape, args.messages.unwrap_or(0), args.direction),
        None => run::run(args),
    });
    result.unwrap_or_else(|error| {
        eprintln!("raftwire bench: {error}");
        ExitCode::from(error.exit_status())
    })
}

/// A length of time on the command line: `250ms`, `1.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Time(Duration);

/// What a length of time may be: a shorter one measures the clock, a longer one is a typing error.
const TIME_MIN: Duration = Duration::from_millis(1);
const TIME_MAX: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeError {
    Form,
    Range,
}

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("not a number of `ms` or `s`, such as 250ms"),
            Self::Range => write!(f, "not between {TIME_MIN:?} and {TIME_MAX:?}"),
        }
    }
}

impl std::error::Error for TimeError {}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let (number, seconds) = match text.strip_suffix("ms") {
            Some(number) => (number, 1e-3),
            None => (text.strip_suffix('s').ok_or(TimeError::Form)?, 1.0),
        };
        let number: f64 = number.parse().map_err(|_| TimeError::Form)?;
        let time = Duration::try_from_secs_f64(number * seconds).map_err(|_| TimeError::Range)?;
        if (TIME_MIN..=TIME_MAX).contains(&time) { Ok(Self(time)) } else { Err(TimeError::Range) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lengths_of_time() {
        assert_eq!("250ms".parse(), Ok(Time(Duration::from_millis(250))));
        assert_eq!("1.5s".parse(), Ok(Time(Duration::from_millis(1500))));
        for text in ["", "5", "5m", "ms", "xs"] {
            assert_eq!(text.parse::<Time>(), Err(TimeError::Form), "{text}");
        }
        for text in ["0ms", "-1s", "NaNs", "infs", "1000s"] {
            assert_eq!(text.parse::<Time>(), Err(TimeError::Range), "{text}");
        }
    }
}
