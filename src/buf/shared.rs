//! One AppEntries frame for several followers, encoded once.
//!
//! An AppEntries frame carries no member's id, so followers whose streams are in the same state get
//! the same bytes. The heads of a short frame are copied to each queue and its payloads queued by
//! reference; any other frame is queued by reference as a whole. Which streams are in the same state is the encoders' to decide
//! ([`Encoder::encode_shared`](crate::codec::msgappv2::Encoder::encode_shared)); the memory of the
//! frames is here.

use super::{SHARE_BYTES_MIN, WriteQueue};
use crate::codec::Config;
use crate::error::EncodeError;
use std::collections::VecDeque;
use std::sync::Arc;

/// An encoded frame that is no longer changed.
#[derive(Clone, Debug)]
pub(crate) struct Frame(Arc<WriteQueue>);

impl Frame {
    #[inline]
    pub(crate) fn queue(&self) -> &WriteQueue {
        &self.0
    }
}

/// A frame of more slices than this is queued by reference. To copy the heads of one that has fewer,
/// and to count a reference for each payload, costs less than the frame's own memory would.
const COPIED_SLICES_MAX: usize = 8;

/// How many frames a cache remembers. Those beyond are freed by the last queue that holds them.
const FRAMES_MAX: usize = 64;

/// How many of them are looked at for one that every queue has written,
/// oldest first.
const LOOKS: usize = 4;

/// The memory of shared frames, used again once every queue has written them.
///
/// A frame that was written keeps its payloads until its memory is used again: the cache of an idle
/// leader pins the last entries it sent. [`clear`](Self::clear) lets them go.
#[derive(Debug, Default)]
pub struct FrameCache {
    frames: VecDeque<Arc<WriteQueue>>,
    /// Where a frame is encoded first.
    scratch: WriteQueue,
}

impl FrameCache {
    /// Makes an empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to share the frame of `message`: the first stream that is in its state encodes it.
    pub fn share<'a, M>(&'a mut self, message: &'a M) -> Sharing<'a, M> {
        Sharing { cache: self, message, encoded: None }
    }

    /// Lets go of all frames. Those still queued are freed when they are written.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.scratch.clear();
    }

    /// The memory of a frame nobody holds any more, or new memory.
    fn unused(&mut self) -> Arc<WriteQueue> {
        for _ in 0..LOOKS.min(self.frames.len()) {
            let Some(mut frame) = self.frames.pop_front() else {
                break;
            };
            if let Some(queue) = Arc::get_mut(&mut frame) {
                queue.clear();
                return frame;
            }
            self.frames.push_back(frame);
        }
        Arc::default()
    }

    fn remember(&mut self, frame: Arc<WriteQueue>) {
        if self.frames.len() < FRAMES_MAX {
            self.frames.push_back(frame);
        }
    }
}

/// A message whose frame is being shared.
#[derive(Debug)]
pub struct Sharing<'a, M> {
    cache: &'a mut FrameCache,
    pub(crate) message: &'a M,
    encoded: Option<Encoded>,
}

#[derive(Debug)]
struct Encoded {
    /// Of the encoder that encoded it.
    config: Config,
    /// `None`: it lies in the cache's scratch memory, and is copied from there.
    frame: Option<Frame>,
}

impl<M> Sharing<'_, M> {
    /// Whether the frame was encoded yet, which happens once at most.
    #[must_use]
    pub fn is_encoded(&self) -> bool {
        self.encoded.is_some()
    }

    /// Encodes the frame.
    pub(crate) fn encode(
        &mut self,
        config: &Config,
        encode: impl FnOnce(&mut WriteQueue) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let scratch = &mut self.cache.scratch;
        scratch.clear();
        encode(scratch)?;
        let is_short =
            scratch.heads_len() < SHARE_BYTES_MIN && scratch.slices() <= COPIED_SLICES_MAX;
        let frame = if is_short {
            None
        } else {
            let mut queue = self.cache.unused();
            if let Some(queue) = Arc::get_mut(&mut queue) {
                std::mem::swap(queue, &mut self.cache.scratch);
            }
            self.cache.remember(queue.clone());
            Some(Frame(queue))
        };
        self.encoded = Some(Encoded { config: config.clone(), frame });
        Ok(())
    }

    /// Queues the frame. `false`: it was encoded, but as another configuration has it.
    pub(crate) fn put(&self, config: &Config, queue: &mut WriteQueue) -> bool {
        match &self.encoded {
            Some(encoded) if encoded.config.encodes_like(config) => {
                match &encoded.frame {
                    Some(frame) => queue.put_frame(frame.clone()),
                    None => queue.append(&self.cache.scratch),
                }
                true
            }
            _ => false,
        }
    }
}
