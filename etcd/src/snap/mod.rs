//! Snapshots on disk, in etcd's format.
