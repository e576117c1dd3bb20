//! The log on the system's disk: who may open it, when it changes segments, what it releases and
//! removes, what it is when the disk fails; through the system's cache and past it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support {
    pub(crate) mod disk;
}

use raftwire::raftpb::{Entry, HardState};
use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::disk::{AlignedBuffer, BLOCK_BYTES, Disk, OsDisk};
use raftwire_etcd::wal::{self, Options, Prepare, Wal, WalError, usable_snapshots};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use support::disk::{
    DIR, METADATA, append, create, entry, fault_disk, hard_state, options, origin, shared, snapshot,
};

const DISKS: [OsDisk; 2] = [OsDisk::new(), OsDisk::buffered()];

fn names(dir: &Path) -> Vec<String> {
    let mut names = OsDisk::new().list(dir).unwrap();
    names.sort();
    names
}

fn in_background(segment_bytes: u64) -> Options {
    let mut options = options(segment_bytes);
    options.prepare = Prepare::Background;
    options
}

/// Entries `from..to` of term 1, a batch each.
fn write(wal: &mut Wal, from: u64, to: u64, bytes: usize) -> Vec<Entry> {
    let written = (from..to).map(|index| {
        let entry = entry(1, index, vec![index.to_le_bytes()[0]; bytes]);
        append(wal, &entry);
        wal.set_hard_state(hard_state(1, 1, index - 1));
        wal.sync().unwrap();
        entry
    });
    written.collect()
}

#[test]
fn what_was_written_is_read_again_across_segments() {
    for disk in DISKS {
        for options in [options(64 << 10), in_background(64 << 10)] {
            let temp = tempfile::tempdir().unwrap();
            let dir = temp.path().join("wal");
            let mut wal = Wal::create(Arc::new(disk), &dir, METADATA, options).unwrap();
            let mut entries = write(&mut wal, 1, 300, 900);
            // One batch larger than what is kept ready for one, and than a segment.
            for index in 300..310 {
                entries.push(entry(1, index, vec![3; 400_000]));
                append(&mut wal, entries.last().unwrap());
            }
            wal.sync().unwrap();
            entries.extend(write(&mut wal, 310, 330, 10));
            let stats = wal.stats();
            assert_eq!((stats.syncs, stats.cuts), (299 + 1 + 20, 5));
            wal.close().unwrap();

            let (mut wal, replay) = Wal::open(Arc::new(disk), &dir, &origin(), options).unwrap();
            assert_eq!(replay.metadata, METADATA);
            assert_eq!(replay.entries, entries);
            assert_eq!(replay.hard_state, hard_state(1, 1, 328));
            assert_eq!(replay.repaired, None);
            entries.extend(write(&mut wal, 330, 400, 900));
            wal.close().unwrap();
            let (wal, replay) = Wal::open(Arc::new(disk), &dir, &origin(), options).unwrap();
            assert_eq!(replay.entries, entries);
            wal.close().unwrap();
            let left: Vec<_> =
                names(&dir).into_iter().filter(|name| name.ends_with("tmp")).collect();
            assert_eq!(left, Vec::<String>::new());
            assert_eq!(names(temp.path()), ["wal"]);
        }
    }
}

#[test]
fn a_tmpfs_holds_a_log_too() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        eprintln!("no /dev/shm here: nothing was tested");
        return;
    }
    let temp = tempfile::tempdir_in(memory).unwrap();
    let dir = temp.path().join("wal");
    let disk = Arc::new(OsDisk::new());
    let mut wal = Wal::create(disk.clone(), &dir, METADATA, options(64 << 10)).unwrap();
    let entries = write(&mut wal, 1, 200, 900);
    wal.close().unwrap();
    let (_, replay) = Wal::open(disk, &dir, &origin(), options(64 << 10)).unwrap();
    assert_eq!(replay.entries, entries);
}

#[test]
fn a_segment_is_as_long_as_it_is_to_be_before_anything_is_in_it() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("wal");
    let wal = Wal::create(Arc::new(OsDisk::new()), &dir, METADATA, Options::default()).unwrap();
    let path = dir.join("0000000000000000-0000000000000000.wal");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), wal::SEGMENT_BYTES);
    // Blocks that were written, not only promised, or a part of them at least.
    use std::os::unix::fs::MetadataExt;
    assert!(metadata.blocks() * 512 >= wal::SEGMENT_BYTES);
    drop(wal);
}

