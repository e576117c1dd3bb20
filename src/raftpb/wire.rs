//! Encoding and decoding one message by itself, outside any stream: a pipeline's body, a WAL
//! record, a snapshot file.

use super::decode::{Cut, Shared, decode_message, merge, read_entry};
use super::encode::{Body, EntryForm, encode_message};
use super::read::Reader;
use super::{
    ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, Dialect, Entry, HardState, Message,
    RaftMessage, Snapshot, SnapshotMetadata,
};
use crate::error::DecodeError;
use bytes::Bytes;

/// A raftpb message that can stand by itself.
pub trait Wire: Sized {
    /// Returns the encoding as etcd of this dialect writes it.
    ///
    /// # Panics
    ///
    /// If `responses` are nested deeper than [`NESTING_MAX`](super::NESTING_MAX), which no decoded
    /// message is.
    fn encode(&self, dialect: Dialect) -> Vec<u8>;

    /// Decodes all of `bytes`. Payloads share it.
    ///
    /// # Errors
    ///
    /// Whatever protobuf forbids; see [`DecodeErrorKind`](crate::error::DecodeErrorKind).
    fn decode(bytes: &Bytes) -> Result<Self, DecodeError>;
}

impl Wire for Message {
    fn encode(&self, dialect: Dialect) -> Vec<u8> {
        let mut out = Vec::new();
        let encoded = encode_message(self, dialect, &mut out);
        assert!(encoded.is_ok(), "responses are nested too deep");
        out
    }

    fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        match decode_message(Reader::new(bytes), &mut Shared::new(bytes)) {
            Ok(message) => Ok(message),
            Err(Cut::Error(error)) => Err(error),
            Err(Cut::Memory) => unreachable!("these payloads have no budget"),
        }
    }
}

impl Wire for Entry {
    fn encode(&self, dialect: Dialect) -> Vec<u8> {
        let form = if dialect.writes_zeros() {
            EntryForm::Zeros
        } else if *self == Self::default() {
            EntryForm::Bare
        } else {
            EntryForm::Appended
        };
        let entry = Message::entry(self);
        let mut out = Vec::with_capacity(form.len(&entry));
        form.put(&entry, &mut out);
        out
    }

    fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let raw = read_entry(Reader::new(bytes))?;
        let data = raw.data.map(|span| bytes.slice(span.start..span.end));
        Ok(Self { entry_type: raw.entry_type, term: raw.term, index: raw.index, data })
    }
}

macro_rules! wire {
    ($($type:ty),*) => { $(
        impl Wire for $type {
            fn encode(&self, dialect: Dialect) -> Vec<u8> {
                let mut out = Vec::with_capacity(self.body_len(dialect));
                self.put_body(dialect, &mut out);
                out
            }

            fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
                let mut message = <$type as Default>::default();
                merge(&mut message, Reader::new(bytes), &mut Shared::new(bytes))?;
                Ok(message)
            }
        }
    )* };
}

wire!(Snapshot, SnapshotMetadata, ConfState, HardState, ConfChange, ConfChangeSingle, ConfChangeV2);
