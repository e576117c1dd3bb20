//! Records: what stands in a frame, and what stands in a record.
//!
//! ```text
//! Record (protobuf)   1: kind   2: CRC-32C   3: data, absent from a CRC record
//! ```
//!
//! The CRC runs over the data of all records of all segments. A record holds its value behind its
//! own data; a CRC record, the first of each segment, holds it as it stands.

use super::frame::{LENGTH_BYTES, Lengths};
use crate::disk::AlignedBuffer;
use bytes::Bytes;
use prost::Message;
use raftwire::error::DecodeError;
use raftwire::raftpb::{ConfState, Dialect, EntryRef, HardState, Wire};
use std::fmt;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a number, as the format has it")]
pub struct RecordKind(pub i64);

impl RecordKind {
    /// [`Metadata`].
    pub const METADATA: Self = Self(1);
    /// A [`raftpb::Entry`](raftwire::raftpb::Entry).
    pub const ENTRY: Self = Self(2);
    /// A [`HardState`].
    pub const HARD_STATE: Self = Self(3);
    /// Nothing: the running CRC.
    pub const CRC: Self = Self(4);
    /// A [`SnapshotRecord`].
    pub const SNAPSHOT: Self = Self(5);
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::METADATA => f.write_str("metadata"),
            Self::ENTRY => f.write_str("entry"),
            Self::HARD_STATE => f.write_str("hard state"),
            Self::CRC => f.write_str("crc"),
            Self::SNAPSHOT => f.write_str("snapshot"),
            Self(kind) => write!(f, "kind {kind}"),
        }
    }
}

/// Whose log it is: a record at the head of each segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the format")]
pub struct Metadata {
    /// The member's id.
    pub member: u64,
    /// The cluster's id.
    pub cluster: u64,
}

/// Says that there is a snapshot, or that one was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the format")]
pub struct SnapshotRecord {
    /// The index of the last entry it holds; 0 for the empty one a log begins with.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// Who was a member; etcd has it since 3.5, for any but the first.
    pub conf_state: Option<ConfState>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RecordFields {
    #[prost(int64, optional, tag = "1")]
    pub(super) kind: Option<i64>,
    #[prost(uint32, optional, tag = "2")]
    pub(super) crc: Option<u32>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) data: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct MetadataFields {
    #[prost(uint64, optional, tag = "1")]
    member: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    cluster: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotFields {
    #[prost(uint64, optional, tag = "1")]
    index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    term: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    conf_state: Option<Bytes>,
}

/// The data of a record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataError {
    /// An entry, a hard state or a conf state.
    Raft(DecodeError),
    /// The metadata, or a snapshot record.
    Protobuf,
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raft(error) => error.fmt(f),
            Self::Protobuf => f.write_str("malformed protobuf"),
        }
    }
}

impl From<DecodeError> for DataError {
    fn from(error: DecodeError) -> Self {
        Self::Raft(error)
    }
}

impl From<prost::DecodeError> for DataError {
    fn from(_: prost::DecodeError) -> Self {
        Self::Protobuf
    }
}

impl Metadata {
    /// Reads the data of a record.
    ///
    /// # Errors
    ///
    /// What is malformed.
    pub fn decode(data: &Bytes) -> Result<Self, DataError> {
        let fields = MetadataFields::decode(data.clone())?;
        Ok(Self { member: fields.member(), cluster: fields.cluster() })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let Self { member, cluster } = self;
        MetadataFields { member: Some(member), cluster: Some(cluster) }.encode_to_vec()
    }
}

impl SnapshotRecord {
    /// Reads the data of a record.
    ///
    /// # Errors
    ///
    /// What is malformed.
    pub fn decode(data: &Bytes) -> Result<Self, DataError> {
        let fields = SnapshotFields::decode(data.clone())?;
        let conf_state = fields.conf_state.as_ref().map(ConfState::decode).transpose()?;
        Ok(Self { index: fields.index(), term: fields.term(), conf_state })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let conf_state = self.conf_state.as_ref().map(|state| state.encode(Dialect::V3_6).into());
        let (index, term) = (Some(self.index), Some(self.term));
        SnapshotFields { index, term, conf_state }.encode_to_vec()
    }
}

/// A field key and two varints of 64 bits are the most that is written at once.
const SMALL_BYTES: usize = 48;

