//! One AppEntries frame for several followers: encoded once, queued by reference.
//!
//! An AppEntries frame carries no member's id, so followers whose streams are in the same state get
//! the same bytes. Which streams are is the encoders' to decide
//! ([`Encoder::encode_shared`](crate::codec::msgappv2::Encoder::encode_shared)); the memory of the
//! frames is here.

use super::WriteQueue;
use crate::codec::Config;
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
    encoded: Option<(Frame, Config)>,
}

impl<M> Sharing<'_, M> {
    /// Whether the frame was encoded yet, which happens once at most.
    #[must_use]
    pub fn is_encoded(&self) -> bool {
        self.encoded.is_some()
    }

    /// The frame, if it was encoded by an encoder of the same configuration.
    pub(crate) fn frame(&self, config: &Config) -> Option<&Frame> {
        self.encoded
            .as_ref()
            .filter(|(_, other)| other.encodes_like(config))
            .map(|(frame, _)| frame)
    }

    /// Encodes the frame into memory of its own.
    pub(crate) fn encode<E>(
        &mut self,
        config: &Config,
        encode: impl FnOnce(&mut WriteQueue) -> Result<(), E>,
    ) -> Result<Frame, E> {
        let mut queue = self.cache.unused();
        if let Some(queue) = Arc::get_mut(&mut queue) {
            encode(queue)?;
        }
        self.cache.remember(queue.clone());
        let frame = Frame(queue);
        self.encoded = Some((frame.clone(), config.clone()));
        Ok(frame)
    }
}
