//! What the tests of the log share: entries, and a log on a disk in memory. Nothing is asserted here.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use bytes::Bytes;
use raftwire::raftpb::{ConfState, Entry, HardState, Message, RaftMessage};
use raftwire_etcd::disk::Disk;
use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::wal::{Metadata, Options, Prepare, SnapshotRecord, Wal, WalError};
use std::path::Path;
use std::sync::Arc;

pub(crate) const DIR: &str = "/data/wal";

pub(crate) const METADATA: Metadata =
    Metadata { member: 0x8211_f1d0_f64f_3269, cluster: 0xef37_ad9d_c622_a7c4 };

/// Segments of this size, prepared by whoever needs one.
pub(crate) fn options(segment_bytes: u64) -> Options {
    let mut options = Options::default();
    options.segment_bytes = segment_bytes;
    options.prepare = Prepare::Inline;
    options
}

pub(crate) fn entry(term: u64, index: u64, data: impl Into<Bytes>) -> Entry {
    Entry { term, index, data: Some(data.into()), ..Entry::default() }
}

pub(crate) const fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit }
}

pub(crate) fn snapshot(term: u64, index: u64) -> SnapshotRecord {
    let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    SnapshotRecord { index, term, conf_state: Some(conf_state) }
}

/// The snapshot every log begins with.
pub(crate) fn origin() -> SnapshotRecord {
    SnapshotRecord::default()
}

pub(crate) fn append(wal: &mut Wal, entry: &Entry) {
    wal.append(Message::entry(entry));
}

/// A disk in memory with a directory for data.
pub(crate) fn fault_disk(seed: u64) -> FaultDisk {
    let disk = FaultDisk::new(seed);
    disk.put(Path::new("/data/put"), b"");
    disk
}

pub(crate) fn shared(disk: &(impl Disk + Clone + 'static)) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

pub(crate) fn create(disk: &FaultDisk, options: Options) -> Result<Wal, WalError> {
    Wal::create(shared(disk), Path::new(DIR), METADATA, options)
}
