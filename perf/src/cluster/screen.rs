//! What is printed. Answers and what happens to the cluster go to standard output, what members log
//! to standard error, each line behind its member, in the member's colour if that is a terminal.
//!
//! Nothing ends because nobody reads it.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

/// Codes of the colours of members 1, 2, ...; they go round.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// Where things are printed.
pub(super) struct Screen {
    has_colours: bool,
    is_verbose: bool,
}

impl Screen {
    pub(super) fn new(is_verbose: bool) -> Arc<Self> {
        // https://no-color.org: set, and not empty.
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Arc::new(Self { has_colours: io::stderr().is_terminal() && !is_plain, is_verbose })
    }

    /// Prints lines about the cluster.
    pub(super) fn say(&self, lines: fmt::Arguments<'_>) {
        let text = format!("{lines}\n");
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Prints why the command fails.
    pub(super) fn complain(&self, what: fmt::Arguments<'_>) {
        let _ = io::stderr().write_all(format!("raftwire cluster: {what}\n").as_bytes());
    }

    /// Prints a line of a member's log, unless it is one nobody asked for.
    pub(super) fn log(&self, number: u64, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if self.is_verbose || !is_of_raft(&line) {
            let _ = io::stderr().write_all(line_of(number, &line, self.has_colours).as_bytes());
        }
    }
}

fn line_of(number: u64, line: &str, has_colours: bool) -> String {
    if !has_colours {
        return format!("{number} | {line}\n");
    }
    // They are numbered from 1, and few.
    let turn = usize::try_from(number).unwrap_or_default().saturating_sub(1);
    let colour = COLOURS[turn % COLOURS.len()];
    format!("\x1b[{colour}m{number} | {line}\x1b[0m\n")
}

/// Whether raft itself says it, of what is usual: `TIME info raft: ...`.
fn is_of_raft(line: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    words.next() == Some("info") && words.next() == Some("raft:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_of_a_member_in_its_colour() {
        assert_eq!(line_of(2, "text", false), "2 | text\n");
        assert_eq!(line_of(1, "text", true), "\x1b[36m1 | text\x1b[0m\n");
        assert_eq!(line_of(7, "text", true), "\x1b[36m7 | text\x1b[0m\n");
    }

    #[test]
    fn raft_itself_is_told_apart() {
        assert!(is_of_raft("10:00:00.000Z info  raft: became follower at term 1"));
        assert!(!is_of_raft("10:00:00.000Z error raft: it is broken"));
        assert!(!is_of_raft("10:00:00.000Z info  leads from term 2 on"));
    }
}
