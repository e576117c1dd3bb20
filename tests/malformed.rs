//! Every malformed stream we could think of, by name: what is said of it, of which field, at which
//! byte; and every message an encoder must refuse. Each stream is decoded whole and byte by byte,
//! in both modes, and must come to the same end. How well-formed streams are cut is
//! `conformance.rs`'s.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use DecodeErrorKind::{
    EntryIndex, EntryTerm, FrameKind as UnknownKind, Group, IndexWrap, Key, Limit, Nesting,
    NotMsgApp, Overrun, Truncated, Varint, WireType,
};
use Stream::{Message as MessageStream, MsgAppV2};
use bytes::{Buf, BufMut, Bytes};
use raftwire::buf::{Pool, PoolConfig, ReceiveBuffer, Space, WriteQueue};
use raftwire::codec::{Config, Deviations, Frame, FrameKind, Limits, Mode, message, msgappv2};
use raftwire::error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Fault};
use raftwire::raftpb::{
    CONF_STATE_IDS_MAX, Dialect, Entry, Message, MessageType, NESTING_MAX, RESPONSES_MAX,
};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const MODES: [Mode; 2] = [Mode::Strict, Mode::AsEtcd];

// ---------------------------------------------------------------------------------------------
// What a stream is, and what comes of it.

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    MsgAppV2,
    Message,
}

enum Decoder {
    MsgAppV2(msgappv2::Decoder<Message>),
    Message(message::Decoder<Message>),
}

impl Decoder {
    fn new(stream: Stream, config: &Config) -> Self {
        match stream {
            MsgAppV2 => Self::MsgAppV2(msgappv2::Decoder::new(config.clone())),
            MessageStream => Self::Message(message::Decoder::new(config.clone())),
        }
    }

    fn needed(&self) -> usize {
        match self {
            Self::MsgAppV2(decoder) => decoder.needed(),
            Self::Message(decoder) => decoder.needed(),
        }
    }

    fn decode(
        &mut self,
        received: &mut ReceiveBuffer,
    ) -> Result<Option<Frame<Message>>, DecodeError> {
        match self {
            Self::MsgAppV2(decoder) => decoder.decode(received),
            Self::Message(decoder) => decoder.decode(received),
        }
    }

    fn finish(&self, received: &ReceiveBuffer) -> Result<Deviations, DecodeError> {
        match self {
            Self::MsgAppV2(decoder) => decoder.finish(received),
            Self::Message(decoder) => decoder.finish(received),
        }
    }
}

/// The only clock there is: tests add to it.
#[allow(clippy::disallowed_methods, reason = "an origin is needed, and no more")]
fn origin() -> Instant {
    Instant::now()
}

/// A connection whose reader never waits: a stream comes in, frames and an end come out.
struct Connection {
    decoder: Decoder,
    received: ReceiveBuffer,
    frames: Vec<Frame<Message>>,
    now: Instant,
}

impl Connection {
    fn new(stream: Stream, config: &Config) -> Self {
        Self {
            decoder: Decoder::new(stream, config),
            received: ReceiveBuffer::new(Pool::new(PoolConfig::default())),
            frames: Vec::new(),
            now: origin(),
        }
    }

