//! Encoding raftpb, byte for byte as the etcd of the chosen dialect does.
//!
//! An entry is a *prefix* (its fields but for the bytes of its data) and its data; an
//! [`EntryForm`] prepares the prefix in place, so that a stream can queue the data by reference.

use super::varint::{VARINT_BYTES_MAX, put_varint, varint_len};
use super::{
    ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, Dialect, EntryRef, HardState, Head,
    MessageType, NESTING_MAX, RaftMessage, Snapshot, SnapshotMetadata,
};
use crate::error::{EncodeError, EncodeErrorKind};
use bytes::Bytes;

/// Where encoded bytes go.
pub(crate) trait Sink {
    /// Copies `bytes`.
    fn put(&mut self, bytes: &[u8]);

    /// Takes a payload, by copy or by reference.
    fn put_payload(&mut self, payload: &Bytes);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_payload(&mut self, payload: &Bytes) {
        self.extend_from_slice(payload);
    }
}

/// A field of at most two varints, on its way to a [`Sink`].
struct Small {
    bytes: [u8; 2 * VARINT_BYTES_MAX],
    len: usize,
}

impl Small {
    const fn new() -> Self {
        Self { bytes: [0; 2 * VARINT_BYTES_MAX], len: 0 }
    }

    fn varint(mut self, value: u64) -> Self {
        self.len += put_varint(&mut self.bytes[self.len..], value);
        self
    }

    fn put(&self, out: &mut impl Sink) {
        out.put(&self.bytes[..self.len]);
    }
}

const fn key(number: u32, wire: u8) -> u64 {
    (number as u64) << 3 | wire as u64
}

fn put_number(out: &mut impl Sink, number: u32, value: u64) {
    Small::new().varint(key(number, super::read::VARINT)).varint(value).put(out);
}

fn put_length(out: &mut impl Sink, number: u32, len: usize) {
    Small::new().varint(key(number, super::read::BYTES)).varint(len as u64).put(out);
}

fn put_bytes(out: &mut impl Sink, number: u32, bytes: Option<&Bytes>) {
    if let Some(bytes) = bytes {
        put_length(out, number, bytes.len());
        out.put_payload(bytes);
    }
}

/// The size of a varint field with a number up to 15.
const fn number_len(value: u64) -> usize {
    1 + varint_len(value)
}

/// The size of a length-delimited field with a number up to 15.
const fn length_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

fn bytes_len(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(0, |bytes| length_len(bytes.len()))
}

/// An enum as protobuf writes it: sign-extended.
#[inline]
const fn enum_varint(number: i32) -> u64 {
    number as i64 as u64
}

/// What goes before an entry's data, at most: a frame's 8-byte length or a field's key and length,
/// four keys, and four varints.
pub(crate) const ENTRY_PREFIX_BYTES_MAX: usize = 1 + VARINT_BYTES_MAX + 4 + 4 * VARINT_BYTES_MAX;

/// How an entry's fields are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryForm {
    /// gogo protobuf: type, term and index always.
    Zeros,
    /// 3.7, an entry that was appended: term and index always.
    Appended,
    /// 3.7, an entry of a proposal or a read: what is not zero.
    Bare,
}

impl EntryForm {
    /// How `dialect` writes the entries of a message of type `message_type`.
    #[inline]
    pub(crate) const fn of(dialect: Dialect, message_type: MessageType) -> Self {
        if dialect.writes_zeros() {
            return Self::Zeros;
        }
        match message_type {
            MessageType::PROP | MessageType::READ_INDEX | MessageType::READ_INDEX_RESP => {
                Self::Bare
            }
            _ => Self::Appended,
        }
    }

    /// The size of the whole entry.
    #[inline]
    pub(crate) fn len(self, entry: &EntryRef<'_>) -> usize {
        let mut len = 0;
        if self == Self::Zeros || entry.entry_type.0 != 0 {
            len += number_len(enum_varint(entry.entry_type.0));
        }
        if self != Self::Bare || entry.term != 0 {
            len += number_len(entry.term);
        }
        if self != Self::Bare || entry.index != 0 {
            len += number_len(entry.index);
        }
        len + bytes_len(entry.data)
    }

