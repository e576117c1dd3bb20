//! A member of an etcd cluster on raftwire's transport: raft, its log on disk, and a state machine.
//!
//! ```text
//! node    one thread: transport, raft and proposals          tokio
//! raft    raft-rs behind one type, etcd's dialect             no sockets, no clock
//! kv      the state machine
//! wal     the log on disk, in etcd's format                   blocking
//! snap    snapshots on disk, in etcd's format                 blocking
//! disk    files: the system's, and in tests one that fails    blocking
//! ```
//!
//! Each knows only those below it. Not here: the wire (`raftwire`), and whatever measures
//! (`raftwire-perf`).

#![forbid(unsafe_code)]

pub mod disk;
pub mod snap;
pub mod wal;
