//! The bytes of a snapshot's file.

use super::SnapError;
use bytes::Bytes;
use prost::Message;
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
    if snapshot.metadata.index == 0 {
        return Err(SnapError::Empty);
    }
    let data = Bytes::from(snapshot.encode(Dialect::V3_6));
    let crc = crc32c::crc32c(&data);
    let file = FileFields { crc: Some(crc), data: Some(data) };
    match file.encoded_len() {
        bytes if bytes > FILE_BYTES_MAX => Err(SnapError::TooLarge { bytes }),
        _ => Ok(file.encode_to_vec()),
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
