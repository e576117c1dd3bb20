//! The one thread every transport in Rust has: a current-thread tokio runtime, and a task on it that
//! begins runs, so that the first messages of a run are sent from where all others are. Not here:
//! what is sent.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

use crate::bench::stream::member::Member;
use crate::bench::stream::message::Message;

/// A runtime of one thread, which lives as long as the process: what a user of tokio begins with.
pub(super) fn start() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("transport".to_owned())
        .spawn(move || runtime.block_on(pending::<()>()))?;
    Ok(handle)
}

/// Begins runs on a transport's thread.
#[derive(Debug)]
pub(super) struct Starter {
    runtime: Handle,
    begin: Arc<Notify>,
}

impl Starter {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, begin: Arc::new(Notify::new()) }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Waits for `future`, which the thread drives, on another one.
    pub(super) fn block_on<R>(&self, future: impl Future<Output = R>) -> R {
        self.runtime.block_on(future)
    }

    /// Has runs begun on the thread, each when [`begin`](Self::begin) asks for it.
    pub(super) fn lead<M: Message>(
        &self,
        member: Arc<Member<M>>,
        send: impl Fn(&M) + Send + 'static,
    ) {
        let begin = Arc::clone(&self.begin);
        self.spawn(async move {
            loop {
                begin.notified().await;
                member.begin(&send);
            }
        });
    }

    pub(super) fn begin(&self) {
        self.begin.notify_one();
    }
}
