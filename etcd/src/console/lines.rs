//! Lines of limited length, from whatever writes them.

use std::io::{self, BufRead};

/// Bytes a line may have: a value of the largest size etcd takes (1.5 MiB), each of its bytes
/// escaped in one of the usual ways, and room around it.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "it fits or it does not")]
pub enum Line<'a> {
    /// One line, without its end.
    Whole(&'a [u8]),
    /// One that was longer than [`LINE_BYTES_MAX`], and is gone.
    TooLong,
}

/// Reads lines, keeping one at a time.
#[derive(Debug)]
pub struct Lines<R> {
    from: R,
    line: Vec<u8>,
    bytes_max: usize,
}

impl<R: BufRead> Lines<R> {
    /// Reads from there.
    pub const fn new(from: R) -> Self {
        Self { from, line: Vec::new(), bytes_max: LINE_BYTES_MAX }
    }

    /// Reads the next line; what stands before the end without a line feed is one too.
    ///
    /// # Errors
    ///
    /// Whatever the reader says but `Interrupted`.
    pub fn read_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut is_too_long, mut is_begun) = (false, false);
        loop {
            let bytes = match self.from.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() && !is_begun {
                return Ok(None);
            }
            is_begun = true;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + part.len() > self.bytes_max {
                is_too_long = true;
            } else if !is_too_long {
                self.line.extend_from_slice(part);
            }
            let (read, is_last) = (part.len(), end.is_some() || bytes.is_empty());
            self.from.consume(read + usize::from(end.is_some()));
            if is_last {
                return Ok(Some(if is_too_long { Line::TooLong } else { Line::Whole(&self.line) }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_lines_and_skips_those_too_long_however_they_arrive() {
        let bytes = b"one\n\n12345\n123456\nlast";
        for buffer in 1..=bytes.len() {
            let mut lines = Lines::new(io::BufReader::with_capacity(buffer, &bytes[..]));
            lines.bytes_max = 5;
            for expected in [
                Some(Line::Whole(&b"one"[..])),
                Some(Line::Whole(b"")),
                Some(Line::Whole(b"12345")),
                Some(Line::TooLong),
                Some(Line::Whole(b"last")),
                None,
            ] {
                assert_eq!(lines.read_line().unwrap(), expected, "{buffer}");
            }
        }
    }
}
