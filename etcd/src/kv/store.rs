//! The keys and values.
//!
//! They are copied out of the entries that put them: a value would otherwise hold the block its entry
//! was received into. A snapshot is a clone of the map, which shares the values, so that it can be
//! written elsewhere while the store goes on.

use super::Request;
use crate::members::{MemberRecord, Members};
use bytes::Bytes;
use prost::{Message, encoding};
use std::collections::BTreeMap;
use std::fmt;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Value {
    /// The bytes that were put.
    pub value: Bytes,
    /// How often the key was put since it was not there: 1 for the first time.
    pub version: u64,
    /// The index of the entry that put it.
    pub index: u64,
}

/// A short account of all keys and values, to be compared between members at the same index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Digest {
    /// The index of the last entry that was applied.
    pub applied: u64,
    /// FNV-1a, of 64 bits, over the keys in order: each key's bytes, then its value's.
    pub hash: u64,
    /// How many keys there are.
    pub keys: u64,
    /// The sum of all keys' versions.
    pub versions: u64,
}

/// What a request did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The key's version now: 0 if it is gone.
    pub(crate) version: u64,
}

/// A snapshot's data cannot be what a member wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreError(prost::DecodeError);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the snapshot's data: {}", self.0)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    values: BTreeMap<Bytes, Value>,
}

/// The state machine as a snapshot holds it.
#[derive(Clone, PartialEq, Message)]
struct State {
    #[prost(message, repeated, tag = "1")]
    values: Vec<KeyValue>,
    #[prost(message, repeated, tag = "2")]
    members: Vec<MemberRecord>,
    #[prost(uint64, repeated, tag = "3")]
    removed: Vec<u64>,
}

/// The numbers are those of etcd's `mvccpb.KeyValue`.
#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(uint64, tag = "3")]
    mod_index: u64,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

impl Store {
    /// Does what the entry of `index` asks for.
    pub(crate) fn apply(&mut self, index: u64, request: &Request) -> Outcome {
        match request {
            Request::Put { key, value } => {
                if let Some(known) = self.values.get_mut(key) {
                    known.value = copy_into(std::mem::take(&mut known.value), value);
                    (known.version, known.index) = (known.version + 1, index);
                    return Outcome { version: known.version };
                }
                let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                self.values.insert(key, Value { value, version: 1, index });
                Outcome { version: 1 }
            }
            Request::Delete { key } => {
                self.values.remove(key);
                Outcome::default()
            }
        }
    }

    pub(crate) fn value(&self, key: &[u8]) -> Option<Value> {
        self.values.get(key).cloned()
    }

    pub(crate) fn digest(&self, applied: u64) -> Digest {
        let mut hash = FNV_START;
        let mut versions = 0;
        for (key, value) in &self.values {
            hash = fnv(fnv(hash, key), &value.value);
            versions += value.version;
        }
        Digest { applied, hash, keys: self.values.len() as u64, versions }
    }

    /// Returns the data of a snapshot: a [`State`], written pair by pair, which would otherwise be there
    /// twice.
    pub(crate) fn encode(&self, members: &Members) -> Bytes {
        let (members, removed) = members.records();
        let rest = State { values: Vec::new(), members, removed };
        let pairs = || {
            self.values.iter().map(|(key, value)| KeyValue {
                key: key.clone(),
                mod_index: value.index,
                version: value.version,
                value: value.value.clone(),
            })
        };
        let len: usize = pairs().map(|pair| encoding::message::encoded_len(1, &pair)).sum();
        let mut data = Vec::with_capacity(len + rest.encoded_len());
        for pair in pairs() {
            encoding::message::encode(1, &pair, &mut data);
        }
        rest.encode_raw(&mut data);
        data.into()
    }

    /// Reads the data of a snapshot. Its keys and values share it, as they lie in it one by one.
    pub(crate) fn decode(data: Bytes) -> Result<(Self, Members), StoreError> {
        let state = State::decode(data).map_err(StoreError)?;
        let values = state.values.into_iter().map(|value| {
            let KeyValue { key, mod_index, version, value } = value;
            (key, Value { value, version, index: mod_index })
        });
        Ok((Self { values: values.collect() }, Members::of(state.members, state.removed)))
    }
}

/// Copies `bytes` to where `old` was, if nobody else has that and it is of the right size.
fn copy_into(old: Bytes, bytes: &[u8]) -> Bytes {
    match old.try_into_mut() {
        Ok(mut room) if room.capacity() == bytes.len() => {
            room.clear();
            room.extend_from_slice(bytes);
            room.freeze()
        }
        _ => Bytes::copy_from_slice(bytes),
    }
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &mut Store, index: u64, key: &'static str, value: &'static str) -> u64 {
        let request = Request::Put { key: key.into(), value: value.into() };
        store.apply(index, &request).version
    }

    #[test]
    fn counts_how_often_a_key_was_put() {
        let mut store = Store::default();
        assert_eq!(put(&mut store, 1, "a", "x"), 1);
        assert_eq!(put(&mut store, 2, "a", "y"), 2);
        assert_eq!(put(&mut store, 3, "b", "y"), 1);
        assert_eq!(store.value(b"a"), Some(Value { value: "y".into(), version: 2, index: 2 }));
        store.apply(4, &Request::Delete { key: "a".into() });
        assert_eq!(store.value(b"a"), None);
        assert_eq!(put(&mut store, 5, "a", "z"), 1);
    }

    #[test]
    fn is_the_same_after_a_snapshot() {
        let mut store = Store::default();
        put(&mut store, 1, "a", "x");
        put(&mut store, 2, "b", "");
        put(&mut store, 3, "b", "z");
        let (again, _) = Store::decode(store.encode(&Members::default())).unwrap();
        assert_eq!(again.values, store.values);
        assert_eq!(again.digest(3), store.digest(3));
        assert_eq!((store.digest(3).keys, store.digest(3).versions), (2, 3));
        assert!(Store::decode(Bytes::from_static(b"\x0a\x05")).is_err());
    }

    #[test]
    fn digests_differ_where_keys_or_values_do() {
        let digest = |pairs: &[(&'static str, &'static str)]| {
            let mut store = Store::default();
            for (key, value) in pairs {
                put(&mut store, 1, key, value);
            }
            store.digest(1).hash
        };
        assert_eq!(digest(&[]), 0xcbf2_9ce4_8422_2325);
        // FNV-1a of "foobar", from its authors' table.
        assert_eq!(digest(&[("foo", "bar")]), 0x8594_4171_f739_67e8);
        assert_ne!(digest(&[("a", "x"), ("b", "y")]), digest(&[("a", "y"), ("b", "x")]));
    }

    #[test]
    fn holds_no_block_an_entry_came_in() {
        let block = Bytes::from(vec![7; 1 << 16]);
        let mut store = Store::default();
        let (key, value) = (block.slice(0..8), block.slice(8..100));
        store.apply(1, &Request::Put { key, value });
        assert!(block.is_unique());
    }
}
