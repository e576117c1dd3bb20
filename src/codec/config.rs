//! How a stream's encoder or decoder is set up.

use crate::raftpb::Dialect;

/// What to do about streams that etcd accepts and that no correct member writes; see the
/// [module](super).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the difference is one of two")]
pub enum Mode {
    /// Reject them: what a transport wants.
    #[default]
    Strict,
    /// Take and write what etcd does, and report it: for captures and test vectors.
    AsEtcd,
}

/// The largest lengths that are accepted, and written, in bytes.
///
/// They bound what a peer can make this process hold; what it holds grows with the bytes that
/// arrived, never with the length announced, and counts against the budget of the
/// [`Pool`](crate::buf::Pool). etcd's limit on the message stream is 512 MiB; on `msgappv2` it has
/// none. raft's messages are about 1 MiB, but one entry may be as large as the embedder's largest
/// proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// One entry of an `AppEntries` frame; 512 MiB by default. Too small, and a large proposal is
    /// never replicated: the stream breaks at it again and again.
    pub entry_bytes_max: u64,
    /// One `AppEntries` frame; 512 MiB by default. It also bounds the number of its entries, each of
    /// which takes at least the 8 bytes of its length.
    pub frame_bytes_max: u64,
    /// One message, on either stream; 512 MiB by default.
    pub message_bytes_max: u64,
}

impl Limits {
    /// etcd's own limit.
    pub const ETCD_BYTES_MAX: u64 = 512 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entry_bytes_max: Self::ETCD_BYTES_MAX,
            frame_bytes_max: Self::ETCD_BYTES_MAX,
            message_bytes_max: Self::ETCD_BYTES_MAX,
        }
    }
}

/// The settings of one stream's encoder or decoder.
///
/// ```
/// use raftwire::codec::{Config, Limits, Mode};
/// use raftwire::raftpb::Dialect;
///
/// let mut limits = Limits::default();
/// limits.entry_bytes_max = 16 << 20;
/// let config = Config::default().local(2).remote(1).limits(limits).dialect(Dialect::V3_6);
/// assert_eq!(config.mode, Mode::Strict);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Strict by default.
    pub mode: Mode,
    /// Whether strict mode compares the term of each `AppEntries` entry with the stream's; it does
    /// by default. The one check that can be switched off alone.
    pub check_entry_terms: bool,
    /// Whose bytes an encoder writes; 3.4's by default. A decoder reads all of them.
    pub dialect: Dialect,
    /// The largest lengths; etcd's 512 MiB by default.
    pub limits: Limits,
    /// The member that decodes; it becomes `to` of what an `AppEntries` frame holds. Default 0.
    pub local: u64,
    /// The member that encoded; it becomes `from` of what an `AppEntries` frame holds. Default 0.
    pub remote: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            check_entry_terms: true,
            dialect: Dialect::default(),
            limits: Limits::default(),
            local: 0,
            remote: 0,
        }
    }
}

impl Config {
    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Sets [`check_entry_terms`](Self::check_entry_terms).
    #[must_use]
    pub fn check_entry_terms(self, check_entry_terms: bool) -> Self {
        Self { check_entry_terms, ..self }
    }

    /// Sets [`dialect`](Self::dialect).
    #[must_use]
    pub fn dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets [`local`](Self::local).
    #[must_use]
    pub fn local(self, local: u64) -> Self {
        Self { local, ..self }
    }

    /// Sets [`remote`](Self::remote).
    #[must_use]
    pub fn remote(self, remote: u64) -> Self {
        Self { remote, ..self }
    }

    /// Bounds the limits such that sums of a few lengths cannot overflow, be they "no limit".
    pub(crate) fn with_sane_limits(self) -> Self {
        // On 32 bits this is etcd's 512 MiB.
        const SANE: u64 = (usize::MAX / 8 + 1) as u64;
        let Limits { entry_bytes_max, frame_bytes_max, message_bytes_max } = self.limits;
        self.limits(Limits {
            entry_bytes_max: entry_bytes_max.min(SANE),
            frame_bytes_max: frame_bytes_max.min(SANE),
            message_bytes_max: message_bytes_max.min(SANE),
        })
    }

    pub(crate) const fn is_strict(&self) -> bool {
        matches!(self.mode, Mode::Strict)
    }

    /// Whether an encoder of `other` writes, and refuses, the same frames.
    pub(crate) fn encodes_like(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.check_entry_terms == other.check_entry_terms
            && self.dialect == other.dialect
            && self.limits == other.limits
    }
}