#[test]
fn a_log_that_is_open_is_nobody_elses() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("wal");
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let mut wal = Wal::create(disk.clone(), &dir, METADATA, options(16 << 10)).unwrap();
    write(&mut wal, 1, 50, 900);
    let again = Wal::create(disk.clone(), &dir, METADATA, options(16 << 10));
    assert!(matches!(again, Err(WalError::Exists { .. })), "{again:?}");
    // Not even in this process, and though others have read it meanwhile.
    for _ in 0..2 {
        usable_snapshots(&*disk, &dir).unwrap();
        let again = Wal::open(disk.clone(), &dir, &origin(), options(16 << 10));
        assert!(matches!(again, Err(WalError::Locked { .. })), "{again:?}");
    }
    wal.close().unwrap();
    Wal::open(disk, &dir, &origin(), options(16 << 10)).unwrap();
}

#[test]
fn what_was_only_batched_is_written_when_the_log_is_closed_or_dropped() {
    let disk = fault_disk(0);
    let mut wal = create(&disk, options(1 << 20)).unwrap();
    append(&mut wal, &entry(1, 1, "closed"));
    wal.close().unwrap();
    let open = || Wal::open(shared(&disk), Path::new(DIR), &origin(), options(1 << 20)).unwrap();
    let (mut wal, replay) = open();
    assert_eq!(replay.entries.len(), 1);
    wal.set_hard_state(hard_state(1, 0, 1));
    append(&mut wal, &entry(1, 2, "dropped"));
    drop(wal);
    let (_, replay) = open();
    assert_eq!((replay.entries.len(), replay.hard_state), (2, hard_state(1, 0, 1)));
}

#[test]
fn a_sync_is_one_operation_and_none_if_there_is_nothing() {
    let disk = fault_disk(0);
    let mut wal = create(&disk, options(1 << 20)).unwrap();
    for batch in 0..100 {
        let before = disk.operations();
        assert!(!wal.must_sync());
        for index in batch * 3 + 1..batch * 3 + 4 {
            append(&mut wal, &entry(1, index, vec![1; 300]));
        }
        wal.set_hard_state(hard_state(1, 1, batch));
        assert!(wal.must_sync());
        wal.sync().unwrap();
        assert_eq!(disk.operations(), before + 1);
        wal.sync().unwrap();
        wal.set_hard_state(hard_state(1, 1, batch));
        wal.set_hard_state(HardState::default());
        wal.sync().unwrap();
        assert_eq!(disk.operations(), before + 1);
        // A commit index alone need not be written; a term or a vote must.
        wal.set_hard_state(hard_state(1, 1, batch + 1));
        assert!(!wal.must_sync());
        wal.set_hard_state(hard_state(1, 2, batch + 1));
        assert!(wal.must_sync());
        wal.set_hard_state(hard_state(1, 1, batch));
        wal.sync().unwrap();
        assert_eq!(disk.operations(), before + 1);
    }
}

#[test]
fn releases_and_removes_what_no_snapshot_needs() {
    let disk = fault_disk(0);
    let mut wal = create(&disk, options(8 << 10)).unwrap();
    // Nine entries fill a segment: the segments begin at 0, 10, 19, 28, ...
    write(&mut wal, 1, 100, 900);
    let segments = || {
        let names: Vec<_> = disk.list(Path::new(DIR)).unwrap().into_iter().collect();
        let names = names.iter().filter_map(|name| wal::SegmentName::parse(name));
        names.map(|name| name.index).collect::<Vec<_>>()
    };
    let begins = segments();
    assert_eq!(begins.len(), 12, "{begins:?}");
    wal.append_snapshot(&snapshot(1, begins[3]));
    wal.sync().unwrap();

    // The segment before the one that begins there is kept, and what a file server might still have.
    wal.release_to(begins[3]).unwrap();
    assert_eq!(segments(), begins[2..]);
    wal.release_to(begins[3] + 1).unwrap();
    assert_eq!(segments(), begins[3..]);
    wal.release_to(begins[11]).unwrap();
    assert_eq!(segments(), begins[7..], "five are kept");
    wal.release_to(u64::MAX).unwrap();
    assert_eq!(segments(), begins[7..]);
    write(&mut wal, 100, 120, 900);
    wal.close().unwrap();

    // From its snapshot on the log is whole only while its segments are there.
    let opened =
        Wal::open(shared(&disk), Path::new(DIR), &snapshot(1, begins[3]), options(8 << 10));
    assert!(matches!(opened, Err(WalError::NoSegment { .. })), "{opened:?}");
}

