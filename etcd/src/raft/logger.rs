//! raft-rs's own log, as lines of the member's.

use crate::log::{Level, Sink};
use slog::{Drain, KV, Key, OwnedKVList, Record, Serializer};
use std::fmt::{self, Write};

/// Makes the logger raft-rs is given.
pub(crate) fn logger(sink: &Sink) -> slog::Logger {
    slog::Logger::root(Lines { sink: sink.clone() }.ignore_res(), slog::o!())
}

struct Lines {
    sink: Sink,
}

impl Drain for Lines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), slog::Never> {
        let level = match record.level() {
            slog::Level::Critical | slog::Level::Error => Level::Error,
            slog::Level::Warning => Level::Warn,
            slog::Level::Info => Level::Info,
            slog::Level::Debug | slog::Level::Trace => return Ok(()),
        };
        if self.sink.takes(level) {
            let mut values = Values(String::new());
            // A line without its values is better than none.
            let _ = record.kv().serialize(record, &mut values);
            self.sink.line(level, format_args!("raft: {}{}", record.msg(), values.0));
        }
        Ok(())
    }

    fn is_enabled(&self, level: slog::Level) -> bool {
        level.is_at_least(slog::Level::Info)
    }
}

struct Values(String);

impl Serializer for Values {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}")?;
        Ok(())
    }
}
