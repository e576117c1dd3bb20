//! Spare segments: written full of zeros before they are needed, so that a sync of the log hits
//! blocks that were written, and has no file system's metadata to write with them.
//!
//! In the background a spare is written in step with the segment in use: twice as fast, a piece at a
//! time, so that it is ready when that is full and a sync seldom meets a piece. It stands in the
//! log's directory as `0.tmp` and `1.tmp` in turn, and is renamed by whoever takes it.

use crate::disk::{AlignedBuffer, BLOCK_BYTES, Disk, DiskError, File, Operation};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// What is written at once: a fraction of a millisecond, which a sync may have to wait behind.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// When spare segments are prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prepare {
    /// Ahead, by a thread of their own.
    #[default]
    Background,
    /// When they are needed, by whoever needs one: the same operations in the same order each time.
    Inline,
}

/// A segment full of zeros, durably.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) path: PathBuf,
    pub(super) file: Box<dyn File>,
}

/// Makes spares.
#[derive(Debug)]
pub(super) struct Spares {
    maker: Maker,
    /// Makes them ahead; without it they are made when they are taken.
    background: Option<Background>,
}

impl Spares {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf, bytes: u64, prepare: Prepare) -> Self {
        let maker = Maker { disk, dir, bytes, count: 0 };
        let background = match prepare {
            Prepare::Background => Background::start(maker.clone()),
            Prepare::Inline => None,
        };
        Self { maker, background }
    }

    /// Tells how far the segment in use is written.
    pub(super) fn keep_up(&mut self, written: u64) {
        if let Some(background) = &mut self.background {
            background.keep_up(written);
        }
    }

    /// Returns a spare, as soon as it is ready.
    pub(super) fn take(&mut self) -> Result<Spare, DiskError> {
        match &mut self.background {
            Some(background) => background.take(),
            None => self.maker.make(|_| Ok(())),
        }
    }
}

/// Makes one spare after the other.
#[derive(Clone, Debug)]
struct Maker {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes: u64,
    /// How many were made.
    count: u64,
}

impl Maker {
    /// Makes one. `pace` is asked before each piece, with where it ends, and may fail.
    fn make(&mut self, pace: impl FnMut(u64) -> Result<(), DiskError>) -> Result<Spare, DiskError> {
        // Not the name of the one that was made before: that may not be renamed yet.
        let path = self.dir.join(format!("{}.tmp", self.count % 2));
        self.count += 1;
        match self.disk.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match make(&*self.disk, &path, self.bytes, pace) {
            Ok(file) => Ok(Spare { path, file }),
            Err(error) => {
                // What is left of it would be removed the next time.
                let _ = self.disk.remove(&path);
                Err(error)
            }
        }
    }
}

/// Creates and locks a segment full of zeros.
pub(super) fn make(
    disk: &dyn Disk,
    path: &Path,
    bytes: u64,
    pace: impl FnMut(u64) -> Result<(), DiskError>,
) -> Result<Box<dyn File>, DiskError> {
    let mut file = disk.create(path)?;
    file.lock()?;
    file.write_whole_blocks();
    write_zeros(&mut *file, &[], 0, bytes.next_multiple_of(BLOCK_BYTES as u64), pace)?;
    file.sync()?;
    Ok(file)
}

/// Writes `head` at `offset`, a block's, and zeros behind it up to `end`, a block's too.
pub(super) fn write_zeros(
    file: &mut dyn File,
    head: &[u8],
    mut offset: u64,
    end: u64,
    mut pace: impl FnMut(u64) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    let mut piece = AlignedBuffer::with_capacity(PIECE_BYTES);
    piece.extend(head);
    while offset < end {
        piece.extend_with_zeros(PIECE_BYTES);
        let count = piece.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
        pace(offset + count as u64)?;
        file.write_at(&piece.as_slice()[..count], offset)?;
        offset += count as u64;
        piece.truncate(0);
    }
    Ok(())
}

/// The thread that makes spares ahead.
#[derive(Debug)]
struct Background {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    thread: Option<JoinHandle<()>>,
    /// How far the thread was told it may write.
    told: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How far the thread may write.
    goal: u64,
    ready: Option<Result<Spare, DiskError>>,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done` gives something.
    fn wait<T>(&self, mut done: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut state = self.lock();
        loop {
            if let Some(value) = done(&mut state) {
                return value;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until `done`, or until it is to stop: then it returns false.
    fn wait_unless_stopped(&self, done: impl Fn(&State) -> bool) -> bool {
        self.wait(|state| (state.stopped || done(state)).then_some(!state.stopped))
    }

    /// Makes a spare when it is time to, and returns when it was taken; false if that was the last.
    fn make_next(&self, maker: &mut Maker) -> bool {
        // There is not even a name before it is time.
        if !self.wait_unless_stopped(|state| state.goal > 0) {
            return false;
        }
        let dir = maker.dir.clone();
        let made = maker.make(|offset| {
            if self.wait_unless_stopped(|state| state.goal >= offset) {
                return Ok(());
            }
            Err(DiskError::new(Operation::Write, &dir, ErrorKind::Interrupted.into()))
        });
        let is_made = made.is_ok();
        self.change(|state| state.ready = Some(made));
        is_made && self.wait_unless_stopped(|state| state.ready.is_none())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Background {
    /// `None` if the system gives no thread.
    fn start(mut maker: Maker) -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let (its, disk) = (Arc::clone(&shared), Arc::clone(&maker.disk));
        let thread = Builder::new().name("wal-prepare".to_owned());
        let thread = thread.spawn(move || while its.make_next(&mut maker) {});
        Some(Self { shared, disk, thread: Some(thread.ok()?), told: 0 })
    }

    /// Tells the thread, but not for less than a piece: most syncs must not wake it.
    fn keep_up(&mut self, written: u64) {
        let goal = written.saturating_mul(2);
        if goal >= self.told.saturating_add(PIECE_BYTES as u64) {
            self.told = goal;
            self.shared.change(|state| state.goal = goal);
        }
    }

    fn take(&mut self) -> Result<Spare, DiskError> {
        self.shared.change(|state| state.goal = u64::MAX);
        let made = self.shared.wait(|state| state.ready.take().inspect(|_| state.goal = 0));
        self.told = 0;
        self.shared.changed.notify_all();
        made
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.shared.change(|state| state.stopped = true);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
        if let Some(Ok(spare)) = self.shared.lock().ready.take() {
            // Nobody needs it; the next one would be written anew in any case.
            let _ = self.disk.remove(&spare.path);
        }
    }
}
