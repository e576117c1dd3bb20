//! The bytes of a snapshot's file.

use super::SnapError;
use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use raftwire::raftpb::{Dialect, Snapshot, Wire};

/// The longest file that is written or read: the largest protobuf message there may be.
pub const FILE_BYTES_MAX: usize = (1 << 31) - 1;

#[derive(Clone, PartialEq, Message)]
struct FileFields {
    #[prost(uint32, optional, tag = "1")]
    crc: Option<u32>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    data: Option<Bytes>,
}

/// Returns the bytes of a snapshot's file.
///
/// # Errors
///
/// [`SnapError::Empty`] and [`SnapError::TooLarge`].
pub fn encode(snapshot: &Snapshot) -> Result<Vec<u8>, SnapError> {
    let Parts { head, data, tail } = parts(snapshot)?;
    Ok([&head, &data[..], &tail].concat())
}

/// A snapshot's file in three pieces, of which the one that may be large is the snapshot's own data.
pub(super) struct Parts {
    pub(super) head: Vec<u8>,
    pub(super) data: Bytes,
    pub(super) tail: Vec<u8>,
}

/// Returns the pieces of a snapshot's file.
pub(super) fn parts(snapshot: &Snapshot) -> Result<Parts, SnapError> {
    if snapshot.metadata.index == 0 {
        return Err(SnapError::Empty);
    }
    let data = snapshot.data.clone().unwrap_or_default();
    // Of the raftpb.Snapshot: the field of the data, and what is behind it.
    let mut inner = Vec::new();
    if snapshot.data.is_some() {
        encode_key(1, WireType::LengthDelimited, &mut inner);
        encode_varint(data.len() as u64, &mut inner);
    }
    let tail = Snapshot { data: None, metadata: snapshot.metadata.clone() }.encode(Dialect::V3_6);
    let pieces = [&inner, &data[..], &tail];
    let crc = pieces.into_iter().fold(0, crc32c::crc32c_append);
    let bytes = inner.len() + data.len() + tail.len();

    let mut head = Vec::new();
    encode_key(1, WireType::Varint, &mut head);
    encode_varint(u64::from(crc), &mut head);
    encode_key(2, WireType::LengthDelimited, &mut head);
    encode_varint(bytes as u64, &mut head);
    head.extend(inner);
    match head.len() + data.len() + tail.len() {
        bytes if bytes > FILE_BYTES_MAX => Err(SnapError::TooLarge { bytes }),
        _ => Ok(Parts { head, data, tail }),
    }
}

/// Reads the bytes of a snapshot's file. Its data shares them.
///
/// # Errors
///
/// Any of [`SnapError`] but `Disk` and `TooLarge`. A CRC of 0 is none, as in etcd.
pub fn decode(bytes: &Bytes) -> Result<Snapshot, SnapError> {
    let file = FileFields::decode(bytes.clone()).map_err(|_| SnapError::Protobuf)?;
    let stored = file.crc();
    let data = file.data.unwrap_or_default();
    if data.is_empty() || stored == 0 {
        return Err(SnapError::Empty);
    }
    let computed = crc32c::crc32c(&data);
    if computed != stored {
        return Err(SnapError::Crc { stored, computed });
    }
    Snapshot::decode(&data).map_err(SnapError::Snapshot)
}
