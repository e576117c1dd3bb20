//! The command line's options of this part: the loads, and the folders its data is written to. Not
//! here: what all parts share (`bench::Args`).

use std::path::{Path, PathBuf};

use super::report::{Load, Medium};
use super::scratch;
use crate::bench::error::BenchError;

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Options of commit")]
pub(crate) struct Options {
    /// How many members a cluster has, a process each [default: 3]
    #[arg(long, value_name = "3|5|7", value_parser = members)]
    members: Option<u32>,

    /// How many bytes the values have that are put [default: 256]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    value_bytes: Option<u32>,

    /// How many proposers put values at once, a row each [default: 1,16,64,256; with --rate 256]
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=4096)
    )]
    proposers: Vec<u32>,

    /// Begin so many operations a second, done or not, and count latency from when each was due
    /// [default: each proposer begins its next one when its last one is done]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,

    /// Put the members' data there, on a disk [default: the folder of this program; where that is in
    /// memory, the one for temporary files, or the current one]
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,

    /// And there, on a tmpfs [default: /dev/shm, and if that is none, only the disk]
    #[arg(long, value_name = "DIR")]
    tmpfs: Option<PathBuf>,
}

const MEMBERS: u32 = 3;
const VALUE_BYTES: u32 = 256;
const PROPOSERS: [u32; 4] = [1, 16, 64, 256];
/// Of an open loop: enough that one is free when an operation is due.
const PROPOSERS_OPEN: [u32; 1] = [256];
const TMPFS: &str = "/dev/shm";

fn members(text: &str) -> Result<u32, &'static str> {
    match text {
        "3" => Ok(3),
        "5" => Ok(5),
        "7" => Ok(7),
        _ => Err("3, 5 or 7"),
    }
}

impl Options {
    /// Whether any was given.
    pub(crate) fn is_given(&self) -> bool {
        let Self { members, value_bytes, proposers, rate, disk, tmpfs } = self;
        members.is_some()
            || value_bytes.is_some()
            || !proposers.is_empty()
            || rate.is_some()
            || disk.is_some()
            || tmpfs.is_some()
    }

    /// What is measured, on each medium.
    pub(crate) fn loads(&self) -> Vec<Load> {
        let proposers: &[u32] = match (&self.proposers[..], self.rate) {
            ([], None) => &PROPOSERS,
            ([], Some(_)) => &PROPOSERS_OPEN,
            (given, _) => given,
        };
        let load = |proposers: &u32| Load {
            medium: Medium::Disk,
            members: self.members.unwrap_or(MEMBERS),
            value_bytes: self.value_bytes.unwrap_or(VALUE_BYTES) as usize,
            proposers: *proposers,
            rate: self.rate,
        };
        proposers.iter().map(load).collect()
    }

    /// Where it is measured; a note says why not on a tmpfs.
    pub(crate) fn places(
        &self,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(Medium, PathBuf)>, BenchError> {
        let mut places = vec![(Medium::Disk, self.disk()?)];
        match &self.tmpfs {
            Some(folder) => {
                scratch::expect_medium(folder, Medium::Tmpfs)?;
                places.push((Medium::Tmpfs, folder.clone()));
            }
            None => match default_tmpfs(self.members.unwrap_or(MEMBERS)) {
                Ok(folder) => places.push((Medium::Tmpfs, folder)),
                Err(reason) => notes.push(format!("Commit on a tmpfs not measured: {reason}")),
            },
        }
        Ok(places)
    }

    fn disk(&self) -> Result<PathBuf, BenchError> {
        if let Some(folder) = &self.disk {
            scratch::expect_medium(folder, Medium::Disk)?;
            return Ok(folder.clone());
        }
        let program = std::env::current_exe().ok();
        let beside = program.as_deref().and_then(Path::parent).map(Path::to_owned);
        let candidates = [beside, Some(std::env::temp_dir()), std::env::current_dir().ok()];
        let mut folders = candidates.into_iter().flatten();
        let found = folders.find(|folder| {
            matches!(scratch::medium_of(folder), Ok(Medium::Disk)) && is_writable(folder)
        });
        found.ok_or(BenchError::Usage("there is no default folder on a disk: name one with --disk"))
    }
}

fn default_tmpfs(members: u32) -> Result<PathBuf, BenchError> {
    let folder = PathBuf::from(TMPFS);
    scratch::expect_medium(&folder, Medium::Tmpfs)?;
    // Small ones are common; a full one is found before each row.
    scratch::expect_room(&folder, members.into())?;
    Ok(folder)
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_the_grid_unless_told_otherwise() {
        let options = Options::default();
        assert!(!options.is_given());
        let proposers: Vec<u32> = options.loads().iter().map(|load| load.proposers).collect();
        assert_eq!(proposers, PROPOSERS);
        let open = Options { rate: Some(1000), ..Options::default() };
        assert!(open.is_given());
        assert_eq!(open.loads().len(), 1);
        assert_eq!((open.loads()[0].proposers, open.loads()[0].rate), (256, Some(1000)));
        let few = Options { members: Some(5), proposers: vec![2, 3], ..Options::default() };
        assert_eq!(few.loads()[1].members, 5);
        assert_eq!(few.loads()[1].proposers, 3);
    }

    #[test]
    fn a_cluster_has_three_five_or_seven_members() {
        assert_eq!(members("7"), Ok(7));
        for other in ["1", "2", "4", "9", "x"] {
            assert!(members(other).is_err());
        }
    }

    #[test]
    fn the_default_folder_is_on_a_disk() {
        if let Ok(folder) = Options::default().disk() {
            assert_eq!(scratch::medium_of(&folder).unwrap(), Medium::Disk);
        }
        let proc = Options { tmpfs: Some("/proc".into()), ..Options::default() };
        assert!(proc.places(&mut Vec::new()).is_err());
    }
}
