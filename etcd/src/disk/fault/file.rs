//! An open file of a disk that crashes.

use super::world::{Outcome, World};
use super::{FaultDisk, SECTOR_BYTES};
use crate::disk::{BLOCK_BYTES, DiskError, File, Operation};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct FaultFile {
    disk: FaultDisk,
    path: PathBuf,
    node: usize,
    locks: bool,
    whole_blocks: bool,
}

impl FaultFile {
    pub(super) fn new(disk: FaultDisk, path: &Path, node: usize) -> Self {
        Self { disk, path: path.to_owned(), node, locks: false, whole_blocks: false }
    }

    fn run<T>(
        &self,
        operation: Operation,
        run: impl FnOnce(&mut World, usize) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        self.disk.run(operation, &self.path, |world| run(world, self.node))
    }

    fn write(
        &self,
        operation: Operation,
        bytes: &[u8],
        offset: u64,
        durably: bool,
    ) -> Result<(), DiskError> {
        let is_whole = |count: usize| count.is_multiple_of(BLOCK_BYTES);
        let refused = self.whole_blocks
            && !(is_whole(bytes.len())
                && is_whole(position(offset))
                && bytes.as_ptr().align_offset(BLOCK_BYTES) == 0);
        self.run(operation, |world, node| {
            if refused {
                return Err(ErrorKind::InvalidInput.into());
            }
            match world.begin()? {
                Outcome::Done => {
                    let certain = durably && !world.lies;
                    world.content(node).write(position(offset), bytes, certain);
                    Ok(())
                }
                Outcome::Failed(error) => {
                    // A crash keeps any of it; a disk that is full takes the sectors that come first.
                    if world.crashed {
                        world.content(node).write(position(offset), bytes, false);
                    } else {
                        let end = position(offset) + world.random_to(bytes.len());
                        let end = end - end % SECTOR_BYTES;
                        let written = end.saturating_sub(position(offset));
                        world.content(node).write(position(offset), &bytes[..written], false);
                        world.decide(node);
                    }
                    Err(error)
                }
            }
        })
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("files that fit into memory")
}

impl File for FaultFile {
    fn lock(&mut self) -> Result<(), DiskError> {
        self.run(Operation::Lock, World::lock)?;
        self.locks = true;
        Ok(())
    }

    fn length(&self) -> Result<u64, DiskError> {
        self.run(Operation::Read, |world, node| {
            world.check()?;
            Ok(world.content(node).live().len() as u64)
        })
    }

    fn read_at(&self, offset: u64, count: usize) -> Result<Vec<u8>, DiskError> {
        self.run(Operation::Read, |world, node| {
            world.check()?;
            let bytes = world.content(node).live();
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let end = start.saturating_add(count).min(bytes.len());
            Ok(bytes[start..end].to_vec())
        })
    }

    fn write_whole_blocks(&mut self) {
        self.whole_blocks = true;
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        self.write(Operation::Write, bytes, offset, false)
    }

    fn write_durably_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        self.write(Operation::WriteDurably, bytes, offset, true)
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.run(Operation::Sync, |world, node| {
            match world.begin()? {
                Outcome::Done if world.lies => {}
                Outcome::Done => world.content(node).sync(),
                Outcome::Failed(error) => {
                    if !world.crashed {
                        world.decide(node);
                    }
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    fn truncate(&mut self, length: u64) -> Result<(), DiskError> {
        self.run(Operation::Truncate, |world, node| {
            let outcome = world.begin()?;
            if world.crashed || matches!(outcome, Outcome::Done) {
                world.content(node).truncate(position(length));
            }
            match outcome {
                Outcome::Done => Ok(()),
                Outcome::Failed(error) => Err(error),
            }
        })
    }

    fn renamed(&mut self, path: &Path) {
        path.clone_into(&mut self.path);
    }
}

impl Drop for FaultFile {
    fn drop(&mut self) {
        if self.locks {
            self.disk.lock().unlock(self.node);
        }
    }
}
