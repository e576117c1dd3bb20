//! The command's global allocator: forwards to the system's or to mimalloc, and counts.
//!
//! The choice is made once, at the first allocation of the process, and never changes: memory
//! taken from one allocator must go back to the same one. As the first allocation comes before
//! `main`, the choice is read from the environment ([`VARIABLE`]), without allocating; a flag is
//! honoured by starting the command again with the variable set ([`ensure`]).
//!
//! Counting is off unless asked for ([`resume`], [`pause`]), so that it costs no time where only time
//! is taken. Each thread counts in a place of its own, without a locked instruction: an end of
//! `bench stream` counts while it is timed, at less than 1 ns an allocation (locked: 9). Not
//! here: what the numbers mean (`bench`).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::CStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};

use mimalloc::MiMalloc;

#[global_allocator]
static SWITCH: Switch = Switch;

/// `system` (or unset) and `mimalloc`; anything else means `system`.
const VARIABLE: &CStr = c"RAFTWIRE_ALLOCATOR";

const UNDECIDED: u8 = 0;
const SYSTEM: u8 = 1;
const MIMALLOC: u8 = 2;

// INVARIANT: leaves `UNDECIDED` once and never changes again. Relaxed is enough: the value guards
// no other memory, and whoever holds a pointer from this allocator has seen the final value or
// will, since there is only one to see.
static CHOICE: AtomicU8 = AtomicU8::new(UNDECIDED);

static COUNTING: AtomicBool = AtomicBool::new(false);

/// What threads counted: each of the first threads in a slot it alone writes to, all others in the last.
static SLOTS: [Slot; SLOTS_COUNT] = [const { Slot::new() }; SLOTS_COUNT];
const SLOTS_COUNT: usize = 32;
const SHARED_SLOT: usize = SLOTS_COUNT - 1;
static SLOTS_TAKEN: AtomicUsize = AtomicUsize::new(0);

/// What [`take`] has returned so far.
static TAKEN: Slot = Slot::new();

thread_local! {
    // Needs neither memory nor a destructor, so the allocator may use it at any time.
    static SLOT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// In a cache line of its own: two threads that count must not wait for each other.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    allocations: AtomicU64,
    bytes: AtomicU64,
}

impl Slot {
    const fn new() -> Self {
        Self { allocations: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }
}

/// The allocator this process runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Allocator {
    /// The one of the C library
    System,
    /// Microsoft's mimalloc
    Mimalloc,
}

impl Allocator {
    pub(crate) fn current() -> Self {
        match choice() {
            MIMALLOC => Self::Mimalloc,
            _ => Self::System,
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Mimalloc => "mimalloc",
        }
    }
}

/// What the whole process asked of its allocator while it was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocations {
    /// Calls that gave memory out; growing a buffer in place is one of them.
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// Counts the allocations of all threads from here on, until [`pause`].
pub(crate) fn resume() {
    COUNTING.store(true, Relaxed);
}

/// Stops counting; what was counted stays.
pub(crate) fn pause() {
    COUNTING.store(false, Relaxed);
}

/// Everything counted since the process began, by threads that have ended too.
pub(crate) fn total() -> Allocations {
    let mut total = Allocations::default();
    for slot in &SLOTS {
        total.count += slot.allocations.load(Relaxed);
        total.bytes += slot.bytes.load(Relaxed);
    }
    total
}

/// Returns what was counted since it was last called.
pub(crate) fn take() -> Allocations {
    let Allocations { count, bytes } = total();
    Allocations {
        count: count - TAKEN.allocations.swap(count, Relaxed),
        bytes: bytes - TAKEN.bytes.swap(bytes, Relaxed),
    }
}

/// Returns if this process runs on `wanted`; starts the command again on it if not.
///
/// # Errors
/// The system's, when the command cannot be started again.
pub(crate) fn ensure(wanted: Allocator) -> io::Result<()> {
    if Allocator::current() == wanted {
        return Ok(());
    }
    let error = restart(wanted)?;
    match error {}
}

fn restart(wanted: Allocator) -> io::Result<Infallible> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let variable = VARIABLE.to_string_lossy();
    let mut command = std::process::Command::new(std::env::current_exe()?);
    Err(command.arg0(name).args(arguments).env(variable.as_ref(), wanted.label()).exec())
}

