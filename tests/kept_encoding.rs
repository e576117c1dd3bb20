//! What a message type that keeps its entries' encodings is given: the bytes as they came, in the
//! block they came in, with the data a part of them; in three dialects, however the stream is cut.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test may ask the clock")]

#[path = "support/kept.rs"]
mod kept;
mod support;

use bytes::{Buf, BufMut, Bytes};
use kept::Kept;
use raftwire::buf::{COPY_OUT_BYTES_MAX, Pool, PoolConfig, ReceiveBuffer, WriteQueue};
use raftwire::codec::{Config, Mode, message, msgappv2};
use raftwire::raftpb::{Dialect, Entry, Message, MessageType, Wire};
use std::time::Instant;
use support::sessions;

enum Decoder {
    MsgAppV2(msgappv2::Decoder<Kept>),
    Message(message::Decoder<Kept>),
}

impl Decoder {
    fn new(msgappv2: bool, config: Config) -> Self {
        match msgappv2 {
            true => Self::MsgAppV2(msgappv2::Decoder::new(config)),
            false => Self::Message(message::Decoder::new(config)),
        }
    }

    fn needed(&self) -> usize {
        match self {
            Self::MsgAppV2(decoder) => decoder.needed(),
            Self::Message(decoder) => decoder.needed(),
        }
    }

    fn decode(&mut self, received: &mut ReceiveBuffer) -> Option<Kept> {
        let frame = match self {
            Self::MsgAppV2(decoder) => decoder.decode(received),
            Self::Message(decoder) => decoder.decode(received),
        };
        frame.unwrap().map(|frame| frame.message)
    }
}

/// What became of a stream that arrived in pieces, all of it in one block.
struct Decoded {
    messages: Vec<Kept>,
    /// Where the block begins.
    block: usize,
    stream_bytes: usize,
    copied_bytes: u64,
    pool: Pool,
}

impl Decoded {
    /// Where in the stream `part` lies, if it is the block's memory.
    fn offset(&self, part: &Bytes) -> Option<usize> {
        let offset = (part.as_ptr() as usize).checked_sub(self.block)?;
        (offset + part.len() <= self.stream_bytes).then_some(offset)
    }
}

fn decode<'a>(
    msgappv2: bool,
    config: &Config,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Decoded {
    let mut decoder = Decoder::new(msgappv2, config.clone());
    let pool = Pool::new(PoolConfig::default());
    let mut received = ReceiveBuffer::new(pool.clone());
    let mut messages = Vec::new();
    let (mut block, mut stream_bytes) = (0, 0);
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        let mut room = received.space(decoder.needed(), Instant::now()).unwrap().room().unwrap();
        let at = room.chunk_mut().as_mut_ptr() as usize;
        if stream_bytes == 0 {
            block = at;
        }
        assert_eq!(at, block + stream_bytes, "this stream is one block");
        room.put_slice(piece);
        stream_bytes += piece.len();
        while let Some(message) = decoder.decode(&mut received) {
            messages.push(message);
        }
    }
    assert_eq!(received.unparsed(), b"");
    let stats = received.stats();
    assert_eq!(stats.moved_bytes, 0);
    Decoded { messages, block, stream_bytes, copied_bytes: stats.copied_out_bytes, pool }
}

/// Reads a varint off the front of `rest`.
fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = rest.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// Where the entries lie in `message`, if it is a `MsgApp`.
fn entries_of_message(message: &[u8]) -> Vec<(usize, usize)> {
    let (mut message_type, mut entries) = (0, Vec::new());
    let mut rest = message;
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let value = varint(&mut rest);
        match key {
            0x08 => message_type = value,
            _ if key & 7 == 0 => {}
            _ => {
                assert_eq!(key & 7, 2);
                let (start, len) = (message.len() - rest.len(), usize::try_from(value).unwrap());
                if key >> 3 == 7 {
                    entries.push((start, start + len));
                }
                rest.advance(len);
            }
        }
    }
    if message_type == 3 { entries } else { Vec::new() }
}

/// Where the entries lie that are to be kept of each frame of a stream.
fn entries_of_stream(msgappv2: bool, stream: &[u8]) -> Vec<Vec<(usize, usize)>> {
    let mut frames = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let kind = if msgappv2 { rest.get_u8() } else { 2 };
        let mut entries = Vec::new();
        match kind {
            0 => {}
            1 => {
                for _ in 0..rest.get_u64() {
                    let len = usize::try_from(rest.get_u64()).unwrap();
                    let start = stream.len() - rest.len();
                    entries.push((start, start + len));
                    rest.advance(len);
                }
                rest.advance(8);
            }
            _ => {
                let len = usize::try_from(rest.get_u64()).unwrap();
                let start = stream.len() - rest.len();
                let within = entries_of_message(&rest[..len]);
                entries.extend(within.iter().map(|(from, to)| (start + from, start + to)));
                rest.advance(len);
            }
        }
        frames.push(entries);
    }
    frames
}

