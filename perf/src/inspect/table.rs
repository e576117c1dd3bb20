//! Frames as a table for a person: a line each, zeros left out. The form that loses nothing is
//! JSON's.

use super::print::Printed;
use raftwire::raftpb::{Message, Snapshot};
use std::fmt;
use std::io::{self, Write};

/// Writes the line above all frames.
pub(super) fn header(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:>10} {:>9} {:<13} {:<14} MESSAGE", "OFFSET", "LEN", "KIND", "TERM/INDEX")
}

/// Writes a frame's line, and below it a line for each entry if their data is to be shown.
pub(super) fn row(out: &mut impl Write, frame: &Printed<'_>, preview: usize) -> io::Result<()> {
    let state = frame.state.map(|state| format!("{}/{}", state.term, state.index));
    write!(
        out,
        "{:>10} {:>9} {:<13} {:<14} {}",
        frame.offset,
        frame.len,
        frame.kind.name(),
        state.as_deref().unwrap_or("-"),
        Summary(frame.message.0),
    )?;
    if let Some(offset) = frame.file_offset {
        write!(out, " at={offset}")?;
    }
    if frame.exact == Some(false) {
        write!(out, " [not exact]")?;
    }
    for deviation in frame.deviations.names() {
        write!(out, " [{deviation}]")?;
    }
    writeln!(out)?;
    if preview > 0 {
        for entry in &frame.message.0.entries {
            let (term, index) = (entry.term, entry.index);
            write!(out, "{:>50} {} {term}/{index} ", "", entry.entry_type)?;
            writeln!(out, "{}", Payload { bytes: entry.data.as_deref(), preview })?;
        }
    }
    Ok(())
}

/// A message in a line.
struct Summary<'a>(&'a Message);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.0;
        write!(f, "{} {}→{}", message.message_type, Id(message.from), Id(message.to))?;
        for (name, number) in [
            ("term", message.term),
            ("logTerm", message.log_term),
            ("index", message.index),
            ("commit", message.commit),
            ("vote", message.vote),
        ] {
            if number != 0 {
                write!(f, " {name}={number}")?;
            }
        }
        if let [first, .., last] | [first @ last] = message.entries.as_slice() {
            let bytes: usize =
                message.entries.iter().flat_map(|entry| &entry.data).map(|data| data.len()).sum();
            let count = message.entries.len();
            write!(f, " entries={count} ({}..{}, {bytes} B)", first.index, last.index)?;
        }
        if message.reject || message.reject_hint != 0 {
            write!(f, " reject={} hint={}", message.reject, message.reject_hint)?;
        }
        if message.context.is_some() {
            let context = Payload { bytes: message.context.as_deref(), preview: 16 };
            write!(f, " context={context}")?;
        }
        if let Some(snapshot) = &message.snapshot {
            write!(f, " snapshot={}", SnapshotSummary(snapshot))?;
        }
        if !message.responses.is_empty() {
            write!(f, " responses={}", message.responses.len())?;
        }
        Ok(())
    }
}

struct SnapshotSummary<'a>(&'a Snapshot);

impl fmt::Display for SnapshotSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = &self.0.metadata;
        let bytes = self.0.data.as_ref().map_or(0, |data| data.len());
        write!(f, "{}/{} ({bytes} B, voters", metadata.term, metadata.index)?;
        for voter in &metadata.conf_state.voters {
            write!(f, " {}", Id(*voter))?;
        }
        f.write_str(")")
    }
}

/// A member id: a real one is a hash, which etcd prints as hex.
struct Id(u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u32::try_from(self.0) {
            Ok(id) => write!(f, "{id}"),
            Err(_) => write!(f, "{:#x}", self.0),
        }
    }
}

/// The first bytes of a payload as hex, and how many follow.
struct Payload<'a> {
    bytes: Option<&'a [u8]>,
    preview: usize,
}

impl fmt::Display for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            None => f.write_str("null"),
            Some([]) => f.write_str("\"\""),
            Some(bytes) => {
                let shown = &bytes[..bytes.len().min(self.preview)];
                write!(f, "{}", const_hex::display(shown))?;
                match bytes.len() - shown.len() {
                    0 => Ok(()),
                    more => write!(f, "…(+{more} B)"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::print::State;
    use crate::json::Written;
    use bytes::Bytes;
    use raftwire::codec::{Deviations, FrameKind};
    use raftwire::raftpb::{Entry, MessageType};

    #[test]
    fn shows_a_frame_in_a_line() {
        let entry = |index, data| Entry { term: 5, index, data: Some(data), ..Entry::default() };
        let message = Message {
            message_type: MessageType::APP,
            from: 1,
            to: 0x8211_f1d0_f64f_3269,
            term: 5,
            log_term: 5,
            index: 10,
            entries: vec![entry(11, Bytes::from("put")), entry(12, Bytes::new())].into(),
            context: Some(Bytes::from_static(&[7; 20])),
            ..Message::default()
        };
        let frame = Printed {
            offset: 53,
            len: 60,
            kind: FrameKind::AppEntries,
            message: Written(&message),
            state: Some(State { term: 5, index: 12 }),
            file_offset: None,
            exact: Some(false),
            deviations: Deviations::default(),
        };
        let mut text = Vec::new();
        row(&mut text, &frame, 2).unwrap();
        let expected = "        53        60 AppEntries    5/12           MsgApp 1→0x8211f1d0f64f3269 \
            term=5 logTerm=5 index=10 entries=2 (11..12, 3 B) \
            context=07070707070707070707070707070707…(+4 B) [not exact]\n";
        let text = String::from_utf8(text).unwrap();
        let (line, entries) = text.split_at(expected.len());
        assert_eq!(line, expected);
        assert_eq!(
            entries.split_whitespace().collect::<Vec<_>>().join(" "),
            "EntryNormal 5/11 7075…(+1 B) EntryNormal 5/12 \"\""
        );
    }
}
