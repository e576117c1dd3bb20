//! A member of an etcd cluster on raftwire's transport: raft, its log on disk, and a state machine.
//!
//! ```text
//! console  a member driven by lines: the program raftwire-etcd
//! node     its thread, with the transport, time, and who waits      tokio
//! member   its turns: receive, persist, apply                       blocks on the disk only
//! raft     raft-rs, and etcd's dialect of it
//! kv       the state machine; members: who is in the cluster
//! wal      the log on disk, in etcd's format                        blocking
//! snap     snapshots on disk, in etcd's format                      blocking
//! disk     files: the system's, and in tests one that fails         blocking
//! ```
//!
//! Each knows only those below it; `config`, `log` and `trace` stand beside them. Not here: the wire
//! (`raftwire`), and whatever measures (`raftwire-perf`).
//!
//! Its clusters are of its own kind so far. Log, messages and files are etcd's; but the data of a snapshot is
//! this state machine's own, and comes over the message stream, so a member of etcd can neither take one
//! nor give one.

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
