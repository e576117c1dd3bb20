//! What is about to be written to a stream: heads one behind the other in one piece of memory, and
//! between them payloads and frames by reference.

use super::shared::Frame;
use crate::raftpb::Sink;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Payloads of at least this many bytes are queued by reference, smaller ones copied behind their
/// head.
///
/// Measured with `benches/gather.rs` over loopback, CPU of both ends per entry, 64 slices a call:
///
/// | payload | copied | gathered |
/// |---|---|---|
/// | 256 B | 61 ns | 157 ns |
/// | 1 KiB | 274 ns | 265 ns |
/// | 2 KiB | 467 ns | 462 ns |
/// | 4 KiB | 975 ns | 781 ns |
/// | 16 KiB | 3902 ns | 3786 ns |
///
/// Between 1 and 2 KiB the two are equal within the noise, and a copy does not pin the payload's
/// block until it is written.
pub const SHARE_BYTES_MIN: usize = 4 << 10;

/// Memory for heads above this is given back once that many batches in a row used less than a quarter
/// of it.
const HEADS_BYTES_KEPT: usize = 1 << 20;
const SMALL_BATCHES_MAX: u32 = 64;

/// Written heads of at least this many bytes are made room of before the queue is empty, if what is
/// left of the heads is no more than that.
const COMPACT_BYTES_MIN: usize = 64 << 10;

#[derive(Debug)]
enum Slice {
    /// A part of `heads`.
    Heads {
        start: usize,
        end: usize,
    },
    Payload(Bytes),
    Frame(Frame),
}

/// A batch of frames on its way to a socket, written with one vectored write.
///
/// An encoder appends; the writer hands it to the socket as a [`Buf`] whose
/// [`chunks_vectored`](Buf::chunks_vectored) are the slices, and calls [`advance`](Buf::advance)
/// by what was taken. Its memory is used again once it is empty, or mostly written, so a queue that is
/// written and filled in turn allocates nothing.
///
/// Copied into it: heads, and payloads below [`SHARE_BYTES_MIN`].
#[derive(Debug)]
pub struct WriteQueue {
    /// Initialised memory, of which the first `used` bytes are queued or written.
    heads: Vec<u8>,
    used: usize,
    /// Where the bytes of `heads` begin that no slice names yet.
    open: usize,
    slices: VecDeque<Slice>,
    /// How much of the first slice is written.
    written: usize,
    remaining: usize,
    copied_bytes: u64,
    small_batches: u32,
    /// From this length on payloads are queued by reference.
    refer_bytes_min: usize,
}

/// Bytes whose value is not known yet.
#[derive(Debug)]
pub(crate) struct Later {
    start: usize,
    end: usize,
}

/// A place in a queue to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    used: usize,
    open: usize,
    slices: usize,
    remaining: usize,
    copied_bytes: u64,
}

impl Default for WriteQueue {
    fn default() -> Self {
        Self {
            heads: Vec::new(),
            used: 0,
            open: 0,
            slices: VecDeque::new(),
            written: 0,
            remaining: 0,
            copied_bytes: 0,
            small_batches: 0,
            refer_bytes_min: SHARE_BYTES_MIN,
        }
    }
}

impl WriteQueue {
    /// Makes an empty queue, without memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many bytes are queued and not written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// Returns whether everything was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// Returns how many slices a vectored write of all of it takes.
    #[must_use]
    pub fn slices(&self) -> usize {
        let inner = |slice: &Slice| match slice {
            Slice::Frame(frame) => frame.queue().slices(),
            _ => 1,
        };
        self.slices.iter().map(inner).sum::<usize>() + usize::from(self.open < self.used)
    }

