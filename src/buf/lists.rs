//! Recycles the lists of entries of decoded messages, whichever thread drops them. What the entries
//! point into is [`Pool`](super::Pool)'s.

use crossbeam_queue::ArrayQueue;
use std::fmt;
use std::sync::OnceLock;

/// How many lists are kept. A process that holds more messages than this at a time makes its
/// decoders allocate for those beyond.
pub const LISTS_MAX: usize = 4096;

/// The largest list that is kept, in bytes; about 290 entries. Together with [`LISTS_MAX`] it bounds
/// what lies ready to 64 MiB.
pub const LIST_BYTES_MAX: usize = 16 << 10;

/// A bounded, lock-free store of empty lists, one per process and type of entry.
///
/// It is a `static`: a message that is dropped finds it without holding a reference to its decoder,
/// whose count would cost two atomic operations a message.
pub struct Lists<T> {
    queue: OnceLock<ArrayQueue<Vec<T>>>,
}

impl<T> Lists<T> {
    /// Makes an empty store; its memory, 128 KiB, is allocated when it is first used.
    #[must_use]
    pub const fn new() -> Self {
        Self { queue: OnceLock::new() }
    }

    #[inline]
    fn queue(&self) -> &ArrayQueue<Vec<T>> {
        self.queue.get_or_init(|| ArrayQueue::new(LISTS_MAX))
    }

    /// Takes an empty list with room for `count` items.
    #[inline]
    #[must_use]
    pub fn take(&self, count: usize) -> Vec<T> {
        let mut list = self.queue().pop().unwrap_or_default();
        if list.capacity() < count {
            list.reserve_exact(count);
        }
        list
    }

    /// Gives a list back; its items are dropped.
    #[inline]
    pub fn put(&self, mut list: Vec<T>) {
        list.clear();
        let bytes = list.capacity() * size_of::<T>();
        if bytes > 0 && bytes <= LIST_BYTES_MAX {
            // A full store frees the list.
            let _ = self.queue().push(list);
        }
    }

    /// How many lists lie ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.queue.get().map_or(0, ArrayQueue::len)
    }
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Lists<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists").field("ready", &self.ready()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_empty_with_its_capacity() {
        let lists = Lists::new();
        let mut list = lists.take(3);
        list.extend([1u64, 2, 3]);
        let address = list.as_ptr();
        lists.put(list);
        assert_eq!(lists.ready(), 1);
        let again = lists.take(2);
        assert!(again.is_empty() && again.capacity() == 3 && again.as_ptr() == address);
    }

    #[test]
    fn large_and_unallocated_lists_are_not_kept() {
        let lists = Lists::<u8>::new();
        lists.put(Vec::new());
        lists.put(Vec::with_capacity(LIST_BYTES_MAX + 1));
        assert_eq!(lists.ready(), 0);
        for _ in 0..LISTS_MAX + 1 {
            lists.put(Vec::with_capacity(1));
        }
        assert_eq!(lists.ready(), LISTS_MAX);
    }
}
