//! The bodies of the fuzz targets of the log and of snapshots, as library code: a fuzz target is one
//! line that calls one, and a test replays the committed corpus through the same code.
//!
//! A body takes bytes somebody else chose, and panics where a property does not hold. Private feature
//! `__fuzzing`: it is no part of the crate's interface.

mod log;

use crate::snap;
use bytes::Bytes;
use raftwire::raftpb::Snapshot;

/// Runs something and returns how many more bytes were allocated at once than before, or 0 where
/// nobody counts.
pub type PeakOf = fn(&mut dyn FnMut()) -> usize;

/// The code of a fuzz target.
pub type Body = fn(&[u8], PeakOf);

/// Every target, by the name of its corpus.
pub const TARGETS: &[(&str, Body)] = &[("wal_read", log::read), ("snap_read", snap_read)];

/// Counts nothing.
pub fn uncounted(run: &mut dyn FnMut()) -> usize {
    run();
    0
}

/// Runs the target `name`, or returns false if there is no such target.
///
/// # Panics
///
/// If a property does not hold.
pub fn run(name: &str, input: &[u8], peak_of: PeakOf) -> bool {
    let body = TARGETS.iter().find(|(target, _)| *target == name);
    body.is_some_and(|(_, body)| {
        body(input, peak_of);
        true
    })
}

/// Input: a snapshot's file; and once more its data, with the CRC that belongs to it, which a fuzzer
/// does not find. Asserted: what is read is written in a form that is read as the same, and written
/// as the same bytes; peak allocation is bounded by the input.
fn snap_read(input: &[u8], peak_of: PeakOf) {
    let file = Bytes::copy_from_slice(input);
    let crc = crc32c::crc32c(input);
    let mut with_crc = Vec::new();
    put_number(&mut with_crc, 1, u64::from(crc));
    put_bytes(&mut with_crc, 2, input);
    for file in [file, with_crc.into()] {
        let mut decoded = None;
        let peak = peak_of(&mut || decoded = snap::decode(&file).ok());
        // The ids of a conf state, of 8 bytes each, in a list that doubles, and its predecessor.
        let peak_max = 32 * file.len() + 4096;
        assert!(peak <= peak_max, "{peak} bytes allocated, {peak_max} expected at most");
        if let Some(snapshot) = decoded.filter(|snapshot| snapshot.metadata.index > 0) {
            let again = snap::encode(&snapshot).expect("it fits, as it did");
            assert_eq!(decode(&again), snapshot);
            assert_eq!(snap::encode(&decode(&again)).expect("it fits"), again);
        }
    }
}

fn decode(file: &[u8]) -> Snapshot {
    match snap::decode(&Bytes::copy_from_slice(file)) {
        Ok(snapshot) => snapshot,
        // A CRC that happens to be 0 is none, to etcd too.
        Err(error) => panic!("what was written is read: {error}"),
    }
}

/// Writes a varint, plainly.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f).to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
