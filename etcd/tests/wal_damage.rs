//! A log that was cut, or in which a bit was flipped, at every byte of its last two batches and
//! across a change of segments, opens or is refused as the table in `raftwire_etcd::wal` says:
//! `support/disk_oracle.rs` says it independently. What opens goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support {
    pub(crate) mod disk;
    pub(crate) mod disk_oracle;
}

use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::wal::{Corruption, Wal, WalError};
use std::path::{Path, PathBuf};
use support::disk::{
    DIR, append, create, entry, fault_disk, hard_state, options, origin, shared, snapshot,
};
use support::disk_oracle::{Verdict, verdict};

const SEGMENT_BYTES: u64 = 8192;

/// Segments, with their names.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// A log with a change of segments, and batches behind it. Returns its segments, and where the last
/// two batches in each begin.
fn written() -> (Files, [usize; 2]) {
    let disk = fault_disk(0);
    let mut wal = create(&disk, options(SEGMENT_BYTES)).unwrap();
    // Runs of zeros, which look like sectors that were never written; and noise, which does not.
    let data = |index: u64, bytes: usize| {
        let mut data = vec![0; bytes];
        if index.is_multiple_of(2) {
            data.iter_mut().zip((1..=255).cycle()).for_each(|(byte, value)| *byte = value);
        }
        data
    };
    let mut ends = Vec::new();
    let batches = [
        &[(1, 300), (2, 7), (3, 1500)][..],
        &[(4, 2000), (5, 0), (6, 1999)],
        // The first of these is no entry to follow; it takes the place of the other.
        &[(6, 700), (7, 20)],
        &[(8, 1800)],
        &[(9, 1), (10, 900)],
        &[(11, 1100), (12, 40), (13, 600)],
    ];
    for (term, batch) in (1..).zip(batches) {
        let begins = disk.contents(&last_segment(&disk)).unwrap();
        ends.push((last_segment(&disk), end(&begins)));
        for (index, bytes) in batch {
            append(&mut wal, &entry(term, *index, data(*index, *bytes)));
        }
        if term == 3 {
            wal.append_snapshot(&snapshot(term, 1));
        }
        wal.set_hard_state(hard_state(term, 2, batch[0].0 - 1));
        wal.sync().unwrap();
    }
    drop(wal);
    let files: Files = segments(&disk);
    assert_eq!(files.len(), 2);
    let begins = |file: usize| {
        let of_file: Vec<_> =
            ends.iter().filter(|(path, _)| *path == files[file].0).map(|(_, end)| *end).collect();
        of_file[of_file.len() - 2]
    };
    let begins = [begins(0), begins(1)];
    (files, begins)
}

fn segments(disk: &FaultDisk) -> Files {
    let paths = disk.files().into_iter();
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "wal"));
    paths.map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

fn last_segment(disk: &FaultDisk) -> PathBuf {
    segments(disk).pop().unwrap().0
}

/// Where what was written ends.
fn end(segment: &[u8]) -> usize {
    let last = segment.iter().rposition(|byte| *byte != 0).unwrap();
    (last + 1).next_multiple_of(8)
}

/// Where its frames begin; the last one of these is the end.
fn frames(segment: &[u8]) -> Vec<usize> {
    let mut frames = vec![0];
    while let Some(length) = segment[*frames.last().unwrap()..].first_chunk::<4>() {
        // Frames of less than 2^32 bytes, and padded to 8.
        let bytes = u32::from_le_bytes(*length).next_multiple_of(8) as usize;
        if bytes == 0 {
            break;
        }
        frames.push(frames.last().unwrap() + 8 + bytes);
    }
    frames
}

/// Opens the log with these bytes, and compares with what must become of it.
fn check(files: &Files, what: &str) -> Verdict {
    let disk = fault_disk(0);
    for (path, bytes) in files {
        disk.put(path, bytes);
    }
    let bytes: Vec<_> = files.iter().map(|(_, bytes)| bytes.clone()).collect();
    let expected = verdict(&bytes);
    let opened = Wal::open(shared(&disk), Path::new(DIR), &origin(), options(SEGMENT_BYTES));
    let found = match &opened {
        Ok((_, replay)) => Verdict::Opens {
            entries: replay.entries.clone(),
            hard_state: replay.hard_state,
            end: replay.repaired.as_ref().map_or_else(
                || match &expected {
                    Verdict::Opens { end, .. } => *end,
                    Verdict::Refused(_) => 0,
                },
                |repair| usize::try_from(repair.offset).unwrap(),
            ),
            torn: replay.repaired.is_some(),
        },
        Err(WalError::Corrupt(Corruption { path, offset, .. })) => {
            let number = files.iter().position(|(file, _)| file == path).unwrap();
            Verdict::Refused(Some((number, usize::try_from(*offset).unwrap())))
        }
        Err(WalError::NoSnapshot { .. } | WalError::NoMetadata { .. }) => Verdict::Refused(None),
        Err(error) => panic!("{what}: {error}"),
    };
    assert_eq!(found, expected, "{what}");
    let (last, original) = files.last().unwrap();
    match (&expected, opened) {
        (Verdict::Opens { entries, end, torn, .. }, Ok((mut wal, replay))) => {
            // Behind the end there is nothing, and what was there is kept aside.
            let now = disk.contents(last).unwrap();
            assert_eq!(now[..*end], original[..*end], "{what}");
            assert!(now.len() as u64 >= SEGMENT_BYTES && now[*end..].iter().all(|byte| *byte == 0));
            if *torn {
                assert_eq!(disk.contents(&replay.repaired.unwrap().broken), Some(original.clone()));
            }
            // It goes on from there, and nothing of the rest comes back.
            let next = entry(99, entries.len() as u64 + 1, vec![7; 30]);
            append(&mut wal, &next);
            wal.close().unwrap();
            let again =
                Wal::open(shared(&disk.crash()), Path::new(DIR), &origin(), options(SEGMENT_BYTES));
            let (_, again) = again.unwrap();
            assert_eq!(again.repaired, None, "{what}");
            assert_eq!(again.entries.split_last().unwrap(), (&next, &entries[..]), "{what}");
        }
        (Verdict::Refused(_), Err(_)) => {
            assert_eq!(segments(&disk), *files, "{what}: what is refused is left as it is");
        }
        _ => unreachable!("compared above"),
    }
    expected
}

