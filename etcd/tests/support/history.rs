//! What clients saw of a register map: who asked for what, when, and what came of it. Whether some
//! order explains it is for `linearize.rs`.

use std::fmt;

/// One operation of one client, on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) client: u32,
    pub(crate) key: u32,
    pub(crate) action: Action,
    /// When it was asked for, and
    pub(crate) called: u64,
    /// when its answer came; `None` for a write of which nobody knows whether it took effect: it may
    /// have, at any time since it was called, or may still, or never will.
    pub(crate) returned: Option<u64>,
}

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Wrote this value, which no other operation on the key writes.
    Put(u64),
    Delete,
    /// Read this value, or that there is none. A read without an answer tells nothing, and is in no
    /// history.
    Read(Option<u64>),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, key, action, called, returned } = self;
        write!(f, "client {client}, key {key}, {called}..")?;
        match returned {
            Some(returned) => write!(f, "{returned}: ")?,
            None => write!(f, "?: ")?,
        }
        match action {
            Action::Put(value) => write!(f, "put {value}"),
            Action::Delete => write!(f, "delete"),
            Action::Read(Some(value)) => write!(f, "read {value}"),
            Action::Read(None) => write!(f, "read nothing"),
        }
    }
}
