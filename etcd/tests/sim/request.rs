//! What clients ask for, in the form entries have: etcd's `InternalRaftRequest`, written apart from
//! the member's own.

use bytes::Bytes;
use prost::Message;

/// A put of one key, or its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) key: Bytes,
    /// `None` deletes.
    pub(crate) value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Fields {
    #[prost(message, optional, tag = "4")]
    put: Option<Put>,
    #[prost(message, optional, tag = "5")]
    delete: Option<Delete>,
    #[prost(message, optional, tag = "100")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "1")]
    id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Delete {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        let key = self.key.clone();
        let mut fields = Fields { header: Some(Header { id: self.id }), ..Fields::default() };
        match self.value.clone() {
            Some(value) => fields.put = Some(Put { key, value }),
            None => fields.delete = Some(Delete { key }),
        }
        fields.encode_to_vec().into()
    }

    pub(crate) fn decode(data: Bytes) -> Option<Self> {
        let fields = Fields::decode(data).ok()?;
        let id = fields.header?.id;
        match (fields.put, fields.delete) {
            (Some(put), None) => Some(Self { id, key: put.key, value: Some(put.value) }),
            (None, Some(delete)) => Some(Self { id, key: delete.key, value: None }),
            _ => None,
        }
    }
}
