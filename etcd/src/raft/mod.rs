//! raft-rs, behind which etcd's raft is on the wire.
//!
//! | here | |
//! |---|---|
//! | [`Envelope`] | a message as the transport carries it |
//! | `admit` | what a peer may send: raft-rs ends the process over much of what it does not expect |
//! | `change` | changes of the configuration: etcd numbers their kinds otherwise than raft-rs |
//! | `Log` | the entries in memory |
//! | `Encodings` | the bytes of entries as they came, for the log on disk |
//!
//! Nothing else in the crate names a type of raft-rs but `member`, which steps it. Its own parser is
//! never fed with bytes: those of peers and files are read by `raftwire`, those of conf changes here.

mod admit;
mod change;
mod encodings;
mod envelope;
mod log;
mod logger;

pub(crate) use admit::admit;
pub use change::{Change, ChangeError};
pub(crate) use change::{proposal, step_of};
pub(crate) use encodings::Encodings;
pub use envelope::Envelope;
pub(crate) use envelope::wire_entry;
pub(crate) use log::{Log, Position};
pub(crate) use logger::logger;
