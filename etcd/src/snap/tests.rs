//! Snapshots on a disk that crashes, and on one whose files are damaged.

use super::*;
use crate::disk::fault::FaultDisk;
use raftwire::raftpb::{ConfState, SnapshotMetadata};

const DIR: &str = "/snap";

fn snapshot(term: u64, index: u64, data: &str) -> Snapshot {
    let conf_state = ConfState { voters: vec![1, 2], ..ConfState::default() };
    let metadata = SnapshotMetadata { conf_state, index, term };
    Snapshot { data: Some(Bytes::from(data.to_owned())), metadata }
}

fn record(term: u64, index: u64) -> SnapshotRecord {
    SnapshotRecord { index, term, conf_state: None }
}

fn disk(seed: u64) -> FaultDisk {
    let disk = FaultDisk::new(seed);
    disk.put(&Path::new(DIR).join("db"), b"");
    disk
}

fn save_to(disk: &FaultDisk, snapshot: &Snapshot) -> Result<PathBuf, SnapError> {
    save(disk, Path::new(DIR), snapshot)
}

fn load(disk: &FaultDisk, usable: &[SnapshotRecord]) -> Loaded {
    load_newest(disk, Path::new(DIR), usable).unwrap()
}

#[test]
fn the_newest_that_the_log_knows_is_loaded() {
    let disk = disk(0);
    // By term, then by index: a later term's log may be shorter.
    for (term, index) in [(1, 30), (2, 20), (2, 100), (3, 5)] {
        save_to(&disk, &snapshot(term, index, "state")).unwrap();
    }
    let all = [record(1, 30), record(2, 20), record(2, 100), record(3, 5)];
    let loaded = |usable: &[SnapshotRecord]| {
        let loaded = load(&disk, usable);
        assert!(loaded.broken.is_empty());
        loaded.snapshot.map(|snapshot| (snapshot.metadata.term, snapshot.metadata.index))
    };
    assert_eq!(loaded(&all), Some((3, 5)));
    assert_eq!(loaded(&all[..3]), Some((2, 100)));
    assert_eq!(loaded(&all[..2]), Some((2, 20)));
    assert_eq!(loaded(&[record(1, 100), record(2, 30)]), None);
    assert_eq!(loaded(&[]), None);
}

#[test]
fn one_that_is_damaged_is_put_aside_wherever_it_is_damaged() {
    let old = snapshot(1, 1, "old");
    let bytes = encode(&snapshot(2, 2, "new")).unwrap();
    let usable = [record(1, 1), record(2, 2)];
    let damaged = |bytes: &[u8], what: &str| {
        let disk = disk(0);
        save_to(&disk, &old).unwrap();
        let path = Path::new(DIR).join("0000000000000002-0000000000000002.snap");
        disk.put(&path, bytes);
        let loaded = load(&disk, &usable);
        assert_eq!(loaded.snapshot.as_ref(), Some(&old), "{what}");
        let broken = Path::new(DIR).join("0000000000000002-0000000000000002.snap.broken");
        assert!(matches!(&loaded.broken[..], [(path, _)] if *path == broken), "{what}");
        assert_eq!(disk.contents(&broken).as_deref(), Some(bytes), "{what}");
        assert_eq!(disk.contents(&path), None, "{what}");
        assert!(load(&disk, &usable).broken.is_empty(), "once");
    };
    for cut in 0..bytes.len() {
        damaged(&bytes[..cut], &format!("cut at {cut}"));
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            // The bits of the CRC beyond the 32nd, which protobuf drops.
            if at == 5 && (4..7).contains(&bit) {
                continue;
            }
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            damaged(&bytes, &format!("byte {at}, bit {bit}"));
        }
    }
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let kind = |bytes: &[u8]| decode(&Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
    assert_eq!(kind(&[]), "empty snapshot");
    assert_eq!(kind(&[0x08, 1]), "empty snapshot");
    assert_eq!(kind(&[0x08, 0, 0x12, 1, 0]), "empty snapshot");
    assert_eq!(kind(&[0x08, 1, 0x12, 2, 0]), "malformed snapshot file");
    assert!(kind(&[0x08, 1, 0x12, 1, 0]).starts_with("file says CRC 00000001"));
    assert!(matches!(encode(&Snapshot::default()), Err(SnapError::Empty)));
}

#[test]
fn is_there_as_a_whole_or_not_at_all_wherever_a_crash_comes() {
    let (old, new) = (snapshot(1, 10, "old"), snapshot(1, 20, &"new".repeat(1000)));
    let usable = [record(1, 10), record(1, 20)];
    let mut unfinished = 0;
    for crash_at in 0..10 {
        for seed in 0..50 {
            let disk = disk(seed);
            save_to(&disk, &old).unwrap();
            disk.crash_at(disk.operations() + crash_at);
            let saved = save_to(&disk, &new).is_ok();
            let disk = disk.crash();
            unfinished += disk.files().len() - 2 - usize::from(saved);
            let loaded = load(&disk, &usable);
            assert!(loaded.broken.is_empty(), "crash at {crash_at}, seed {seed}");
            let found = loaded.snapshot.unwrap();
            assert!(found == new || found == old && !saved, "crash at {crash_at}, seed {seed}");
            assert!(disk.files().iter().all(|path| !path.to_str().unwrap().contains("tmp")));
        }
    }
    assert!(unfinished > 10, "{unfinished}");
}

#[test]
fn nothing_is_left_of_one_that_did_not_fit() {
    let disk = disk(0);
    disk.fail_at(disk.operations() + 1, ErrorKind::StorageFull);
    let error = save_to(&disk, &snapshot(1, 1, "state")).unwrap_err();
    assert!(matches!(error, SnapError::Disk(error) if error.kind() == ErrorKind::StorageFull));
    assert_eq!(disk.files(), [Path::new("/snap/db")]);
}

#[test]
fn the_oldest_are_removed() {
    let disk = disk(0);
    for index in 1..10 {
        save_to(&disk, &snapshot(1, index, "state")).unwrap();
    }
    purge(&disk, Path::new(DIR), KEPT).unwrap();
    let left: Vec<_> = disk.files();
    assert_eq!(left.len(), 1 + KEPT, "{left:?}");
    assert!(left[0].ends_with("0000000000000001-0000000000000005.snap"));
    purge(&disk, Path::new(DIR), KEPT).unwrap();
    assert_eq!(disk.files(), left);
}
