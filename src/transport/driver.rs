//! A thread for a transport to run on, where the embedder has no runtime of its own for it.
//!
//! One thread does all of a transport's work: it reads a stream, gives its messages to the raft, and
//! writes what that sent, without waking another thread on the way. Why one, and what the
//! alternatives cost, stands in `docs/design.md`.

use std::io;
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A runtime of one thread; dropping it ends both.
///
/// ```
/// use raftwire::transport::Driver;
///
/// let driver = Driver::start()?;
/// driver.handle().spawn(async { /* what runs there */ });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Driver {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How many tasks are polled before sockets are looked at again. Half of tokio's own figure, 61: a
/// reader that polls busily looks more often, and a busy link hardly takes more calls.
const TASKS_PER_LOOK: u32 = 31;

impl Driver {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no thread, or no way to wait for sockets, left.
    pub fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().event_interval(TASKS_PER_LOOK).build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("raftwire".to_owned()).spawn(move || {
            // Either way it ends: told to, or its owner is gone.
            let _ = runtime.block_on(stopped);
            // A name that is still being resolved may take half a minute.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the way to run something there.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // On its own thread there is nothing to wait for.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}