#[test]
fn opens_behind_a_snapshot_with_what_follows_it() {
    let disk = fault_disk(0);
    let mut wal = create(&disk, options(8 << 10)).unwrap();
    let mut entries = write(&mut wal, 1, 40, 900);
    wal.append_snapshot(&snapshot(1, 20));
    wal.sync().unwrap();
    entries.extend(write(&mut wal, 40, 60, 900));
    // One that is not committed, and one that was received.
    wal.close().unwrap();
    let usable = usable_snapshots(&disk, Path::new(DIR)).unwrap();
    assert_eq!(usable, [origin(), snapshot(1, 20)]);
    let (mut wal, replay) =
        Wal::open(shared(&disk), Path::new(DIR), &snapshot(1, 20), options(8 << 10)).unwrap();
    assert_eq!(replay.entries, entries[20..]);

    wal.append_snapshot(&snapshot(3, 1000));
    append(&mut wal, &entry(3, 1001, "behind"));
    wal.sync().unwrap();
    wal.close().unwrap();
    let usable = usable_snapshots(&disk, Path::new(DIR)).unwrap();
    assert_eq!(usable.last(), Some(&snapshot(3, 1000)));
    let (wal, replay) =
        Wal::open(shared(&disk), Path::new(DIR), &snapshot(3, 1000), options(8 << 10)).unwrap();
    assert_eq!(replay.entries, [entry(3, 1001, "behind")]);
    assert_eq!(replay.hard_state, hard_state(3, 0, 1000));
    drop(wal);
    // Another term's, and one there is none of.
    let opened = Wal::open(shared(&disk), Path::new(DIR), &snapshot(2, 1000), options(8 << 10));
    assert!(matches!(opened, Err(WalError::Corrupt(_))), "{opened:?}");
    let opened = Wal::open(shared(&disk), Path::new(DIR), &snapshot(3, 2000), options(8 << 10));
    assert!(matches!(opened, Err(WalError::NoSnapshot { index: 2000, .. })), "{opened:?}");
}

#[test]
fn the_segment_behind_a_received_snapshot_is_named_after_it() {
    let disk = fault_disk(0);
    let mut wal = create(&disk, options(8 << 10)).unwrap();
    write(&mut wal, 1, 5, 100);
    wal.append_snapshot(&snapshot(3, 1000));
    wal.close().unwrap();
    let open = || Wal::open(shared(&disk), Path::new(DIR), &snapshot(3, 1000), options(8 << 10));
    // No entry comes before the segment is full.
    let (mut wal, _) = open().unwrap();
    for term in 4.. {
        wal.set_hard_state(hard_state(term, 1, 1000));
        wal.sync().unwrap();
        if wal.stats().cuts == 1 {
            break;
        }
    }
    append(&mut wal, &entry(9999, 1001, "behind"));
    wal.close().unwrap();
    assert!(disk.files().contains(&Path::new(DIR).join("0000000000000001-00000000000003e9.wal")));
    // It does not hold the snapshot's record, so that a reader must not begin with it.
    assert_eq!(open().unwrap().1.entries, [entry(9999, 1001, "behind")]);
}

#[test]
fn a_log_whose_disk_failed_is_dead() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        let disk = fault_disk(0);
        let mut wal = create(&disk, options(1 << 20)).unwrap();
        write(&mut wal, 1, 3, 10);
        disk.fail_at(disk.operations(), kind);
        append(&mut wal, &entry(1, 3, "lost"));
        let first = wal.sync().unwrap_err();
        let WalError::Failed(error) = &first else { panic!("{first:?}") };
        assert_eq!(error.kind(), kind);
        assert!(first.to_string().contains("/data/wal/0000000000000000-"), "{first}");
        // The disk would do it again, and must not be asked to.
        let operations = disk.operations();
        append(&mut wal, &entry(1, 4, "nothing"));
        wal.set_hard_state(hard_state(9, 9, 9));
        for again in [wal.sync(), wal.release_to(1), wal.close()] {
            let again = again.unwrap_err();
            assert!(matches!(&again, WalError::Failed(other) if Arc::ptr_eq(other, error)));
        }
        assert_eq!(disk.operations(), operations);
    }
}