    /// Writes everything but the bytes of the data to the front of `out`, which holds
    /// [`ENTRY_PREFIX_BYTES_MAX`] bytes or more, and returns how much that was.
    #[inline]
    pub(crate) fn put_prefix(self, entry: &EntryRef<'_>, out: &mut [u8]) -> usize {
        let mut at = 0;
        if self == Self::Zeros || entry.entry_type.0 != 0 {
            out[at] = 0x08;
            at += 1 + put_varint(&mut out[at + 1..], enum_varint(entry.entry_type.0));
        }
        if self != Self::Bare || entry.term != 0 {
            out[at] = 0x10;
            at += 1 + put_varint(&mut out[at + 1..], entry.term);
        }
        if self != Self::Bare || entry.index != 0 {
            out[at] = 0x18;
            at += 1 + put_varint(&mut out[at + 1..], entry.index);
        }
        if let Some(data) = entry.data {
            out[at] = 0x22;
            at += 1 + put_varint(&mut out[at + 1..], data.len() as u64);
        }
        at
    }

    pub(crate) fn put(self, entry: &EntryRef<'_>, out: &mut impl Sink) {
        let mut prefix = [0; ENTRY_PREFIX_BYTES_MAX];
        let len = self.put_prefix(entry, &mut prefix);
        out.put(&prefix[..len]);
        if let Some(data) = entry.data {
            out.put_payload(data);
        }
    }
}

/// Which scalar fields of a message go on the wire.
struct Presence<'a> {
    dialect: Dialect,
    head: &'a Head,
    /// A message with nothing set at all, which 3.7 writes as no bytes.
    blank: bool,
}

impl Presence<'_> {
    /// raft v3.7 sets, hence its encoder emits: type, to and from always; term but for proposals
    /// and reads; the rest by type. A link heartbeat is rafthttp's own and has its type only.
    fn emits(&self, number: u32, value: u64) -> bool {
        if self.dialect.writes_zeros() {
            return number != 13 || self.dialect == Dialect::V3_6;
        }
        if value != 0 {
            return true;
        }
        if self.blank || (self.head.is_link_heartbeat() && number != 1) {
            return false;
        }
        use MessageType as T;
        let message_type = self.head.message_type;
        // A rejected append says where to look instead, even where that is index 0, term 0.
        let rejects = message_type == T::APP_RESP && self.head.reject;
        match number {
            1..=3 => true,
            4 => !matches!(message_type, T::PROP | T::READ_INDEX),
            5 => matches!(message_type, T::APP | T::VOTE | T::PRE_VOTE) || rejects,
            6 => matches!(
                message_type,
                T::APP | T::APP_RESP | T::READ_INDEX_RESP | T::VOTE | T::PRE_VOTE
            ),
            8 => matches!(message_type, T::APP | T::HEARTBEAT),
            11 => rejects,
            _ => false,
        }
    }

    fn before_entries(&self) -> [(u32, u64); 6] {
        let head = self.head;
        [
            (1, enum_varint(head.message_type.0)),
            (2, head.to),
            (3, head.from),
            (4, head.term),
            (5, head.log_term),
            (6, head.index),
        ]
    }

    fn number_len(&self, (number, value): (u32, u64)) -> usize {
        if self.emits(number, value) { number_len(value) } else { 0 }
    }

    fn put_number(&self, out: &mut impl Sink, (number, value): (u32, u64)) {
        if self.emits(number, value) {
            put_number(out, number, value);
        }
    }
}

fn presence<'a, M: RaftMessage>(message: &M, head: &'a Head, dialect: Dialect) -> Presence<'a> {
    let blank = *head == Head::default()
        && message.entries().is_empty()
        && message.context().is_none()
        && message.snapshot().is_none()
        && message.responses().is_empty();
    Presence { dialect, head, blank }
}

/// The size of an encoded message.
///
/// # Errors
///
/// Nested deeper than [`NESTING_MAX`].
pub(crate) fn message_len<M: RaftMessage>(
    message: &M,
    dialect: Dialect,
) -> Result<usize, EncodeError> {
    nested_len(message, dialect, NESTING_MAX)
}

