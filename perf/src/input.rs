//! Where a command reads from: a file or stdin. What is read is the commands' business.

use std::fs::File;
use std::io::{self, Read, StdinLock};
use std::path::Path;

/// What is read at once: large enough that the syscall does not count.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// An opened input.
#[derive(Debug)]
pub(crate) enum Source {
    File(File),
    Stdin(StdinLock<'static>),
}

impl Source {
    /// Opens a file, or stdin for `-`; an error names the file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdin(io::stdin().lock()));
        }
        let about =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        Ok(Self::File(File::open(path).map_err(about)?))
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stdin(stdin) => stdin.read(buffer),
        }
    }
}
