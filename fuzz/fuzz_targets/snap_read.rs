//! Its body, and what it asserts, is in `raftwire_etcd::fuzzing`.

#![no_main]

raftwire_fuzz::target!("snap_read");
