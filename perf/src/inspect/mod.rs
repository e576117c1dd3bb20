//! `raftwire inspect`: opens a captured stream for a person, or as JSON for a program. It reads a
//! piece at a time and holds no more than the frame it is at.
//!
//! | file | holds |
//! |---|---|
//! | `unframe.rs` | what HTTP puts around a stream, taken off |
//! | `decode.rs` | the codec's decoders behind one face |
//! | `exact.rs` | the comparison with what `craft` would write |
//! | `print.rs`, `table.rs` | the two formats |
//! | `wal.rs`, `wal_*.rs` | a member's log instead of a stream |

mod decode;
mod exact;
mod print;
mod table;
mod unframe;
mod wal;
mod wal_entry;
mod wal_json;
mod wal_print;

use crate::frame::{self, Stream};
use crate::input::{self, Source};
use crate::json::{Written, as_read_back};
use decode::{Filled, FrameDecoder};
use exact::Comparison;
use print::{Format, Printed, Printer, State};
use raftwire::buf::PoolConfig;
use raftwire::codec::{Config, Frame, Mode};
use raftwire::error::{DecodeError, DecodeErrorKind, Fault};
use raftwire::raftpb::{Dialect, Message};
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unframe::{Around, UnframeError, Unframer};

/// Opens a captured stream
///
/// Prints each frame's offset and length in the stream, its kind, the codec's state behind it, and
/// its message. A malformed or truncated stream prints its good frames first. What etcd accepts is
/// printed, and told where a strict decoder would not accept it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to read, - for stdin
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Stream that was captured
    #[arg(long, value_enum, default_value_t)]
    stream: Stream,
    /// The file still has HTTP's chunk framing
    #[arg(long)]
    chunked: bool,
    /// The file begins with an HTTP response head, and has the framing this announces
    #[arg(long)]
    http: bool,
    /// Id of the member that read the stream, decimal or hex with 0x; AppEntries frames leave it out
    #[arg(long, value_name = "ID", default_value = "0", value_parser = frame::member_id)]
    local: u64,
    /// Id of the member that wrote it, likewise
    #[arg(long, value_name = "ID", default_value = "0", value_parser = frame::member_id)]
    remote: u64,
    /// How to print frames
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Mark the frames that `raftwire craft` in this dialect would write in other bytes
    #[arg(long, value_name = "3.4|3.6|3.7", value_parser = frame::dialect)]
    dialect: Option<Dialect>,
    /// Refuse what no correct member writes, as raftwire's transport does
    #[arg(long)]
    strict: bool,
    /// Bytes of each entry's data to show in a table
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    preview: usize,
    /// Open a member's log instead, record by record: its data directory, or that of its segments
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["file", "stream", "chunked", "http", "local", "remote", "dialect", "strict"]
    )]
    wal: Option<PathBuf>,
}

