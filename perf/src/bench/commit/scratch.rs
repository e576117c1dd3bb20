//! Folders for the members' data: on which medium they lie, whether there is room, and that they are
//! gone afterwards, also when the run fails or is interrupted. Not here: what is in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{StatFs, statfs};
use tokio::signal::unix::{SignalKind, signal};

use super::report::Medium;
use crate::bench::error::BenchError;

/// What the kernel calls file systems in memory (`linux/magic.h`).
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// A member prepares segments of 64 MB ahead, and fills some more in a run.
pub(crate) const MEMBER_BYTES: u64 = 200 << 20;

/// Others may not have the data of a run, and two runs must not have each other's.
const NAME: &str = "raftwire-bench";

/// A member that still runs may put a file into a folder that is being removed.
const REMOVE_TRIES: u32 = 100;
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// On which medium `folder` lies.
pub(crate) fn medium_of(folder: &Path) -> Result<Medium, BenchError> {
    Ok(medium(&stat(folder)?))
}

fn medium(stat: &StatFs) -> Medium {
    // A 32-bit word on some machines, with the sign of its highest bit.
    #[allow(clippy::cast_sign_loss, reason = "a magic number, compared in its lower half")]
    let magic = stat.f_type as u64 & 0xffff_ffff;
    if [TMPFS_MAGIC, RAMFS_MAGIC].contains(&magic) { Medium::Tmpfs } else { Medium::Disk }
}

fn stat(folder: &Path) -> Result<StatFs, BenchError> {
    statfs(folder).map_err(|error| BenchError::io(folder, error.into()))
}

/// Refuses a folder that lies on the other medium.
pub(crate) fn expect_medium(folder: &Path, wanted: Medium) -> Result<(), BenchError> {
    let found = medium_of(folder)?;
    let reason = match (wanted, found) {
        (Medium::Disk, Medium::Tmpfs) => {
            "it is a tmpfs, which lies in memory: an fsync there waits \
                                          for no disk; name a folder on a disk with --disk"
        }
        (Medium::Tmpfs, Medium::Disk) => "it is no tmpfs; name a folder on one with --tmpfs",
        _ => return Ok(()),
    };
    Err(BenchError::Folder { path: folder.to_owned(), reason: reason.to_owned() })
}

/// Refuses a folder without room for so many members.
pub(crate) fn expect_room(folder: &Path, members: u64) -> Result<(), BenchError> {
    let stat = stat(folder)?;
    #[allow(clippy::cast_sign_loss, reason = "the size of a block")]
    let free = stat.f_bavail.saturating_mul(stat.f_bsize as u64);
    let needed = members * MEMBER_BYTES;
    if free >= needed {
        return Ok(());
    }
    let reason = format!(
        "{} MiB are free, and {members} members at {} MiB each need {} MiB",
        free >> 20,
        MEMBER_BYTES >> 20,
        needed >> 20
    );
    Err(BenchError::Folder { path: folder.to_owned(), reason })
}

/// A folder that is removed with all that is in it.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static COUNT: AtomicU32 = AtomicU32::new(0);

fn made() -> MutexGuard<'static, Vec<PathBuf>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scratch {
    /// Makes a new one inside of `folder`.
    pub(crate) fn inside(folder: &Path) -> Result<Self, BenchError> {
        let failed = |source| BenchError::io(folder, source);
        // A member is told where its data lies, and may have another working directory.
        let folder = folder.canonicalize().map_err(failed)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{NAME}-{}-{count}", std::process::id()));
        // Registered first: whoever interrupts us finds it, there or not.
        made().push(path.clone());
        let scratch = Self { path };
        fs::create_dir(&scratch.path).map_err(failed)?;
        Ok(scratch)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
        made().retain(|path| *path != self.path);
    }
}

fn remove(path: &Path) {
    for _ in 0..REMOVE_TRIES {
        match fs::remove_dir_all(path) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return,
            Err(_) => thread::sleep(REMOVE_PAUSE),
        }
    }
    eprintln!("raftwire bench: {} could not be removed", path.display());
}

/// From here on a signal that ends the command removes every folder first.
pub(crate) fn remove_on_signals() -> Result<(), BenchError> {
    static INSTALLED: Once = Once::new();
    let mut installed = Ok(());
    INSTALLED.call_once(|| installed = install());
    installed.map_err(|source| BenchError::io("the handler of signals".as_ref(), source))
}

fn install() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [mut interrupt, mut terminate, mut hangup] = {
        let _entered = runtime.enter();
        let [interrupt, terminate, hangup] = kinds.map(signal);
        [interrupt?, terminate?, hangup?]
    };
    let wait = async move {
        tokio::select! {
            _ = interrupt.recv() => kinds[0],
            _ = terminate.recv() => kinds[1],
            _ = hangup.recv() => kinds[2],
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let kind = runtime.block_on(wait);
        eprintln!("raftwire bench: interrupted, removing the members' data");
        // Members are killed when this process has ended, and until then may make files.
        for path in made().iter() {
            remove(path);
        }
        // As a shell has it for a command that a signal ended.
        std::process::exit(128 + kind.as_raw_value());
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tmpfs, as the kernel's own table has it; every Linux mounts one somewhere.
    fn tmpfs() -> PathBuf {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let is_ours = |mount: &Vec<&str>| mount[2] == "tmpfs" && fs::metadata(mount[1]).is_ok();
        mounts.find(is_ours).expect("a tmpfs is mounted")[1].into()
    }

    #[test]
    fn tells_media_apart() {
        assert_eq!(medium_of(Path::new("/proc")).unwrap(), Medium::Disk);
        let tmpfs = tmpfs();
        expect_medium(&tmpfs, Medium::Tmpfs).unwrap();
        let error = expect_medium(&tmpfs, Medium::Disk).unwrap_err();
        assert!(error.to_string().contains(": it is a tmpfs"), "{error}");
        assert_eq!(error.exit_status(), 2);
        let error = expect_medium(Path::new("/proc"), Medium::Tmpfs).unwrap_err();
        assert!(error.to_string().contains("no tmpfs"), "{error}");
        assert!(expect_medium(Path::new("/nowhere"), Medium::Disk).is_err());
    }

    #[test]
    fn refuses_a_folder_without_room() {
        let folder = std::env::temp_dir();
        expect_room(&folder, 0).unwrap();
        let error = expect_room(&folder, 1 << 30).unwrap_err();
        assert!(error.to_string().contains("MiB are free"), "{error}");
    }

    #[test]
    fn leaves_nothing_behind() {
        let scratch = Scratch::inside(&std::env::temp_dir()).unwrap();
        let path = scratch.path().to_owned();
        fs::create_dir(path.join("member")).unwrap();
        fs::write(path.join("member/wal"), "x").unwrap();
        assert!(made().contains(&path));
        drop(scratch);
        assert!(!path.exists() && !made().contains(&path));
    }
}
