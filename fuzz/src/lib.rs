//! What the fuzz targets have in common: the allocator that counts, and the line that makes a
//! target of a body. The bodies are `raftwire::fuzzing`, and of the log `raftwire_etcd::fuzzing`.

mod craft;

use raftwire::fuzzing::Env;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Makes the fuzz target `name`.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::run($name, input));
    };
}

/// Runs the body of the target `name`.
pub fn run(name: &str, input: &[u8]) {
    // One instant for all inputs, so that a run can be repeated.
    static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);
    let env = Env { now: *NOW, peak_of };
    match name {
        // What is fuzzed here is the command's, not the library's.
        "craft" => craft::lines(input, &env),
        _ if raftwire_etcd::fuzzing::run(name, input, peak_of) => {}
        _ => raftwire::fuzzing::run(name, input, &env),
    }
}

/// Counts what is allocated. A fuzz target has one thread that allocates.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grow(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

fn shrink(bytes: usize) {
    LIVE.fetch_sub(bytes, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise is the one that is needed.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller's promise is the one that is needed.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promise is the one that is needed.
        unsafe { System.alloc_zeroed(layout) }
    }

    // A reallocation may hold both for a moment, but the old one is the C library's business: both
    // are counted, as they would be if it had to move.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        // SAFETY: the caller's promise is the one that is needed.
        let new = unsafe { System.realloc(pointer, layout, size) };
        shrink(layout.size());
        new
    }
}

fn peak_of(run: &mut dyn FnMut()) -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    run();
    PEAK.load(Relaxed).saturating_sub(before)
}