/// Holds what was decoded of `stream` against it. Returns how many entries were kept, and how many
/// of them are copies.
fn check(msgappv2: bool, stream: &[u8], decoded: &Decoded, how: &str) -> (usize, usize) {
    let frames = entries_of_stream(msgappv2, stream);
    assert_eq!(decoded.messages.len(), frames.len(), "{how}");
    let (mut kept, mut copied) = (0, 0);
    for (message, expected) in decoded.messages.iter().zip(frames) {
        if message.message.message_type != MessageType::APP {
            assert!(message.entries.iter().all(|entry| entry.encoded.is_none()), "{how}");
            assert_eq!(expected, []);
            continue;
        }
        assert_eq!(message.entries.len(), expected.len(), "{how}");
        for (entry, (start, end)) in message.entries.iter().zip(expected) {
            let encoded = entry.encoded.as_ref().unwrap();
            assert_eq!(encoded, &stream[start..end], "{how}");
            assert_eq!(&Entry::decode(encoded).unwrap(), &entry.entry, "{how}");
            kept += 1;
            match decoded.offset(encoded) {
                _ if encoded.is_empty() => {}
                Some(offset) => assert_eq!(offset, start, "{how}"),
                None => {
                    assert!(encoded.len() <= COPY_OUT_BYTES_MAX, "{how}");
                    copied += 1;
                }
            }
            if let Some(data) = entry.entry.data.as_ref().filter(|data| !data.is_empty()) {
                // The data stands last in an entry.
                let data_start = encoded.as_ptr() as usize + encoded.len() - data.len();
                assert_eq!(data.as_ptr() as usize, data_start, "{how}");
            }
        }
    }
    assert!(copied == 0 || decoded.copied_bytes > 0, "{how}: copied, and not counted");
    (kept, copied)
}

#[test]
fn every_entry_of_the_golden_sessions_is_kept_as_it_came_however_the_stream_is_cut() {
    let (mut kept, mut appended) = ([0; 2], 0);
    for session in sessions() {
        let stream = session.bytes();
        let mode = if session.is_quirk() { Mode::AsEtcd } else { Mode::Strict };
        let config = Config::default().mode(mode).local(session.local).remote(session.remote);
        let how = |cut| format!("{} {:?} {cut}", session.name, session.dialect);
        let whole = decode(session.msgappv2, &config, [&stream[..]]);
        let (of_session, copied) = check(session.msgappv2, &stream, &whole, &how("whole".into()));
        kept[usize::from(session.msgappv2)] += of_session;
        appended += of_session - copied;
        for (message, frame) in whole.messages.iter().zip(&session.frames) {
            let entries: Vec<_> = message.entries.iter().map(|kept| kept.entry.clone()).collect();
            assert_eq!(entries, *frame.expected().entries, "{}", how("entries".into()));
        }
        for at in 0..=stream.len() {
            let (one, other) = stream.split_at(at);
            let decoded = decode(session.msgappv2, &config, [one, other]);
            check(session.msgappv2, &stream, &decoded, &how(format!("split at {at}")));
        }
        let decoded = decode(session.msgappv2, &config, stream.chunks(1));
        check(session.msgappv2, &stream, &decoded, &how("byte by byte".into()));
    }
    assert!(kept.iter().all(|&kept| kept > 8) && appended > 50, "{kept:?} {appended}");
}

fn append(index: u64, lens: &[usize]) -> Message {
    let entry = |(index, &len): (u64, &usize)| Entry {
        term: 5,
        index,
        data: Some(vec![7; len].into()),
        ..Entry::default()
    };
    Message {
        message_type: MessageType::APP,
        term: 5,
        log_term: 5,
        index,
        entries: (index + 1..).zip(lens).map(entry).collect(),
        ..Message::default()
    }
}

fn encoded(dialect: Dialect, messages: &[Message]) -> Vec<u8> {
    let mut encoder = msgappv2::Encoder::new(Config::default().dialect(dialect));
    let mut queue = WriteQueue::new();
    for message in messages {
        encoder.encode(message, &mut queue).unwrap();
    }
    queue.copy_to_bytes(queue.remaining()).to_vec()
}

