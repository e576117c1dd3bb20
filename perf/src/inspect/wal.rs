//! `raftwire inspect --wal`: the log of a member, a record a line. It is only read: nothing is
//! locked, repaired or changed, so that the member may be running.

use super::print::Format;
use super::wal_print::Printer;
use raftwire_etcd::disk::OsDisk;
use raftwire_etcd::wal::{self, Reader, Tail, WalError, usable_snapshots};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where a log may lie in the directory that is named: that itself, or a member's data directory.
const PLACES: [&str; 3] = ["", "wal", "member/wal"];

/// Prints the log in `dir`.
pub(super) fn inspect(
    dir: &Path,
    out: impl Write,
    format: Format,
    preview: usize,
    header: bool,
) -> Result<(), Error> {
    let disk = OsDisk::buffered();
    let dir = place(&disk, dir)?;
    let mut printer = Printer::new(out, format, preview, header);
    let printed = print(&disk, &dir, &mut printer);
    // The good records come out before the error.
    printer.flush().map_err(Error::Write)?;
    printed
}

fn place(disk: &OsDisk, dir: &Path) -> Result<PathBuf, Error> {
    for place in PLACES {
        let place = if place.is_empty() { dir.to_owned() } else { dir.join(place) };
        if wal::exists(disk, &place).map_err(Error::Wal)? {
            return Ok(place);
        }
    }
    Err(Error::None(dir.to_owned()))
}

fn print(disk: &OsDisk, dir: &Path, printer: &mut Printer<impl Write>) -> Result<(), Error> {
    match usable_snapshots(disk, dir) {
        Ok(usable) => printer.snapshot(usable.last()).map_err(Error::Write)?,
        // Told where the records end.
        Err(WalError::Corrupt(_)) => {}
        Err(error) => return Err(Error::Wal(error)),
    }
    let mut reader = Reader::open(disk, dir).map_err(Error::Wal)?;
    while let Some(record) = reader.next_record().map_err(Error::Wal)? {
        printer.record(&record).map_err(Error::Write)?;
    }
    match reader.tail() {
        None => Ok(()),
        Some(tail) => {
            printer.end(tail).map_err(Error::Write)?;
            if tail.torn.is_some() { Err(Error::Torn(tail.clone())) } else { Ok(()) }
        }
    }
}

#[derive(Debug)]
pub(super) enum Error {
    Write(io::Error),
    Wal(WalError),
    /// There is no log.
    None(PathBuf),
    /// The last record is torn, as a crash leaves it.
    Torn(Tail),
}

impl Error {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Write(_) | Self::None(_) | Self::Wal(WalError::Disk(_)) => 2,
            Self::Wal(_) | Self::Torn(_) => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(error) => write!(f, "writing: {error}"),
            Self::Wal(error) => error.fmt(f),
            Self::None(dir) => write!(f, "{} holds no log", dir.display()),
            Self::Torn(tail) => {
                write!(f, "{} is torn at byte {}", tail.path.display(), tail.offset)
            }
        }
    }
}