#[test]
fn a_torn_end_is_cut_off_and_kept_aside() {
    for disk in DISKS {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("wal");
        let mut wal = Wal::create(Arc::new(disk), &dir, METADATA, options(64 << 10)).unwrap();
        let entries = write(&mut wal, 1, 5, 3000);
        wal.close().unwrap();
        // A sector of the last record was never written; and something else behind it was.
        let path = dir.join("0000000000000000-0000000000000000.wal");
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[(end - 1500) / 512 * 512..][..512].fill(0);
        bytes[end + 2000] = 7;
        fs::write(&path, &bytes).unwrap();

        let (mut wal, replay) =
            Wal::open(Arc::new(disk), &dir, &origin(), options(64 << 10)).unwrap();
        let repair = replay.repaired.unwrap();
        assert_eq!(repair.path, path);
        assert_eq!(fs::read(&repair.broken).unwrap(), bytes);
        assert_eq!(replay.entries, entries[..3]);
        let now = fs::read(&path).unwrap();
        let (kept, zeros) = now.split_at(usize::try_from(repair.offset).unwrap());
        assert_eq!(kept, &bytes[..kept.len()]);
        assert!(now.len() == 64 << 10 && zeros.iter().all(|byte| *byte == 0));
        write(&mut wal, 4, 6, 100);
        wal.close().unwrap();
        let (_, replay) = Wal::open(Arc::new(disk), &dir, &origin(), options(64 << 10)).unwrap();
        assert_eq!((replay.entries.len(), replay.repaired), (5, None));
    }
}

#[test]
fn files_are_written_whole_past_the_cache_or_through_it() {
    let mut bytes = AlignedBuffer::with_capacity(0);
    for value in 0..3 * BLOCK_BYTES {
        bytes.extend(&[value.to_le_bytes()[0]]);
    }
    for disk in DISKS {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        let mut file = disk.create(&path).unwrap();
        file.write_whole_blocks();
        file.write_at(bytes.as_slice(), 4096).unwrap();
        file.write_durably_at(&bytes.as_slice()[..BLOCK_BYTES], 0).unwrap();
        file.sync().unwrap();
        // What is no whole block makes the file go back to the cache.
        file.write_durably_at(&bytes.as_slice()[1..100], 4099).unwrap();
        drop(file);
        let mut expected = [&bytes.as_slice()[..BLOCK_BYTES], bytes.as_slice()].concat();
        expected[4099..4099 + 99].copy_from_slice(&bytes.as_slice()[1..100]);
        assert!(fs::read(&path).unwrap() == expected);
        let error = disk.create(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(
            error.to_string().starts_with(&format!("creating {}: ", path.display())),
            "{error}"
        );
        let error = disk.open_to_read(&temp.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[test]
fn a_full_disk_says_so() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        eprintln!("no /dev/full here: nothing was tested");
        return;
    }
    let error = OsDisk::new().open(full).unwrap().write_durably_at(b"bytes", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(error.to_string().starts_with("writing durably to /dev/full: No space"), "{error}");
}

#[test]
fn a_directory_without_a_log_is_told_from_one_with_one() {
    let disk = FaultDisk::new(0);
    assert!(!wal::exists(&disk, Path::new("/none")).unwrap());
    let opened = Wal::open(shared(&disk), Path::new("/none"), &origin(), options(4096));
    assert!(matches!(opened, Err(WalError::NoSegment { .. })), "{opened:?}");
    disk.put(&Path::new(DIR).join("0.tmp"), b"");
    assert!(!wal::exists(&disk, Path::new(DIR)).unwrap());
    // What is there is not ours to remove.
    let created = create(&disk, options(4096));
    assert!(
        matches!(&created, Err(WalError::Disk(error)) if error.kind() == ErrorKind::DirectoryNotEmpty)
    );
    disk.remove(&Path::new(DIR).join("0.tmp")).unwrap();
    drop(create(&disk, options(4096)).unwrap());
    assert!(wal::exists(&disk, Path::new(DIR)).unwrap());
}
