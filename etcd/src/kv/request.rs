//! etcd's `InternalRaftRequest`: what entries of the log hold.
//!
//! | field | number | |
//! |---|---|---|
//! | header | 100 | its field 1: the request's id |
//! | put | 4 | key 1, value 2 |
//! | delete_range | 5 | key 1, range_end 2 |
//!
//! Source: etcd `api/etcdserverpb/raft_internal.proto` and `rpc.proto`. Fields that are not named here
//! are passed over.

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use std::fmt;

/// What is asked of the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "what the state machine can do")]
pub enum Request {
    /// A key gets a value.
    Put {
        /// Which.
        key: Bytes,
        /// What.
        value: Bytes,
    },
    /// A key goes.
    Delete {
        /// Which.
        key: Bytes,
    },
}

/// An entry's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// Who asked.
    pub(crate) id: u64,
    /// `None`: something that this state machine does not have, or nothing.
    pub(crate) request: Option<Request>,
}

/// The bytes of an entry are no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestError(prost::DecodeError);

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no request: {}", self.0)
    }
}

#[derive(Clone, PartialEq, Message)]
struct InternalRaftRequest {
    #[prost(message, optional, tag = "4")]
    put: Option<PutRequest>,
    #[prost(message, optional, tag = "5")]
    delete_range: Option<DeleteRangeRequest>,
    #[prost(message, optional, tag = "100")]
    header: Option<RequestHeader>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct RequestHeader {
    #[prost(uint64, tag = "1")]
    id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
}

impl Request {
    /// How many bytes its key and value have.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }

    /// Writes the bytes of the entry by which `id` asks for it.
    ///
    /// By hand, since a message of prost's would take key and value by the piece.
    pub(crate) fn encode(&self, id: u64, out: &mut BytesMut) {
        let (field, key, value) = match self {
            Self::Put { key, value } => (PUT, key, Some(value)),
            Self::Delete { key } => (DELETE_RANGE, key, None),
        };
        let value_len = value.filter(|value| !value.is_empty()).map_or(0, |value| field_len(value));
        let key_len = if key.is_empty() { 0 } else { field_len(key) };
        out.reserve(key_len + value_len + HEADS_BYTES_MAX);
        encode_key(field, WireType::LengthDelimited, out);
        encode_varint((key_len + value_len) as u64, out);
        for (number, bytes) in [(1, Some(key)), (2, value)] {
            if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
                encode_key(number, WireType::LengthDelimited, out);
                encode_varint(bytes.len() as u64, out);
                out.extend_from_slice(bytes);
            }
        }
        encode_key(HEADER, WireType::LengthDelimited, out);
        encode_varint((1 + encoded_len_varint(id)) as u64, out);
        encode_key(1, WireType::Varint, out);
        encode_varint(id, out);
    }
}

/// What the heads of an encoded request take at most, beside its key and value with theirs.
const HEADS_BYTES_MAX: usize = 32;
const PUT: u32 = 4;
const DELETE_RANGE: u32 = 5;
const HEADER: u32 = 100;

/// How long a field of number 1 to 15 is that holds these bytes.
fn field_len(bytes: &[u8]) -> usize {
    1 + encoded_len_varint(bytes.len() as u64) + bytes.len()
}

impl Command {
    /// Reads an entry's data; keys and values share it.
    pub(crate) fn decode(data: Bytes) -> Result<Self, RequestError> {
        let request = InternalRaftRequest::decode(data).map_err(RequestError)?;
        let id = request.header.map_or(0, |header| header.id);
        let request = match (request.put, request.delete_range) {
            (Some(put), _) => Some(Request::Put { key: put.key, value: put.value }),
            (None, Some(delete)) if delete.range_end.is_empty() => {
                Some(Request::Delete { key: delete.key })
            }
            _ => None,
        };
        Ok(Self { id, request })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(request: &Request, id: u64) -> Bytes {
        let mut out = BytesMut::new();
        request.encode(id, &mut out);
        out.freeze()
    }

    #[test]
    fn writes_what_prost_writes() {
        for (key, value) in [("", ""), ("k", ""), ("", "v"), ("key", "value")] {
            let (key, value) = (Bytes::from(key), Bytes::from(value));
            let header = Some(RequestHeader { id: u64::MAX });
            let put = Some(PutRequest { key: key.clone(), value: value.clone() });
            let expected = InternalRaftRequest { put, header, ..Default::default() };
            let written = encoded(&Request::Put { key: key.clone(), value }, u64::MAX);
            assert_eq!(written, expected.encode_to_vec());
            let delete_range = Some(DeleteRangeRequest { key: key.clone(), ..Default::default() });
            let expected = InternalRaftRequest { delete_range, header, ..Default::default() };
            assert_eq!(encoded(&Request::Delete { key }, u64::MAX), expected.encode_to_vec());
        }
    }

    #[test]
    fn writes_what_etcd_writes() {
        let (key, value) = (Bytes::from("key1"), Bytes::from("val1"));
        let put = Request::Put { key, value };
        // Read from a log of etcd 3.5: the header stands last.
        let expected = b"\x22\x0c\x0a\x04key1\x12\x04val1\xa2\x06\x03\x08\x87\x0e";
        assert_eq!(&encoded(&put, 0x707)[..], expected);
        let command = Command::decode(encoded(&put, 0x707)).unwrap();
        assert_eq!(command, Command { id: 0x707, request: Some(put) });
    }

    #[test]
    fn reads_deletes_of_one_key_and_passes_over_what_it_does_not_have() {
        let delete = Request::Delete { key: Bytes::from("k") };
        let command = Command::decode(encoded(&delete, 1)).unwrap();
        assert_eq!(command.request, Some(delete));
        // A lease grant (8) of id 5, by request 2.
        let grant = Bytes::from_static(b"\x42\x02\x10\x05\xa2\x06\x02\x08\x02");
        assert_eq!(Command::decode(grant).unwrap(), Command { id: 2, request: None });
        assert!(Command::decode(Bytes::from_static(b"\xff")).is_err());
    }

    #[test]
    fn shares_the_entrys_bytes() {
        let put = Request::Put { key: Bytes::from("key1"), value: Bytes::from(vec![7; 100]) };
        let data = encoded(&put, 1);
        let Some(Request::Put { value, .. }) = Command::decode(data.clone()).unwrap().request
        else {
            panic!("no put");
        };
        assert!(data.as_ptr_range().contains(&value.as_ptr()));
    }
}
