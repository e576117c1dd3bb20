//! Words the commands share for streams, frame kinds, dialects and member ids, as they stand on the
//! command line and in JSON. What the words mean is the codec's.

use raftwire::codec::FrameKind;
use raftwire::raftpb::Dialect;
use serde::{Deserialize, Deserializer, Serializer};

/// Which of etcd's two streams a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[allow(clippy::exhaustive_enums, reason = "etcd has these two")]
pub enum Stream {
    /// `/raft/stream/msgapp`: what replicates the log
    #[default]
    Msgappv2,
    /// `/raft/stream/message`: everything else
    Message,
}

const KINDS: [FrameKind; 4] =
    [FrameKind::LinkHeartbeat, FrameKind::AppEntries, FrameKind::MsgApp, FrameKind::Message];

/// Writes a frame's kind by its name.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(crate) fn serialize_kind<S: Serializer>(
    kind: &FrameKind,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

/// A frame's kind, read from its name.
pub(crate) struct KindName(pub(crate) FrameKind);

impl<'de> Deserialize<'de> for KindName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let kind = KINDS.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            serde::de::Error::unknown_variant(
                &name,
                &["linkHeartbeat", "AppEntries", "MsgApp", "message"],
            )
        })?;
        Ok(Self(kind))
    }
}

/// Reads a dialect: the etcd release whose bytes are meant.
pub(crate) fn dialect(text: &str) -> Result<Dialect, String> {
    match text {
        "3.4" | "3.5" => Ok(Dialect::V3_4),
        "3.6" => Ok(Dialect::V3_6),
        "3.7" => Ok(Dialect::V3_7),
        _ => Err("expected 3.4 (3.5 writes the same), 3.6 or 3.7".to_owned()),
    }
}

/// Reads a member id: decimal, or hex with `0x` (which etcd's logs leave out).
pub(crate) fn member_id(text: &str) -> Result<u64, String> {
    let id = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    id.map_err(|error| format!("{error}; expected a number of 64 bits, decimal or hex with 0x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_member_ids_in_decimal_and_hex() {
        assert_eq!(member_id("9372538179322589801"), Ok(0x8211_f1d0_f64f_3269));
        assert_eq!(member_id("0x8211f1d0f64f3269"), Ok(0x8211_f1d0_f64f_3269));
        assert_eq!(member_id("0XFFFFFFFFFFFFFFFF"), Ok(u64::MAX));
        for text in
            ["", "0x", "8211f1d0f64f3269", "-1", "18446744073709551616", "0x1ffffffffffffffff"]
        {
            assert!(member_id(text).is_err(), "{text}");
        }
    }
}
