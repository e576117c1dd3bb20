//! A disk in memory that crashes, for tests: what was not synced is lost, or torn, or there.
//!
//! It keeps POSIX's bare promise and no more. A file's bytes and length are durable after its sync,
//! or by a durable write, which is for its own bytes only; a name, be it created, renamed or removed,
//! after the sync of its directory. Of everything else, a crash keeps
//!
//! - of a write, any of the sectors of [`SECTOR_BYTES`] it touches: none, all, or some;
//! - of changes of length, any;
//! - of the changes of a directory, a number of the first, as journals do.
//!
//! The operation at which it comes is among those that may be half done. A sync that fails decides at
//! once what of the bytes is lost, and no later one brings them back. All of it follows from a seed.
//!
//! ```
//! use raftwire_etcd::disk::{Disk, File, fault::FaultDisk};
//! use std::path::Path;
//!
//! let disk = FaultDisk::new(7);
//! disk.create(Path::new("/log"))?.write_durably_at(b"synced", 0)?;
//! disk.sync_dir(Path::new("/"))?;
//! disk.open(Path::new("/log"))?.write_at(b", not synced", 6)?;
//! let after = disk.crash();
//! assert!(after.contents(Path::new("/log")).unwrap().starts_with(b"synced"));
//! # Ok::<(), raftwire_etcd::disk::DiskError>(())
//! ```
//!
//! Not here: what a disk forgets long after, and bits that change by themselves. Tests do those to
//! [`contents`](FaultDisk::contents).

mod content;
mod file;
mod names;
mod world;

use super::{Disk, DiskError, File, Operation};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use world::World;

/// What is written whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A disk that crashes. Its clones are the same disk.
#[derive(Clone, Debug)]
pub struct FaultDisk {
    world: Arc<Mutex<World>>,
}

impl FaultDisk {
    /// Makes an empty disk, with `/`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(World::new(seed))
    }

    fn of(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// From here on syncs return `Ok` and do nothing. Whoever finds no fault with this one finds none.
    pub fn lie(&self) {
        self.lock().lies = true;
    }

    /// Returns how many operations were begun that change something: writes, syncs, truncations,
    /// creations, renamings, removals, and syncs of directories.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Lets the disk crash in the operation before which there were `operation` others.
    pub fn crash_at(&self, operation: u64) {
        self.lock().crash_at = Some(operation);
    }

    /// Lets the operation before which there were `operation` others fail.
    pub fn fail_at(&self, operation: u64, kind: io::ErrorKind) {
        self.lock().fail_at = Some((operation, kind));
    }

    /// Whether it has crashed: then every operation fails.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Crashes, if it has not yet, and returns the disk as the next process finds it.
    #[must_use]
    pub fn crash(&self) -> Self {
        Self::of(self.lock().crash())
    }

    /// Returns another disk with what is on this one, all of it durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new(0);
        for path in self.files() {
            copy.put(&path, &self.contents(&path).unwrap_or_default());
        }
        copy
    }

    /// Returns a file's bytes, as a reader sees them.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        self.lock().contents(path)
    }

    /// Puts a file there, durably, with all directories above it.
    ///
    /// # Panics
    ///
    /// If there is a directory at `path`, or a file above it.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        self.lock().put(path, bytes);
    }

    /// Returns the paths of all files.
    #[must_use]
    pub fn files(&self) -> Vec<std::path::PathBuf> {
        self.lock().files()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T>(
        &self,
        operation: Operation,
        path: &Path,
        run: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        let ran = run(&mut self.lock());
        ran.map_err(|error| DiskError::new(operation, path, error))
    }

    fn file(&self, path: &Path, node: usize) -> Box<dyn File> {
        Box::new(file::FaultFile::new(self.clone(), path, node))
    }
}

impl Disk for FaultDisk {
    fn create(&self, path: &Path) -> Result<Box<dyn File>, DiskError> {
        let node = self.run(Operation::Create, path, |world| world.create(path))?;
        Ok(self.file(path, node))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn File>, DiskError> {
        let node = self.run(Operation::Open, path, |world| world.find_file(path))?;
        Ok(self.file(path, node))
    }

    fn open_to_read(&self, path: &Path) -> Result<Box<dyn File>, DiskError> {
        self.open(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        self.run(Operation::List, dir, |world| world.list(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.run(Operation::Rename, from, |world| world.rename(from, to))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.run(Operation::Remove, path, |world| world.remove(path, false))
    }

    fn create_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.run(Operation::CreateDir, path, |world| world.create_dir(path))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        self.run(Operation::RemoveDir, path, |world| match world.remove(path, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.run(Operation::SyncDir, path, |world| world.sync_dir(path))
    }
}