fn nested_len<M: RaftMessage>(
    message: &M,
    dialect: Dialect,
    levels: u32,
) -> Result<usize, EncodeError> {
    let head = message.head();
    let presence = presence(message, &head, dialect);
    let form = EntryForm::of(dialect, head.message_type);
    let numbers: usize =
        presence.before_entries().map(|field| presence.number_len(field)).iter().sum();
    let entries: usize =
        message.entries().iter().map(|entry| length_len(form.len(&M::entry(entry)))).sum();
    let snapshot = match message.snapshot() {
        Some(snapshot) => length_len(snapshot.body_len(dialect)),
        None if dialect == Dialect::V3_4 => length_len(Snapshot::default().body_len(dialect)),
        None => 0,
    };
    let mut len = numbers
        + entries
        + presence.number_len((8, head.commit))
        + snapshot
        + presence.number_len((10, u64::from(head.reject)))
        + presence.number_len((11, head.reject_hint))
        + bytes_len(message.context())
        + presence.number_len((13, head.vote));
    if dialect != Dialect::V3_4 {
        for response in message.responses() {
            let Some(levels) = levels.checked_sub(1) else {
                return Err(EncodeError::new(EncodeErrorKind::Nesting));
            };
            len += length_len(nested_len(response, dialect, levels)?);
        }
    }
    Ok(len)
}

/// Writes a message whose length [`message_len`] gave, so that its nesting is known to be bounded.
pub(crate) fn encode_message<M: RaftMessage>(message: &M, dialect: Dialect, out: &mut impl Sink) {
    let head = message.head();
    let presence = presence(message, &head, dialect);
    let form = EntryForm::of(dialect, head.message_type);
    for field in presence.before_entries() {
        presence.put_number(out, field);
    }
    for entry in message.entries() {
        let entry = M::entry(entry);
        put_length(out, 7, form.len(&entry));
        form.put(&entry, out);
    }
    presence.put_number(out, (8, head.commit));
    match message.snapshot() {
        Some(snapshot) => put_message(out, 9, &*snapshot, dialect),
        None if dialect == Dialect::V3_4 => put_message(out, 9, &Snapshot::default(), dialect),
        None => {}
    }
    presence.put_number(out, (10, u64::from(head.reject)));
    presence.put_number(out, (11, head.reject_hint));
    put_bytes(out, 12, message.context());
    presence.put_number(out, (13, head.vote));
    if dialect != Dialect::V3_4 {
        for response in message.responses() {
            // Nested messages stay off the wire between members, so their length may cost a pass.
            put_length(out, 14, nested_len(response, dialect, NESTING_MAX).unwrap_or_default());
            encode_message(response, dialect, out);
        }
    }
}

/// The body of a message that is not on the streams' hot path.
pub(crate) trait Body {
    /// The size of its encoding.
    fn body_len(&self, dialect: Dialect) -> usize;

    /// Writes it.
    fn put_body(&self, dialect: Dialect, out: &mut impl Sink);
}

fn put_message<T: Body>(out: &mut impl Sink, number: u32, message: &T, dialect: Dialect) {
    put_length(out, number, message.body_len(dialect));
    message.put_body(dialect, out);
}

/// 3.7 writes nothing of a message nobody set; of one that was set it writes every scalar field,
/// because that is how raft and etcd set them.
fn writes_fields(dialect: Dialect, blank: bool) -> bool {
    dialect.writes_zeros() || !blank
}

impl Body for Snapshot {
    fn body_len(&self, dialect: Dialect) -> usize {
        let metadata = self.metadata.body_len(dialect);
        let writes = dialect.writes_zeros() || metadata != 0;
        bytes_len(self.data.as_ref()) + if writes { length_len(metadata) } else { 0 }
    }

    fn put_body(&self, dialect: Dialect, out: &mut impl Sink) {
        put_bytes(out, 1, self.data.as_ref());
        if dialect.writes_zeros() || self.metadata.body_len(dialect) != 0 {
            put_message(out, 2, &self.metadata, dialect);
        }
    }
}

impl SnapshotMetadata {
    fn is_blank(&self) -> bool {
        self.index == 0 && self.term == 0 && self.conf_state.is_empty()
    }
}

