//! Nothing acknowledged is lost, and nothing appears that was not written: on a disk that crashes
//! anywhere, drops and tears what was not synced, or fails; while the log is created, written,
//! changes segments and is repaired; several times in a row. And a disk that does not sync at all is
//! found out.
//!
//! All of it follows from a seed, which a failure names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support {
    pub(crate) mod disk;
    pub(crate) mod disk_model;
}

use fastrand::Rng;
use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::wal::{Reader, Replay, Wal, WalError};
use std::io::ErrorKind;
use std::path::Path;
use support::disk::{DIR, append, create, entry, fault_disk, options, origin, shared};
use support::disk_model::Model;

const FIRST_SEGMENT: &str = "/data/wal/0000000000000000-0000000000000000.wal";

/// Small enough that a few batches fill one.
const SEGMENT_BYTES: u64 = 8 << 10;

/// How many batches a process writes before it is done.
const STEPS: usize = 50;

/// Writes batches until they are done or the disk fails. Returns whether it failed.
fn live(model: &mut Model, disk: &FaultDisk, random: &mut Rng) -> Result<bool, String> {
    let Some(mut wal) = model.recover(disk, SEGMENT_BYTES)? else { return Ok(true) };
    for _ in 0..STEPS {
        if let Err(error) = model.step(&mut wal, random) {
            let again = wal.sync();
            assert!(matches!(error, WalError::Failed(_)), "{error:?}");
            assert_eq!(again.unwrap_err().to_string(), error.to_string(), "it is dead");
            return Ok(true);
        }
    }
    // Its last batch is written when it is dropped, which nobody hears of.
    model.put_hard_state();
    Ok(false)
}

/// Writes until a crash, and again on what is left of the disk, several times.
fn lives(seed: u64, lies: bool) -> Result<(), String> {
    let mut random = Rng::with_seed(seed);
    let mut model = Model::default();
    let mut disk = fault_disk(seed);
    for life in 0..4 {
        if lies {
            disk.lie();
        }
        // Often early, while the log is opened; sometimes not at all before it is done.
        let crash_at = if random.bool() { random.u64(..20) } else { random.u64(..120) };
        disk.crash_at(disk.operations() + crash_at);
        let failed = live(&mut model, &disk, &mut random);
        failed.map_err(|error| format!("seed {seed}, life {life}: {error}"))?;
        disk = disk.crash();
    }
    let end = model.recover(&disk, SEGMENT_BYTES);
    end.map(|_| ()).map_err(|error| format!("seed {seed}, end: {error}"))
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_appears() {
    for seed in 0..600 {
        if let Err(error) = lives(seed, false) {
            panic!("{error}");
        }
    }
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let found = (0..100).filter(|seed| lives(*seed, true).is_err()).count();
    assert!(found > 50, "{found} of 100");
}

#[test]
fn every_crash_point_of_one_history_recovers() {
    let seed = 11;
    let operations = {
        let (mut model, disk) = (Model::default(), fault_disk(seed));
        live(&mut model, &disk, &mut Rng::with_seed(seed)).unwrap();
        disk.operations()
    };
    assert!(operations > 60, "{operations}");
    for crash_at in 0..operations {
        for fate in 0..8 {
            let (mut model, disk) = (Model::default(), fault_disk(fate));
            disk.crash_at(crash_at);
            live(&mut model, &disk, &mut Rng::with_seed(seed)).unwrap();
            let after = disk.crash();
            let recovered = model.recover(&after, SEGMENT_BYTES);
            assert!(recovered.is_ok(), "crash at {crash_at}, fate {fate}: {recovered:?}");
        }
    }
}

#[test]
fn a_disk_that_fails_loses_nothing_that_was_acknowledged() {
    let seed = 12;
    let operations = {
        let (mut model, disk) = (Model::default(), fault_disk(seed));
        live(&mut model, &disk, &mut Rng::with_seed(seed)).unwrap();
        disk.operations()
    };
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for fail_at in 0..operations {
            for fate in 0..4 {
                let (mut model, disk) = (Model::default(), fault_disk(fate));
                disk.fail_at(fail_at, kind);
                // A log that could not be created or opened is no log.
                let _ = live(&mut model, &disk, &mut Rng::with_seed(seed));
                // The process stops; in half of the cases the machine, too.
                let disk = if fate % 2 == 0 { disk } else { disk.crash() };
                let recovered = model.recover(&disk, SEGMENT_BYTES);
                assert!(recovered.is_ok(), "{kind} at {fail_at}, fate {fate}: {recovered:?}");
                // What the next process found, it answers for.
                drop(recovered);
                let again = model.recover(&disk.crash(), SEGMENT_BYTES);
                assert!(again.is_ok(), "{kind} at {fail_at}, fate {fate}, crash: {again:?}");
            }
        }
    }
}

