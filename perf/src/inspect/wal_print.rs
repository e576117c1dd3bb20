//! What `inspect --wal` prints of a record: a line for a person, zeros and all but the first bytes of
//! a payload left out, or the JSON object of `wal_json.rs`, which loses nothing.

use super::print::Format;
use super::wal_entry::{Content, Quoted};
use super::wal_json::{End, EntryForm, Held, Hex, Known, Line, SnapshotForm, Usable};
use raftwire::error::DecodeError;
use raftwire::raftpb::{ConfState, Entry, HardState, Wire};
use raftwire_etcd::wal::{
    DataError, Metadata, Record, RecordKind, SegmentName, SnapshotRecord, Tail,
};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};

/// How many bytes of an entry a table shows, unless another number is asked for.
const PREVIEW_BYTES: usize = 64;

/// Prints records to stdout.
#[derive(Debug)]
pub(super) struct Printer<W> {
    out: W,
    format: Format,
    preview: usize,
    /// Whether the table's header is still to be written.
    header: bool,
    /// The segment the last record stands in.
    segment: Option<SegmentName>,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, format: Format, preview: usize, header: bool) -> Self {
        let preview = if preview == 0 { PREVIEW_BYTES } else { preview };
        let header = header && format == Format::Table;
        Self { out, format, preview, header, segment: None }
    }

    /// The newest snapshot that the log can be opened at.
    pub(super) fn snapshot(&mut self, snapshot: Option<&SnapshotRecord>) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(&Usable { usable_snapshot: snapshot.map(SnapshotForm::of) }),
            Format::Table => match snapshot {
                Some(snapshot) => writeln!(self.out, "usable snapshot {}", Snapshot(snapshot)),
                None => writeln!(self.out, "no usable snapshot"),
            },
        }
    }

    pub(super) fn record(&mut self, record: &Record) -> io::Result<()> {
        let shown = Shown::of(record);
        match self.format {
            Format::Json => {
                let content = match &shown {
                    Shown::Entry(entry) => Content::of(entry),
                    _ => Content::Nothing,
                };
                self.json(&Line::of(record, shown.held(record), Known::of(&content)))
            }
            Format::Table => {
                if std::mem::take(&mut self.header) {
                    let columns = ["OFFSET", "LEN", "KIND", "TERM/INDEX"];
                    let [offset, len, kind, term] = columns;
                    writeln!(self.out, "{offset:>10} {len:>9} {kind:<10} {term:<14} CONTENT")?;
                }
                if self.segment.replace(record.segment) != Some(record.segment) {
                    writeln!(self.out, "{}", record.segment)?;
                }
                let (offset, len) = (record.offset, record.bytes);
                let (kind, at) = (record.kind.to_string(), shown.term_and_index());
                write!(self.out, "{offset:>10} {len:>9} {kind:<10} {at:<14}")?;
                shown.write(record, self.preview, &mut self.out)?;
                writeln!(self.out)
            }
        }
    }

    /// Where the log ends, and how.
    pub(super) fn end(&mut self, tail: &Tail) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(&End::of(tail)),
            Format::Table => match tail.torn {
                None => writeln!(self.out, "end at byte {}, not torn", tail.offset),
                Some(torn) => writeln!(self.out, "end at byte {}, torn: {torn}", tail.offset),
            },
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }
}

/// What a record holds.
enum Shown {
    Metadata(Metadata),
    Entry(Entry),
    HardState(HardState),
    Crc,
    Snapshot(SnapshotRecord),
    /// A kind nobody knows, or data that cannot be read.
    Other(Option<DataError>),
}

impl Shown {
    fn of(record: &Record) -> Self {
        let raft = |error: DecodeError| DataError::from(error);
        let shown = match record.kind {
            RecordKind::METADATA => Metadata::decode(&record.data).map(Self::Metadata),
            RecordKind::ENTRY => Entry::decode(&record.data).map(Self::Entry).map_err(raft),
            RecordKind::HARD_STATE => {
                HardState::decode(&record.data).map(Self::HardState).map_err(raft)
            }
            RecordKind::CRC => Ok(Self::Crc),
            RecordKind::SNAPSHOT => SnapshotRecord::decode(&record.data).map(Self::Snapshot),
            _ => Ok(Self::Other(None)),
        };
        shown.unwrap_or_else(|error| Self::Other(Some(error)))
    }

    fn term_and_index(&self) -> String {
        match self {
            Self::Entry(entry) => format!("{}/{}", entry.term, entry.index),
            Self::Snapshot(snapshot) => format!("{}/{}", snapshot.term, snapshot.index),
            Self::HardState(state) => format!("{}/{}", state.term, state.commit),
            _ => "-".to_owned(),
        }
    }

    fn write(&self, record: &Record, preview: usize, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Metadata(Metadata { member, cluster }) => {
                write!(out, " member={member:x} cluster={cluster:x}")
            }
            Self::Entry(entry) => {
                write!(out, " {}{}", entry.entry_type, Content::of(entry).in_a_line(preview))
            }
            Self::HardState(state) => write!(out, " commit={} vote={:x}", state.commit, state.vote),
            Self::Crc => write!(out, " {:08x}", record.crc),
            Self::Snapshot(snapshot) => write!(out, " {}", Voters(snapshot.conf_state.as_ref())),
            Self::Other(error) => {
                write!(out, " {}", Quoted { bytes: &record.data, preview })?;
                error.map_or(Ok(()), |error| write!(out, " ({error})"))
            }
        }
    }

    fn held<'a>(&'a self, record: &'a Record) -> Option<Held<'a>> {
        Some(match self {
            Self::Crc => return None,
            Self::Metadata(Metadata { member, cluster }) => {
                Held::Metadata { member: *member, cluster: *cluster }
            }
            Self::Entry(entry) => Held::Entry(EntryForm::of(entry)),
            Self::HardState(HardState { term, vote, commit }) => {
                Held::HardState { term: *term, vote: *vote, commit: *commit }
            }
            Self::Snapshot(snapshot) => Held::Snapshot(SnapshotForm::of(snapshot)),
            Self::Other(error) => Held::Data {
                bytes: Hex::of(&record.data),
                error: error.map(|error| error.to_string()),
            },
        })
    }
}

struct Snapshot<'a>(&'a SnapshotRecord);

impl fmt::Display for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(snapshot) = self;
        write!(f, "{}/{} {}", snapshot.term, snapshot.index, Voters(snapshot.conf_state.as_ref()))
    }
}

/// Who is a member.
struct Voters<'a>(Option<&'a ConfState>);

impl fmt::Display for Voters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(state) = self.0 else { return f.write_str("voters unknown") };
        f.write_str("voters")?;
        state.voters.iter().try_for_each(|voter| write!(f, " {voter:x}"))?;
        for (name, ids) in [
            ("learners", &state.learners),
            ("outgoing", &state.voters_outgoing),
            ("learners next", &state.learners_next),
        ] {
            if !ids.is_empty() {
                write!(f, ", {name}")?;
                ids.iter().try_for_each(|id| write!(f, " {id:x}"))?;
            }
        }
        Ok(())
    }
}