    /// How many slices there are, a frame by reference counted as one.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn slice_count(&self) -> usize {
        self.slices.len() + usize::from(self.open < self.used)
    }

    /// How many bytes of memory it holds for heads.
    #[cfg(feature = "net")]
    pub(crate) fn memory(&self) -> usize {
        self.heads.len()
    }

    /// Has memory for so many bytes of heads, and for so many slices.
    #[cfg(feature = "net")]
    pub(crate) fn reserve(&mut self, heads: usize, slices: usize) {
        if self.heads.len() - self.used < heads {
            self.grow(heads);
        }
        self.slices.reserve(slices.saturating_sub(self.slices.len()));
    }

    /// From which length on payloads are queued by reference.
    #[inline]
    pub(crate) fn refer_bytes_min(&self) -> usize {
        self.refer_bytes_min
    }

    /// Sets that for what is queued from now on.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn refer_from(&mut self, bytes: usize) {
        self.refer_bytes_min = bytes;
    }

    /// Queues what frames the rest: no payload, and not counted as copied.
    #[cfg(feature = "net")]
    pub(crate) fn put_framing(&mut self, bytes: &[u8]) {
        self.tail(bytes.len()).copy_from_slice(bytes);
        self.commit(bytes.len());
    }

    /// Returns how many bytes of payload and of encoded messages were ever copied into it.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    /// Drops what is queued and keeps the memory.
    pub fn clear(&mut self) {
        if self.heads.len() > HEADS_BYTES_KEPT && self.used < self.heads.len() / 4 {
            self.small_batches += 1;
        } else {
            self.small_batches = 0;
        }
        if self.small_batches > SMALL_BATCHES_MAX {
            self.heads = Vec::new();
            self.small_batches = 0;
        }
        self.slices.clear();
        self.used = 0;
        self.open = 0;
        self.written = 0;
        self.remaining = 0;
    }

    /// A queue that never runs empty, because more is queued while it is written, must not grow by
    /// what was written long ago.
    fn compact(&mut self) {
        let first_heads = self.slices.iter().find_map(|slice| match slice {
            Slice::Heads { start, .. } => Some(*start),
            _ => None,
        });
        let written = first_heads.unwrap_or(self.open);
        let left = self.used - written;
        if written < COMPACT_BYTES_MIN || written < left {
            return;
        }
        self.heads.copy_within(written..self.used, 0);
        self.copied_bytes += left as u64;
        self.used = left;
        self.open -= written;
        for slice in &mut self.slices {
            if let Slice::Heads { start, end } = slice {
                *start -= written;
                *end -= written;
            }
        }
    }

    /// Returns `len` bytes of memory behind what is queued; [`commit`](Self::commit) queues them.
    #[inline]
    pub(crate) fn tail(&mut self, len: usize) -> &mut [u8] {
        if self.heads.len() - self.used < len {
            self.grow(len);
        }
        &mut self.heads[self.used..self.used + len]
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        let wanted = (self.used + len).max(2 * self.heads.len()).max(1 << 10);
        self.heads.resize(wanted, 0);
    }

    #[inline]
    pub(crate) fn commit(&mut self, len: usize) {
        self.used += len;
        self.remaining += len;
    }

    /// Queues `len` bytes, and behind them `copied` ones of a payload.
    #[inline]
    pub(crate) fn commit_copied(&mut self, len: usize, copied: usize) {
        self.commit(len + copied);
        self.copied_bytes += copied as u64;
    }

    #[inline]
    pub(crate) fn put_byte(&mut self, byte: u8) {
        self.tail(1)[0] = byte;
        self.commit(1);
    }

    /// Queues `len` bytes that [`fill`](Self::fill) gives their value later.
    pub(crate) fn put_later(&mut self, len: usize) -> Later {
        self.tail(len);
        let start = self.used;
        self.commit(len);
        Later { start, end: start + len }
    }

    pub(crate) fn fill(&mut self, later: Later, bytes: &[u8]) {
        self.heads[later.start..later.end].copy_from_slice(bytes);
    }

    /// Queues a frame by reference.
    pub(crate) fn put_frame(&mut self, frame: Frame) {
        let len = frame.queue().len();
        self.push(Slice::Frame(frame), len);
    }

    fn push(&mut self, slice: Slice, len: usize) {
        if self.open < self.used {
            self.slices.push_back(Slice::Heads { start: self.open, end: self.used });
            self.open = self.used;
        }
        self.slices.push_back(slice);
        self.remaining += len;
    }

    /// All slices, each with its bytes, as if nothing was written.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let queued = self.slices.iter().filter_map(|slice| match slice {
            Slice::Heads { start, end } => Some(&self.heads[*start..*end]),
            Slice::Payload(payload) => Some(&payload[..]),
            Slice::Frame(_) => None,
        });
        queued.chain(std::iter::once(&self.heads[self.open..self.used]))
    }

    /// How many bytes lie in the queue's own memory.
    pub(crate) fn heads_len(&self) -> usize {
        self.used
    }

    /// Queues what `other`, of which nothing is written, holds: its heads by copy, the rest by
    /// reference.
    pub(crate) fn append(&mut self, other: &Self) {
        for slice in &other.slices {
            match slice {
                Slice::Heads { start, end } => self.put(&other.heads[*start..*end]),
                Slice::Payload(payload) => {
                    self.push(Slice::Payload(payload.clone()), payload.len());
                }
                Slice::Frame(frame) => self.put_frame(frame.clone()),
            }
        }
        self.put(&other.heads[other.open..other.used]);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            used: self.used,
            open: self.open,
            slices: self.slices.len(),
            remaining: self.remaining,
            copied_bytes: self.copied_bytes,
        }
    }

    /// Takes back everything queued since `mark`. Nothing may have been written since.
    pub(crate) fn rollback(&mut self, mark: Mark) {
        self.used = mark.used;
        self.open = mark.open;
        self.slices.truncate(mark.slices);
        self.remaining = mark.remaining;
        self.copied_bytes = mark.copied_bytes;
    }
}

