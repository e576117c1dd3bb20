//! What `inspect` prints of a frame, and in which of its two formats.

use super::table;
use crate::frame::serialize_kind;
use crate::json::Written;
use raftwire::codec::{Deviations, FrameKind};
use serde::{Serialize, Serializer};
use std::io::{self, Write};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A line for a person
    #[default]
    Table,
    /// A JSON object a line, which `raftwire craft` reads
    Json,
}

/// A frame, with the keys of its JSON object in their order.
#[derive(Debug, Serialize)]
pub(super) struct Printed<'a> {
    /// Where it begins and how long it is, in bytes of the stream.
    pub(super) offset: u64,
    pub(super) len: u64,
    #[serde(serialize_with = "serialize_kind")]
    pub(super) kind: FrameKind,
    pub(super) message: Written<'a>,
    /// The codec's state behind the frame; the `message` stream has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<State>,
    /// Where it begins in the file, if there is more in the file than the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_offset: Option<u64>,
    /// Whether `craft` would write the same bytes, if that was asked; told only where it would not.
    #[serde(skip_serializing_if = "is_exact")]
    pub(super) exact: Option<bool>,
    /// What of it a strict decoder would have refused.
    #[serde(skip_serializing_if = "no_deviations", serialize_with = "names")]
    pub(super) deviations: Deviations,
}

/// The state of a `msgappv2` codec.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct State {
    pub(super) term: u64,
    pub(super) index: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_exact(exact: &Option<bool>) -> bool {
    *exact != Some(false)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn no_deviations(deviations: &Deviations) -> bool {
    deviations.is_empty()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn names<S: Serializer>(deviations: &Deviations, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(deviations.names())
}

/// Prints frames to stdout.
#[derive(Debug)]
pub(super) struct Printer<W> {
    out: W,
    format: Format,
    preview: usize,
    /// Whether the table's header is still to be written.
    header: bool,
}

impl<W: Write> Printer<W> {
    /// `header` says whether the first row of a table gets a line above it: for a person it does,
    /// for a program that reads the table each line is a frame.
    pub(super) fn new(out: W, format: Format, preview: usize, header: bool) -> Self {
        Self { out, format, preview, header: header && format == Format::Table }
    }

    pub(super) fn print(&mut self, frame: &Printed<'_>) -> io::Result<()> {
        // Not before there is a frame: stdout carries frames only.
        if std::mem::take(&mut self.header) {
            table::header(&mut self.out)?;
        }
        match self.format {
            Format::Table => table::row(&mut self.out, frame, self.preview),
            Format::Json => {
                serde_json::to_writer(&mut self.out, frame)?;
                self.out.write_all(b"\n")
            }
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
