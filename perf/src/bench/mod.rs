//! `raftwire bench`: what the codec and the transport cost, beside what else would do their work.
//! Here is the command line; the parts are measured in `codec` and `stream`, and what they share lies
//! beside them. Not here: instruction counts and criterion, which are the library's own benches.

mod codec;
mod compare;
mod error;
mod html;
mod machine;
mod payload;
mod peers;
mod plot;
mod progress;
mod report;
mod run;
mod section;
mod shape;
mod stats;
mod stream;
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

pub(crate) use stream::end::{Args as EndArgs, run as run_end};

/// Measures what raft messages cost: to encode and decode, and to move between two processes.
///
/// The codec is measured beside a plain prost codec, the transport beside a tonic stream and prost
/// over a length-delimited codec; both beside etcd's own with `--against etcd`. Exits with 0; 1 if
/// answers were wrong, a captured stream was malformed, or `--compare` found a row worse; 2 on usage
/// or I/O errors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure [default: both]
    #[arg(value_enum)]
    what: Option<What>,

    /// Repeat and take longer: what a figure that is published is measured with
    #[arg(long)]
    full: bool,

    /// Measure this shape instead of the grids: entries x bytes of each, such as 64x1KiB
    #[arg(long = "shape", value_name = "NxBYTES", value_delimiter = ',')]
    shapes: Vec<Shape>,

    /// How long one measurement takes: one contender, operation, shape and repetition [default:
    /// codec 40ms, stream 100ms; with --full 250ms and 1s]
    #[arg(long, value_name = "TIME")]
    duration: Option<Time>,

    /// How often contenders take turns [default: 3; with --full codec 7, stream 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: Option<u32>,

    /// What the entries' bytes are made from
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
}

impl Args {
    /// Captured streams have a codec's work in them, and no pace of their own to be sent at.
    fn parts(&self) -> &[What] {
        match self.what {
            _ if !self.captures.is_empty() => &[What::Codec],
            None => &[What::Codec, What::Stream],
            Some(What::Codec) => &[What::Codec],
            Some(What::Stream) => &[What::Stream],
        }
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
