//! The state machine: keys and values in memory, changed by etcd's requests.
//!
//! It is what the log is applied to until there are revisions, leases and watches (etcd's MVCC store):
//! the requests are etcd's own, `put` and `delete_range` of one key are understood, and a key knows how
//! often it was put. Not here: who waits for a request (`member`).

mod request;
mod store;

pub(crate) use request::Command;
pub use request::Request;
pub use store::{Digest, Value};
pub(crate) use store::{Outcome, Store};