impl Sink for WriteQueue {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.tail(bytes.len()).copy_from_slice(bytes);
        self.commit(bytes.len());
        self.copied_bytes += bytes.len() as u64;
    }

    #[inline]
    fn put_payload(&mut self, payload: &Bytes) {
        if payload.len() < self.refer_bytes_min {
            self.put(payload);
        } else {
            self.push(Slice::Payload(payload.clone()), payload.len());
        }
    }
}

/// Fills `out[*filled..]` with `slices`, the first of which has `skip` bytes written.
fn gather<'a>(
    slices: impl Iterator<Item = &'a [u8]>,
    mut skip: usize,
    out: &mut [IoSlice<'a>],
    filled: &mut usize,
) {
    for slice in slices {
        if *filled == out.len() {
            return;
        }
        let rest = slice.get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(slice.len());
        if !rest.is_empty() {
            out[*filled] = IoSlice::new(rest);
            *filled += 1;
        }
    }
}

impl Buf for WriteQueue {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        match self.slices.front() {
            None => &self.heads[self.open + self.written..self.used],
            Some(Slice::Heads { start, end }) => &self.heads[start + self.written..*end],
            Some(Slice::Payload(payload)) => &payload[self.written..],
            Some(Slice::Frame(frame)) => {
                let mut skip = self.written;
                for slice in frame.queue().iter() {
                    if skip < slice.len() {
                        return &slice[skip..];
                    }
                    skip -= slice.len();
                }
                &[]
            }
        }
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut skip = self.written;
        for slice in &self.slices {
            if filled == out.len() {
                return filled;
            }
            match slice {
                Slice::Heads { start, end } => {
                    gather(std::iter::once(&self.heads[*start..*end]), skip, out, &mut filled);
                }
                Slice::Payload(payload) => {
                    gather(std::iter::once(&payload[..]), skip, out, &mut filled);
                }
                Slice::Frame(frame) => gather(frame.queue().iter(), skip, out, &mut filled),
            }
            skip = 0;
        }
        gather(std::iter::once(&self.heads[self.open..self.used]), skip, out, &mut filled);
        filled
    }

    /// # Panics
    ///
    /// If `count` is more than is queued.
    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining, "{count} of {} bytes written", self.remaining);
        self.remaining -= count;
        self.written += count;
        if self.remaining == 0 {
            self.clear();
            return;
        }
        while let Some(first) = self.slices.front() {
            let len = match first {
                Slice::Heads { start, end } => end - start,
                Slice::Payload(payload) => payload.len(),
                Slice::Frame(frame) => frame.queue().len(),
            };
            if self.written < len {
                return self.compact();
            }
            self.written -= len;
            self.slices.pop_front();
        }
        // What is left lies in the open part.
        self.open += std::mem::take(&mut self.written);
        self.compact();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a slow peer's queue holds: more is queued each time most of it is written.
    #[test]
    fn a_queue_that_never_runs_empty_does_not_grow() {
        let mut queue = WriteQueue::new();
        let large = Bytes::from(vec![2; SHARE_BYTES_MIN]);
        let mut written = Vec::new();
        for round in 0..2000u32 {
            queue.put(&round.to_be_bytes());
            queue.put(&[1; 1000]);
            if round % 3 == 0 {
                queue.put_payload(&large);
            }
            while queue.remaining() > 5 {
                let len = queue.chunk().len().min(queue.remaining() - 5).min(333);
                written.extend_from_slice(&queue.chunk()[..len]);
                queue.advance(len);
            }
        }
        assert!(queue.heads.len() < 4 * COMPACT_BYTES_MIN, "{} bytes", queue.heads.len());
        while queue.has_remaining() {
            written.extend_from_slice(queue.chunk());
            queue.advance(queue.chunk().len());
        }
        let mut rest = &written[..];
        for round in 0..2000u32 {
            let (heads, behind) = rest.split_at(1004);
            assert_eq!(heads[..4], round.to_be_bytes());
            assert!(heads[4..].iter().all(|byte| *byte == 1));
            rest = behind;
            if round % 3 == 0 {
                let (payload, behind) = rest.split_at(SHARE_BYTES_MIN);
                assert!(payload.iter().all(|byte| *byte == 2));
                rest = behind;
            }
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn memory_for_large_batches_is_kept_while_they_come() {
        let mut queue = WriteQueue::new();
        let mut batch = |bytes: usize| {
            queue.put(&vec![0; bytes]);
            queue.advance(bytes);
            queue.heads.len()
        };
        let large = batch(4 << 20);
        for _ in 0..SMALL_BATCHES_MAX {
            assert_eq!(batch(100), large);
        }
        assert_eq!(batch(4 << 20), large);
        for _ in 0..=SMALL_BATCHES_MAX {
            batch(100);
        }
        assert!(batch(100) < 4096);
    }
}
