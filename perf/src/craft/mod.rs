//! `raftwire craft`: JSON lines in, a stream's bytes out. The lines are frames as `inspect` prints
//! them, or bare messages; the bytes are always encoded from the message.
//!
//! | file | holds |
//! |---|---|
//! | `lines.rs` | lines cut from the input |
//! | `encode.rs` | which frame a message becomes, and its bytes |
//!
//! What a line may hold stands in [`json`](crate::json).

mod encode;
mod lines;

pub(crate) use encode::FrameEncoder;
pub use encode::FrameError;

use crate::frame::{self, Stream};
use crate::input::{self, Source};
use crate::json::{Line, LineError};
use bytes::Buf;
use lines::{Lines, TooLong};
use raftwire::raftpb::Dialect;
use std::fmt;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes a stream from JSON lines
///
/// Reads frames as `raftwire inspect --format json` prints them, or bare messages, one a line, and
/// writes the stream's bytes to stdout. A frame's kind follows from its message and the stream's
/// state, as in etcd; what of a message the kind cannot carry is told on stderr.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to read, - for stdin
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Stream to write
    #[arg(long, value_enum, default_value_t)]
    stream: Stream,
    /// etcd release whose bytes are written; 3.5's are 3.4's
    #[arg(long, value_name = "3.4|3.6|3.7", default_value = "3.4", value_parser = frame::dialect)]
    dialect: Dialect,
    /// Write each frame in the kind its line names, whatever the stream's state
    #[arg(long)]
    keep_kind: bool,
}

/// How to write a stream.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Which stream.
    pub stream: Stream,
    /// Whose bytes.
    pub dialect: Dialect,
    /// Whether a frame keeps the kind its line names.
    pub keep_kind: bool,
    /// The longest line that is read: [`LINE_BYTES_MAX`].
    pub line_bytes_max: u64,
}

/// The longest line that is read.
///
/// The largest message, 512 MiB, has two hex digits a byte: 1 GiB. 256 MiB more are for keys and
/// numbers: 64 bytes for each of 4 Mi entries, which are that message's if they have 128 bytes each.
/// Only a message of hundreds of MiB in smaller entries has a longer line. How much memory a line's
/// items take is bounded apart from this, by [`LIST_ITEMS_MAX`](crate::json::LIST_ITEMS_MAX).
pub const LINE_BYTES_MAX: u64 = 2 * (512 << 20) + (256 << 20);

impl Default for Options {
    fn default() -> Self {
        Self {
            stream: Stream::default(),
            dialect: Dialect::default(),
            keep_kind: false,
            line_bytes_max: LINE_BYTES_MAX,
        }
    }
}

/// Runs the command. 0: clean. 1: a line is not a message, or not one for this stream. 2: I/O.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let source = match Source::open(&args.file) {
        Ok(source) => source,
        Err(error) => {
            complain(&error);
            return ExitCode::from(2);
        }
    };
    let options = Options {
        stream: args.stream,
        dialect: args.dialect,
        keep_kind: args.keep_kind,
        ..Options::default()
    };
    let mut output = BufWriter::new(io::stdout().lock());
    let crafted = craft(
        BufReader::with_capacity(input::PIECE_BYTES, source),
        &mut output,
        &options,
        |line, note| complain(format_args!("line {line}: note: {note}")),
    );
    match crafted {
        Ok(()) => ExitCode::SUCCESS,
        Err(CraftError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(match error {
                CraftError::Read(_) | CraftError::Write(_) => 2,
                _ => 1,
            })
        }
    }
}

/// Tells stderr, if it can be told: the exit code says as much as it can.
fn complain(what: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "raftwire craft: {what}");
}

/// Writes the stream that `input`'s lines describe, telling `note` what each lost on the way.
///
/// What was written before an error stays, and is flushed.
///
/// # Errors
///
/// When a line is too long, is not a message, or is one the stream cannot carry; and when reading
/// or writing fails.
pub fn craft(
    input: impl BufRead,
    mut output: impl Write,
    options: &Options,
    note: impl FnMut(u64, &dyn fmt::Display),
) -> Result<(), CraftError> {
    let crafted = craft_lines(input, &mut output, options, note);
    let flushed = output.flush().map_err(CraftError::Write);
    crafted.and(flushed)
}

fn craft_lines(
    input: impl BufRead,
    output: &mut impl Write,
    options: &Options,
    mut note: impl FnMut(u64, &dyn fmt::Display),
) -> Result<(), CraftError> {
    let mut lines = Lines::new(input, options.line_bytes_max);
    let mut encoder = FrameEncoder::new(options.stream, options.dialect, options.keep_kind);
    while let Some(text) = lines.next().map_err(CraftError::Read)? {
        let line = match text {
            Ok(text) => Line::read(text).map_err(LineProblem::Json),
            Err(TooLong) => Err(LineProblem::TooLong { bytes_max: options.line_bytes_max }),
        };
        let number = lines.number();
        let at = |problem| CraftError::Line { number, problem };
        let line = line.map_err(at)?;
        let mut frame = encoder
            .encode(&line.message, line.kind)
            .map_err(|error| at(LineProblem::Frame(error)))?;
        if !frame.lost.is_empty() {
            note(number, &frame.lost);
        }
        while frame.bytes.has_remaining() {
            let chunk = frame.bytes.chunk();
            output.write_all(chunk).map_err(CraftError::Write)?;
            let count = chunk.len();
            frame.bytes.advance(count);
        }
    }
    Ok(())
}

/// What ended the work before the input did.
#[derive(Debug)]
#[non_exhaustive]
pub enum CraftError {
    /// A line is not a frame of the stream.
    Line {
        /// The line, from 1.
        number: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// The input could not be read.
    Read(io::Error),
    /// The output could not be written.
    Write(io::Error),
}

/// What is wrong with a line.
#[derive(Debug)]
#[non_exhaustive]
pub enum LineProblem {
    /// It is longer than [`Options::line_bytes_max`].
    TooLong {
        /// That limit.
        bytes_max: u64,
    },
    /// It is not a message in JSON.
    Json(LineError),
    /// Its message cannot be a frame of the stream.
    Frame(FrameError),
}

impl fmt::Display for CraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { number, problem } => write!(f, "line {number}: {problem}"),
            Self::Read(error) => write!(f, "reading: {error}"),
            Self::Write(error) => write!(f, "writing: {error}"),
        }
    }
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes_max } => write!(f, "longer than {bytes_max} bytes"),
            Self::Json(error) => error.fmt(f),
            Self::Frame(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CraftError {}
