//! Encoding raftpb, byte for byte as the etcd of the chosen dialect does.
//!
//! An entry is a *prefix* (its fields but for the bytes of its data) and its data; an
//! [`EntryForm`] prepares the prefix in place, so that a stream can queue the data by reference.

use super::decode::NO_SNAPSHOT;
use super::varint::{VARINT_BYTES_MAX, put_long_varint, put_varint, varint_len};
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

/// The numbers of fields, as bits.
const fn fields(numbers: &[u8]) -> u16 {
    let mut bits = 0;
    let mut at = 0;
    while at < numbers.len() {
        bits |= 1 << numbers[at];
        at += 1;
    }
    bits
}

/// Which scalar fields of a message go on the wire even if they are 0. `blank` is a message with
/// nothing set at all, which 3.7 writes as no bytes.
///
/// raft v3.7 sets, hence its encoder emits: type, to and from always; term but for proposals and
/// reads; the rest by type. A link heartbeat is rafthttp's own and has its type only.
#[inline]
fn written_zeros(dialect: Dialect, head: &Head, blank: bool) -> u16 {
    use MessageType as T;
    if dialect.writes_zeros() {
        return u16::MAX;
    }
    if blank || head.is_link_heartbeat() {
        return 0;
    }
    match head.message_type {
        T::PROP | T::READ_INDEX => const { fields(&[1, 2, 3]) },
        T::APP => const { fields(&[1, 2, 3, 4, 5, 6, 8]) },
        // A rejected append says where to look instead, even where that is index 0, term 0.
        T::APP_RESP if head.reject => const { fields(&[1, 2, 3, 4, 5, 6, 11]) },
        T::APP_RESP | T::READ_INDEX_RESP => const { fields(&[1, 2, 3, 4, 6]) },
        T::VOTE | T::PRE_VOTE => const { fields(&[1, 2, 3, 4, 5, 6]) },
        T::HEARTBEAT => const { fields(&[1, 2, 3, 4, 8]) },
        _ => const { fields(&[1, 2, 3, 4]) },
    }
}

/// More than the ten scalar fields take, and the snapshot that says there is none: 122 bytes.
const SCALARS_BYTES_MAX: usize = 128;

/// Where a field could begin at the most, and more than the longest takes.
pub(crate) const SCALARS_ROOM: usize = SCALARS_BYTES_MAX + 16;

/// The scalar fields of a message, one behind the other.
pub(crate) struct Scalars<'a> {
    out: &'a mut [u8; SCALARS_ROOM],
    len: usize,
    dialect: Dialect,
    written_zeros: u16,
}

impl<'a> Scalars<'a> {
    #[inline(always)]
    pub(crate) fn new(
        out: &'a mut [u8; SCALARS_ROOM],
        dialect: Dialect,
        head: &Head,
        blank: bool,
    ) -> Self {
        Self { out, len: 0, dialect, written_zeros: written_zeros(dialect, head, blank) }
    }

    /// The room behind what is written.
    #[inline(always)]
    fn room(&mut self) -> &mut [u8; 16] {
        // It always is below; this tells the compiler, too.
        let at = self.len % SCALARS_BYTES_MAX;
        match self.out[at..].first_chunk_mut() {
            Some(room) => room,
            None => unreachable!("it was made that large"),
        }
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "it was compared")]
    fn put(&mut self, number: u8, value: u64) {
        if value == 0 && self.written_zeros & 1 << number == 0 {
            return;
        }
        let [key, field @ ..] = self.room();
        *key = number << 3 | super::read::VARINT;
        if value < 0x80 {
            field[0] = value as u8;
            self.len += 2;
        } else if let Some(field) = field.first_chunk_mut() {
            self.len += 1 + put_long_varint(field, value);
        }
    }

    #[inline(always)]
    pub(crate) fn put_before_entries(&mut self, head: &Head) {
        self.put(1, enum_varint(head.message_type.0));
        self.put(2, head.to);
        self.put(3, head.from);
        self.put(4, head.term);
        self.put(5, head.log_term);
        self.put(6, head.index);
    }

    #[inline(always)]
    pub(crate) fn put_commit(&mut self, head: &Head) {
        self.put(8, head.commit);
    }

    #[inline(always)]
    pub(crate) fn put_no_snapshot(&mut self) {
        if self.dialect == Dialect::V3_4 {
            self.room()[..NO_SNAPSHOT.len()].copy_from_slice(&NO_SNAPSHOT);
            self.len += NO_SNAPSHOT.len();
        }
    }

    #[inline(always)]
    pub(crate) fn put_before_context(&mut self, head: &Head) {
        self.put(10, u64::from(head.reject));
        self.put(11, head.reject_hint);
    }

    #[inline(always)]
    pub(crate) fn put_behind_context(&mut self, head: &Head) {
        if self.dialect != Dialect::V3_4 {
            self.put(13, head.vote);
        }
    }

    /// Returns what was written since the last call.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> &[u8] {
        let len = std::mem::take(&mut self.len);
        &self.out[..len]
    }
}

/// Writes a message.
///
/// # Errors
///
/// Nested deeper than [`NESTING_MAX`]; a part of it is written then.
pub(crate) fn encode_message<M: RaftMessage>(
    message: &M,
    dialect: Dialect,
    out: &mut impl Sink,
) -> Result<(), EncodeError> {
    encode_nested(message, dialect, NESTING_MAX, out)
}

fn encode_nested<M: RaftMessage>(
    message: &M,
    dialect: Dialect,
    levels: u32,
    out: &mut impl Sink,
) -> Result<(), EncodeError> {
    let head = message.head();
    let snapshot = message.snapshot();
    let entries = message.entries();
    let context = message.context();
    let blank = !dialect.writes_zeros()
        && head == Head::default()
        && entries.is_empty()
        && context.is_none()
        && snapshot.is_none()
        && message.responses().is_empty();
    let mut bytes = [0; SCALARS_ROOM];
    let mut scalars = Scalars::new(&mut bytes, dialect, &head, blank);
    scalars.put_before_entries(&head);
    if !entries.is_empty() {
        out.put(scalars.take());
        let form = EntryForm::of(dialect, head.message_type);
        for entry in entries {
            let entry = M::entry(entry);
            put_length(out, 7, form.len(&entry));
            form.put(&entry, out);
        }
    }
    scalars.put_commit(&head);
    match snapshot {
        Some(snapshot) => {
            out.put(scalars.take());
            put_message(out, 9, &*snapshot, dialect);
        }
        None => scalars.put_no_snapshot(),
    }
    scalars.put_before_context(&head);
    if context.is_some() {
        out.put(scalars.take());
        put_bytes(out, 12, context);
    }
    scalars.put_behind_context(&head);
    out.put(scalars.take());
    if dialect != Dialect::V3_4 {
        for response in message.responses() {
            let Some(levels) = levels.checked_sub(1) else {
                return Err(EncodeError::new(EncodeErrorKind::Nesting));
            };
            // They stay off the wire between members, so they may cost memory of their own.
            let mut nested = Vec::new();
            encode_nested(response, dialect, levels, &mut nested)?;
            put_length(out, 14, nested.len());
            out.put(&nested);
        }
    }
    Ok(())
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
