//! The log and a snapshot, byte for byte as etcd 3.6.14 wrote them, called as the tests below call
//! ours: `wal.Create`, `Save` and `SaveSnapshot` with `SegmentSizeBytes` 400, and `snap.SaveSnap`.
//! etcd changes segments a little later than ours, which is why the sizes differ.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support {
    pub(crate) mod disk;
}

use bytes::Bytes;
use raftwire::raftpb::{ConfState, Dialect, Entry, EntryType, Snapshot, SnapshotMetadata, Wire};
use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::snap;
use raftwire_etcd::wal::{Reader, Record, RecordKind, SnapshotRecord, Wal, usable_snapshots};
use std::path::Path;
use support::disk::{
    DIR, METADATA, append, create, entry, fault_disk, hard_state, options, origin, shared,
};

const FIRST: &str = "0000000000000000-0000000000000000.wal";
const SECOND: &str = "0000000000000001-0000000000000006.wal";
const MEMBER: u64 = METADATA.member;
const LONG: &str = "a value of so many bytes that the segment is full behind it, whatever it takes to \
                    get there.";

/// The first segment: a frame a line, its length, the record's kind, its CRC, its data, padding.
const FIRST_HEX: &str = "
    0400000000000084 0804 1000 00000000
    2000000000000000 0801 10bfaee5db08 1a16 08e9e4bcb28fbafc888201 10c4cf8ab1dcb3eb9bef01
    0e00000000000082 0805 108bc290ca0b 1a04 0800 1000 0000
    1400000000000084 0802 109fd0bce908 1a0a 0801 1001 1801 22026363 00000000
    1000000000000000 0803 10b1a29ff70f 1a06 0801 1000 1801
    1000000000000000 0802 1083f48aad09 1a06 0800 1002 1802
    1700000000000081 0802 10f691c1fb0b 1a0d 0800 1002 1803 220568656c6c6f 00
    1900000000000087 0803 10c9b4e7cd0f 1a0f 0802 10e9e4bcb28fbafc888201 1802 00000000000000
    2100000000000087 0805 10f080be9b0b 1a17 0802 1002 1a11 08e9e4bcb28fbafc888201 0802 1003 2800
                     00000000000000
    6e00000000000082 0802 1091978bc501 1a64 0800 1002 1804 225c 612076616c7565206f6620736f206d616e7920
                     6279746573207468617420746865207365676d656e742069732066756c6c20626568696e64206974
                     2c20776861746576657220697420 74616b657320746f206765742074686572652e 0000
    1900000000000087 0803 10ca9196df01 1a0f 0802 10e9e4bcb28fbafc888201 1803 00000000000000
    1600000000000082 0802 10bbf4dbc50d 1a0c 0800 1002 1805 22046e657874 0000
    1900000000000087 0803 10cd82dcf501 1a0f 0802 10e9e4bcb28fbafc888201 1804 00000000000000";

const SECOND_HEX: &str = "
    0800000000000000 0804 10cd82dcf501
    2000000000000000 0801 1098e2919f02 1a16 08e9e4bcb28fbafc888201 10c4cf8ab1dcb3eb9bef01
    1900000000000087 0803 10b5dcc4be08 1a0f 0802 10e9e4bcb28fbafc888201 1804 00000000000000";

/// A snapshot's file: the CRC, and in the data the state and what it stands for.
const SNAP_HEX: &str = "08aee6aa9d02 1220 0a05 7374617465
    1217 0a11 08e9e4bcb28fbafc888201 0802 1003 2800 1002 1802";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn conf_state() -> ConfState {
    ConfState { voters: vec![MEMBER, 2], learners: vec![3], ..ConfState::default() }
}

fn entries() -> [Entry; 5] {
    [
        Entry { entry_type: EntryType(1), ..entry(1, 1, "cc") },
        Entry { data: None, ..entry(2, 2, "") },
        entry(2, 3, "hello"),
        entry(2, 4, LONG),
        entry(2, 5, "next"),
    ]
}