/// A few fields on their way into a record: no memory is asked for.
#[derive(Debug)]
pub(super) struct Small {
    bytes: [u8; SMALL_BYTES],
    len: usize,
}

impl Small {
    const fn new() -> Self {
        Self { bytes: [0; SMALL_BYTES], len: 0 }
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "seven bits at a time is how varints are cut"
    )]
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.bytes[self.len] = value as u8 | 0x80;
            self.len += 1;
            value >>= 7;
        }
        self.bytes[self.len] = value as u8;
        self.len += 1;
        self
    }

    /// Field `number` (up to 15), a varint.
    fn number(self, number: u64, value: u64) -> Self {
        self.varint(number << 3).varint(value)
    }

    /// The key and the length of field `number` (up to 15), of bytes.
    fn length(self, number: u64, len: usize) -> Self {
        self.varint(number << 3 | 2).varint(len as u64)
    }

    /// Everything of an entry but the bytes of its data, as etcd up to 3.6 writes it: zeros too.
    pub(super) fn entry(entry: &EntryRef<'_>) -> Self {
        // An enum is sign-extended.
        let kind = i64::from(entry.entry_type.0).cast_unsigned();
        let fields = Self::new().number(1, kind).number(2, entry.term).number(3, entry.index);
        match entry.data {
            Some(data) => fields.length(4, data.len()),
            None => fields,
        }
    }

    pub(super) fn hard_state(state: HardState) -> Self {
        Self::new().number(1, state.term).number(2, state.vote).number(3, state.commit)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Adds a frame with a record, whose data is `parts`, behind `out`.
pub(super) fn put(out: &mut AlignedBuffer, kind: RecordKind, crc: u32, parts: &[&[u8]]) {
    let mut fields = Small::new().number(1, kind.0.cast_unsigned()).number(2, u64::from(crc));
    let data_bytes = parts.iter().map(|part| part.len()).sum::<usize>();
    if kind != RecordKind::CRC {
        fields = fields.length(3, data_bytes);
    }
    let lengths = Lengths::of_record(fields.len + data_bytes);
    out.extend(&lengths.encode());
    out.extend(fields.as_slice());
    for part in parts {
        out.extend(part);
    }
    out.extend(&[0; LENGTH_BYTES][..usize::from(lengths.padding)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use raftwire::raftpb::{Entry, EntryType};

    #[test]
    fn writes_an_entry_as_the_codec_does() {
        for data in [None, Some(Bytes::new()), Some(Bytes::from(vec![7; 300]))] {
            for (entry_type, term, index) in
                [(0, 0, 0), (1, 1 << 40, 127), (2, u64::MAX, u64::MAX), (-1, 1, 128)]
            {
                let entry =
                    Entry { entry_type: EntryType(entry_type), term, index, data: data.clone() };
                let reference =
                    EntryRef { entry_type: entry.entry_type, term, index, data: data.as_ref() };
                let mut bytes = Small::entry(&reference).as_slice().to_vec();
                bytes.extend_from_slice(data.as_deref().unwrap_or_default());
                assert_eq!(bytes, entry.encode(Dialect::V3_6));
            }
        }
    }

    #[test]
    fn writes_a_hard_state_as_the_codec_does() {
        for (term, vote, commit) in [(0, 0, 0), (1, 1 << 63, 300), (u64::MAX, u64::MAX, u64::MAX)] {
            let state = HardState { term, vote, commit };
            assert_eq!(Small::hard_state(state).as_slice(), state.encode(Dialect::V3_6));
        }
    }

    #[test]
    fn reads_metadata_and_snapshots_as_they_were_written() {
        let metadata = Metadata { member: u64::MAX, cluster: 1 };
        assert_eq!(Metadata::decode(&metadata.encode().into()), Ok(metadata));
        assert_eq!(Metadata::default().encode(), [0x08, 0, 0x10, 0]);
        let conf_state =
            ConfState { voters: vec![1, 2], learners: vec![3], ..ConfState::default() };
        for conf_state in [None, Some(ConfState::default()), Some(conf_state)] {
            let record = SnapshotRecord { index: 300, term: 2, conf_state };
            assert_eq!(SnapshotRecord::decode(&record.encode().into()), Ok(record));
        }
        assert_eq!(SnapshotRecord::default().encode(), [0x08, 0, 0x10, 0]);
    }
}