fn choice() -> u8 {
    match CHOICE.load(Relaxed) {
        UNDECIDED => decide(),
        decided => decided,
    }
}

#[cold]
fn decide() -> u8 {
    // SAFETY: the name ends in NUL, and `getenv` neither allocates nor writes. The first
    // allocation comes from the runtime before `main`, on the only thread there is, and nothing
    // in this command changes the environment of its own process.
    let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
    let wanted = if value.is_null() {
        SYSTEM
    } else {
        // SAFETY: not null, so it is a string ending in NUL inside the environment, which stays
        // as it is (above).
        let value = unsafe { CStr::from_ptr(value) };
        if value == c"mimalloc" { MIMALLOC } else { SYSTEM }
    };
    match CHOICE.compare_exchange(UNDECIDED, wanted, Relaxed, Relaxed) {
        Ok(_) => wanted,
        Err(earlier) => earlier,
    }
}

#[inline]
fn count(bytes: usize) {
    if !COUNTING.load(Relaxed) {
        return;
    }
    let at = match SLOT.get() {
        usize::MAX => take_slot(),
        at => at,
    };
    let slot = &SLOTS[at];
    if at == SHARED_SLOT {
        slot.allocations.fetch_add(1, Relaxed);
        slot.bytes.fetch_add(bytes as u64, Relaxed);
    } else {
        // No other thread writes here, so nothing is lost between the load and the store.
        slot.allocations.store(slot.allocations.load(Relaxed) + 1, Relaxed);
        slot.bytes.store(slot.bytes.load(Relaxed) + bytes as u64, Relaxed);
    }
}

#[cold]
fn take_slot() -> usize {
    let at = SLOTS_TAKEN.fetch_add(1, Relaxed).min(SHARED_SLOT);
    SLOT.set(at);
    at
}

struct Switch;

// SAFETY: each method hands its arguments unchanged to one allocator, always the same one
// (`CHOICE`), and both uphold the contract of `GlobalAlloc`. Nothing here allocates or unwinds.
unsafe impl GlobalAlloc for Switch {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        match choice() {
            // SAFETY: the caller's promise about `layout`, handed on.
            MIMALLOC => unsafe { MiMalloc.alloc(layout) },
            // SAFETY: as above.
            _ => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        match choice() {
            // SAFETY: the caller's promise about `layout`, handed on.
            MIMALLOC => unsafe { MiMalloc.alloc_zeroed(layout) },
            // SAFETY: as above.
            _ => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        match choice() {
            // SAFETY: `pointer` came from `alloc` above, hence from the allocator chosen then,
            // which is the one chosen now; the rest is the caller's promise.
            MIMALLOC => unsafe { MiMalloc.realloc(pointer, layout, size) },
            // SAFETY: as above.
            _ => unsafe { System.realloc(pointer, layout, size) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match choice() {
            // SAFETY: as for `realloc`.
            MIMALLOC => unsafe { MiMalloc.dealloc(pointer, layout) },
            // SAFETY: as above.
            _ => unsafe { System.dealloc(pointer, layout) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_while_asked() {
        // Other tests allocate at the same time, so only the lower bound is sure.
        resume();
        let block = std::hint::black_box(Vec::<u8>::with_capacity(64));
        pause();
        let allocations = take();
        assert!(block.capacity() >= 64);
        assert!(allocations.count >= 1 && allocations.bytes >= 64);
    }

    #[test]
    fn counts_on_every_thread_and_when_it_has_ended() {
        let before = total().count;
        let threads = 2 * SLOTS_COUNT;
        for _ in 0..threads {
            let counted = || {
                resume();
                drop(std::hint::black_box(Box::new(1)));
            };
            std::thread::spawn(counted).join().unwrap();
        }
        // Another test may stop the counting at any time, but not always.
        assert!(total().count > before + SLOTS_COUNT as u64);
    }

    #[test]
    fn the_choice_does_not_change() {
        assert_eq!(choice(), choice());
        assert_ne!(choice(), UNDECIDED);
    }
}