impl Body for SnapshotMetadata {
    fn body_len(&self, dialect: Dialect) -> usize {
        if !writes_fields(dialect, self.is_blank()) {
            return 0;
        }
        let conf_state = self.conf_state.body_len(dialect);
        let writes = dialect.writes_zeros() || conf_state != 0;
        number_len(self.index)
            + number_len(self.term)
            + if writes { length_len(conf_state) } else { 0 }
    }

    fn put_body(&self, dialect: Dialect, out: &mut impl Sink) {
        if !writes_fields(dialect, self.is_blank()) {
            return;
        }
        if dialect.writes_zeros() || self.conf_state.body_len(dialect) != 0 {
            put_message(out, 1, &self.conf_state, dialect);
        }
        put_number(out, 2, self.index);
        put_number(out, 3, self.term);
    }
}

impl Body for ConfState {
    fn body_len(&self, dialect: Dialect) -> usize {
        if !writes_fields(dialect, self.is_empty()) {
            return 0;
        }
        self.lists().iter().flat_map(|(_, ids)| ids.iter()).map(|id| number_len(*id)).sum::<usize>()
            + number_len(u64::from(self.auto_leave))
    }

    fn put_body(&self, dialect: Dialect, out: &mut impl Sink) {
        if !writes_fields(dialect, self.is_empty()) {
            return;
        }
        for (number, ids) in self.lists() {
            for id in ids {
                put_number(out, number, *id);
            }
        }
        put_number(out, 5, u64::from(self.auto_leave));
    }
}

impl ConfState {
    fn lists(&self) -> [(u32, &[u64]); 4] {
        [
            (1, &self.voters),
            (2, &self.learners),
            (3, &self.voters_outgoing),
            (4, &self.learners_next),
        ]
    }
}

impl Body for HardState {
    fn body_len(&self, dialect: Dialect) -> usize {
        if !writes_fields(dialect, *self == Self::default()) {
            return 0;
        }
        number_len(self.term) + number_len(self.vote) + number_len(self.commit)
    }

    fn put_body(&self, dialect: Dialect, out: &mut impl Sink) {
        if writes_fields(dialect, *self == Self::default()) {
            put_number(out, 1, self.term);
            put_number(out, 2, self.vote);
            put_number(out, 3, self.commit);
        }
    }
}

impl Body for ConfChange {
    fn body_len(&self, dialect: Dialect) -> usize {
        if !writes_fields(dialect, *self == Self::default()) {
            return 0;
        }
        number_len(self.id)
            + number_len(enum_varint(self.change_type.0))
            + number_len(self.node_id)
            + bytes_len(self.context.as_ref())
    }

    fn put_body(&self, dialect: Dialect, out: &mut impl Sink) {
        if writes_fields(dialect, *self == Self::default()) {
            put_number(out, 1, self.id);
            put_number(out, 2, enum_varint(self.change_type.0));
            put_number(out, 3, self.node_id);
            put_bytes(out, 4, self.context.as_ref());
        }
    }
}

impl Body for ConfChangeSingle {
    fn body_len(&self, dialect: Dialect) -> usize {
        if !writes_fields(dialect, *self == Self::default()) {
            return 0;
        }
        number_len(enum_varint(self.change_type.0)) + number_len(self.node_id)
    }

    fn put_body(&self, dialect: Dialect, out: &mut impl Sink) {
        if writes_fields(dialect, *self == Self::default()) {
            put_number(out, 1, enum_varint(self.change_type.0));
            put_number(out, 2, self.node_id);
        }
    }
}

impl Body for ConfChangeV2 {
    fn body_len(&self, dialect: Dialect) -> usize {
        if !writes_fields(dialect, *self == Self::default()) {
            return 0;
        }
        number_len(enum_varint(self.transition.0))
            + self.changes.iter().map(|change| length_len(change.body_len(dialect))).sum::<usize>()
            + bytes_len(self.context.as_ref())
    }

    fn put_body(&self, dialect: Dialect, out: &mut impl Sink) {
        if writes_fields(dialect, *self == Self::default()) {
            put_number(out, 1, enum_varint(self.transition.0));
            for change in &self.changes {
                put_message(out, 2, change, dialect);
            }
            put_bytes(out, 3, self.context.as_ref());
        }
    }
}
