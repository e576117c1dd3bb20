//! Recycles the lists of entries of decoded messages, whichever thread drops them. What the entries
//! point into is [`Pool`](super::Pool)'s.

use crossbeam_queue::ArrayQueue;
use std::fmt;
use std::sync::Arc;

/// How many lists a pool keeps. A consumer that holds more messages than this at a time makes the
/// decoder allocate for those beyond.
pub const LISTS_MAX: usize = 2048;

/// The largest list that is kept, in bytes; about 290 entries. Together with [`LISTS_MAX`] it bounds
/// what an idle pool holds to 32 MiB.
pub const LIST_BYTES_MAX: usize = 16 << 10;

/// A bounded, lock-free store of empty lists. Clones share it.
pub struct VecPool<T> {
    lists: Option<Arc<ArrayQueue<Vec<T>>>>,
}

impl<T> VecPool<T> {
    /// Makes a pool that keeps up to [`LISTS_MAX`] lists.
    #[must_use]
    pub fn new() -> Self {
        Self { lists: Some(Arc::new(ArrayQueue::new(LISTS_MAX))) }
    }

    /// Makes a pool that keeps nothing, and costs nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { lists: None }
    }

    /// Takes an empty list with room for `count` items.
    #[inline]
    #[must_use]
    pub fn take(&self, count: usize) -> Vec<T> {
        let mut list = self.lists.as_ref().and_then(|lists| lists.pop()).unwrap_or_default();
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
        if let Some(lists) = &self.lists
            && bytes > 0
            && bytes <= LIST_BYTES_MAX
        {
            // A full pool frees the list.
            let _ = lists.push(list);
        }
    }

    /// How many lists lie ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.lists.as_ref().map_or(0, |lists| lists.len())
    }
}

impl<T> Default for VecPool<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for VecPool<T> {
    fn clone(&self) -> Self {
        Self { lists: self.lists.clone() }
    }
}

impl<T> fmt::Debug for VecPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VecPool").field("ready", &self.ready()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_empty_with_its_capacity() {
        let pool = VecPool::new();
        let mut list = pool.take(3);
        list.extend([1u64, 2, 3]);
        let address = list.as_ptr();
        pool.put(list);
        assert_eq!(pool.ready(), 1);
        let again = pool.take(2);
        assert!(again.is_empty() && again.capacity() == 3 && again.as_ptr() == address);
    }

    #[test]
    fn large_and_unallocated_lists_are_not_kept() {
        let pool = VecPool::<u8>::new();
        pool.put(Vec::new());
        pool.put(Vec::with_capacity(LIST_BYTES_MAX + 1));
        assert_eq!(pool.ready(), 0);
        for _ in 0..LISTS_MAX + 1 {
            pool.put(Vec::with_capacity(1));
        }
        assert_eq!(pool.ready(), LISTS_MAX);
    }
}
