//! How a log is kept.

use super::{Prepare, SEGMENT_BYTES};

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The bytes a segment is prepared with; the batch that reaches this is its last.
    pub segment_bytes: u64,
    /// When spare segments are prepared.
    pub prepare: Prepare,
    /// How many segments are kept of those that were released, and those that are held.
    pub kept_segments: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, prepare: Prepare::default(), kept_segments: 5 }
    }
}