/// How many of each there were.
#[derive(Debug, Default)]
struct Tally {
    opened: usize,
    torn: usize,
    refused: usize,
}

impl Tally {
    fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Opens { torn: true, .. } => self.torn += 1,
            Verdict::Opens { .. } => self.opened += 1,
            Verdict::Refused(_) => self.refused += 1,
        }
    }
}

#[test]
fn the_whole_log_opens() {
    let (files, _) = written();
    let Verdict::Opens { entries, torn, .. } = check(&files, "whole") else { panic!("refused") };
    assert_eq!((entries.len(), torn), (13, false));
}

#[test]
fn a_cut_at_every_byte_opens_or_is_refused_by_the_rule() {
    let (files, begins) = written();
    for file in 0..2 {
        let mut tally = Tally::default();
        let written = end(&files[file].1);
        for cut in (begins[file]..=written).chain([0, 1, 8, written + 8]) {
            let mut damaged = files.clone();
            damaged[file].1.truncate(cut);
            tally.count(&check(&damaged, &format!("segment {file} cut at {cut}")));
        }
        let rare = if file == 0 { tally.torn } else { tally.refused };
        assert!(tally.opened > 0 && rare <= 1, "{file} {tally:?}");
    }
}

#[test]
fn a_sector_that_was_never_written_opens_or_is_refused_by_the_rule() {
    let (files, begins) = written();
    let mut tally = Tally::default();
    for file in 0..2 {
        let sectors = begins[file] / 512..end(&files[file].1).div_ceil(512);
        for sector in sectors {
            let mut damaged = files.clone();
            let bytes = &mut damaged[file].1;
            let range = (sector * 512).max(begins[file])..(sector * 512 + 512).min(bytes.len());
            bytes[range].fill(0);
            tally.count(&check(&damaged, &format!("segment {file} without sector {sector}")));
        }
    }
    assert!(tally.torn > 1 && tally.refused > 3, "{tally:?}");
}

#[test]
fn a_flipped_bit_at_every_byte_opens_or_is_refused_by_the_rule() {
    let (files, begins) = written();
    let mut tally = Tally::default();
    for file in 0..2 {
        // The head of the last segment, too.
        let heads = if file == 1 { 0..begins[1].min(200) } else { 0..0 };
        // And behind the end: a bit there begins a frame.
        let behind = (end(&files[file].1) + 24).min(files[file].1.len());
        let frames = frames(&files[file].1);
        for at in heads.chain(begins[file]..behind) {
            // All bits of a length and of a record's head; of its data one, another one each time.
            let frame = frames.iter().rfind(|frame| **frame <= at).unwrap();
            let bits = if at - frame < 24 { 0..8 } else { at % 8..at % 8 + 1 };
            for bit in bits {
                let mut damaged = files.clone();
                damaged[file].1[at] ^= 1 << bit;
                tally.count(&check(&damaged, &format!("segment {file} byte {at} bit {bit}")));
            }
        }
    }
    assert!(tally.opened > 100 && tally.torn > 100 && tally.refused > 100, "{tally:?}");
}

#[test]
fn a_segment_that_is_missing_or_another_logs_is_refused() {
    let (files, _) = written();
    let disk = fault_disk(0);
    disk.put(&files[1].0, &files[1].1);
    let opened = Wal::open(shared(&disk), Path::new(DIR), &origin(), options(SEGMENT_BYTES));
    assert!(matches!(opened, Err(WalError::NoSegment { index: 0, .. })), "{opened:?}");

    disk.put(&files[0].0, &files[0].1);
    let third = Path::new(DIR).join("0000000000000003-0000000000000100.wal");
    disk.put(&third, &[]);
    let opened = Wal::open(shared(&disk), Path::new(DIR), &origin(), options(SEGMENT_BYTES));
    assert!(matches!(opened, Err(WalError::Missing { .. })), "{opened:?}");

    // The second of another log, whose first one ended otherwise.
    let mut files = files;
    let other = fault_disk(0);
    let mut wal = create(&other, options(SEGMENT_BYTES)).unwrap();
    append(&mut wal, &entry(1, 1, vec![1; 9000]));
    wal.close().unwrap();
    files[1].1 = segments(&other)[1].1.clone();
    assert_eq!(check(&files, "another log's"), Verdict::Refused(Some((1, 0))));
}
