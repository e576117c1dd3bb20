//! Decoding raftpb: entries and messages by hand, for the streams; the rest through one small
//! trait, for WALs and snapshots.
//!
//! Payloads are not copied here: a [`Payloads`] cuts them out of the bytes that are read, and
//! decides whether to share or to copy.

use super::read::{Reader, Span};
use super::{
    CONF_STATE_IDS_MAX, ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType,
    ConfChangeV2, ConfState, EntryType, HardState, Head, MessageType, Parts, RESPONSES_MAX,
    RaftMessage, Snapshot, SnapshotMetadata,
};
use crate::error::{DecodeError, DecodeErrorKind};
use bytes::Bytes;

type Result<T> = std::result::Result<T, DecodeError>;

/// Cuts payloads out of the bytes that are read.
pub(crate) trait Payloads {
    /// Returns the payload that lies in `span`.
    fn payload(&mut self, span: Span) -> Bytes;

    /// How many more ids the `ConfState`s of this message may hold.
    fn ids_left(&mut self) -> &mut usize;

    /// Asks for room for a list of `bytes` bytes. `false`: not now.
    fn charge(&mut self, bytes: usize) -> bool;
}

/// Shares every payload, within no budget.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    bytes: &'a Bytes,
    ids_left: usize,
}

impl<'a> Shared<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, ids_left: CONF_STATE_IDS_MAX }
    }
}

impl Payloads for Shared<'_> {
    fn payload(&mut self, span: Span) -> Bytes {
        self.bytes.slice(span.start..span.end)
    }

    fn ids_left(&mut self) -> &mut usize {
        &mut self.ids_left
    }

    fn charge(&mut self, _bytes: usize) -> bool {
        true
    }
}

/// Why a message could not be decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Error(DecodeError),
    /// The memory budget has no room for a list now: try again later.
    Memory,
}

impl From<DecodeError> for Cut {
    fn from(error: DecodeError) -> Self {
        Self::Error(error)
    }
}

/// An entry whose payload has not been cut out yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawEntry {
    pub(crate) entry_type: EntryType,
    pub(crate) term: u64,
    pub(crate) index: u64,
    pub(crate) data: Option<Span>,
}

impl RawEntry {
    /// Makes the entry that lies in `span`. What it needs of the bytes that are read is cut out of
    /// them at once: its data, or where its encoding is kept the whole of it.
    #[inline(always)]
    pub(crate) fn make<M: RaftMessage>(
        self,
        span: Span,
        keeps_encoding: bool,
        cut: impl FnOnce(Span) -> Bytes,
    ) -> M::Entry {
        let Self { entry_type, term, index, data } = self;
        if !(M::KEEPS_ENCODING && keeps_encoding) {
            return M::make_entry(entry_type, term, index, data.map(cut));
        }
        let encoded = cut(span);
        let data = data.map(|data| encoded.slice(data.start - span.start..data.end - span.start));
        let mut entry = M::make_entry(entry_type, term, index, data);
        M::keep_encoding(&mut entry, encoded);
        entry
    }
}

/// Reads one entry.
#[inline]
pub(crate) fn read_entry(mut reader: Reader<'_>) -> Result<RawEntry> {
    // What every encoder writes: fields 1 to 4 in order, each at most once. Anything else starts
    // over in the general reader.
    let general = reader.clone();
    let mut entry = RawEntry::default();
    if reader.take(0x08) {
        match reader.small() {
            Some(entry_type) => entry.entry_type = EntryType(i32::from(entry_type)),
            None => return read_any_entry(general),
        }
    }
    if reader.take(0x10) {
        entry.term = reader.varint("Entry.Term")?;
    }
    if reader.take(0x18) {
        entry.index = reader.varint("Entry.Index")?;
    }
    if reader.take(0x22) {
        entry.data = Some(reader.expect_bytes(super::read::BYTES, "Entry.Data")?);
    }
    if reader.is_empty() { Ok(entry) } else { read_any_entry(general) }
}

