//! The three ways etcd's releases write the same message.

/// Which etcd's bytes an encoder writes. Every etcd, and this crate, reads all of them.
///
/// | | 3.4, 3.5 | 3.6 | 3.7 |
/// |---|---|---|---|
/// | scalar fields | always, even 0 | always, even 0 | only those raft sets |
/// | `Message.snapshot` | always, if need be empty | if there is one | if there is one |
/// | `Message.vote` | never | always | if not 0 |
/// | `Message.responses` | never | if there are any | if there are any |
///
/// 3.7 decides by presence, which a [`Message`](super::Message) does not record: its encoder emits
/// what raft v3.7 itself sets for a message of that type, and whatever else is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a caller must be told of a new dialect at compile time"
)]
pub enum Dialect {
    /// etcd 3.4 and 3.5, written by gogo protobuf.
    #[default]
    V3_4,
    /// etcd 3.6, written by gogo protobuf from raft 3.6.
    V3_6,
    /// etcd 3.7, written by Google's protobuf from raft 3.7.
    V3_7,
}

impl Dialect {
    /// Every dialect, oldest first.
    pub const ALL: [Self; 3] = [Self::V3_4, Self::V3_6, Self::V3_7];

    /// Whether absent and zero are written alike, as gogo protobuf does.
    pub(crate) const fn writes_zeros(self) -> bool {
        !matches!(self, Self::V3_7)
    }
}
