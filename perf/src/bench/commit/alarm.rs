//! Sleep that ends on time: a runtime's own timers have the resolution of a millisecond, which is more
//! than a commit takes; a timer that is a file wakes the runtime itself. Not here: what is due when
//! (`load`).

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

impl Alarm {
    /// Made within the runtime that waits for it.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: an `OwnedFd` is the same open file as long as it lives, and nothing takes it out of
        // the `AsyncFd` before that is dropped.
        let registered = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) };
        Ok(Self { timer: registered.map_err(io::Error::from)? })
    }

    /// Waits so long, not at all where that is nothing, for one at a time.
    pub(crate) async fn wait(&self, time: Duration) -> io::Result<()> {
        if time.is_zero() {
            return Ok(());
        }
        let value = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        // An interval of zero: it goes off once.
        let once = Itimerspec { it_interval: ZERO, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut times = [0; 8];
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut times)?));
            match read {
                Ok(result) => return result.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn goes_off_not_before_its_time_and_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new().unwrap();
            alarm.wait(Duration::ZERO).await.unwrap();
            for us in [50, 700, 2500] {
                let time = Duration::from_micros(us);
                let began = Instant::now();
                alarm.wait(time).await.unwrap();
                assert!(began.elapsed() >= time);
            }
        });
    }
}
