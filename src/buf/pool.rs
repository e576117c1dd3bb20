//! The blocks streams are received into, and the one memory budget of all that draw from them.
//!
//! A block is a `BytesMut`. Received bytes are split off it and handed out as `Bytes`; what remains
//! of the `BytesMut`, be it empty, is the block's *anchor*: it holds the allocation, and its
//! reference count is 1 again when the last slice has been dropped, on whatever thread. So a block
//! comes back by being looked at, and nothing runs when a consumer drops a payload.

use bytes::BytesMut;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Sizes and limits of a [`Pool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// The size of a block, in bytes; 256 KiB by default. Larger ones copy less of the frames that
    /// lie across two blocks, smaller ones cost an idle stream less. From 4 KiB to 1 GiB.
    pub block_bytes: usize,
    /// What all blocks together may take, in bytes, whoever holds them; 1 GiB by default. Lists of
    /// entries count while a decoder fills them, and are the consumer's own once they are handed out.
    /// At the budget a decoder asks its reader to stop.
    pub budget_bytes: usize,
    /// How many bytes of free blocks are kept for later; 64 MiB by default.
    pub free_bytes_max: usize,
    /// How long a reader may be stopped at the budget before that is an error; 5 s by default,
    /// which is how long etcd waits for a peer that stopped reading.
    pub wait_max: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            block_bytes: 256 << 10,
            budget_bytes: 1 << 30,
            free_bytes_max: 64 << 20,
            wait_max: Duration::from_secs(5),
        }
    }
}

/// A snapshot of what a [`Pool`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// All blocks and lists that count against the budget, in bytes.
    pub allocated_bytes: usize,
    /// Full blocks that cannot be used again, because a payload in them is still held.
    pub pinned_bytes: usize,
    /// Of the pinned bytes, those that were handed out as payload. One that was dropped counts until
    /// its whole block is free, so this is the most that consumers can be holding.
    pub live_bytes: usize,
    /// Blocks that lie ready, in bytes.
    pub free_bytes: usize,
    /// How many blocks were ever allocated.
    pub blocks_allocated: u64,
}

/// A block, or what is left of one.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) bytes: BytesMut,
    /// The whole of its memory, of which `bytes` may be a part.
    pub(crate) capacity: usize,
}

impl Block {
    /// Whether `bytes` starts where the block does.
    pub(crate) fn at_start(&self) -> bool {
        self.bytes.capacity() == self.capacity
    }

    /// Makes the whole block usable again if nothing but this handle holds it.
    fn reclaim(&mut self) -> bool {
        self.bytes.clear();
        self.bytes.try_reclaim(self.capacity)
    }
}

struct Pinned {
    block: Block,
    live_bytes: usize,
}

#[derive(Default)]
struct State {
    free: Vec<Block>,
    /// Oldest first.
    pinned: VecDeque<Pinned>,
    stragglers: VecDeque<Pinned>,
    /// Which of `pinned` was looked at last, beyond the first few.
    probed: usize,
    /// Blocks wherever they are, and charged lists.
    allocated_bytes: usize,
    free_bytes: usize,
    /// As configured.
    free_bytes_max: usize,
    /// How many blocks there are, wherever they are.
    blocks: usize,
    blocks_allocated: u64,
}

/// How many times larger than asked for a block may be.
pub(crate) const OVERSIZE: usize = 4;

/// How many pinned blocks are looked at each time one is wanted, of each of the two queues. Each time
/// adds at most one, so all are looked at often enough, and many cost no long look.
const LOOKS: usize = 8;

impl State {
    /// Frees blocks nobody holds any more, with few looks.
    ///
    /// Consumers let go of messages in the order they came, nearly. So the oldest block is the next
    /// to be free; one that is still held while a younger one is not is a straggler, whose consumer
    /// keeps it for longer, and waits in a queue of its own.
    fn reclaim(&mut self) {
        for _ in 0..LOOKS {
            let reclaim = |pinned: &mut Pinned| pinned.block.reclaim();
            match self.pinned.iter_mut().take(LOOKS).position(reclaim) {
                Some(position) => self.free_behind_stragglers(position),
                None => break,
            }
        }
        self.probe();
        self.reclaim_stragglers(LOOKS);
    }

    /// Looks further back, a little further each time: a consumer may hold many blocks in a row.
    fn probe(&mut self) {
        for _ in 0..LOOKS.min(self.pinned.len()) {
            self.probed = (self.probed + 1) % self.pinned.len();
            if self.pinned[self.probed].block.reclaim() {
                let position = std::mem::take(&mut self.probed);
                self.free_behind_stragglers(position);
                return;
            }
        }
    }

    /// The block at `position` is free, so those before it are stragglers.
    fn free_behind_stragglers(&mut self, position: usize) {
        self.stragglers.extend(self.pinned.drain(..position));
        if let Some(free) = self.pinned.pop_front() {
            self.free(free.block);
        }
    }

    fn reclaim_stragglers(&mut self, looks: usize) {
        for _ in 0..looks.min(self.stragglers.len()) {
            let Some(mut oldest) = self.stragglers.pop_front() else { return };
            if oldest.block.reclaim() {
                self.free(oldest.block);
            } else {
                self.stragglers.push_back(oldest);
            }
        }
    }

    /// Frees every block nobody holds any more.
    fn reclaim_all(&mut self) {
        let mut pinned = std::mem::take(&mut self.pinned);
        pinned.retain_mut(|pinned| {
            let free = pinned.block.reclaim();
            if free {
                self.free(std::mem::take(&mut pinned.block));
            }
            !free
        });
        self.pinned = pinned;
        self.reclaim_stragglers(self.stragglers.len());
    }

    /// A new block is the time to grow every queue it may ever wait in: later it shall move from one
    /// to another without a call to the allocator.
    fn make_room_for_one_more(&mut self) {
        self.blocks += 1;
        self.free.reserve(self.blocks - self.free.len());
        self.pinned.reserve(self.blocks - self.pinned.len());
        self.stragglers.reserve(self.blocks - self.stragglers.len());
    }

    fn free(&mut self, block: Block) {
        self.free_bytes += block.capacity;
        self.free.push(block);
        self.trim(self.free_bytes_max);
    }

    /// Takes a free block of at least `bytes` bytes, the smallest there is. One that is much larger
    /// is left: what this one will hold would pin all of it.
    fn take(&mut self, bytes: usize) -> Option<Block> {
        let sizes = bytes..=bytes.saturating_mul(OVERSIZE);
        let fits = self.free.iter().enumerate().filter(|(_, it)| sizes.contains(&it.capacity));
        let (position, _) = fits.min_by_key(|(_, block)| block.capacity)?;
        let block = self.free.swap_remove(position);
        self.free_bytes -= block.capacity;
        Some(block)
    }

    /// Frees free blocks, the largest first, until they take no more than `bytes`.
    fn trim(&mut self, bytes: usize) {
        while self.free_bytes > bytes
            && let Some((largest, _)) = self.free.iter().enumerate().max_by_key(|it| it.1.capacity)
        {
            let block = self.free.swap_remove(largest);
            self.free_bytes -= block.capacity;
            self.allocated_bytes -= block.capacity;
            self.blocks -= 1;
        }
    }

    /// Counts `bytes` more against `budget`, if need be by freeing what lies ready.
    fn charge(&mut self, bytes: usize, budget: usize) -> bool {
        let fits = |state: &Self| bytes <= budget.saturating_sub(state.allocated_bytes);
        if !fits(self) {
            self.reclaim_all();
            let excess = bytes.saturating_sub(budget.saturating_sub(self.allocated_bytes));
            self.trim(self.free_bytes.saturating_sub(excess));
        }
        let fits = fits(self);
        if fits {
            self.allocated_bytes += bytes;
        }
        fits
    }
}

struct Inner {
    config: PoolConfig,
    state: Mutex<State>,
}

/// A store of blocks, shared by its clones, with one budget for all that is received into them.
///
/// Its lock is taken once a block, not once a message. The default is the pool of the process, so
/// that decoders made without further ado share the process's budget.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

impl Pool {
    /// Makes a pool with its own budget.
    #[must_use]
    pub fn new(config: PoolConfig) -> Self {
        let block_bytes = config.block_bytes.clamp(4 << 10, 1 << 30);
        let config = PoolConfig { block_bytes, ..config };
        let state = State { free_bytes_max: config.free_bytes_max, ..State::default() };
        Self { inner: Arc::new(Inner { config, state: Mutex::new(state) }) }
    }

    /// Returns the pool of the process.
    #[must_use]
    pub fn process() -> Self {
        static POOL: OnceLock<Pool> = OnceLock::new();
        POOL.get_or_init(|| Self::new(PoolConfig::default())).clone()
    }

    /// Returns its sizes and limits.
    #[must_use]
    pub fn config(&self) -> &PoolConfig {
        &self.inner.config
    }

    /// Returns what it holds now. Looks at every pinned block.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let mut state = self.state();
        state.reclaim_all();
        let pinned = || state.pinned.iter().chain(&state.stragglers);
        PoolStats {
            allocated_bytes: state.allocated_bytes,
            pinned_bytes: pinned().map(|pinned| pinned.block.capacity).sum(),
            live_bytes: pinned().map(|pinned| pinned.live_bytes).sum(),
            free_bytes: state.free_bytes,
            blocks_allocated: state.blocks_allocated,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an empty block of at least `bytes` bytes. One of `wanted` bytes is taken if it lies
    /// ready: to reuse memory that is already there is not to allocate what a peer announced.
    /// `None`: not within the budget now.
    pub(crate) fn block(&self, bytes: usize, wanted: usize) -> Option<Block> {
        let bytes = bytes.max(self.inner.config.block_bytes);
        let mut state = self.state();
        state.reclaim();
        if let Some(block) = state.take(wanted.max(bytes)).or_else(|| state.take(bytes)) {
            return Some(block);
        }
        if !state.charge(bytes, self.inner.config.budget_bytes) {
            return None;
        }
        state.blocks_allocated += 1;
        state.make_room_for_one_more();
        drop(state);
        let memory = BytesMut::with_capacity(bytes);
        debug_assert_eq!(memory.capacity(), bytes, "what was asked for is what is counted");
        Some(Block { bytes: memory, capacity: bytes })
    }

    /// Takes a block back, of which `live_bytes` were handed out as payload.
    pub(crate) fn retire(&self, mut block: Block, live_bytes: usize) {
        if block.capacity == 0 {
            return;
        }
        let mut state = self.state();
        if block.reclaim() {
            state.free(block);
        } else {
            state.pinned.push_back(Pinned { block, live_bytes });
        }
    }
}

/// A list that counts against a pool's budget while a decoder fills it.
#[derive(Debug)]
pub(crate) struct Charge {
    pool: Pool,
    bytes: usize,
}

impl Charge {
    /// `None`: not within the budget now.
    pub(crate) fn new(pool: &Pool, bytes: usize) -> Option<Self> {
        let budget = pool.inner.config.budget_bytes;
        pool.state().charge(bytes, budget).then(|| Self { pool: pool.clone(), bytes })
    }
}

impl Charge {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The list grows to `bytes`. `false`: not within the budget now. For the moment of the move the
    /// old memory is there too, and does not count twice.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let budget = self.pool.inner.config.budget_bytes;
        let fits = self.pool.state().charge(more, budget);
        if fits {
            self.bytes += more;
        }
        fits
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.pool.state().allocated_bytes -= self.bytes;
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::process()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", self.config()).field("stats", &self.stats()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(blocks: usize) -> Pool {
        let block_bytes = 4 << 10;
        let budget_bytes = blocks * block_bytes;
        Pool::new(PoolConfig { block_bytes, budget_bytes, ..PoolConfig::default() })
    }

    #[test]
    fn a_block_comes_back_when_its_last_slice_is_dropped_on_another_thread() {
        let pool = pool(1);
        let mut block = pool.block(0, 0).unwrap();
        block.bytes.extend_from_slice(&[7; 100]);
        let slice = block.bytes.split_to(40).freeze();
        pool.retire(block, 40);
        let stats = pool.stats();
        assert_eq!((stats.pinned_bytes, stats.live_bytes, stats.free_bytes), (4096, 40, 0));
        assert!(pool.block(0, 0).is_none(), "the budget is one block, and it is pinned");
        std::thread::scope(|scope| {
            scope.spawn(|| drop(slice));
        });
        let block = pool.block(0, 0).unwrap();
        assert_eq!((block.bytes.len(), block.bytes.capacity()), (0, 4096));
        assert_eq!(pool.stats().blocks_allocated, 1);
    }

    #[test]
    fn a_straggler_does_not_keep_younger_blocks_from_being_used_again() {
        for count in [1, 7, 8, 9, 100] {
            younger_blocks_are_used_again_behind(count);
        }
    }

    fn younger_blocks_are_used_again_behind(stragglers: usize) {
        let pool = pool(256);
        let mut held = Vec::new();
        let pin = || {
            let mut block = pool.block(0, 0).unwrap();
            block.bytes.extend_from_slice(&[7; 10]);
            let slice = block.bytes.split_to(10).freeze();
            pool.retire(block, 10);
            slice
        };
        for _ in 0..stragglers {
            held.push(pin());
        }
        for _ in 0..2000 {
            let short = [pin(), pin(), pin()];
            drop(short);
        }
        let allocated = pool.state().blocks_allocated;
        // Until the first look beyond the stragglers some more are allocated.
        let most = 2 * stragglers as u64 + 5;
        assert!(allocated <= most, "{stragglers} held, {allocated} allocated");
        assert_eq!(pool.stats().pinned_bytes, 4096 * stragglers);
        held.clear();
        assert_eq!(pool.stats().pinned_bytes, 0);
    }

    #[test]
    fn free_blocks_make_way_for_a_larger_one() {
        let pool = pool(4);
        let blocks: Vec<_> = (0..4).map(|_| pool.block(0, 0).unwrap()).collect();
        assert!(pool.block(0, 0).is_none());
        for block in blocks {
            pool.retire(block, 0);
        }
        assert_eq!(pool.stats().free_bytes, 4 * 4096);
        let large = pool.block(3 * 4096, 3 * 4096).unwrap();
        assert_eq!(large.bytes.capacity(), 3 * 4096);
        assert_eq!(pool.stats().allocated_bytes, 4 * 4096);
        assert_eq!(pool.stats().free_bytes, 4096);
    }

    #[test]
    fn a_free_block_of_the_wanted_size_is_preferred_and_a_much_larger_one_left() {
        let pool = pool(16);
        let large = pool.block(8 * 4096, 0).unwrap();
        pool.retire(large, 0);
        let small = pool.block(0, 0).unwrap();
        assert_eq!(small.capacity, 4096);
        let block = pool.block(0, 5 * 4096).unwrap();
        assert_eq!(block.capacity, 8 * 4096);
        assert_eq!(pool.block(0, 5 * 4096).unwrap().capacity, 4096);
    }

    #[test]
    fn charged_lists_count_against_the_budget() {
        let pool = pool(2);
        let list = Charge::new(&pool, 4096).unwrap();
        assert!(Charge::new(&pool, 4097).is_none());
        let _block = pool.block(0, 0).unwrap();
        assert!(pool.block(0, 0).is_none());
        drop(list);
        assert!(pool.block(0, 0).is_some());
    }

    #[test]
    fn no_more_free_blocks_are_kept_than_configured() {
        let pool = Pool::new(PoolConfig {
            block_bytes: 4096,
            free_bytes_max: 2 * 4096,
            ..PoolConfig::default()
        });
        let blocks: Vec<_> = (0..5).map(|_| pool.block(0, 0).unwrap()).collect();
        for block in blocks {
            pool.retire(block, 0);
        }
        let stats = pool.stats();
        assert_eq!((stats.free_bytes, stats.allocated_bytes), (2 * 4096, 2 * 4096));
    }
}
