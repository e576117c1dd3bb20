//! The trait through which an embedder's own message type is encoded from and decoded into
//! directly, its payload [`Bytes`] shared and not converted through a second type.

use super::types::LISTS;
use super::{Entry, EntryType, Message, MessageType, Snapshot};
use crate::buf::Lists;
use bytes::Bytes;
use std::borrow::Cow;

/// The fields of a message that are one number each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct Head {
    /// Field 1.
    pub message_type: MessageType,
    /// Field 2.
    pub to: u64,
    /// Field 3.
    pub from: u64,
    /// Field 4.
    pub term: u64,
    /// Field 5.
    pub log_term: u64,
    /// Field 6.
    pub index: u64,
    /// Field 8.
    pub commit: u64,
    /// Field 10.
    pub reject: bool,
    /// Field 11.
    pub reject_hint: u64,
    /// Field 13.
    pub vote: u64,
}

impl Head {
    /// Whether this is the link heartbeat: a `MsgHeartbeat` from member 0 to member 0.
    #[must_use]
    pub const fn is_link_heartbeat(&self) -> bool {
        self.message_type.0 == MessageType::HEARTBEAT.0 && self.from == 0 && self.to == 0
    }
}

/// An entry as the encoder reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct EntryRef<'a> {
    /// Field 1.
    pub entry_type: EntryType,
    /// Field 2.
    pub term: u64,
    /// Field 3.
    pub index: u64,
    /// Field 4.
    pub data: Option<&'a Bytes>,
}

/// Everything a decoded message is made of.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "its fields are fixed by the wire format")]
pub struct Parts<M: RaftMessage> {
    /// The scalar fields.
    pub head: Head,
    /// The entries, in a list that came from [`RaftMessage::lists`].
    pub entries: Vec<M::Entry>,
    /// Field 12.
    pub context: Option<Bytes>,
    /// Field 9.
    pub snapshot: Option<Box<Snapshot>>,
    /// Field 14.
    pub responses: Vec<M>,
}

/// A message type the codecs can encode from and decode into.
///
/// [`Message`] implements it, and with feature `raft-rs` so does raft-rs's `eraftpb::Message`. What
/// a type has no field for is dropped when decoding, and absent when encoding.
pub trait RaftMessage: Sized {
    /// The type of its entries.
    type Entry: 'static;

    /// Returns the scalar fields.
    fn head(&self) -> Head;

    /// Returns the entries.
    fn entries(&self) -> &[Self::Entry];

    /// Reads one entry.
    fn entry(entry: &Self::Entry) -> EntryRef<'_>;

    /// Returns the context.
    fn context(&self) -> Option<&Bytes>;

    /// Returns the snapshot, if there is one.
    fn snapshot(&self) -> Option<Cow<'_, Snapshot>>;

    /// Returns the nested messages; none by default.
    fn responses(&self) -> &[Self] {
        &[]
    }

    /// Returns the store that decoders take lists of entries from: a `static` of one line.
    ///
    /// Who no longer needs a list gives it back with [`Lists::put`]; what is not given back is
    /// allocated anew. The project's own [`Message`] does so by itself when it is dropped.
    fn lists() -> &'static Lists<Self::Entry>;

    /// Makes an entry that was decoded.
    fn make_entry(entry_type: EntryType, term: u64, index: u64, data: Option<Bytes>)
    -> Self::Entry;

    /// Whether decoders hand the entries of a `MsgApp` to
    /// [`keep_encoding`](Self::keep_encoding); not by default, and then it costs nothing.
    const KEEPS_ENCODING: bool = false;

    /// Takes the bytes that `entry` was decoded from, as they came: the whole Entry without its
    /// length, in whichever dialect its sender writes. A follower's log can be written from them
    /// without encoding anything. Fields nobody knows are among them, as is whatever else an unusual
    /// encoder wrote, all of it checked to be protobuf.
    ///
    /// Called for each entry of a `MsgApp`, on either stream, behind
    /// [`make_entry`](Self::make_entry), whose data is a slice of `encoded`: both lie in the block
    /// they were received into, or, where small ones are
    /// [copied out](crate::buf::COPY_OUT_FRACTION), in one copy. Nothing is allocated. Entries of
    /// other messages have no term and index yet, or are to be given others: their bytes are no
    /// log's. Does nothing by default.
    fn keep_encoding(entry: &mut Self::Entry, encoded: Bytes) {
        let _ = (entry, encoded);
    }

    /// Makes a message that was decoded.
    fn from_parts(parts: Parts<Self>) -> Self;
}

impl RaftMessage for Message {
    type Entry = Entry;

    #[inline]
    fn head(&self) -> Head {
        Head {
            message_type: self.message_type,
            to: self.to,
            from: self.from,
            term: self.term,
            log_term: self.log_term,
            index: self.index,
            commit: self.commit,
            reject: self.reject,
            reject_hint: self.reject_hint,
            vote: self.vote,
        }
    }

    #[inline]
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[inline]
    fn entry(entry: &Entry) -> EntryRef<'_> {
        EntryRef {
            entry_type: entry.entry_type,
            term: entry.term,
            index: entry.index,
            data: entry.data.as_ref(),
        }
    }

    fn context(&self) -> Option<&Bytes> {
        self.context.as_ref()
    }

    fn snapshot(&self) -> Option<Cow<'_, Snapshot>> {
        self.snapshot.as_deref().map(Cow::Borrowed)
    }

    fn responses(&self) -> &[Self] {
        &self.responses
    }

    #[inline]
    fn lists() -> &'static Lists<Entry> {
        &LISTS
    }

    #[inline]
    fn make_entry(entry_type: EntryType, term: u64, index: u64, data: Option<Bytes>) -> Entry {
        Entry { entry_type, term, index, data }
    }

    #[inline]
    fn from_parts(parts: Parts<Self>) -> Self {
        let Head {
            message_type,
            to,
            from,
            term,
            log_term,
            index,
            commit,
            reject,
            reject_hint,
            vote,
        } = parts.head;
        Self {
            message_type,
            to,
            from,
            term,
            log_term,
            index,
            entries: parts.entries.into(),
            commit,
            snapshot: parts.snapshot,
            reject,
            reject_hint,
            context: parts.context,
            vote,
            responses: parts.responses,
        }
    }
}
