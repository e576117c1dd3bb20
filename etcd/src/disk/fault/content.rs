//! The bytes of a file: as they are read, as they are durable, and what lies between the two.

use super::SECTOR_BYTES;
use fastrand::Rng;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What was done since, in order; all of it is in `live`.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write {
        offset: usize,
        bytes: Vec<u8>,
        /// Whether it is durable, though what stands before it here is not.
        certain: bool,
    },
    Truncate(usize),
}

/// What a crash does to the changes of one file.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost,
    Kept,
    /// Each sector for itself.
    Torn,
}

impl Content {
    pub(super) fn durable(bytes: &[u8]) -> Self {
        Self { live: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() }
    }

    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8], certain: bool) {
        write(&mut self.live, offset, bytes);
        if certain && self.pending.is_empty() {
            write(&mut self.durable, offset, bytes);
        } else {
            self.pending.push(Change::Write { offset, bytes: bytes.to_vec(), certain });
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.live.resize(len, 0);
        self.pending.push(Change::Truncate(len));
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { offset, bytes, .. } => write(&mut self.durable, offset, &bytes),
                Change::Truncate(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// Decides what becomes of the changes that are not certain. The file is read as before.
    pub(super) fn decide(&mut self, random: &mut Rng) {
        let fate = [Fate::Lost, Fate::Kept, Fate::Torn, Fate::Torn][random.usize(..4)];
        for change in self.pending.drain(..) {
            let keeps = |random: &mut Rng| match fate {
                Fate::Lost => false,
                Fate::Kept => true,
                Fate::Torn => random.bool(),
            };
            match change {
                Change::Write { offset, bytes, certain: true } => {
                    write(&mut self.durable, offset, &bytes);
                }
                Change::Write { offset, bytes, certain: false } => {
                    for (offset, sector) in sectors(offset, &bytes) {
                        if keeps(random) {
                            write(&mut self.durable, offset, sector);
                        }
                    }
                }
                Change::Truncate(len) if keeps(random) => self.durable.resize(len, 0),
                Change::Truncate(_) => {}
            }
        }
    }

    /// The file after a crash.
    pub(super) fn crashed(&self, random: &mut Rng) -> Self {
        let mut content = self.clone();
        content.decide(random);
        Self::durable(&content.durable)
    }
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

/// The parts of a write that lie in a sector each.
fn sectors(mut offset: usize, mut bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    std::iter::from_fn(move || {
        let count = (SECTOR_BYTES - offset % SECTOR_BYTES).min(bytes.len());
        let (sector, rest) = bytes.split_at(count);
        let at = offset;
        (offset, bytes) = (offset + count, rest);
        (!sector.is_empty()).then_some((at, sector))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All files a crash can leave.
    fn outcomes(content: &Content) -> Vec<Vec<u8>> {
        let mut seen: Vec<_> =
            (0..200).map(|seed| content.crashed(&mut Rng::with_seed(seed)).durable).collect();
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn a_sync_leaves_one_outcome() {
        let mut content = Content::default();
        content.write(500, b"across two sectors", false);
        content.truncate(510);
        content.sync();
        assert_eq!(outcomes(&content), [content.live().to_vec()]);
    }

    #[test]
    fn sectors_are_lost_one_by_one() {
        let mut content = Content::durable(&[0; 1536]);
        content.write(0, &[1; 1536], false);
        assert_eq!(outcomes(&content).len(), 8);
    }

    #[test]
    fn a_durable_write_is_for_its_own_bytes_only() {
        let mut content = Content::durable(&[0; 1024]);
        content.write(0, &[1; 1024], false);
        content.write(512, &[2; 512], true);
        let outcomes = outcomes(&content);
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            assert_eq!(outcome[512..], [2; 512]);
        }
    }

    #[test]
    fn what_a_failed_sync_lost_no_later_one_brings_back() {
        let mut lost = 0;
        for seed in 0..100 {
            let mut content = Content::durable(&[0; 512]);
            content.write(0, &[1; 512], false);
            content.decide(&mut Rng::with_seed(seed));
            content.sync();
            assert_eq!(content.live(), [1; 512]);
            lost += usize::from(content.durable == [0; 512]);
        }
        assert!(lost > 10, "{lost}");
    }
}
