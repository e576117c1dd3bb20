//! Lines cut from a file, in bounded memory. What they hold is not looked at.

use std::io::{self, BufRead, Read};

/// What of a long line's memory is kept for the next.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Cuts lines from `input`.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    bytes_max: u64,
}

/// A line longer than was bargained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, bytes_max: u64) -> Self {
        Self { input, line: Vec::new(), number: 0, bytes_max }
    }

    /// The number of the line last read, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line that is not blank; `None` at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<&[u8], TooLong>>> {
        loop {
            self.line.clear();
            self.line.shrink_to(KEPT_BYTES_MAX);
            // One byte more than allowed, for the line's end.
            let mut allowed = (&mut self.input).take(self.bytes_max.saturating_add(1));
            if allowed.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
            }
            if self.line.len() as u64 > self.bytes_max {
                return Ok(Some(Err(TooLong)));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(Ok(&self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(input: &[u8], bytes_max: u64) -> Vec<(u64, Result<Vec<u8>, TooLong>)> {
        let mut lines = Lines::new(input, bytes_max);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let line = line.map(<[u8]>::to_vec);
            let failed = line.is_err();
            all.push((lines.number(), line));
            if failed {
                break;
            }
        }
        all
    }

    #[test]
    fn numbers_lines_and_skips_blank_ones() {
        let lines = cut(b"a\n\n \r\nbb\nc", 10);
        assert_eq!(
            lines,
            [(1, Ok(b"a".to_vec())), (4, Ok(b"bb".to_vec())), (5, Ok(b"c".to_vec()))]
        );
        assert!(cut(b"", 10).is_empty());
    }

    #[test]
    fn bounds_a_line_with_and_without_its_end() {
        assert_eq!(cut(b"abc\nabc", 3), [(1, Ok(b"abc".to_vec())), (2, Ok(b"abc".to_vec()))]);
        assert_eq!(cut(b"ab\nabcd\n", 3), [(1, Ok(b"ab".to_vec())), (2, Err(TooLong))]);
        assert_eq!(cut(b"abcd", 3), [(1, Err(TooLong))]);
    }
}