    /// Receives `piece`, and decodes what can be decoded.
    fn receive(&mut self, mut piece: &[u8]) -> Result<(), DecodeError> {
        while !piece.is_empty() {
            let space = self.received.space(self.decoder.needed(), self.now)?;
            let mut room = space.room().expect("within the budget");
            let count = room.remaining_mut().min(piece.len());
            room.put_slice(&piece[..count]);
            piece.advance(count);
            self.decode()?;
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<(), DecodeError> {
        while let Some(frame) = self.decoder.decode(&mut self.received)? {
            self.frames.push(frame);
        }
        Ok(())
    }

    fn allocated_bytes(&self) -> usize {
        self.received.pool().stats().allocated_bytes
    }
}

type End = Result<Deviations, DecodeError>;

fn decode_in_pieces(
    stream: Stream,
    config: &Config,
    bytes: &[u8],
    piece: usize,
) -> (Vec<Frame<Message>>, End) {
    let mut connection = Connection::new(stream, config);
    let mut end = Ok(());
    for piece in bytes.chunks(piece) {
        end = connection.receive(piece);
        if end.is_err() {
            break;
        }
    }
    let finish = connection.decoder.finish(&connection.received);
    if let Err(error) = end {
        assert_eq!(finish, Err(error), "a stream that failed ends as it failed");
    }
    (connection.frames, finish)
}

/// Decodes a stream that is then closed, whole and byte by byte.
fn decode(stream: Stream, config: &Config, bytes: &[u8]) -> (Vec<Frame<Message>>, End) {
    let whole = decode_in_pieces(stream, config, bytes, bytes.len().max(1));
    let bytewise = decode_in_pieces(stream, config, bytes, 1);
    assert_eq!(whole, bytewise, "the end depends on how the stream is cut");
    whole
}

fn error(
    kind: DecodeErrorKind,
    field: &'static str,
    offset: u64,
) -> (DecodeErrorKind, &'static str, u64) {
    (kind, field, offset)
}

fn parts(end: End) -> (DecodeErrorKind, &'static str, u64) {
    let error = end.expect_err("malformed");
    assert_eq!(error.fault(), Fault::Peer);
    (error.kind, error.field, error.offset)
}

/// Asserts that `config`, in both modes, ends the stream with this error.
fn assert_rejected_with(
    config: Config,
    stream: Stream,
    bytes: &[u8],
    kind: DecodeErrorKind,
    field: &'static str,
    offset: u64,
) {
    for mode in MODES {
        let (_, end) = decode(stream, &config.clone().mode(mode), bytes);
        assert_eq!(parts(end), error(kind, field, offset), "{mode:?}");
    }
}

fn assert_rejected(
    stream: Stream,
    bytes: &[u8],
    kind: DecodeErrorKind,
    field: &'static str,
    offset: u64,
) {
    assert_rejected_with(Config::default(), stream, bytes, kind, field, offset);
}

/// Asserts that strict mode ends the stream with this error, and that etcd's takes it, its last
/// frame with these deviations. Returns that frame.
fn assert_deviates(
    bytes: &[u8],
    (kind, field, offset): (DecodeErrorKind, &'static str, u64),
    deviations: &[Deviations],
) -> Frame<Message> {
    let (_, end) = decode(MsgAppV2, &Config::default(), bytes);
    assert_eq!(parts(end), error(kind, field, offset));
    let (mut frames, end) = decode(MsgAppV2, &as_etcd(), bytes);
    assert_eq!(end, Ok(Deviations::default()), "a clean end");
    let last = frames.pop().expect("a frame");
    for deviation in deviations {
        assert!(last.deviations.contains(*deviation), "{last:?}");
    }
    assert_eq!(last.deviations.names().count(), deviations.len(), "{last:?}");
    last
}

/// Asserts that strict mode takes a stream's end here for a broken connection, and etcd for a
/// closed one.
fn assert_ends_between_fields(stream: Stream, bytes: &[u8], field: &'static str) {
    let (_, end) = decode(stream, &Config::default(), bytes);
    assert_eq!(parts(end), error(Truncated, field, bytes.len() as u64));
    let (_, end) = decode(stream, &as_etcd(), bytes);
    assert_eq!(end, Ok(Deviations::END_INSIDE_FRAME));
}

/// Asserts that both modes take a stream's end here for a broken connection.
fn assert_ends_inside_field(stream: Stream, bytes: &[u8], field: &'static str) {
    assert_rejected(stream, bytes, Truncated, field, bytes.len() as u64);
}

fn as_etcd() -> Config {
    Config::default().mode(Mode::AsEtcd)
}

// ---------------------------------------------------------------------------------------------
// Bytes.

/// Bytes from hex with blanks.
fn wire(text: &str) -> Vec<u8> {
    support::hex(&text.split_whitespace().collect::<String>())
}

fn be(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// `body` behind its length.
fn framed(body: &[u8]) -> Vec<u8> {
    [be(body.len() as u64), body.to_vec()].concat()
}

fn app_entries(entries: &[&[u8]], commit: u64) -> Vec<u8> {
    let body: Vec<u8> = entries.iter().flat_map(|entry| framed(entry)).collect();
    [vec![1], be(entries.len() as u64), body, be(commit)].concat()
}

fn msg_app(body: &[u8]) -> Vec<u8> {
    [vec![2], framed(body)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_be_bytes()[7] | 0x80);
        value >>= 7;
    }
    out.push(value.to_be_bytes()[7]);
    out
}

/// A length-delimited field with a number up to 15.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], varint(body.len() as u64), body.to_vec()].concat()
}

/// Term 0, index 1: what follows on a new stream's state.
const FIRST_ENTRY: &[u8] = &[0x18, 0x01];

/// A MsgApp of term 1 at index 5, which brings a stream to that state.
fn state_1_5() -> Vec<u8> {
    msg_app(&wire("0803 2001 2801 3005"))
}

/// Where an entry's bytes begin in an AppEntries frame that begins a stream.
const ENTRY_AT: u64 = 17;
/// Where a message's bytes begin in a MsgApp frame, and on the message stream.
const MSG_APP_AT: u64 = 9;
const MESSAGE_AT: u64 = 8;

// ---------------------------------------------------------------------------------------------
// The stream's end: at every boundary between two fields, and inside every field.

#[test]
fn an_empty_stream_ends_well() {
    for stream in [MsgAppV2, MessageStream] {
        for mode in MODES {
            let (frames, end) = decode(stream, &Config::default().mode(mode), &[]);
            assert_eq!((frames.len(), end), (0, Ok(Deviations::default())));
        }
    }
}

#[test]
fn a_stream_ends_well_between_frames() {
    let frames = [vec![0], app_entries(&[FIRST_ENTRY], 1), state_1_5(), vec![0]].concat();
    let (frames, end) = decode(MsgAppV2, &Config::default(), &frames);
    assert_eq!((frames.len(), end), (4, Ok(Deviations::default())));
    let (frames, end) = decode(MessageStream, &Config::default(), &framed(&[8, 8]).repeat(2));
    assert_eq!((frames.len(), end), (2, Ok(Deviations::default())));
}

#[test]
fn end_behind_the_kind_of_app_entries() {
    assert_ends_between_fields(MsgAppV2, &[1], "frame");
}

#[test]
fn end_inside_the_count() {
    for len in 2..9 {
        assert_ends_inside_field(MsgAppV2, &app_entries(&[FIRST_ENTRY], 0)[..len], "frame");
    }
}

#[test]
fn end_behind_the_count() {
    let bytes = app_entries(&[FIRST_ENTRY], 0);
    assert_ends_between_fields(MsgAppV2, &bytes[..9], "AppEntries.entries");
}

#[test]
fn end_inside_an_entry_length() {
    for len in 10..17 {
        let bytes = &app_entries(&[FIRST_ENTRY], 0)[..len];
        assert_ends_inside_field(MsgAppV2, bytes, "AppEntries.entries");
    }
}

#[test]
fn end_behind_an_entry_length() {
    let bytes = app_entries(&[FIRST_ENTRY], 0);
    assert_ends_between_fields(MsgAppV2, &bytes[..17], "AppEntries.entries");
}

#[test]
fn end_inside_an_entry() {
    let bytes = app_entries(&[FIRST_ENTRY], 0);
    assert_ends_inside_field(MsgAppV2, &bytes[..18], "AppEntries.entries");
}

#[test]
fn end_between_entries() {
    let bytes = app_entries(&[FIRST_ENTRY, &[0x18, 2]], 0);
    assert_ends_between_fields(MsgAppV2, &bytes[..19], "AppEntries.entries");
    assert_ends_inside_field(MsgAppV2, &bytes[..20], "AppEntries.entries");
    assert_ends_between_fields(MsgAppV2, &bytes[..27], "AppEntries.entries");
    assert_ends_inside_field(MsgAppV2, &bytes[..28], "AppEntries.entries");
}

#[test]
fn end_before_the_commit_index() {
    let bytes = app_entries(&[FIRST_ENTRY], 0);
    assert_ends_between_fields(MsgAppV2, &bytes[..19], "AppEntries.commit");
    assert_ends_between_fields(MsgAppV2, &app_entries(&[], 0)[..9], "AppEntries.commit");
}

#[test]
fn end_inside_the_commit_index() {
    for len in 20..27 {
        let bytes = &app_entries(&[FIRST_ENTRY], 0)[..len];
        assert_ends_inside_field(MsgAppV2, bytes, "AppEntries.commit");
    }
}

#[test]
fn end_behind_the_kind_of_msg_app() {
    assert_ends_between_fields(MsgAppV2, &[2], "frame");
}

#[test]
fn end_inside_the_length_of_msg_app() {
    for len in 2..9 {
        assert_ends_inside_field(MsgAppV2, &state_1_5()[..len], "frame");
    }
}

#[test]
fn end_behind_the_length_of_msg_app() {
    assert_ends_between_fields(MsgAppV2, &state_1_5()[..9], "frame");
}

#[test]
fn end_inside_msg_app() {
    let bytes = state_1_5();
    for len in 10..bytes.len() {
        assert_ends_inside_field(MsgAppV2, &bytes[..len], "frame");
    }
}

#[test]
fn end_inside_the_length_of_a_message() {
    for len in 1..8 {
        let bytes = &framed(&[8, 3])[..len];
        assert_ends_inside_field(MessageStream, bytes, "message.length");
    }
}

#[test]
fn end_behind_the_length_of_a_message() {
    assert_ends_between_fields(MessageStream, &framed(&[8, 3])[..8], "message");
}

#[test]
fn end_inside_a_message() {
    assert_ends_inside_field(MessageStream, &framed(&[8, 3])[..9], "message");
}

#[test]
fn end_is_counted_from_the_start_of_the_stream() {
    let bytes = [vec![0], state_1_5(), vec![0, 1]].concat();
    assert_ends_between_fields(MsgAppV2, &bytes, "frame");
    let bytes = [framed(&[8, 3]), vec![0; 3]].concat();
    assert_ends_inside_field(MessageStream, &bytes, "message.length");
}

// ---------------------------------------------------------------------------------------------
// Kinds, counts and lengths.

#[test]
fn rejects_the_first_kind_there_is_not() {
    assert_rejected(MsgAppV2, &[3], UnknownKind(3), "frame.kind", 0);
}

/// What etcd's log shows as "failed to parse type 97 in msgappv2 stream".
#[test]
fn rejects_kind_97() {
    assert_rejected(MsgAppV2, b"a message", UnknownKind(97), "frame.kind", 0);
}

#[test]
fn rejects_kind_255_behind_good_frames() {
    let bytes = [vec![0, 0], state_1_5(), vec![0xff, 0]].concat();
    let offset = bytes.len() as u64 - 2;
    assert_rejected(MsgAppV2, &bytes, UnknownKind(0xff), "frame.kind", offset);
    let (frames, _) = decode(MsgAppV2, &Config::default(), &bytes);
    assert_eq!(frames.len(), 3, "the frames before it were good");
}

/// The count of entries a frame of 512 MiB has room for.
const COUNT_MAX: u64 = (512 * MIB - 17) / 8;

fn limit(announced: u64, limit: u64) -> DecodeErrorKind {
    Limit { announced, limit }
}

#[test]
fn rejects_a_count_of_u64_max() {
    let bytes = [vec![1], be(u64::MAX)].concat();
    let kind = limit(u64::MAX, COUNT_MAX);
    assert_rejected(MsgAppV2, &bytes, kind, "AppEntries.count", 1);
}

#[test]
fn rejects_a_count_above_gos_largest_int() {
    let bytes = [vec![1], be(1 << 63)].concat();
    let kind = limit(1 << 63, COUNT_MAX);
    assert_rejected(MsgAppV2, &bytes, kind, "AppEntries.count", 1);
}

#[test]
fn rejects_a_count_no_frame_has_room_for() {
    let bytes = [vec![1], be(COUNT_MAX + 1)].concat();
    let kind = limit(COUNT_MAX + 1, COUNT_MAX);
    assert_rejected(MsgAppV2, &bytes, kind, "AppEntries.count", 1);
    let bytes = [vec![1], be(COUNT_MAX)].concat();
    assert_ends_between_fields(MsgAppV2, &bytes, "AppEntries.entries");
}

#[test]
fn rejects_an_entry_length_of_u64_max() {
    let bytes = [vec![1], be(1), be(u64::MAX)].concat();
    let kind = limit(u64::MAX, 512 * MIB);
    assert_rejected(MsgAppV2, &bytes, kind, "Entry.length", 9);
}

#[test]
fn rejects_an_entry_length_above_the_limit() {
    let bytes = [vec![1], be(1), be(512 * MIB + 1)].concat();
    let kind = limit(512 * MIB + 1, 512 * MIB);
    assert_rejected(MsgAppV2, &bytes, kind, "Entry.length", 9);
}

#[test]
fn rejects_an_entry_that_leaves_no_room_in_its_frame() {
    // Within the limit of an entry, but not with what stands around it.
    let bytes = [vec![1], be(1), be(512 * MIB)].concat();
    let kind = limit(512 * MIB + 25, 512 * MIB);
    assert_rejected(MsgAppV2, &bytes, kind, "AppEntries.length", 9);
    let bytes = [vec![1], be(1), be(512 * MIB - 25)].concat();
    assert_ends_between_fields(MsgAppV2, &bytes, "AppEntries.entries");
}

#[test]
fn rejects_entries_that_together_leave_no_room_in_their_frame() {
    let mut limits = Limits::default();
    limits.frame_bytes_max = 64;
    let config = Config::default().limits(limits);
    // 9 + (8 + 2) + (8 + 29) + 8 = 64.
    let fits = [vec![1], be(2), framed(FIRST_ENTRY), be(29)].concat();
    let (_, end) = decode(MsgAppV2, &config, &fits);
    assert_eq!(parts(end).0, Truncated);
    let exceeds = [vec![1], be(2), framed(FIRST_ENTRY), be(30)].concat();
    let kind = limit(65, 64);
    assert_rejected_with(config, MsgAppV2, &exceeds, kind, "AppEntries.length", 19);
}

#[test]
fn rejects_a_msg_app_length_of_u64_max() {
    let bytes = [vec![2], be(u64::MAX)].concat();
    let kind = limit(u64::MAX, 512 * MIB);
    assert_rejected(MsgAppV2, &bytes, kind, "MsgApp.length", 1);
}

#[test]
fn rejects_a_msg_app_length_above_the_limit() {
    let bytes = [vec![2], be(512 * MIB + 1)].concat();
    let kind = limit(512 * MIB + 1, 512 * MIB);
    assert_rejected(MsgAppV2, &bytes, kind, "MsgApp.length", 1);
    let bytes = [vec![2], be(512 * MIB)].concat();
    assert_ends_between_fields(MsgAppV2, &bytes, "frame");
}

#[test]
fn rejects_a_message_length_of_u64_max() {
    let kind = limit(u64::MAX, 512 * MIB);
    assert_rejected(MessageStream, &be(u64::MAX), kind, "message.length", 0);
}

#[test]
fn rejects_a_message_length_above_etcds_limit() {
    let kind = limit(512 * MIB + 1, 512 * MIB);
    let bytes = [framed(&[]), be(512 * MIB + 1)].concat();
    assert_rejected(MessageStream, &bytes, kind, "message.length", 8);
    assert_ends_between_fields(MessageStream, &be(512 * MIB), "message");
}

#[test]
fn obeys_a_limit_of_entries_of_its_own() {
    let mut limits = Limits::default();
    limits.entry_bytes_max = 4;
    let config = Config::default().limits(limits);
    let fits = app_entries(&[&wire("1801 2200")], 0);
    assert!(decode(MsgAppV2, &config, &fits).1.is_ok());
    let exceeds = app_entries(&[&wire("1801 220161")], 0);
    assert_rejected_with(config, MsgAppV2, &exceeds, limit(5, 4), "Entry.length", 9);
}

#[test]
fn obeys_a_limit_of_messages_of_its_own() {
    let mut limits = Limits::default();
    limits.message_bytes_max = 2;
    let config = Config::default().limits(limits);
    for (stream, prefix, field, offset) in
        [(MsgAppV2, &[2][..], "MsgApp.length", 1), (MessageStream, &[], "message.length", 0)]
    {
        let fits = [prefix, &framed(&wire("0803"))].concat();
        assert!(decode(stream, &config, &fits).1.is_ok());
        let exceeds = [prefix, &framed(&wire("0803 6200"))].concat();
        let config = config.clone();
        assert_rejected_with(config, stream, &exceeds, limit(4, 2), field, offset);
    }
}

#[test]
fn obeys_a_limit_of_frames_of_its_own() {
    let mut limits = Limits::default();
    limits.frame_bytes_max = 33;
    let config = Config::default().mode(Mode::AsEtcd).limits(limits);
    let fits = app_entries(&[&[], &[]], 0);
    assert_eq!(fits.len(), 33);
    assert!(decode(MsgAppV2, &config, &fits).1.is_ok());
    let exceeds = app_entries(&[&[], &[], &[]], 0);
    assert_rejected_with(config, MsgAppV2, &exceeds, limit(3, 2), "AppEntries.count", 1);
}

/// Limits no stream reaches are as good as none, and must not overflow.
#[test]
fn obeys_limits_of_u64_max() {
    let mut limits = Limits::default();
    limits.entry_bytes_max = u64::MAX;
    limits.frame_bytes_max = u64::MAX;
    limits.message_bytes_max = u64::MAX;
    let config = Config::default().limits(limits);
    for length in [u64::MAX, u64::MAX - 8, 1 << 63, i64::MAX as u64] {
        for (stream, bytes) in [
            (MsgAppV2, [vec![1], be(1), be(length)].concat()),
            (MsgAppV2, [vec![2], be(length), vec![8, 3]].concat()),
            (MessageStream, [be(length), vec![8, 3]].concat()),
        ] {
            let (frames, end) = decode(stream, &config, &bytes);
            assert!(frames.is_empty() && end.is_err(), "{length:#x} {end:?}");
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Protobuf: malformed entries, wherever an entry can stand.

fn assert_entry_rejected(entry: &[u8], kind: DecodeErrorKind, name: &'static str, at: u64) {
    let bytes = app_entries(&[entry], 0);
    assert_rejected(MsgAppV2, &bytes, kind, name, ENTRY_AT + at);
    let body = [wire("0803"), field(7, entry)].concat();
    let at = (body.len() - entry.len()) as u64 + at;
    assert_rejected(MsgAppV2, &msg_app(&body), kind, name, MSG_APP_AT + at);
    assert_rejected(MessageStream, &framed(&body), kind, name, MESSAGE_AT + at);
}

macro_rules! malformed_entries {
    ($($name:ident: $bytes:literal => $kind:expr, $field:literal, $at:literal;)*) => {
        mod entries {
            use super::*;
            $(
                #[test]
                fn $name() {
                    assert_entry_rejected(&wire($bytes), $kind, $field, $at);
                }
            )*
        }
    };
}

malformed_entries! {
    rejects_field_number_0: "00" => Key, "Entry", 0;
    rejects_wire_type_6: "1801 0e" => Key, "Entry", 2;
    rejects_wire_type_7: "1801 2f" => Key, "Entry", 2;
    rejects_field_number_2_to_the_29: "8080808010" => Key, "Entry", 0;
    rejects_a_key_of_64_bits: "f8ffffffffffffffff01" => Key, "Entry", 0;
    rejects_a_key_cut_short: "1801 80" => Overrun, "Entry", 2;
    rejects_a_key_of_eleven_bytes: "8080808080808080808000" => Varint, "Entry", 0;
    rejects_a_type_that_is_bytes: "0a00" => WireType(2), "Entry.Type", 1;
    rejects_a_term_that_is_fixed64: "11 0000000000000000" => WireType(1), "Entry.Term", 1;
    rejects_an_index_that_is_fixed32: "1d 00000000" => WireType(5), "Entry.Index", 1;
    rejects_data_that_is_a_varint: "20 01" => WireType(0), "Entry.Data", 1;
    rejects_data_that_is_a_group: "23 24" => WireType(3), "Entry.Data", 1;
    rejects_data_that_ends_a_group: "24" => WireType(4), "Entry.Data", 1;
    rejects_a_term_of_eleven_bytes: "10 8080808080808080808000" => Varint, "Entry.Term", 1;
    rejects_a_term_of_65_bits: "10 ffffffffffffffffff02" => Varint, "Entry.Term", 1;
    rejects_a_type_of_65_bits: "08 80808080808080808002" => Varint, "Entry.Type", 1;
    rejects_a_type_without_value: "08" => Overrun, "Entry.Type", 1;
    rejects_an_index_cut_short: "18 ffff" => Overrun, "Entry.Index", 1;
    rejects_data_without_length: "22" => Overrun, "Entry.Data", 1;
    rejects_data_that_overruns_by_one: "1801 22 02 61" => Overrun, "Entry.Data", 3;
    rejects_data_of_u64_max_bytes: "22 ffffffffffffffffff01 61" => Overrun, "Entry.Data", 1;
    rejects_data_of_a_length_of_65_bits: "22 ffffffffffffffffff7f 61" => Varint, "Entry.Data", 1;
    rejects_an_unknown_varint_cut_short: "28 80" => Overrun, "Entry", 1;
    rejects_an_unknown_fixed64_that_overruns: "29 00000000000000" => Overrun, "Entry", 1;
    rejects_an_unknown_fixed32_that_overruns: "2d 000000" => Overrun, "Entry", 1;
    rejects_unknown_bytes_that_overrun: "2a 02 00" => Overrun, "Entry", 1;
    rejects_a_group_that_ends_unopened: "1801 2c" => Group, "Entry", 3;
    rejects_a_group_that_does_not_end: "2b 3000" => Group, "Entry", 3;
    rejects_a_group_that_ends_as_another: "2b 34" => Group, "Entry", 2;
    rejects_a_bad_key_inside_a_group: "2b 00 2c" => Key, "Entry", 1;
}

#[test]
fn rejects_groups_nested_too_deep() {
    // An entry in AppEntries is the outermost message, one in a MsgApp is a level down.
    let deep = |levels: u32| {
        let (open, close) = (vec![0x2b; levels as usize], vec![0x2c; levels as usize]);
        [FIRST_ENTRY.to_vec(), open, close].concat()
    };
    let good = app_entries(&[&deep(NESTING_MAX)], 0);
    assert!(decode(MsgAppV2, &Config::default(), &good).1.is_ok());
    let bytes = app_entries(&[&deep(NESTING_MAX + 1)], 0);
    let offset = ENTRY_AT + 2 + u64::from(NESTING_MAX) + 1;
    assert_rejected(MsgAppV2, &bytes, Nesting, "Entry", offset);
    let body = field(7, &deep(NESTING_MAX));
    let at = body.len() as u64 - u64::from(NESTING_MAX);
    assert_rejected(MessageStream, &framed(&body), Nesting, "Entry", MESSAGE_AT + at);
}

#[test]
fn names_the_entry_that_is_malformed() {
    let entries: [&[u8]; 3] = [FIRST_ENTRY, &[0x18, 2], &[0x00]];
    let bytes = [vec![0], app_entries(&entries, 0)].concat();
    assert_rejected(MsgAppV2, &bytes, Key, "Entry", 1 + 9 + 10 + 10 + 8);
}

/// What is wrong first is said first, however much of what follows has arrived.
#[test]
fn a_malformed_entry_comes_before_a_length_above_the_limit() {
    let bytes = [vec![1], be(2), framed(&[0x00]), be(u64::MAX)].concat();
    assert_rejected(MsgAppV2, &bytes, Key, "Entry", ENTRY_AT);
}

/// The same in strict mode's own checks.
#[test]
fn an_entry_out_of_order_comes_before_a_length_above_the_limit() {
    let bytes = [vec![1], be(2), framed(&[0x18, 9]), be(u64::MAX)].concat();
    let kind = EntryIndex { expected: 1, found: 9 };
    let (_, end) = decode(MsgAppV2, &Config::default(), &bytes);
    assert_eq!(parts(end), error(kind, "Entry.Index", ENTRY_AT));
}

// ---------------------------------------------------------------------------------------------
// Protobuf: malformed messages, on both streams.

fn assert_message_rejected(body: &[u8], kind: DecodeErrorKind, field: &'static str, at: u64) {
    assert_rejected(MsgAppV2, &msg_app(body), kind, field, MSG_APP_AT + at);
    assert_rejected(MessageStream, &framed(body), kind, field, MESSAGE_AT + at);
}

macro_rules! malformed_messages {
    ($($name:ident: $bytes:literal => $kind:expr, $field:literal, $at:literal;)*) => {
        mod messages {
            use super::*;
            $(
                #[test]
                fn $name() {
                    assert_message_rejected(&wire($bytes), $kind, $field, $at);
                }
            )*
        }
    };
}

malformed_messages! {
    rejects_field_number_0: "0803 00" => Key, "Message", 2;
    rejects_wire_type_7: "0803 0f" => Key, "Message", 2;
    rejects_a_type_that_is_bytes: "0a00" => WireType(2), "Message.type", 1;
    rejects_a_to_that_is_fixed64: "11 0000000000000000" => WireType(1), "Message.to", 1;
    rejects_a_from_that_is_bytes: "1a00" => WireType(2), "Message.from", 1;
    rejects_a_term_that_is_a_group: "2324" => WireType(3), "Message.term", 1;
    rejects_a_log_term_that_is_fixed32: "2d 00000000" => WireType(5), "Message.logTerm", 1;
    rejects_an_index_that_is_bytes: "3200" => WireType(2), "Message.index", 1;
    rejects_entries_that_are_a_varint: "3800" => WireType(0), "Message.entries", 1;
    rejects_a_commit_that_is_bytes: "4200" => WireType(2), "Message.commit", 1;
    rejects_a_snapshot_that_is_a_varint: "4800" => WireType(0), "Message.snapshot", 1;
    rejects_a_reject_that_is_bytes: "5200" => WireType(2), "Message.reject", 1;
    rejects_a_reject_hint_that_is_bytes: "5a00" => WireType(2), "Message.rejectHint", 1;
    rejects_a_context_that_is_a_varint: "6000" => WireType(0), "Message.context", 1;
    rejects_a_vote_that_is_bytes: "6a00" => WireType(2), "Message.vote", 1;
    rejects_responses_that_are_a_varint: "7000" => WireType(0), "Message.responses", 1;
    rejects_a_type_without_value: "08" => Overrun, "Message.type", 1;
    rejects_a_reject_of_65_bits: "50 ffffffffffffffffff02" => Varint, "Message.reject", 1;
    rejects_an_entry_that_overruns: "0803 3a 03 1801" => Overrun, "Message.entries", 3;
    rejects_an_entry_of_u64_max_bytes:
        "3a ffffffffffffffffff01" => Overrun, "Message.entries", 1;
    rejects_a_context_that_overruns: "62 01" => Overrun, "Message.context", 1;
    // The outer message is long enough, the inner one is not.
    rejects_data_that_overruns_its_entry: "3a 02 22 01 6200" => Overrun, "Entry.Data", 3;
    rejects_a_varint_that_overruns_its_entry: "3a 02 18 80 0803" => Overrun, "Entry.Index", 3;
    rejects_a_snapshot_that_overruns: "4a 05 0a00" => Overrun, "Message.snapshot", 1;
    rejects_snapshot_data_that_overruns: "4a 02 0a 01 0803" => Overrun, "Snapshot.data", 3;
    rejects_snapshot_data_that_is_a_varint: "4a 02 08 00" => WireType(0), "Snapshot.data", 3;
    rejects_metadata_that_overruns: "4a 02 12 01" => Overrun, "Snapshot.metadata", 3;
    rejects_metadata_that_is_a_varint: "4a 02 10 00" => WireType(0), "Snapshot.metadata", 3;
    rejects_a_metadata_index_that_is_bytes:
        "4a 04 12 02 12 00" => WireType(2), "SnapshotMetadata.index", 5;
    rejects_a_metadata_term_cut_short:
        "4a 04 12 02 18 80" => Overrun, "SnapshotMetadata.term", 5;
    rejects_a_conf_state_that_is_a_varint:
        "4a 04 12 02 08 00" => WireType(0), "SnapshotMetadata.conf_state", 5;
    rejects_voters_that_are_fixed64:
        "4a 0d 12 0b 0a 09 09 0000000000000000" => WireType(1), "ConfState.voters", 7;
    rejects_packed_learners_cut_short:
        "4a 09 12 07 0a 05 12 03 01 80 80" => Overrun, "ConfState.learners", 9;
    rejects_packed_voters_that_overrun:
        "4a 06 12 04 0a 02 0a 01" => Overrun, "ConfState.voters", 7;
    rejects_an_auto_leave_that_is_bytes:
        "4a 06 12 04 0a 02 2a 00" => WireType(2), "ConfState.auto_leave", 7;
    rejects_a_malformed_response: "72 01 00" => Key, "Message", 2;
    rejects_a_malformed_entry_of_a_response: "72 03 3a 01 00" => Key, "Entry", 4;
    rejects_an_unknown_field_cut_short: "7a 01" => Overrun, "Message", 1;
    rejects_a_group_that_ends_unopened: "7c" => Group, "Message", 1;
    rejects_a_group_that_does_not_end: "7b" => Group, "Message", 1;
    rejects_a_group_that_ends_with_its_parent: "3a 01 2b 2c" => Group, "Entry", 3;
}

/// `levels` messages, each the response of the one around it.
fn nested(levels: u32) -> Vec<u8> {
    (0..levels).fold(Vec::new(), |body, _| field(14, &body))
}

#[test]
fn rejects_responses_nested_too_deep() {
    let good = framed(&nested(NESTING_MAX));
    assert!(decode(MessageStream, &Config::default(), &good).1.is_ok());
    let body = nested(NESTING_MAX + 1);
    let at = body.len() as u64;
    assert_message_rejected(&body, Nesting, "Message.responses", at);
}

#[test]
fn rejects_a_crowd_of_responses() {
    let max = RESPONSES_MAX;
    let good = framed(&field(14, &[]).repeat(max));
    assert!(decode(MessageStream, &Config::default(), &good).1.is_ok());
    let kind = limit(max as u64 + 1, max as u64);
    let body = field(14, &[]).repeat(max + 1);
    assert_message_rejected(&body, kind, "Message.responses", body.len() as u64);
    // At all depths together.
    let body = field(14, &field(14, &[]).repeat(max));
    assert_message_rejected(&body, kind, "Message.responses", body.len() as u64);
}

#[test]
fn rejects_a_crowd_of_conf_state_ids() {
    let max = CONF_STATE_IDS_MAX;
    let snapshot = |ids: &[u8]| field(9, &field(2, &field(1, ids)));
    for (number, name) in [
        (1, "ConfState.voters"),
        (2, "ConfState.learners"),
        (3, "ConfState.voters_outgoing"),
        (4, "ConfState.learners_next"),
    ] {
        let packed = |count| snapshot(&field(number, &vec![1; count]));
        let unpacked = |count: usize| snapshot(&[number << 3, 1].repeat(count));
        let config = Config::default();
        for good in [packed(max), unpacked(max)] {
            let (_, end) = decode_in_pieces(MessageStream, &config, &framed(&good), 1 << 20);
            assert!(end.is_ok());
        }
        for bad in [packed(max + 1), unpacked(max + 1)] {
            let (_, end) = decode_in_pieces(MessageStream, &config, &framed(&bad), 1 << 20);
            let at = MESSAGE_AT + bad.len() as u64 - 1;
            assert_eq!(parts(end), error(limit(max as u64 + 1, max as u64), name, at));
        }
    }
}

#[test]
fn a_message_that_is_malformed_does_not_move_the_state() {
    let mut connection = Connection::new(MsgAppV2, &Config::default());
    connection.receive(&state_1_5()).unwrap();
    connection.receive(&msg_app(&wire("0803 3009 2009 00"))).unwrap_err();
    let Decoder::MsgAppV2(decoder) = &connection.decoder else {
        unreachable!("made as one");
    };
    assert_eq!(decoder.state(), msgappv2::State { term: 1, index: 5 });
    assert_eq!(decoder.offset(), state_1_5().len() as u64);
}

// ---------------------------------------------------------------------------------------------
// What etcd takes and strict mode does not.

#[test]
fn entries_that_leave_a_gap() {
    let bytes = app_entries(&[&[0x18, 2]], 7);
    let kind = EntryIndex { expected: 1, found: 2 };
    let frame =
        assert_deviates(&bytes, (kind, "Entry.Index", ENTRY_AT), &[Deviations::ENTRY_INDEX]);
    assert_eq!((frame.message.index, frame.message.commit), (0, 7));
}

#[test]
fn entries_that_repeat_an_index() {
    let bytes = app_entries(&[FIRST_ENTRY, FIRST_ENTRY], 0);
    let kind = EntryIndex { expected: 2, found: 1 };
    assert_deviates(&bytes, (kind, "Entry.Index", 27), &[Deviations::ENTRY_INDEX]);
}

/// etcd counts, whatever the entries say.
#[test]
fn a_gap_does_not_move_the_state_that_follows() {
    let bytes = [app_entries(&[&[0x18, 90]], 0), app_entries(&[&[0x18, 2]], 0)].concat();
    let (frames, end) = decode(MsgAppV2, &as_etcd(), &bytes);
    assert_eq!(end, Ok(Deviations::default()));
    assert_eq!(frames[1].message.index, 1);
    assert!(frames[1].deviations.is_empty());
}

#[test]
fn an_entry_of_length_0() {
    let bytes = app_entries(&[&[], &[0x18, 2]], 0);
    let kind = EntryIndex { expected: 1, found: 0 };
    let deviations = [Deviations::ENTRY_INDEX];
    let frame = assert_deviates(&bytes, (kind, "Entry.Index", ENTRY_AT), &deviations);
    assert_eq!(frame.message.entries[0], Entry::default());
}

#[test]
fn entries_of_another_term() {
    let bytes = app_entries(&[&wire("1004 1801")], 0);
    let kind = EntryTerm { expected: 0, found: 4 };
    let deviations = [Deviations::ENTRY_TERM];
    assert_deviates(&bytes, (kind, "Entry.Term", ENTRY_AT), &deviations);
}

#[test]
fn terms_can_be_left_unchecked() {
    let bytes = app_entries(&[&wire("1004 1801")], 0);
    let config = Config::default().check_entry_terms(false);
    let (frames, end) = decode(MsgAppV2, &config, &bytes);
    assert_eq!(end, Ok(Deviations::default()));
    assert_eq!(frames[0].message.entries[0].term, 4);
    assert!(frames[0].deviations.is_empty(), "in strict mode there are none");
    // And only they.
    let bytes = app_entries(&[&wire("1004 1802")], 0);
    let kind = EntryIndex { expected: 1, found: 2 };
    let (_, end) = decode(MsgAppV2, &config, &bytes);
    assert_eq!(parts(end), error(kind, "Entry.Index", ENTRY_AT));
}

#[test]
fn an_entry_that_is_wrong_in_both_ways() {
    let bytes = app_entries(&[&wire("1004 1802")], 0);
    let kind = EntryIndex { expected: 1, found: 2 };
    let deviations = [Deviations::ENTRY_INDEX, Deviations::ENTRY_TERM];
    assert_deviates(&bytes, (kind, "Entry.Index", ENTRY_AT), &deviations);
}

/// A MsgApp at the last index there is.
fn state_at_the_end() -> Vec<u8> {
    msg_app(&wire("0803 2001 2801 30 ffffffffffffffffff01"))
}

#[test]
fn app_entries_past_the_last_index() {
    let first = state_at_the_end();
    let at = first.len() as u64;
    let bytes = [first, app_entries(&[&wire("1001")], 0)].concat();
    let found = (IndexWrap, "AppEntries.count", at + 1);
    let frame = assert_deviates(&bytes, found, &[Deviations::INDEX_WRAP]);
    assert_eq!(frame.message.index, u64::MAX);
    assert_eq!(frame.message.entries[0].index, 0, "it wraps, as Go does");
}

#[test]
fn a_commit_only_frame_at_the_last_index_is_no_wrap() {
    let bytes = [state_at_the_end(), app_entries(&[], 9)].concat();
    let (frames, end) = decode(MsgAppV2, &Config::default(), &bytes);
    assert_eq!(end, Ok(Deviations::default()));
    assert_eq!(frames[1].message.index, u64::MAX);
}

#[test]
fn msg_app_past_the_last_index() {
    let body = wire("0803 30 ffffffffffffffffff01 3a00");
    let found = (IndexWrap, "Message.index", MSG_APP_AT);
    assert_deviates(&msg_app(&body), found, &[Deviations::INDEX_WRAP]);
}

#[test]
fn msg_app_whose_entries_leave_a_gap() {
    let body = wire("0803 3005 3a 02 1806 3a 02 1808");
    let kind = EntryIndex { expected: 7, found: 8 };
    let found = (kind, "Message.entries", MSG_APP_AT);
    assert_deviates(&msg_app(&body), found, &[Deviations::ENTRY_INDEX]);
}

#[test]
fn msg_app_may_jump_from_what_the_stream_carried() {
    let jump = msg_app(&wire("0803 2001 2801 3064 3a 02 1865"));
    let bytes = [state_1_5(), jump, state_1_5()].concat();
    let (frames, end) = decode(MsgAppV2, &Config::default(), &bytes);
    assert_eq!((frames.len(), end), (3, Ok(Deviations::default())));
}

#[test]
fn another_message_in_a_msg_app_frame() {
    let found = (NotMsgApp(MessageType::APP_RESP), "Message.type", MSG_APP_AT);
    let bytes = msg_app(&wire("0804 2003 3007"));
    let frame = assert_deviates(&bytes, found, &[Deviations::NOT_MSG_APP]);
    assert_eq!(frame.kind, FrameKind::MsgApp);
    assert_eq!(frame.message.message_type, MessageType::APP_RESP);
}

#[test]
fn a_link_heartbeat_in_a_msg_app_frame() {
    let found = (NotMsgApp(MessageType::HEARTBEAT), "Message.type", MSG_APP_AT);
    let frame = assert_deviates(&msg_app(&[8, 8]), found, &[Deviations::NOT_MSG_APP]);
    assert_eq!(frame.kind, FrameKind::MsgApp);
}

#[test]
fn a_type_nobody_knows_in_a_msg_app_frame() {
    for (body, number) in [("08 63", 99), ("08 ffffffffffffffffff01", -1)] {
        let found = (NotMsgApp(MessageType(number)), "Message.type", MSG_APP_AT);
        let frame = assert_deviates(&msg_app(&wire(body)), found, &[Deviations::NOT_MSG_APP]);
        assert_eq!(frame.message.message_type, MessageType(number));
    }
}

/// A zero message is a MsgHup, and brings etcd's state back to 0/0.
#[test]
fn a_msg_app_of_length_0() {
    let bytes = [state_1_5(), msg_app(&[])].concat();
    let at = state_1_5().len() as u64 + MSG_APP_AT;
    let found = (NotMsgApp(MessageType::HUP), "Message.type", at);
    let frame = assert_deviates(&bytes, found, &[Deviations::NOT_MSG_APP]);
    assert_eq!(frame.message, Message::default());
    let bytes = [bytes, app_entries(&[FIRST_ENTRY], 0)].concat();
    let (frames, _) = decode(MsgAppV2, &as_etcd(), &bytes);
    assert_eq!(frames[2].message.index, 0);
    assert!(frames[2].deviations.is_empty());
}

#[test]
fn the_message_stream_takes_messages_of_every_type_and_length_0() {
    for body in ["", "08 63", "0808", "0803 30 ffffffffffffffffff01 3a00 3a 02 1809"] {
        for mode in MODES {
            let config = Config::default().mode(mode);
            let (frames, end) = decode(MessageStream, &config, &framed(&wire(body)));
            assert_eq!((frames.len(), end), (1, Ok(Deviations::default())));
            assert!(frames[0].deviations.is_empty());
        }
    }
}

// ---------------------------------------------------------------------------------------------
// A decoder that failed.

#[test]
fn a_decoder_that_failed_goes_on_failing() {
    let good = [vec![0], state_1_5()].concat();
    for (stream, bad, good) in [
        (MsgAppV2, vec![9], good),
        (MsgAppV2, [vec![1], be(u64::MAX)].concat(), vec![0]),
        (MsgAppV2, app_entries(&[&[0]], 0), vec![0]),
        (MessageStream, be(u64::MAX), framed(&[])),
        (MessageStream, framed(&[0]), framed(&[])),
    ] {
        let mut connection = Connection::new(stream, &Config::default());
        connection.receive(&good).unwrap();
        let frames = connection.frames.len();
        let first = connection.receive(&bad).unwrap_err();
        for _ in 0..3 {
            assert_eq!(connection.receive(&good), Err(first));
            assert_eq!(connection.decode(), Err(first));
            assert_eq!(connection.decoder.finish(&connection.received), Err(first));
        }
        assert_eq!(connection.frames.len(), frames);
    }
}

/// Whoever reads on regardless gets what `space` promises: room for a byte, and memory that counts.
#[test]
fn a_reader_that_ignores_an_error_is_still_given_room() {
    let mut connection = Connection::new(MsgAppV2, &Config::default());
    connection.received = ReceiveBuffer::new(small_pool(1 << 20));
    connection.receive(&[9]).unwrap_err();
    for _ in 0..16 << 10 {
        let needed = connection.decoder.needed();
        let space = connection.received.space(needed, connection.now).unwrap();
        let mut room = space.room().expect("within the budget");
        assert!(room.remaining_mut() > 0);
        room.put_u8(0);
        connection.decode().unwrap_err();
    }
    assert!(connection.allocated_bytes() >= 16 << 10);
}

// ---------------------------------------------------------------------------------------------
// Memory follows what arrived.

/// Feeds `bytes`, then `more` bytes of whatever was announced, and returns what the pool holds.
fn allocated_after(stream: Stream, bytes: &[u8], more: usize) -> usize {
    let mut connection = Connection::new(stream, &Config::default());
    connection.receive(bytes).unwrap();
    let piece = vec![0; 16 << 10];
    for _ in 0..more / piece.len() {
        connection.receive(&piece).unwrap();
    }
    connection.allocated_bytes()
}

const BLOCK_BYTES: usize = 256 << 10;

// Blocks double: the last one is at most twice what arrived, and those before it, which lie free
// for the next frame, are as much together.

#[test]
fn an_announced_entry_takes_no_memory_before_it_arrives() {
    let announced = [vec![1], be(1), be(512 * MIB - 25)].concat();
    assert_eq!(allocated_after(MsgAppV2, &announced, 0), BLOCK_BYTES);
    assert!(allocated_after(MsgAppV2, &announced, 2 << 20) <= 4 * (2 << 20));
}

#[test]
fn an_announced_msg_app_takes_no_memory_before_it_arrives() {
    let announced = [vec![2], be(512 * MIB)].concat();
    assert_eq!(allocated_after(MsgAppV2, &announced, 0), BLOCK_BYTES);
    assert!(allocated_after(MsgAppV2, &announced, 2 << 20) <= 4 * (2 << 20));
}

#[test]
fn an_announced_message_takes_no_memory_before_it_arrives() {
    let announced = be(512 * MIB);
    assert_eq!(allocated_after(MessageStream, &announced, 0), BLOCK_BYTES);
    assert!(allocated_after(MessageStream, &announced, 2 << 20) <= 4 * (2 << 20));
}

#[test]
fn announced_entries_take_no_memory_before_they_arrive() {
    let announced = [vec![1], be(COUNT_MAX)].concat();
    assert_eq!(allocated_after(MsgAppV2, &announced, 0), BLOCK_BYTES);
    // Each of these 8 bytes is an entry of length 0.
    let mut connection = Connection::new(MsgAppV2, &as_etcd());
    connection.receive(&announced).unwrap();
    for _ in 0..32 {
        connection.receive(&[0; 8 << 10]).unwrap();
    }
    let entries = 32 << 10;
    let list_bytes = 2 * entries * size_of::<Entry>();
    assert!(connection.allocated_bytes() <= 2 * BLOCK_BYTES + list_bytes);
}

// ---------------------------------------------------------------------------------------------
// The memory budget: back-pressure, then a typed error.

const WAIT_MAX: Duration = Duration::from_secs(5);

fn small_pool(budget_bytes: usize) -> Pool {
    let mut config = PoolConfig::default();
    config.block_bytes = 4 << 10;
    config.budget_bytes = budget_bytes;
    config.wait_max = WAIT_MAX;
    Pool::new(config)
}

/// A message whose payload is worth sharing, and so pins its block.
fn large_message() -> Vec<u8> {
    framed(&field(12, &[7; 3000]))
}

/// A reader that holds every payload, at the budget of two blocks.
fn connection_at_the_budget() -> Connection {
    let mut connection = Connection::new(MessageStream, &Config::default());
    connection.received = ReceiveBuffer::new(small_pool(8 << 10));
    connection.receive(&large_message()).unwrap();
    connection.receive(&large_message()).unwrap();
    connection
}

fn wants(connection: &mut Connection, needed: usize, now: Instant) -> Result<String, DecodeError> {
    Ok(match connection.received.space(needed, now)? {
        Space::Room(_) => "room".to_owned(),
        Space::Decode => "decode".to_owned(),
        Space::Wait { until } => format!("wait {:?}", until - connection.now),
        _ => unreachable!("there are three"),
    })
}

#[test]
fn at_the_budget_a_reader_is_asked_to_wait_and_past_the_deadline_told_why() {
    let mut connection = connection_at_the_budget();
    let start = connection.now;
    let needed = 4000;
    for waited in [0, 1, 4999] {
        let now = start + Duration::from_millis(waited);
        assert_eq!(wants(&mut connection, needed, now).unwrap(), "wait 5s");
    }
    let error = wants(&mut connection, needed, start + WAIT_MAX).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Budget { waited: WAIT_MAX });
    assert_eq!((error.field, error.fault()), ("memory budget", Fault::Local));
}

#[test]
fn memory_that_is_freed_before_the_deadline_lets_the_reader_go_on() {
    let mut connection = connection_at_the_budget();
    let start = connection.now;
    assert_eq!(wants(&mut connection, 4000, start).unwrap(), "wait 5s");
    connection.frames.clear();
    let later = start + Duration::from_secs(4);
    assert_eq!(wants(&mut connection, 4000, later).unwrap(), "room");
    connection.receive(&large_message()).unwrap();
    assert_eq!(connection.frames.len(), 1);
}

#[test]
fn a_wait_that_ended_does_not_shorten_the_next_one() {
    let mut connection = connection_at_the_budget();
    let start = connection.now;
    assert_eq!(wants(&mut connection, 4000, start).unwrap(), "wait 5s");
    connection.frames.clear();
    connection.receive(&large_message()).unwrap();
    connection.receive(&large_message()).unwrap();
    let later = start + Duration::from_secs(10);
    assert_eq!(wants(&mut connection, 4000, later).unwrap(), "wait 15s");
}

#[test]
fn readers_share_the_budget_of_their_pool() {
    let mut one = connection_at_the_budget();
    let mut other = Connection::new(MessageStream, &Config::default());
    other.received = ReceiveBuffer::new(one.received.pool().clone());
    let now = other.now;
    assert_eq!(wants(&mut other, 1, now).unwrap(), "wait 5s");
    one.frames.clear();
    assert_eq!(wants(&mut other, 1, now).unwrap(), "room");
}

/// Entries of length 0: 2 bytes each in a message, and a list of 2000 takes more than the blocks.
fn many_entries(stream: Stream) -> Vec<u8> {
    match stream {
        MsgAppV2 => app_entries(&vec![&[][..]; 2000], 0),
        MessageStream => framed(&field(7, &[]).repeat(2000)),
    }
}

/// Feeds all of `bytes` for which there is room, and returns what is left.
fn receive_what_fits<'a>(connection: &mut Connection, mut bytes: &'a [u8]) -> &'a [u8] {
    while !bytes.is_empty() {
        let needed = connection.decoder.needed();
        let space = connection.received.space(needed, connection.now).unwrap();
        let Space::Room(mut room) = space else { break };
        let count = room.remaining_mut().min(bytes.len());
        room.put_slice(&bytes[..count]);
        bytes.advance(count);
        connection.decode().unwrap();
    }
    bytes
}

#[test]
fn a_list_of_entries_larger_than_the_whole_budget_is_above_a_limit() {
    for stream in [MsgAppV2, MessageStream] {
        let mut connection = Connection::new(stream, &as_etcd());
        connection.received = ReceiveBuffer::new(small_pool(100 << 10));
        receive_what_fits(&mut connection, &many_entries(stream));
        assert!(connection.frames.is_empty(), "{stream:?}");
        let (needed, now) = (connection.decoder.needed(), connection.now);
        let error = wants(&mut connection, needed, now).unwrap_err();
        let limit = 100 << 10;
        assert!(
            matches!(error.kind, Limit { announced, limit: found }
                if announced > limit && found == limit),
            "{stream:?}: {error}"
        );
        assert_eq!((error.field, error.fault()), ("lists of a frame", Fault::Peer));
    }
}

#[test]
fn a_list_of_entries_is_made_once_there_is_memory_for_it() {
    for stream in [MsgAppV2, MessageStream] {
        let pool = small_pool(512 << 10);
        // Somebody else holds nearly all of it.
        let mut holder = Connection::new(MessageStream, &Config::default());
        holder.received = ReceiveBuffer::new(pool.clone());
        for _ in 0..120 {
            holder.receive(&large_message()).unwrap();
        }
        let mut connection = Connection::new(stream, &as_etcd());
        connection.received = ReceiveBuffer::new(pool);
        let bytes = many_entries(stream);
        let rest = receive_what_fits(&mut connection, &bytes);
        assert!(connection.frames.is_empty());
        let (needed, now) = (connection.decoder.needed(), connection.now);
        assert_eq!(wants(&mut connection, needed, now).unwrap(), "wait 5s");
        holder.frames.clear();
        assert_eq!(wants(&mut connection, needed, now).unwrap(), "decode", "{stream:?}");
        connection.decode().unwrap();
        connection.receive(rest).unwrap();
        assert_eq!(connection.frames.len(), 1, "{stream:?}");
        assert_eq!(connection.frames[0].message.entries.len(), 2000);
    }
}

// ---------------------------------------------------------------------------------------------
// Messages an encoder refuses: nothing is queued, and the state is as it was.

fn app(term: u64, index: u64, entries: Vec<Entry>) -> Message {
    Message {
        message_type: MessageType::APP,
        term,
        log_term: term,
        index,
        entries: entries.into(),
        ..Message::default()
    }
}

fn entry(term: u64, index: u64) -> Entry {
    entry_of(term, index, 3)
}

fn entry_of(term: u64, index: u64, data_bytes: usize) -> Entry {
    let data = Some(Bytes::from(vec![7; data_bytes]));
    Entry { term, index, data, ..Entry::default() }
}

/// An encoder on state 1/5 refuses `message` with this error, in a queue that holds something, and
/// goes on as if nothing had been asked.
fn assert_refused(config: Config, message: &Message, kind: EncodeErrorKind, at: Option<usize>) {
    let mut encoder = msgappv2::Encoder::new(config);
    let mut queue = WriteQueue::new();
    encoder.encode(&app(1, 5, vec![]), &mut queue).unwrap();
    let (state, len, slices) = (encoder.state(), queue.len(), queue.slices());
    let copied_bytes = queue.copied_bytes();
    let mut untouched = encoder.clone();
    let error = encoder.encode(message, &mut queue).unwrap_err();
    assert_eq!((error.kind, error.entry, error.fault()), (kind, at, Fault::Caller));
    assert_eq!(encoder.state(), state);
    assert_eq!((queue.len(), queue.slices()), (len, slices));
    assert_eq!(queue.copied_bytes(), copied_bytes);
    let bytes = queue.copy_to_bytes(len);
    assert_eq!(bytes.len(), len);

    // What follows is encoded as if it had not been asked.
    let next = app(1, 5, vec![entry(1, 6)]);
    let mut expected = WriteQueue::new();
    untouched.encode(&next, &mut expected).unwrap();
    encoder.encode(&next, &mut queue).unwrap();
    assert_eq!(queue.copy_to_bytes(queue.len()), expected.copy_to_bytes(expected.len()));
}

#[test]
fn encoder_refuses_another_message_where_it_would_be_app_entries() {
    let message = Message { message_type: MessageType::APP_RESP, ..app(1, 5, vec![]) };
    let kind = EncodeErrorKind::NotMsgApp(MessageType::APP_RESP);
    assert_refused(Config::default(), &message, kind, None);
}

#[test]
fn encoder_refuses_another_message_where_it_would_be_msg_app() {
    let message = Message { message_type: MessageType::SNAP, ..app(2, 9, vec![]) };
    let kind = EncodeErrorKind::NotMsgApp(MessageType::SNAP);
    assert_refused(Config::default(), &message, kind, None);
}

#[test]
fn encoder_refuses_entries_that_leave_a_gap() {
    let kind = EncodeErrorKind::EntryIndex { expected: 7, found: 8 };
    let entries = vec![entry_of(1, 6, 10_000), entry(1, 8)];
    assert_refused(Config::default(), &app(1, 5, entries), kind, Some(1));
    let kind = EncodeErrorKind::EntryIndex { expected: 10, found: 0 };
    assert_refused(Config::default(), &app(1, 9, vec![entry(1, 0)]), kind, Some(0));
}

#[test]
fn encoder_refuses_entries_of_another_term_in_app_entries() {
    let kind = EncodeErrorKind::EntryTerm { expected: 1, found: 2 };
    let entries = vec![entry_of(1, 6, 10_000), entry(2, 7)];
    assert_refused(Config::default(), &app(1, 5, entries), kind, Some(1));
}

#[test]
fn encoder_takes_entries_of_other_terms_in_msg_app_or_unchecked() {
    let mut queue = WriteQueue::new();
    let mut encoder = msgappv2::Encoder::new(Config::default());
    let kind = encoder.encode(&app(3, 5, vec![entry(1, 6)]), &mut queue).unwrap();
    assert_eq!(kind, FrameKind::MsgApp);
    let mut encoder = msgappv2::Encoder::new(Config::default().check_entry_terms(false));
    let kind = encoder.encode(&app(0, 0, vec![entry(1, 1)]), &mut queue).unwrap();
    assert_eq!(kind, FrameKind::AppEntries);
}

#[test]
fn encoder_refuses_indexes_past_the_last_one() {
    let message = app(2, u64::MAX, vec![entry(2, 0)]);
    assert_refused(Config::default(), &message, EncodeErrorKind::IndexWrap, None);
    let mut encoder = msgappv2::Encoder::new(Config::default());
    let mut queue = WriteQueue::new();
    encoder.encode(&app(2, u64::MAX, vec![]), &mut queue).unwrap();
    let error = encoder.encode(&message, &mut queue).unwrap_err();
    assert_eq!(error.kind, EncodeErrorKind::IndexWrap);
    assert_eq!(encoder.state().index, u64::MAX);
}

fn small_limits() -> Config {
    let mut limits = Limits::default();
    limits.entry_bytes_max = 100;
    limits.frame_bytes_max = 150;
    limits.message_bytes_max = 120;
    Config::default().limits(limits)
}

#[test]
fn encoder_refuses_an_entry_above_its_limit() {
    let kind = EncodeErrorKind::Limit { bytes: 108, limit: 100 };
    let entries = vec![entry(1, 6), entry_of(1, 7, 100)];
    assert_refused(small_limits(), &app(1, 5, entries), kind, Some(1));
}

#[test]
fn encoder_refuses_a_frame_above_its_limit() {
    // 9 + 2 x (8 + 8 + 60) + 8
    let kind = EncodeErrorKind::Limit { bytes: 169, limit: 150 };
    let entries = vec![entry_of(1, 6, 60), entry_of(1, 7, 60)];
    assert_refused(small_limits(), &app(1, 5, entries), kind, None);
}

#[test]
fn encoder_refuses_a_message_above_its_limit() {
    let message = app(2, 9, vec![entry_of(2, 10, 90)]);
    let bytes = 12 + (2 + 98) + 2 + 12 + 4;
    let kind = EncodeErrorKind::Limit { bytes, limit: 120 };
    assert_refused(small_limits(), &message, kind, None);
    assert_message_refused(small_limits(), &message, kind);
}

/// The message stream's encoder has no state but the queue's.
fn assert_message_refused(config: Config, message: &Message, kind: EncodeErrorKind) {
    let mut encoder = message::Encoder::new(config);
    let mut queue = WriteQueue::new();
    encoder.encode(&Message::default(), &mut queue).unwrap();
    let (len, copied_bytes) = (queue.len(), queue.copied_bytes());
    let error: EncodeError = encoder.encode(message, &mut queue).unwrap_err();
    assert_eq!((error.kind, error.entry), (kind, None));
    assert_eq!((queue.len(), queue.copied_bytes()), (len, copied_bytes));
}

#[test]
fn encoder_refuses_responses_nested_too_deep() {
    let deep = |levels| {
        (0..levels).fold(app(2, 9, vec![]), |message, _| Message {
            responses: vec![message],
            ..app(2, 9, vec![])
        })
    };
    let config = Config::default().dialect(Dialect::V3_6);
    assert_refused(config.clone(), &deep(NESTING_MAX + 1), EncodeErrorKind::Nesting, None);
    assert_message_refused(config.clone(), &deep(NESTING_MAX + 1), EncodeErrorKind::Nesting);
    let mut queue = WriteQueue::new();
    message::Encoder::new(config).encode(&deep(NESTING_MAX), &mut queue).unwrap();
    let bytes = queue.copy_to_bytes(queue.len());
    assert!(decode(MessageStream, &Config::default(), &bytes).1.is_ok());
}

/// What an encoder writes, a decoder of the same limits takes: also where they are least.
#[test]
fn encoder_and_decoder_agree_on_the_least_limits() {
    let mut limits = Limits::default();
    limits.frame_bytes_max = 16;
    let config = Config::default().limits(limits);
    let mut queue = WriteQueue::new();
    let refused = msgappv2::Encoder::new(config.clone()).encode(&app(0, 0, vec![]), &mut queue);
    let kind = EncodeErrorKind::Limit { bytes: 17, limit: 16 };
    assert_eq!(refused.unwrap_err().kind, kind);
    let (_, end) = decode(MsgAppV2, &config, &app_entries(&[], 0));
    assert_eq!(parts(end), error(limit(17, 16), "AppEntries.length", 1));
}
