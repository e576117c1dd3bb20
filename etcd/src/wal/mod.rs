//! The log on disk, in etcd's format.
