//! `raftwire bench`: what the codec costs, beside a plain prost codec and etcd's own. Here are the
//! command line and the order of the whole; how a figure is made stands in `contender` and
//! `schedule`, what is shown in `tables`, `plots` and `html`. Not here: streams over sockets.

mod baseline;
mod compare;
mod contender;
mod copies;
mod error;
mod html;
mod load;
mod machine;
mod plots;
mod report;
mod run;
mod schedule;
mod shape;
mod stats;
mod table;
mod tables;
mod verdict;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::allocator::{self, Allocator};
use error::BenchError;
use load::StreamKind;
use shape::Shape;

/// Measures what encoding and decoding costs, beside a plain prost codec and etcd's own.
///
/// Prints allocations of the whole process, bytes copied, nanoseconds and MB/s for each AppEntries,
/// over a grid of shapes or over a captured stream. Exits with 0; 1 if answers were wrong, a captured
/// stream was malformed, or `--compare` found a row worse; 2 on usage or I/O errors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_enum, default_value_t = What::Codec)]
    what: What,

    /// Repeat and take longer: what a figure that is published is measured with
    #[arg(long)]
    full: bool,

    /// Measure this shape instead of the grid: entries x bytes of each, such as 64x1KiB
    #[arg(long = "shape", value_name = "NxBYTES", value_delimiter = ',')]
    shapes: Vec<Shape>,

    /// How long one measurement takes: one contender, operation, shape and repetition [default:
    /// 40ms, with --full 250ms]
    #[arg(long, value_name = "TIME")]
    duration: Option<Time>,

    /// How often contenders take turns [default: 3, with --full 7]
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// The codecs of etcd 3.6 and 3.7, in a Go program each; needs Go
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
