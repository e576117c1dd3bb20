//! The member's log: lines for people, given to whoever runs it. Not here: raft's log.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "the usual four")]
pub enum Level {
    /// What only helps to find a mistake.
    Debug,
    /// What happened: a new leader, a stream, a snapshot.
    Info,
    /// What should not happen, and is dealt with.
    Warn,
    /// What ends the member.
    Error,
}

impl Level {
    /// Returns its name, in small letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

type Function = dyn Fn(Level, fmt::Arguments<'_>) + Send + Sync + UnwindSafe + RefUnwindSafe;

/// Takes the lines, each at once and on the member's own thread: it should not wait. By default there
/// is none, and lines are not even made.
#[derive(Clone, Default)]
pub struct Sink(Option<Arc<Function>>);

impl Sink {
    /// Makes one of a function.
    #[must_use]
    pub fn new(
        line: impl Fn(Level, fmt::Arguments<'_>) + Send + Sync + UnwindSafe + RefUnwindSafe + 'static,
    ) -> Self {
        Self(Some(Arc::new(line)))
    }

    /// Whether lines of this level are worth making.
    pub(crate) fn takes(&self, _level: Level) -> bool {
        self.0.is_some()
    }

    pub(crate) fn line(&self, level: Level, line: fmt::Arguments<'_>) {
        if let Some(function) = &self.0 {
            function(level, line);
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Sink(..)" } else { "Sink(none)" })
    }
}
