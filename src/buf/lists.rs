//! Recycles the lists of entries of decoded messages, whichever thread drops them. What the entries
//! point into is [`Pool`](super::Pool)'s.
//!
//! Each thread has some lists of its own, and uses the one again that it dropped last, which is still
//! in its cache. What one thread drops and another decodes changes hands in batches: one atomic
//! operation for eight lists, not for each.

use crossbeam_queue::ArrayQueue;
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many lists are kept, beside those that each thread has of its own, which are 16 at the most. A
/// process that holds more messages than this at a time makes its decoders allocate for those beyond.
pub const LISTS_MAX: usize = 4096;

/// The largest list that is kept, in bytes; about 290 entries. Together with [`LISTS_MAX`] it bounds
/// what lies ready to 64 MiB, and 256 KiB a thread.
pub const LIST_BYTES_MAX: usize = 16 << 10;

/// How many lists change hands at once. A thread has twice as many of its own at the most, so that it
/// can go either way for a while.
const BATCH: usize = 8;

type Batch<T> = [Vec<T>; BATCH];

/// The lists of one thread.
struct Local<T> {
    lists: [Vec<T>; 2 * BATCH],
    len: usize,
}

impl<T> Default for Local<T> {
    fn default() -> Self {
        Self { lists: Default::default(), len: 0 }
    }
}

thread_local! {
    /// By [`Lists::number`], of whatever type each holds lists of.
    static LOCALS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// A bounded, lock-free store of empty lists, one per process and type of entry.
///
/// It is a `static`: a message that is dropped finds it without holding a reference to its decoder,
/// whose count would cost two atomic operations a message.
pub struct Lists<T: 'static> {
    batches: OnceLock<ArrayQueue<Batch<T>>>,
    number: OnceLock<usize>,
}

impl<T: 'static> Lists<T> {
    /// Makes an empty store; its memory, 100 KiB, is allocated when it is first used.
    #[must_use]
    pub const fn new() -> Self {
        Self { batches: OnceLock::new(), number: OnceLock::new() }
    }

    fn batches(&self) -> &ArrayQueue<Batch<T>> {
        self.batches.get_or_init(|| ArrayQueue::new(LISTS_MAX / BATCH))
    }

    /// Which of a thread's [`LOCALS`] is this one's.
    #[inline]
    fn number(&self) -> usize {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        *self.number.get_or_init(|| COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Does something with this thread's lists. `None`: it has none, or none any more.
    #[inline(always)]
    fn with_local<R>(&self, act: impl FnOnce(&mut Local<T>) -> R) -> Option<R> {
        let number = *self.number.get()?;
        let found = LOCALS.try_with(|locals| {
            let mut locals = locals.try_borrow_mut().ok()?;
            let local: &mut dyn Any = &mut **locals.get_mut(number)?;
            Some(act(local.downcast_mut()?))
        });
        found.ok()?
    }

    /// Takes an empty list with room for `count` items.
    #[inline]
    #[must_use]
    pub fn take(&self, count: usize) -> Vec<T> {
        let taken = self.with_local(|local| {
            local.len = local.len.checked_sub(1)?;
            local.lists.get_mut(local.len).map(std::mem::take)
        });
        let mut list = match taken {
            Some(Some(list)) => list,
            _ => self.refill(),
        };
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
        if bytes == 0 || bytes > LIST_BYTES_MAX {
            return;
        }
        let mut list = ManuallyDrop::new(list);
        let put = self.with_local(|local| {
            let Some(place) = local.lists.get_mut(local.len) else { return false };
            // There is none yet, which need not be dropped.
            std::mem::swap(place, &mut *list);
            local.len += 1;
            true
        });
        if put != Some(true) {
            self.spill(ManuallyDrop::into_inner(list));
        }
    }

    /// Takes a list from a batch of others; the rest are this thread's.
    #[inline(never)]
    fn refill(&self) -> Vec<T> {
        self.know_local();
        let Some(mut batch) = self.batches().pop() else { return Vec::new() };
        let list = std::mem::take(&mut batch[BATCH - 1]);
        self.with_local(|local| {
            // It was empty, but for a thread that had none yet.
            local.len = BATCH - 1;
            for (place, list) in local.lists.iter_mut().zip(batch) {
                *place = list;
            }
        });
        list
    }

    /// Gives half of this thread's lists to others, to make room for one.
    #[inline(never)]
    fn spill(&self, list: Vec<T>) {
        self.know_local();
        self.with_local(|local| {
            if local.len > BATCH {
                let mut batch = Batch::<T>::default();
                // The older ones.
                batch.swap_with_slice(&mut local.lists[..BATCH]);
                local.lists.rotate_left(BATCH);
                local.len -= BATCH;
                // A full store frees them.
                let _ = self.batches().push(batch);
            }
            local.lists[local.len] = list;
            local.len += 1;
        });
    }

    /// Makes this thread's lists, if it has none yet.
    fn know_local(&self) {
        let number = self.number();
        let _ = LOCALS.try_with(|locals| {
            let Ok(mut locals) = locals.try_borrow_mut() else { return };
            while locals.len() <= number {
                locals.push(Box::new(()));
            }
            if !locals[number].is::<Local<T>>() {
                locals[number] = Box::<Local<T>>::default();
            }
        });
    }

    /// How many lists lie ready for this thread.
    #[must_use]
    pub fn ready(&self) -> usize {
        let local = self.with_local(|local| local.len).unwrap_or_default();
        local + BATCH * self.batches.get().map_or(0, ArrayQueue::len)
    }
}

impl<T: 'static> Default for Lists<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> fmt::Debug for Lists<T> {
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
        for _ in 0..2 * LISTS_MAX {
            lists.put(Vec::with_capacity(1));
        }
        assert!((LISTS_MAX..=LISTS_MAX + 2 * BATCH).contains(&lists.ready()));
    }

    #[test]
    fn lists_dropped_on_another_thread_come_back() {
        let lists = Lists::<u8>::new();
        let dropped = 10 * BATCH;
        std::thread::scope(|scope| {
            scope.spawn(|| (0..dropped).for_each(|_| lists.put(Vec::with_capacity(7))));
        });
        // What that thread had of its own is gone.
        assert!((dropped - 2 * BATCH..=dropped).contains(&lists.ready()));
        for left in (0..lists.ready()).rev() {
            assert_eq!(lists.take(0).capacity(), 7);
            assert_eq!(lists.ready(), left);
        }
        assert_eq!(lists.take(0).capacity(), 0);
    }
}
