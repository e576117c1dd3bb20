//! A socket that does what a script says, call by call, and writes down what it was given.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the socket does about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// It takes all it is offered.
    TakesAll,
    /// It takes this much, or all if that is less.
    Takes(usize),
    /// It takes all but that much, at least a byte.
    TakesAllBut(usize),
    /// It takes nothing, now and in further calls, until it is released.
    Blocks,
    /// It takes nothing in this call.
    BlocksOnce,
    /// It fails.
    Fails(io::ErrorKind),
}

/// A call that is expected, and what is done about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Of how many slices, if vectored; `None`: of either kind.
    slices: Option<Option<usize>>,
    does: Does,
}

/// A write that is not vectored.
pub(crate) fn plain(does: Does) -> Step {
    Step { slices: Some(None), does }
}

/// One that is, of that many slices.
pub(crate) fn vectored(slices: usize, does: Does) -> Step {
    Step { slices: Some(Some(slices)), does }
}

/// Either.
pub(crate) fn any(does: Does) -> Step {
    Step { slices: None, does }
}

/// A call that took something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Of how many slices, if vectored.
    pub(crate) slices: Option<usize>,
    pub(crate) offered: usize,
    pub(crate) taken: usize,
}

#[derive(Debug)]
struct State {
    input: VecDeque<u8>,
    input_ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    is_vectored: bool,
    head: Vec<u8>,
    steps: VecDeque<Step>,
    /// Once there are no more steps; `None`: nothing more is expected.
    beyond: Option<Does>,
    calls: Vec<Call>,
    written: Vec<u8>,
    failures: Vec<String>,
    is_dropped: bool,
}

/// The test's hold on the socket.
pub(crate) struct Script(Arc<Mutex<State>>);

/// The socket.
pub(crate) struct ScriptedSocket(Arc<Mutex<State>>);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    /// Makes a socket that takes part in `steps` and fails the test at any other call. It gives
    /// `request` to be read, and takes the head of a response without a step.
    pub(crate) fn of(request: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        Self(Arc::new(Mutex::new(State {
            input: request.bytes().collect(),
            input_ended: false,
            reader: None,
            writer: None,
            is_vectored: true,
            head: Vec::new(),
            steps: steps.into_iter().collect(),
            beyond: None,
            calls: Vec::new(),
            written: Vec::new(),
            failures: Vec::new(),
            is_dropped: false,
        })))
    }

    /// Makes the socket say that it writes no vectors.
    pub(crate) fn not_vectored(self) -> Self {
        lock(&self.0).is_vectored = false;
        self
    }

    /// Says what it does about calls beyond the steps.
    pub(crate) fn then_always(self, does: Does) -> Self {
        self.now_always(does);
        self
    }

    /// The same, from now on.
    pub(crate) fn now_always(&self, does: Does) {
        lock(&self.0).beyond = Some(does);
        self.wake();
    }

    /// Adds a step.
    pub(crate) fn push(&self, step: Step) {
        lock(&self.0).steps.push_back(step);
        self.wake();
    }

    /// Ends a [`Does::Blocks`], which must be what comes next.
    pub(crate) fn release(&self) {
        let step = lock(&self.0).steps.pop_front();
        assert!(step.is_some_and(|step| step.does == Does::Blocks), "{step:?} was released");
        self.wake();
    }

    /// Gives more to be read.
    pub(crate) fn receive(&self, bytes: &[u8]) {
        lock(&self.0).input.extend(bytes);
        self.wake();
    }

    /// Ends what is to be read.
    pub(crate) fn end_input(&self) {
        lock(&self.0).input_ended = true;
        self.wake();
    }

    fn wake(&self) {
        let mut state = lock(&self.0);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(crate) fn socket(&self) -> Box<ScriptedSocket> {
        Box::new(ScriptedSocket(self.0.clone()))
    }

    /// The response's head.
    pub(crate) fn head(&self) -> String {
        String::from_utf8(lock(&self.0).head.clone()).unwrap()
    }

    /// What was written behind the head since this was last asked.
    pub(crate) fn written(&self) -> Vec<u8> {
        self.check();
        std::mem::take(&mut lock(&self.0).written)
    }

    /// The calls that took something since this was last asked.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.check();
        std::mem::take(&mut lock(&self.0).calls)
    }

    pub(crate) fn is_dropped(&self) -> bool {
        lock(&self.0).is_dropped
    }

    /// Fails if there was a call out of the script.
    pub(crate) fn check(&self) {
        let failures = lock(&self.0).failures.clone();
        assert!(failures.is_empty(), "{failures:?}");
    }

    /// Fails also if a step is left, or something was written that nobody looked at.
    pub(crate) fn finish(&self) {
        self.check();
        let state = lock(&self.0);
        assert!(state.steps.is_empty(), "not called: {:?}", state.steps);
        assert!(state.written.is_empty(), "also written: {}", state.written.escape_ascii());
    }
}

impl State {
    fn write(
        &mut self,
        slices: &[&[u8]],
        is_vectored: bool,
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        if !self.head.ends_with(b"\r\n\r\n") {
            let head = slices.concat();
            self.head.extend_from_slice(&head);
            if !self.head.ends_with(b"\r\n\r\n") {
                self.failures.push(format!("part of a head: {}", head.escape_ascii()));
            }
            return Poll::Ready(Ok(head.len()));
        }
        let count = is_vectored.then_some(slices.len());
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        if is_vectored && !self.is_vectored {
            self.failures.push("a vectored write to a socket that has none".to_owned());
        }
        if slices.iter().any(|slice| slice.is_empty()) {
            self.failures.push(format!("an empty slice among {}", slices.len()));
        }
        let step = self.steps.front().copied().or_else(|| self.beyond.map(any));
        let Some(Step { slices: expected, does }) = step else {
            self.failures.push(format!("unexpected: {count:?} slices, {offered} bytes"));
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        };
        if does == Does::Blocks {
            self.writer = Some(waker.clone());
            return Poll::Pending;
        }
        self.steps.pop_front();
        if does == Does::BlocksOnce {
            self.writer = Some(waker.clone());
            return Poll::Pending;
        }
        if expected.is_some_and(|expected| expected != count) {
            self.failures.push(format!("{count:?} slices, not {expected:?}"));
        }
        let taken = match does {
            Does::TakesAll => offered,
            Does::Takes(bytes) => offered.min(bytes),
            Does::TakesAllBut(bytes) => offered.saturating_sub(bytes).max(1),
            Does::Fails(kind) => return Poll::Ready(Err(kind.into())),
            Does::Blocks | Does::BlocksOnce => return Poll::Pending,
        };
        let mut left = taken;
        for slice in slices {
            let len = left.min(slice.len());
            self.written.extend_from_slice(&slice[..len]);
            left -= len;
        }
        self.calls.push(Call { slices: count, offered, taken });
        Poll::Ready(Ok(taken))
    }
}

impl AsyncWrite for ScriptedSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).write(&[bytes], false, cx.waker())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        lock(&self.0).write(&slices, true, cx.waker())
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).is_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ScriptedSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if state.input.is_empty() && !state.input_ended {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = room.remaining().min(state.input.len());
        let bytes: Vec<u8> = state.input.drain(..len).collect();
        room.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ScriptedSocket {
    fn drop(&mut self) {
        lock(&self.0).is_dropped = true;
    }
}