#[test]
fn entries_that_run_on_are_kept_as_well() {
    for dialect in Dialect::ALL {
        // Across an index that takes a byte more, which begins another run.
        let messages = [
            append(120, &[200]),
            append(121, &[30, 40, 300, 0, 2, 64, 64, 64, 64]),
            append(130, &[100; 5]),
            append(135, &[9]),
        ];
        let stream = encoded(dialect, &messages);
        let config = Config::default();
        for at in 0..=stream.len() {
            let (one, other) = stream.split_at(at);
            let decoded = decode(true, &config, [one, other]);
            let how = format!("{dialect:?} split at {at}");
            assert_eq!(check(true, &stream, &decoded, &how), (16, 0), "{how}");
        }
    }
}

#[test]
fn of_a_block_that_is_otherwise_dead_an_entry_is_copied_out_whole() {
    for dialect in Dialect::ALL {
        let mut stream = encoded(dialect, &[append(10, &[])]);
        stream.extend([0; 4000]);
        let mut entries = encoded(dialect, &[append(10, &[]), append(10, &[8, 100, 20])]);
        entries.drain(..stream.len() - 4000);
        stream.extend(entries);
        let decoded = decode(true, &Config::default(), [&stream[..]]);
        let how = format!("{dialect:?}");
        assert_eq!(check(true, &stream, &decoded, &how), (3, 3), "{how}");
        let kept = &decoded.messages.last().unwrap().entries;
        let lens = kept.iter().map(|entry| entry.encoded.as_ref().unwrap().len() as u64);
        assert_eq!(decoded.copied_bytes, lens.sum::<u64>(), "each once, its data with it");
    }
}

#[test]
fn what_is_kept_counts_as_live_bytes_of_its_block() {
    for lens in [&[100; 20][..], &[1, 5000, 1, 3], &[9000]] {
        let stream = encoded(Dialect::V3_6, &[append(10, &[50]), append(11, lens)]);
        for piece in [stream.len(), 1000, 64] {
            let decoded = decode(true, &Config::default(), stream.chunks(piece));
            let entries = decoded.messages.iter().flat_map(|message| &message.entries);
            let kept: usize = entries.map(|entry| entry.encoded.as_ref().unwrap().len()).sum();
            assert_eq!(decoded.copied_bytes, 0);
            assert_eq!(decoded.pool.stats().live_bytes, kept);
        }
    }
}

/// Decodes one message behind its length on the message stream.
fn decode_one(message: &[u8]) -> Decoded {
    let stream = [&(message.len() as u64).to_be_bytes(), message].concat();
    decode(false, &Config::default(), [&stream[..]])
}

#[test]
fn entries_of_messages_that_are_no_append_are_not_kept_wherever_the_type_stands() {
    let entry = [0x3a, 6, 0x10, 5, 0x18, 9, 0x22, 0];
    for (before, behind, is_kept) in [
        (&[0x08, 3][..], &[][..], true),
        (&[], &[0x08, 3], true),
        (&[0x08, 2], &[0x08, 3], true),
        (&[0x08, 2, 0x08, 3, 0x20, 5], &[0x20, 6], true),
        (&[], &[], false),
        (&[0x08, 2], &[], false),
        (&[], &[0x08, 2], false),
        (&[0x08, 3], &[0x08, 2], false),
    ] {
        let decoded = decode_one(&[before, &entry, &entry, behind].concat());
        for entry in &decoded.messages[0].entries {
            let expected = is_kept.then_some(&[0x10, 5, 0x18, 9, 0x22, 0][..]);
            assert_eq!(entry.encoded.as_deref(), expected, "{before:x?} {behind:x?}");
        }
        assert_eq!(decoded.messages[0].entries.len(), 2);
    }
}

#[test]
fn fields_that_nobody_knows_are_kept() {
    let entry = [0x48, 7, 0x22, 3, 1, 2, 3, 0x18, 9, 0x10, 5, 0x22, 1, 4, 0x52, 0];
    let head = [0x08, 3, 0x3a, u8::try_from(entry.len()).unwrap()];
    let decoded = decode_one(&[&head[..], &entry].concat());
    let kept = &decoded.messages[0].entries[0];
    assert_eq!(kept.encoded.as_deref(), Some(&entry[..]));
    let expected =
        Entry { term: 5, index: 9, data: Some(Bytes::from_static(&[4])), ..Entry::default() };
    assert_eq!(kept.entry, expected);
}