#[cold]
fn read_any_entry(mut reader: Reader<'_>) -> Result<RawEntry> {
    let mut entry = RawEntry::default();
    while !reader.is_empty() {
        let (number, wire_type) = reader.key("Entry")?;
        match number {
            1 => {
                entry.entry_type =
                    EntryType(enum_number(reader.expect_varint(wire_type, "Entry.Type")?));
            }
            2 => entry.term = reader.expect_varint(wire_type, "Entry.Term")?,
            3 => entry.index = reader.expect_varint(wire_type, "Entry.Index")?,
            4 => entry.data = Some(reader.expect_bytes(wire_type, "Entry.Data")?),
            _ => reader.skip(number, wire_type, "Entry")?,
        }
    }
    Ok(entry)
}

/// An enum's number. Negative ones are sign-extended to ten bytes; what is above 32 bits is lost,
/// as in every protobuf library.
#[allow(clippy::cast_possible_truncation, reason = "the truncation is protobuf's rule")]
pub(super) const fn enum_number(varint: u64) -> i32 {
    varint as i32
}

/// The field that says, in every message without one up to etcd 3.5, that there is no snapshot.
pub(crate) const NO_SNAPSHOT: [u8; 12] = [0x4a, 10, 0x12, 8, 0x0a, 2, 0x28, 0, 0x10, 0, 0x18, 0];

/// Reads one message.
///
/// What must hold between its entries and its head is the codec's to check: fields may come in any
/// order.
pub(crate) fn decode_message<M: RaftMessage>(
    reader: Reader<'_>,
    payloads: &mut impl Payloads,
) -> std::result::Result<M, Cut> {
    let mut nested = RESPONSES_MAX;
    decode_nested(reader, payloads, &mut nested)
}

fn decode_nested<M: RaftMessage>(
    mut reader: Reader<'_>,
    payloads: &mut impl Payloads,
    nested: &mut usize,
) -> std::result::Result<M, Cut> {
    let mut head = Head::default();
    let mut entries = Vec::new();
    let mut context = None;
    let mut snapshot: Option<Box<Snapshot>> = None;
    let mut no_snapshot = false;
    let mut responses = Vec::new();
    // Whether it is a message whose entries' encodings are kept. Known with the first entry.
    let mut is_append = false;
    while !reader.is_empty() {
        let (number, wire) = reader.key("Message")?;
        match number {
            1 => {
                let number = reader.expect_varint(wire, "Message.type")?;
                head.message_type = MessageType(enum_number(number));
            }
            2 => head.to = reader.expect_varint(wire, "Message.to")?,
            3 => head.from = reader.expect_varint(wire, "Message.from")?,
            4 => head.term = reader.expect_varint(wire, "Message.term")?,
            5 => head.log_term = reader.expect_varint(wire, "Message.logTerm")?,
            6 => head.index = reader.expect_varint(wire, "Message.index")?,
            7 => {
                let span = reader.expect_bytes(wire, "Message.entries")?;
                // The list is made once, for the entries that are really there: growing it by
                // doubling would cost up to three times the memory.
                if entries.capacity() == 0 {
                    let count = 1 + reader.clone().count_of(7);
                    let bytes = count.saturating_mul(size_of::<M::Entry>());
                    if !payloads.charge(bytes) {
                        return Err(Cut::Memory);
                    }
                    entries = M::lists().take(count);
                    if M::KEEPS_ENCODING {
                        // The type comes first, but need not, and the last one counts.
                        let later = reader.clone().last_varint_of(1).map(enum_number);
                        let message_type = later.map_or(head.message_type, MessageType);
                        is_append = message_type == MessageType::APP;
                    }
                }
                let raw = read_entry(reader.enter(span, "Message.entries")?)?;
                entries.push(raw.make::<M>(span, is_append, |span| payloads.payload(span)));
            }
            8 => head.commit = reader.expect_varint(wire, "Message.commit")?,
            9 => {
                let span = reader.expect_bytes(wire, "Message.snapshot")?;
                if snapshot.is_none() && reader.is_at(span, &NO_SNAPSHOT[2..]) {
                    no_snapshot = true;
                } else {
                    let inner = reader.enter(span, "Message.snapshot")?;
                    merge(&mut **snapshot.get_or_insert_default(), inner, payloads)?;
                }
            }
            10 => head.reject = reader.expect_varint(wire, "Message.reject")? != 0,
            11 => head.reject_hint = reader.expect_varint(wire, "Message.rejectHint")?,
            12 => {
                let span = reader.expect_bytes(wire, "Message.context")?;
                context = Some(payloads.payload(span));
            }
            13 => head.vote = reader.expect_varint(wire, "Message.vote")?,
            14 => {
                let span = reader.expect_bytes(wire, "Message.responses")?;
                let inner = reader.enter(span, "Message.responses")?;
                let Some(left) = nested.checked_sub(1) else {
                    let limit = RESPONSES_MAX as u64;
                    let kind = DecodeErrorKind::Limit { announced: limit + 1, limit };
                    return Err(
                        DecodeError::new(kind, "Message.responses", span.start as u64).into()
                    );
                };
                *nested = left;
                responses.push(decode_nested(inner, payloads, nested)?);
            }
            _ => reader.skip(number, wire, "Message")?,
        }
    }
    // An empty snapshot says that there is none.
    if head.message_type == MessageType::SNAP {
        if no_snapshot {
            snapshot.get_or_insert_default();
        }
    } else if snapshot.as_deref().is_some_and(Snapshot::is_empty) {
        snapshot = None;
    }
    Ok(M::from_parts(Parts { head, entries, context, snapshot, responses }))
}

