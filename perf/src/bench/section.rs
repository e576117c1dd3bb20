//! A part of the report as a reader meets it, on the terminal and in the HTML file alike: its
//! conclusions, conditions, plots and tables. Not here: what they say (each part's own files).

use super::report::{About, Report};
use super::table::Table;
use super::{codec, commit, stream};

#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// What was measured, in a sentence.
    pub(crate) lead: &'static str,
    /// The figures against what raftwire promises.
    pub(crate) conclusions: Vec<String>,
    /// How often and how long.
    pub(crate) run: String,
    pub(crate) contenders: Vec<About>,
    /// What the reader of the plots must know.
    pub(crate) plots_note: String,
    /// Each an `<svg>` element.
    pub(crate) plots: Vec<String>,
    pub(crate) tables: Vec<Table>,
    /// How it was measured, in paragraphs.
    pub(crate) method: Vec<String>,
}

/// The parts that were measured, in reading order.
pub(crate) fn all(report: &Report) -> Vec<Section> {
    let codec = report.codec.as_ref().map(codec::section);
    let stream = report.stream.as_ref().map(stream::section);
    let commit = report.commit.as_ref().map(commit::section);
    codec.into_iter().chain(stream).chain(commit).collect()
}
