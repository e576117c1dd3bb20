//! What one write hands to the socket: frames, and the one chunk around them.
//!
//! ```text
//! │ room for the size │ frame │ frame │ ... │ CRLF │
//!        └─ filled from the right once the length is known; what is left of it is skipped
//! ```

use crate::buf::WriteQueue;
use crate::http::{CHUNK_END, CHUNK_HEAD_BYTES_MAX, chunk_head};
use crate::transport::Class;
use crate::transport::drops::Counts;
use bytes::Buf;

/// A batch takes no further frame once it holds this many bytes.
///
/// Larger batches need fewer calls, smaller ones are still in the cache when the socket takes them.
pub(crate) const BATCH_BYTES_MAX: usize = 256 << 10;

/// Nor once it has this many slices: the system takes no more than 1024 in one call.
pub(crate) const BATCH_SLICES_MAX: usize = 960;

/// From this length on, payloads of [`REFER_BYTES_MIN`] and more are queued by reference: the writer is
/// behind, and what is copied now would have left the cache when it is written.
const BEHIND_BYTES: usize = 64 << 10;
const REFER_BYTES_MIN: usize = 1 << 10;

/// Frames in the order in which they were queued.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    queue: WriteQueue,
    counts: Counts,
    /// Of its frames, without the chunk.
    bytes: usize,
    size: Option<crate::buf::Later>,
}

impl Batch {
    /// Begins anew, in the memory it has.
    pub(crate) fn begin(&mut self, chunked: bool) {
        self.queue.clear();
        self.counts = Counts::default();
        self.bytes = 0;
        self.size = chunked.then(|| self.queue.put_later(CHUNK_HEAD_BYTES_MAX));
    }

    /// Queues what `encode` encodes, and returns how long it is.
    #[inline]
    pub(crate) fn put<E>(
        &mut self,
        class: Class,
        is_behind: bool,
        encode: impl FnOnce(&mut WriteQueue) -> Result<(), E>,
    ) -> Result<usize, E> {
        let before = self.queue.len();
        let refer = is_behind || before > BEHIND_BYTES;
        self.queue.refer_from(if refer { REFER_BYTES_MIN } else { crate::buf::SHARE_BYTES_MIN });
        encode(&mut self.queue)?;
        let bytes = self.queue.len() - before;
        self.bytes += bytes;
        self.counts.add(class);
        Ok(bytes)
    }

    /// Queues a frame that carries no message.
    pub(crate) fn put_heartbeat(&mut self, encode: impl FnOnce(&mut WriteQueue)) {
        let before = self.queue.len();
        encode(&mut self.queue);
        self.bytes += self.queue.len() - before;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_MAX || self.queue.slice_count() >= BATCH_SLICES_MAX
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Closes its chunk: what remains is to be written.
    pub(crate) fn seal(&mut self) {
        let Some(size) = self.size.take() else {
            return;
        };
        let mut room = [0; CHUNK_HEAD_BYTES_MAX];
        // A batch is at most one frame longer than its bound, and no frame has 4 GiB.
        let bytes = u32::try_from(self.bytes).unwrap_or(u32::MAX);
        let start = chunk_head(bytes, &mut room);
        self.queue.fill(size, &room);
        self.queue.put_framing(CHUNK_END);
        self.queue.advance(start);
    }

    pub(crate) fn queue(&mut self) -> &mut WriteQueue {
        &mut self.queue
    }
}
