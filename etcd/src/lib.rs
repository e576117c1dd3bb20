//! A member of an etcd cluster on raftwire's transport: raft, its log on disk, and a state machine.
//!
//! ```text
//! node    one thread: transport, raft and proposals          tokio
//! member  a member without its threads: turns of receive, persist, apply   blocks on the disk only
//! raft    raft-rs, and etcd's dialect of it
//! kv      the state machine; members: who is in the cluster
//! wal     the log on disk, in etcd's format                   blocking
//! snap    snapshots on disk, in etcd's format                 blocking
//! disk    files: the system's, and in tests one that fails    blocking
//! ```
//!
//! Each knows only those below it. Not here: the wire (`raftwire`), and whatever measures
//! (`raftwire-perf`).

#![forbid(unsafe_code)]

pub mod config;
pub mod console;
pub mod disk;
#[cfg(feature = "__fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod kv;
pub mod log;
pub mod member;
mod members;
pub mod node;
pub mod raft;
pub mod snap;
pub mod trace;
pub mod wal;
