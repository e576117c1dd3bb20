//! What this process has used so far: processor time and allocations of all its threads. Not here:
//! memory, which the kernel tells anyone (`process`).

use serde::{Deserialize, Serialize};

use crate::allocator;

/// What a process used, in some time or since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Consumed {
    /// User and system time of all threads, as `getrusage` has it.
    pub(crate) cpu_us: f64,
    /// Of all threads.
    pub(crate) allocations: u64,
    pub(crate) allocated_bytes: u64,
}

impl Consumed {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_us: self.cpu_us - before.cpu_us,
            allocations: self.allocations - before.allocations,
            allocated_bytes: self.allocated_bytes - before.allocated_bytes,
        }
    }
}

/// Everything since the process began, without allocating.
pub(crate) fn consumed() -> Consumed {
    let allocations = allocator::total();
    Consumed {
        cpu_us: cpu_us(),
        allocations: allocations.count,
        allocated_bytes: allocations.bytes,
    }
}

fn cpu_us() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to writable memory of the right type, which lives through the call.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    if failed != 0 {
        return 0.0;
    }
    // SAFETY: all of it was zeroed, for which every field has a meaning, and then filled in.
    let usage = unsafe { usage.assume_init() };
    let us = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_processor_goes_on() {
        let before = consumed().cpu_us;
        assert!(before > 0.0);
        // Ends, as waiting for it is work.
        while cpu_us() <= before {
            std::hint::spin_loop();
        }
    }
}
