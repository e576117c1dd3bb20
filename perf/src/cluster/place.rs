//! The directory of a cluster.
//!
//! ```text
//! DIR/cluster.json    how many members, and the cluster's id
//! DIR/lock            held by the command that runs it
//! DIR/member-1/       the data of a member
//! ```

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Members a new cluster has if nobody says how many.
const MEMBERS_USUAL: u64 = 3;
/// Members a file may speak of.
const MEMBERS_MAX: u64 = 9;

/// A directory that is this command's alone.
pub(super) struct Place {
    dir: PathBuf,
    pub(super) members: u64,
    /// The cluster's id, in hex.
    pub(super) cluster: String,
    pub(super) is_new: bool,
    /// Locked while it is open.
    _lock: File,
}

/// What `cluster.json` holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    members: u64,
    cluster: String,
}

/// Why a directory cannot be used.
#[derive(Debug)]
pub(super) enum PlaceError {
    /// The system refuses something.
    Io { path: PathBuf, error: io::Error },
    /// Another command runs its cluster.
    InUse { dir: PathBuf },
    /// It holds something, and no cluster.
    NoCluster { dir: PathBuf },
    /// It holds a cluster of another size than asked for.
    OtherSize { dir: PathBuf, members: u64 },
    /// The file that describes the cluster does not.
    Malformed { path: PathBuf, reason: String },
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::InUse { dir } => {
                write!(f, "{} is in use by another raftwire cluster", dir.display())
            }
            Self::NoCluster { dir } => {
                write!(f, "{} holds something that is no cluster", dir.display())
            }
            Self::OtherSize { dir, members } => {
                let dir = dir.display();
                write!(f, "{dir} holds a cluster of {members} members; it is run without --members")
            }
            Self::Malformed { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl Place {
    /// Takes a directory: one that holds a cluster, of that size if one is asked for, or an empty or
    /// new one.
    pub(super) fn open(dir: &Path, members: Option<u64>) -> Result<Self, PlaceError> {
        let dir = dir.to_owned();
        fs::create_dir_all(&dir).map_err(about(&dir))?;
        // A relative name would be another one in a member that is started elsewhere.
        let dir = dir.canonicalize().map_err(about(&dir))?;
        let lock = lock(&dir)?;
        let path = dir.join("cluster.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let described = describe(&path, &bytes)?;
                if members.is_some_and(|members| members != described.members) {
                    return Err(PlaceError::OtherSize { dir, members: described.members });
                }
                let Description { members, cluster } = described;
                return Ok(Self { dir, members, cluster, is_new: false, _lock: lock });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(about(&path)(error)),
        }
        for entry in fs::read_dir(&dir).map_err(about(&dir))? {
            let name = entry.map_err(about(&dir))?.file_name();
            if name != "lock" && name != "cluster.json.tmp" {
                return Err(PlaceError::NoCluster { dir });
            }
        }
        let members = members.unwrap_or(MEMBERS_USUAL);
        // No id is 0.
        let cluster = format!("{:x}", fastrand::u64(1..));
        let description = Description { members, cluster: cluster.clone() };
        write(&path, &description).map_err(about(&path))?;
        Ok(Self { dir, members, cluster, is_new: true, _lock: lock })
    }

    /// The directory of a member's data.
    pub(super) fn of_member(&self, number: u64) -> PathBuf {
        self.dir.join(format!("member-{number}"))
    }
}

fn lock(dir: &Path) -> Result<File, PlaceError> {
    let path = dir.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(about(&path))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(PlaceError::InUse { dir: dir.to_owned() }),
        Err(error) => Err(about(&path)(error.into())),
    }
}

fn describe(path: &Path, bytes: &[u8]) -> Result<Description, PlaceError> {
    let malformed = |reason| PlaceError::Malformed { path: path.to_owned(), reason };
    let described: Description =
        serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if !(1..=MEMBERS_MAX).contains(&described.members) {
        return Err(malformed(format!("{} members", described.members)));
    }
    let is_id = u64::from_str_radix(&described.cluster, 16).is_ok_and(|id| id > 0);
    if !is_id {
        return Err(malformed(format!("{:?} is no id of a cluster", described.cluster)));
    }
    Ok(described)
}

/// Writes it as a whole or not at all: half of it would keep the cluster from starting.
fn write(path: &Path, description: &Description) -> io::Result<()> {
    let new = path.with_extension("json.tmp");
    let mut file = File::create(&new)?;
    serde_json::to_writer(&mut file, description)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Names what an error is about.
fn about(path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |error| PlaceError::Io { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(dir: &Path, members: Option<u64>) -> PlaceError {
        Place::open(dir, members).map(|_| ()).unwrap_err()
    }

    #[test]
    fn holds_the_cluster_it_held_and_one_command_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new/one");
        let place = Place::open(&dir, Some(5)).unwrap();
        assert!(place.is_new);
        assert!(matches!(refusal(&dir, None), PlaceError::InUse { .. }));
        let cluster = place.cluster.clone();
        drop(place);
        assert!(matches!(refusal(&dir, Some(3)), PlaceError::OtherSize { members: 5, .. }));
        let place = Place::open(&dir, None).unwrap();
        assert_eq!((place.is_new, place.members, place.cluster), (false, 5, cluster));
    }

    #[test]
    fn takes_no_directory_that_holds_something_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(refusal(dir.path(), None), PlaceError::NoCluster { .. }));
        for description in [
            "",
            "{}",
            r#"{"members":0,"cluster":"1"}"#,
            r#"{"members":10,"cluster":"1"}"#,
            r#"{"members":3,"cluster":"0"}"#,
            r#"{"members":3,"cluster":"x"}"#,
            r#"{"members":3,"cluster":"1","more":1}"#,
        ] {
            fs::write(dir.path().join("cluster.json"), description).unwrap();
            let error = refusal(dir.path(), None);
            assert!(matches!(error, PlaceError::Malformed { .. }), "{description}: {error}");
        }
    }
}
