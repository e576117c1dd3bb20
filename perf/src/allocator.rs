//! The command's global allocator: forwards to the system's or to mimalloc, and counts.
//!
//! The choice is made once, at the first allocation of the process, and never changes: memory
//! taken from one allocator must go back to the same one. As the first allocation comes before
//! `main`, the choice is read from the environment ([`VARIABLE`]), without allocating; a flag is
//! honoured by starting the command again with the variable set ([`ensure`]).
//!
//! Counting is off unless asked for ([`resume`], [`pause`]): two locked additions for each allocation would
//! otherwise be charged to whoever allocates when the time is taken. Not here: what the numbers
//! mean (`bench`).

use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::ffi::CStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};

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
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED_BYTES: AtomicU64 = AtomicU64::new(0);

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

/// Returns what was counted, and begins again at 0.
pub(crate) fn take() -> Allocations {
    Allocations { count: ALLOCATIONS.swap(0, Relaxed), bytes: ALLOCATED_BYTES.swap(0, Relaxed) }
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

fn count(bytes: usize) {
    if COUNTING.load(Relaxed) {
        ALLOCATIONS.fetch_add(1, Relaxed);
        ALLOCATED_BYTES.fetch_add(bytes as u64, Relaxed);
    }
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
    fn the_choice_does_not_change() {
        assert_eq!(choice(), choice());
        assert_ne!(choice(), UNDECIDED);
    }
}