/// Runs the command. 0: clean. 1: malformed or truncated. 2: usage or I/O.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let inspected = match &args.wal {
        Some(dir) => inspect_wal(dir, args),
        None => inspect(args),
    };
    match inspected {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(Error::Write(error) | Error::Wal(wal::Error::Write(error)))
            if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Where nobody hears it, the exit code says as much as it can.
            let _ = writeln!(io::stderr(), "raftwire inspect: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn inspect(args: &Args) -> Result<(), Error> {
    let source = Source::open(&args.file).map_err(Error::Read)?;
    let stdout = io::stdout();
    let header = stdout.is_terminal();
    let printer = Printer::new(BufWriter::new(stdout.lock()), args.format, args.preview, header);
    let mut inspector = Inspector::new(args, printer);
    let inspected = inspector.inspect(source);
    // The good frames come out before the error.
    inspector.printer.flush().map_err(Error::Write)?;
    inspected
}

fn inspect_wal(dir: &Path, args: &Args) -> Result<(), Error> {
    let stdout = io::stdout();
    let header = stdout.is_terminal();
    let out = BufWriter::new(stdout.lock());
    wal::inspect(dir, out, args.format, args.preview, header).map_err(Error::Wal)
}

struct Inspector<W> {
    unframer: Unframer,
    decoder: FrameDecoder,
    comparison: Option<Comparison>,
    printer: Printer<W>,
    stream_bytes: u64,
    /// Where in the file the frame began whose bytes are being taken.
    frame_file_offset: Option<u64>,
    /// Whether there is more in the file than the stream.
    framed: bool,
}

impl<W: Write> Inspector<W> {
    fn new(args: &Args, printer: Printer<W>) -> Self {
        let around = match (args.http, args.chunked) {
            (true, _) => Around::Response,
            (false, true) => Around::Chunks,
            (false, false) => Around::Nothing,
        };
        let mode = if args.strict { Mode::Strict } else { Mode::AsEtcd };
        let config = Config::default().mode(mode).local(args.local).remote(args.remote);
        Self {
            unframer: Unframer::new(around),
            decoder: FrameDecoder::new(args.stream, config, PoolConfig::default()),
            comparison: args.dialect.map(|dialect| Comparison::new(args.stream, dialect)),
            printer,
            stream_bytes: 0,
            frame_file_offset: None,
            framed: around != Around::Nothing,
        }
    }

    fn inspect(&mut self, mut source: impl Read) -> Result<(), Error> {
        let mut piece = vec![0; input::PIECE_BYTES];
        loop {
            let count = match source.read(&mut piece) {
                Ok(0) => return self.finish(),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Read(error)),
            };
            let mut rest = &piece[..count];
            while !rest.is_empty() {
                let step = self.unframer.step(rest)?;
                let data_offset = self.unframer.file_offset() - step.data.len() as u64;
                self.take(step.data, data_offset)?;
                rest = &rest[step.taken..];
            }
            // The input may be a live capture: what is known now is shown now.
            self.printer.flush().map_err(Error::Write)?;
        }
    }

    /// Takes bytes of the stream, which stand at `file_offset`, and prints the frames they end.
    fn take(&mut self, data: &[u8], file_offset: u64) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        let data_offset = self.stream_bytes;
        self.stream_bytes += data.len() as u64;
        self.frame_file_offset.get_or_insert(file_offset);
        if let Some(comparison) = &mut self.comparison {
            comparison.fill(data);
        }
        let mut rest = data;
        while !rest.is_empty() {
            if let Filled::Taken(count) = self.decoder.fill(rest)? {
                rest = &rest[count..];
            }
            while let Some(frame) = self.decoder.next()? {
                let end = frame.offset + frame.len;
                self.print(frame)?;
                // The next frame begins here, or where the next data does.
                let next = (end < self.stream_bytes).then(|| file_offset + (end - data_offset));
                self.frame_file_offset = next;
            }
        }
        Ok(())
    }

    fn print(&mut self, mut frame: Frame<Message>) -> Result<(), Error> {
        as_read_back(&mut frame.message);
        let exact = self.comparison.as_mut().map(|comparison| comparison.is_exact(&frame));
        let state = self.decoder.state();
        let printed = Printed {
            offset: frame.offset,
            len: frame.len,
            kind: frame.kind,
            message: Written(&frame.message),
            state: state.map(|state| State { term: state.term, index: state.index }),
            file_offset: self.frame_file_offset.filter(|_| self.framed),
            exact,
            deviations: frame.deviations,
        };
        self.printer.print(&printed).map_err(Error::Write)
    }

    fn finish(&mut self) -> Result<(), Error> {
        // A last frame that is whole but had no memory is not a truncated one. It may have several
        // lists, and ask for each.
        while self.decoder.fill(&[])? == Filled::Decode {
            while let Some(frame) = self.decoder.next()? {
                self.print(frame)?;
            }
        }
        let deviations = self.decoder.finish()?;
        if !deviations.is_empty() {
            return Err(Error::Truncated { offset: self.stream_bytes });
        }
        Ok(self.unframer.finish()?)
    }
}

#[derive(Debug)]
enum Error {
    Read(io::Error),
    Write(io::Error),
    Unframe(UnframeError),
    Decode(DecodeError),
    Wal(wal::Error),
    /// The stream ended inside a frame, where etcd takes it for a graceful end.
    Truncated {
        offset: u64,
    },
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Read(_) | Self::Write(_) => 2,
            Self::Decode(error) if error.fault() == Fault::Local => 2,
            Self::Wal(error) => error.exit_code(),
            Self::Unframe(_) | Self::Decode(_) | Self::Truncated { .. } => 1,
        }
    }
}

impl From<UnframeError> for Error {
    fn from(error: UnframeError) -> Self {
        Self::Unframe(error)
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "reading: {error}"),
            Self::Write(error) => write!(f, "writing: {error}"),
            Self::Unframe(error) => error.fmt(f),
            Self::Wal(error) => error.fmt(f),
            Self::Decode(error) if matches!(error.kind, DecodeErrorKind::Budget { .. }) => {
                // How long it waited for the memory says nothing here: it did not.
                let mib = PoolConfig::default().budget_bytes >> 20;
                let DecodeError { field, offset, .. } = error;
                write!(f, "more than {mib} MiB of memory needed for {field} at byte {offset}")
            }
            Self::Decode(error) => error.fmt(f),
            Self::Truncated { offset } => {
                write!(f, "stream ended inside a frame, between two fields, at byte {offset}")
            }
        }
    }
}
