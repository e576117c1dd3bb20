//! The target of the log's reader: bytes as the segments of a log.
//!
//! A fuzzer does not find CRCs, so that half of the inputs are choices of records instead, out of
//! which segments are built, plainly, and then damaged.

use super::{PeakOf, put_bytes, put_number};
use crate::disk::fault::FaultDisk;
use crate::wal::{
    Options, Prepare, Reader, Record, RecordKind, Replay, SegmentName, SnapshotRecord, Wal,
    usable_snapshots,
};
use raftwire::raftpb::{HardState, Wire};
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/data/wal";

/// More segments show nothing that three do not.
const SEGMENTS_MAX: usize = 3;

/// Input: a byte that says whether records or segments follow; then how many segments, of which
/// lengths, and their bytes; or damage, and choices of records.
///
/// Asserted: reading never allocates more than a piece and a multiple of the input; a log that opens,
/// opens again as the same one, with nothing to repair; and one that is written anew of its records
/// holds the same.
pub(super) fn read(input: &[u8], peak_of: PeakOf) {
    let (mode, rest) = split(input);
    let segments = if mode % 2 == 0 { cut(rest) } else { build(rest) };
    let disk = FaultDisk::new(0);
    for (sequence, segment) in (0..).zip(&segments) {
        let name = SegmentName { sequence, index: sequence };
        disk.put(&Path::new(DIR).join(name.to_string()), segment);
    }

    let mut records = Vec::new();
    let peak = peak_of(&mut || records = records_of(&disk));
    // A piece for each segment, which is no longer than that, and a record of 100 bytes for every 8,
    // in a list that doubles, and its predecessor.
    let peak_max = 48 * segments.iter().map(Vec::len).sum::<usize>() + (16 << 10);
    assert!(peak <= peak_max, "{peak} bytes allocated, {peak_max} expected at most");

    let origin = SnapshotRecord::default();
    let usable = usable_snapshots(&disk, Path::new(DIR)).unwrap_or_default();
    for from in usable.iter().chain([&origin]) {
        // What is changed when it is opened is the disk's that it is opened on.
        let disk = disk.copy();
        let Ok(first) = open(&disk, from) else { continue };
        let again = open(&disk, from).unwrap_or_else(|error| panic!("it opened before: {error}"));
        assert_eq!(again.repaired, None);
        assert_eq!(again.metadata, first.metadata);
        assert_eq!(again.hard_state, first.hard_state);
        assert_eq!(again.entries, first.entries);
        assert_eq!(records_of(&disk), records, "no record is lost or appears");
        if *from == origin {
            rewrite(&records, &first);
        }
    }
}

fn split(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, &[]), |(first, rest)| (*first, rest))
}

fn options() -> Options {
    Options { segment_bytes: 4096, prepare: Prepare::Inline, ..Options::default() }
}

fn open(disk: &FaultDisk, from: &SnapshotRecord) -> Result<Replay, crate::wal::WalError> {
    Wal::open(Arc::new(disk.clone()), Path::new(DIR), from, options()).map(|(_, replay)| replay)
}

fn records_of(disk: &FaultDisk) -> Vec<Record> {
    let Ok(mut reader) = Reader::open(disk, Path::new(DIR)) else { return Vec::new() };
    std::iter::from_fn(|| reader.next_record().ok().flatten()).collect()
}