/// A message that is decoded field by field into itself, so that a second occurrence merges.
pub(crate) trait Merge: Default {
    /// Its name in errors.
    const NAME: &'static str;

    /// Reads the value of field `number`, or returns `false` if it has no such field.
    fn merge_field(
        &mut self,
        number: u32,
        wire: u8,
        reader: &mut Reader<'_>,
        payloads: &mut impl Payloads,
    ) -> Result<bool>;
}

/// Reads a message into one that may have been read before.
pub(crate) fn merge<T: Merge>(
    message: &mut T,
    mut reader: Reader<'_>,
    payloads: &mut impl Payloads,
) -> Result<()> {
    while !reader.is_empty() {
        let (number, wire) = reader.key(T::NAME)?;
        if !message.merge_field(number, wire, &mut reader, payloads)? {
            reader.skip(number, wire, T::NAME)?;
        }
    }
    Ok(())
}

impl Merge for Snapshot {
    const NAME: &'static str = "Snapshot";

    fn merge_field(
        &mut self,
        number: u32,
        wire: u8,
        reader: &mut Reader<'_>,
        payloads: &mut impl Payloads,
    ) -> Result<bool> {
        match number {
            1 => self.data = Some(payloads.payload(reader.expect_bytes(wire, "Snapshot.data")?)),
            2 => {
                let span = reader.expect_bytes(wire, "Snapshot.metadata")?;
                merge(&mut self.metadata, reader.enter(span, "Snapshot.metadata")?, payloads)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Merge for SnapshotMetadata {
    const NAME: &'static str = "SnapshotMetadata";

    fn merge_field(
        &mut self,
        number: u32,
        wire: u8,
        reader: &mut Reader<'_>,
        payloads: &mut impl Payloads,
    ) -> Result<bool> {
        match number {
            1 => {
                let span = reader.expect_bytes(wire, "SnapshotMetadata.conf_state")?;
                let inner = reader.enter(span, "SnapshotMetadata.conf_state")?;
                merge(&mut self.conf_state, inner, payloads)?;
            }
            2 => self.index = reader.expect_varint(wire, "SnapshotMetadata.index")?,
            3 => self.term = reader.expect_varint(wire, "SnapshotMetadata.term")?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Merge for ConfState {
    const NAME: &'static str = "ConfState";

    fn merge_field(
        &mut self,
        number: u32,
        wire: u8,
        reader: &mut Reader<'_>,
        payloads: &mut impl Payloads,
    ) -> Result<bool> {
        match number {
            1 => read_ids(&mut self.voters, wire, reader, payloads.ids_left(), "ConfState.voters")?,
            2 => read_ids(
                &mut self.learners,
                wire,
                reader,
                payloads.ids_left(),
                "ConfState.learners",
            )?,
            3 => read_ids(
                &mut self.voters_outgoing,
                wire,
                reader,
                payloads.ids_left(),
                "ConfState.voters_outgoing",
            )?,
            4 => read_ids(
                &mut self.learners_next,
                wire,
                reader,
                payloads.ids_left(),
                "ConfState.learners_next",
            )?,
            5 => self.auto_leave = reader.expect_varint(wire, "ConfState.auto_leave")? != 0,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads one id, or a packed list of them.
fn read_ids(
    ids: &mut Vec<u64>,
    wire: u8,
    reader: &mut Reader<'_>,
    left: &mut usize,
    field: &'static str,
) -> Result<()> {
    let mut push = |id, at: usize| {
        let Some(fewer) = left.checked_sub(1) else {
            let limit = CONF_STATE_IDS_MAX as u64;
            let kind = DecodeErrorKind::Limit { announced: limit + 1, limit };
            return Err(DecodeError::new(kind, field, at as u64));
        };
        *left = fewer;
        ids.push(id);
        Ok(())
    };
    if wire == super::read::BYTES {
        let span = reader.expect_bytes(wire, field)?;
        let mut packed = reader.within(span);
        while !packed.is_empty() {
            let at = packed.position();
            push(packed.varint(field)?, at)?;
        }
        Ok(())
    } else {
        let at = reader.position();
        push(reader.expect_varint(wire, field)?, at)
    }
}

impl Merge for HardState {
    const NAME: &'static str = "HardState";

    fn merge_field(
        &mut self,
        number: u32,
        wire: u8,
        reader: &mut Reader<'_>,
        _payloads: &mut impl Payloads,
    ) -> Result<bool> {
        match number {
            1 => self.term = reader.expect_varint(wire, "HardState.term")?,
            2 => self.vote = reader.expect_varint(wire, "HardState.vote")?,
            3 => self.commit = reader.expect_varint(wire, "HardState.commit")?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Merge for ConfChange {
    const NAME: &'static str = "ConfChange";

    fn merge_field(
        &mut self,
        number: u32,
        wire: u8,
        reader: &mut Reader<'_>,
        payloads: &mut impl Payloads,
    ) -> Result<bool> {
        match number {
            1 => self.id = reader.expect_varint(wire, "ConfChange.id")?,
            2 => {
                let number = reader.expect_varint(wire, "ConfChange.type")?;
                self.change_type = ConfChangeType(enum_number(number));
            }
            3 => self.node_id = reader.expect_varint(wire, "ConfChange.node_id")?,
            4 => {
                let span = reader.expect_bytes(wire, "ConfChange.context")?;
                self.context = Some(payloads.payload(span));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Merge for ConfChangeSingle {
    const NAME: &'static str = "ConfChangeSingle";

    fn merge_field(
        &mut self,
        number: u32,
        wire: u8,
        reader: &mut Reader<'_>,
        _payloads: &mut impl Payloads,
    ) -> Result<bool> {
        match number {
            1 => {
                let number = reader.expect_varint(wire, "ConfChangeSingle.type")?;
                self.change_type = ConfChangeType(enum_number(number));
            }
            2 => self.node_id = reader.expect_varint(wire, "ConfChangeSingle.node_id")?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Merge for ConfChangeV2 {
    const NAME: &'static str = "ConfChangeV2";

    fn merge_field(
        &mut self,
        number: u32,
        wire: u8,
        reader: &mut Reader<'_>,
        payloads: &mut impl Payloads,
    ) -> Result<bool> {
        match number {
            1 => {
                let number = reader.expect_varint(wire, "ConfChangeV2.transition")?;
                self.transition = ConfChangeTransition(enum_number(number));
            }
            2 => {
                let span = reader.expect_bytes(wire, "ConfChangeV2.changes")?;
                let mut change = ConfChangeSingle::default();
                merge(&mut change, reader.enter(span, "ConfChangeV2.changes")?, payloads)?;
                self.changes.push(change);
            }
            3 => {
                let span = reader.expect_bytes(wire, "ConfChangeV2.context")?;
                self.context = Some(payloads.payload(span));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