fn write(disk: &FaultDisk, put: impl Fn(&mut Wal, &Entry)) {
    let mut wal = create(disk, options(500)).unwrap();
    let [first, second, third, fourth, fifth] = entries();
    put(&mut wal, &first);
    wal.set_hard_state(hard_state(1, 0, 1));
    wal.sync().unwrap();
    put(&mut wal, &second);
    put(&mut wal, &third);
    wal.set_hard_state(hard_state(2, MEMBER, 2));
    wal.sync().unwrap();
    wal.append_snapshot(&SnapshotRecord { index: 2, term: 2, conf_state: Some(conf_state()) });
    wal.sync().unwrap();
    put(&mut wal, &fourth);
    wal.set_hard_state(hard_state(2, MEMBER, 3));
    wal.sync().unwrap();
    put(&mut wal, &fifth);
    wal.set_hard_state(hard_state(2, MEMBER, 4));
    wal.close().unwrap();
}

#[test]
fn writes_what_etcd_writes() {
    let encoded = |wal: &mut Wal, entry: &Entry| {
        wal.append_encoded(entry.index, &entry.encode(Dialect::V3_6));
    };
    for put in [append as fn(&mut Wal, &Entry), encoded] {
        let disk = fault_disk(0);
        write(&disk, put);
        assert_eq!(disk.contents(&Path::new(DIR).join(FIRST)), Some(bytes(FIRST_HEX)));
        let mut second = bytes(SECOND_HEX);
        second.resize(4096, 0);
        assert_eq!(disk.contents(&Path::new(DIR).join(SECOND)), Some(second));
        let files = disk.files().len();
        assert_eq!(files, 3, "the two, and the one that was there: {:?}", disk.files());
    }
}

#[test]
fn keeps_the_short_form_of_an_entry_that_came_in_it() {
    let disk = fault_disk(0);
    let mut wal = create(&disk, options(1 << 16)).unwrap();
    let short = entry(1, 1, "short").encode(Dialect::V3_7);
    wal.append_encoded(1, &short);
    wal.close().unwrap();
    let mut reader = Reader::open(&disk, Path::new(DIR)).unwrap();
    let records: Vec<Record> = std::iter::from_fn(|| reader.next_record().unwrap()).collect();
    let last = records.last().unwrap();
    assert_eq!((last.kind, &last.data[..]), (RecordKind::ENTRY, &short[..]));
    let (_, replay) =
        Wal::open(shared(&disk), Path::new(DIR), &origin(), options(1 << 16)).unwrap();
    assert_eq!(replay.entries, [entry(1, 1, "short")]);
}

#[test]
fn reads_what_etcd_wrote() {
    let disk = fault_disk(0);
    disk.put(&Path::new(DIR).join(FIRST), &bytes(FIRST_HEX));
    let mut second = bytes(SECOND_HEX);
    second.resize(400, 0);
    disk.put(&Path::new(DIR).join(SECOND), &second);

    let at_2 = SnapshotRecord { index: 2, term: 2, conf_state: Some(conf_state()) };
    assert_eq!(usable_snapshots(&disk, Path::new(DIR)).unwrap(), [origin(), at_2.clone()]);
    for (from, skipped) in [(origin(), 0), (at_2, 2)] {
        let (wal, replay) = Wal::open(shared(&disk), Path::new(DIR), &from, options(400)).unwrap();
        assert_eq!(replay.metadata, METADATA);
        assert_eq!(replay.hard_state, hard_state(2, MEMBER, 4));
        assert_eq!(replay.entries, entries()[skipped..]);
        assert_eq!(replay.repaired, None);
        drop(wal);
    }
}

#[test]
fn a_snapshot_is_written_and_read_as_by_etcd() {
    let metadata = SnapshotMetadata { conf_state: conf_state(), index: 2, term: 2 };
    let snapshot = Snapshot { data: Some(Bytes::from("state")), metadata };
    assert_eq!(snap::encode(&snapshot).unwrap(), bytes(SNAP_HEX));
    assert_eq!(snap::decode(&bytes(SNAP_HEX).into()).unwrap(), snapshot);

    let disk = fault_disk(0);
    let path = snap::save(&disk, Path::new("/data"), &snapshot).unwrap();
    assert_eq!(path, Path::new("/data/0000000000000002-0000000000000002.snap"));
    assert_eq!(disk.contents(&path), Some(bytes(SNAP_HEX)));
}