/// Writes the records of a log that was opened to another one.
fn rewrite(records: &[Record], held: &Replay) {
    let disk = FaultDisk::new(0);
    disk.put(Path::new("/data/other"), &[]);
    let (dir, shared) = (Path::new(DIR), Arc::new(disk.clone()));
    let mut wal = Wal::create(shared, dir, held.metadata, options()).expect("there is room");
    for record in records {
        match record.kind {
            RecordKind::ENTRY => {
                let entry = raftwire::raftpb::Entry::decode(&record.data).expect("it was replayed");
                wal.append_encoded(entry.index, &record.data);
            }
            RecordKind::HARD_STATE => {
                let state = HardState::decode(&record.data).expect("it was replayed");
                wal.set_hard_state(state);
                wal.sync().expect("the disk is good");
            }
            _ => {}
        }
    }
    wal.close().expect("the disk is good");
    let again = open(&disk, &SnapshotRecord::default()).expect("it was written");
    assert_eq!((again.metadata, again.repaired), (held.metadata, None));
    assert_eq!(again.entries, held.entries);
    // One that is all zero is never written, so that the one before it stands.
    if held.hard_state != HardState::default() {
        assert_eq!(again.hard_state, held.hard_state);
    }
}

/// Segments as they are in the input.
fn cut(input: &[u8]) -> Vec<Vec<u8>> {
    let (count, mut rest) = split(input);
    let mut segments = Vec::new();
    for _ in 1..usize::from(count) % SEGMENTS_MAX + 1 {
        let Some((length, behind)) = rest.split_first_chunk() else { break };
        let count = usize::from(u16::from_le_bytes(*length)).min(behind.len());
        let (segment, behind) = behind.split_at(count);
        segments.push(segment.to_vec());
        rest = behind;
    }
    segments.push(rest.to_vec());
    segments
}

/// Segments of records that are chosen: each a byte, with its kind and whether a segment begins with
/// it, the length of its data, and that. The first bytes say what is damaged in the end.
fn build(input: &[u8]) -> Vec<Vec<u8>> {
    let (damage, rest) = input.split_at(input.len().min(4));
    let mut segments = vec![Vec::new()];
    let mut crc = 0;
    let (mut choice, mut rest) = split(rest);
    // Every log begins with these.
    put(&mut segments[0], 4, 0, None);
    for (kind, data) in [(1, &[8, 1, 16, 2][..]), (5, &[8, 0, 16, 0])] {
        crc = crc32c::crc32c_append(crc, data);
        put(&mut segments[0], kind, crc, Some(data));
    }
    while !rest.is_empty() {
        let (count, behind) = split(rest);
        let (data, behind) = behind.split_at(usize::from(count).min(behind.len()));
        let last = segments.last_mut().expect("there is a first one");
        match choice % 8 {
            4 => put(last, 4, crc, None),
            kind => {
                crc = crc32c::crc32c_append(crc, data);
                put(last, u64::from(kind), crc, Some(data));
            }
        }
        if choice >= 0xe0 && segments.len() < SEGMENTS_MAX {
            let mut next = Vec::new();
            put(&mut next, 4, crc, None);
            segments.push(next);
        }
        (choice, rest) = split(behind);
    }
    let last = segments.last_mut().expect("there is a first one");
    if let [how, at @ .., value] = damage {
        let at = at.iter().fold(0, |at, byte| at << 8 | usize::from(*byte)) % (last.len() + 1);
        match how % 4 {
            0 => {}
            1 => last.truncate(at),
            2 => last[at..].iter_mut().take(1).for_each(|byte| *byte ^= value),
            _ => last[at..].iter_mut().take(512).for_each(|byte| *byte = 0),
        }
    }
    segments
}

/// Adds a frame, plainly.
fn put(segment: &mut Vec<u8>, kind: u64, crc: u32, data: Option<&[u8]>) {
    let mut record = Vec::new();
    put_number(&mut record, 1, kind);
    put_number(&mut record, 2, u64::from(crc));
    if let Some(data) = data {
        put_bytes(&mut record, 3, data);
    }
    let mut length = (record.len() as u64).to_le_bytes();
    let padded = record.len().next_multiple_of(8);
    if padded > record.len() {
        length[7] = 0x80 | (padded - record.len()).to_le_bytes()[0];
    }
    record.resize(padded, 0);
    segment.extend_from_slice(&length);
    segment.extend_from_slice(&record);
}