fn open(disk: &FaultDisk) -> Result<(Wal, Replay), WalError> {
    Wal::open(shared(disk), Path::new(DIR), &origin(), options(SEGMENT_BYTES))
}

/// A segment with these entries, and where what was written ends.
fn segment(entries: &[usize]) -> (Vec<u8>, usize) {
    let disk = fault_disk(0);
    let mut wal = create(&disk, options(SEGMENT_BYTES)).unwrap();
    for (index, bytes) in (1..).zip(entries) {
        append(&mut wal, &entry(1, index, vec![7; *bytes]));
    }
    wal.close().unwrap();
    let mut reader = Reader::open(&disk, Path::new(DIR)).unwrap();
    while reader.next_record().unwrap().is_some() {}
    let end = reader.tail().unwrap().offset;
    (disk.contents(Path::new(FIRST_SEGMENT)).unwrap(), usize::try_from(end).unwrap())
}

#[test]
fn a_repair_that_is_interrupted_is_done_again() {
    let (whole, end) = segment(&[100, 1500]);
    // Cut within the last sector, and before; or without a sector.
    let cuts = [end - 1, end - 9, end - 400, end - 900].map(|end| whole[..end].to_vec());
    let mut hollow = whole;
    hollow[1024..1536].fill(0);
    let mut repaired = 0;
    for (number, damaged) in cuts.into_iter().chain([hollow]).enumerate() {
        for crash_at in 0..10 {
            for seed in 0..150 {
                let disk = fault_disk(seed);
                disk.put(Path::new(FIRST_SEGMENT), &damaged);
                disk.crash_at(disk.operations() + crash_at);
                drop(open(&disk));
                let opened = open(&disk.crash());
                let (_, replay) = opened.unwrap_or_else(|error| {
                    panic!("damage {number}, crash at {crash_at}, seed {seed}: {error}")
                });
                assert_eq!(replay.entries.len(), 1);
                repaired += usize::from(replay.repaired.is_some());
            }
        }
    }
    assert!(repaired > 100, "{repaired}");
}

#[test]
fn what_lay_behind_the_end_does_not_come_back() {
    // A batch that ends with a block, behind which lies what a torn batch has left.
    let (_, end) = segment(&[100]);
    let (_, full) = segment(&[100, 4096 - end - 40]);
    let last = 4096 - end - 40 + (4096 - full);
    assert_eq!(segment(&[100, last]).1, 4096);
    let mut bytes = segment(&[100]).0;
    bytes[4096..4200].fill(0xee);
    for seed in 0..100 {
        let disk = fault_disk(seed);
        disk.put(Path::new(FIRST_SEGMENT), &bytes);
        let (mut wal, replay) = open(&disk).unwrap();
        assert_eq!(replay.repaired, None);
        append(&mut wal, &entry(1, 2, vec![7; last]));
        wal.sync().unwrap();
        let (_, replay) =
            open(&disk.crash()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!((replay.entries.len(), replay.repaired), (2, None), "seed {seed}");
    }
}
