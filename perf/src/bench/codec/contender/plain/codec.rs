//! The plain codec: frames written by hand around messages that prost generated, as someone would
//! who knows prost and `bytes` well. Its bytes are those every encoder is held to. Not here: checks
//! of indexes and terms, limits, errors with offsets: raftwire pays for them, and this does without.
//!
//! Encoding: room reserved once for each frame, each length computed once and patched in before what
//! it measures, payloads copied by prost. Decoding: the entries that are there split off and
//! frozen at once, so that a frame needs not fit the buffer, payloads sliced and not copied, one `Vec`
//! of the announced size for each message.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raftwire::raftpb::plain::{Entry, Message};

use crate::bench::codec::load::{MSG_APP, StreamKind};

const LINK_HEARTBEAT: u8 = 0;
pub(crate) const APP_ENTRIES: u8 = 1;
const FULL_MESSAGE: u8 = 2;

const MSG_HEARTBEAT: i32 = 8;

/// The longest an entry grows around its data: four tags and four varints.
const ENTRY_OVERHEAD_MAX: usize = 4 + 4 * 10;

/// Encodes `messages` as one stream from its beginning.
pub(crate) fn encode_stream(kind: StreamKind, messages: &[Message]) -> Bytes {
    let mut out = BytesMut::new();
    let mut encoder = Encoder::default();
    for message in messages {
        encoder.encode(kind, message, &mut out);
    }
    out.freeze()
}

/// Decodes a whole stream from its beginning.
pub(crate) fn decode_stream(kind: StreamKind, stream: &Bytes) -> Result<Vec<Message>, String> {
    let mut rest = BytesMut::from(&stream[..]);
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    while let Some(message) = decoder.decode(kind, &mut rest)? {
        messages.push(message);
    }
    if rest.is_empty() && decoder.partial.is_none() {
        return Ok(messages);
    }
    Err(format!("the stream ends inside a frame, {} bytes behind it", rest.len()))
}

/// etcd's encoder state: what the reader knows without being told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoder {
    term: u64,
    index: u64,
}

impl Encoder {
    pub(crate) fn encode(&mut self, kind: StreamKind, message: &Message, out: &mut BytesMut) {
        match kind {
            StreamKind::Message => length_delimited(message, out),
            StreamKind::Msgappv2 => self.encode_msgappv2(message, out),
        }
    }

    fn encode_msgappv2(&mut self, message: &Message, out: &mut BytesMut) {
        let [term, log_term, index] =
            [message.term, message.log_term, message.index].map(Option::unwrap_or_default);
        if is_link_heartbeat(message) {
            out.put_u8(LINK_HEARTBEAT);
        } else if self.index == index && self.term == log_term && log_term == term {
            self.index += message.entries.len() as u64;
            app_entries(message, out);
        } else {
            self.term = term;
            self.index = message.entries.last().map_or(index, Entry::index);
            out.put_u8(FULL_MESSAGE);
            length_delimited(message, out);
        }
    }
}

pub(super) fn payload_bytes(message: &Message) -> usize {
    message.entries.iter().map(|entry| entry.data.as_ref().map_or(0, Bytes::len)).sum()
}

fn app_entries(message: &Message, out: &mut BytesMut) {
    let entries_bytes = message.entries.len() * (8 + ENTRY_OVERHEAD_MAX) + payload_bytes(message);
    out.reserve(1 + 8 + entries_bytes + 8);
    out.put_u8(APP_ENTRIES);
    out.put_u64(message.entries.len() as u64);
    for entry in &message.entries {
        length_delimited(entry, out);
    }
    out.put_u64(message.commit());
}

/// Writes `message` behind its length.
fn length_delimited(message: &impl prost::Message, out: &mut BytesMut) {
    let prefix = out.len();
    out.put_u64(0);
    // Fails only without room, and a `BytesMut` makes room.
    let _ = message.encode(out);
    let length = out.len() - prefix - 8;
    out[prefix..prefix + 8].copy_from_slice(&(length as u64).to_be_bytes());
}

fn is_link_heartbeat(message: &Message) -> bool {
    message.r#type.unwrap_or(0) == MSG_HEARTBEAT && message.from() == 0 && message.to() == 0
}

/// etcd's decoder state, and the message whose entries are still arriving.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    term: u64,
    index: u64,
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    entries_left: u64,
    entries: Vec<Entry>,
}

impl Decoder {
    /// Takes the next message off `bytes`; none if more must arrive first.
    pub(super) fn decode(
        &mut self,
        kind: StreamKind,
        bytes: &mut BytesMut,
    ) -> Result<Option<Message>, String> {
        match kind {
            StreamKind::Message => delimited(0, bytes)?.map(parse).transpose(),
            StreamKind::Msgappv2 => self.decode_msgappv2(bytes),
        }
    }

    fn decode_msgappv2(&mut self, bytes: &mut BytesMut) -> Result<Option<Message>, String> {
        if self.partial.is_some() {
            return self.decode_entries(bytes);
        }
        match bytes.first() {
            None => Ok(None),
            Some(&LINK_HEARTBEAT) => {
                bytes.advance(1);
                Ok(Some(Message { r#type: Some(MSG_HEARTBEAT), ..Message::default() }))
            }
            Some(&APP_ENTRIES) => {
                let Some(entries_left) = u64_at(bytes, 1) else {
                    return Ok(None);
                };
                bytes.advance(9);
                // No more than the bytes at hand could hold: the count is the peer's.
                let announced = usize::try_from(entries_left).unwrap_or(usize::MAX);
                let entries = Vec::with_capacity(announced.min(bytes.len() / 8 + 64));
                self.partial = Some(Partial { entries_left, entries });
                self.decode_entries(bytes)
            }
            Some(&FULL_MESSAGE) => {
                let Some(body) = delimited(1, bytes)? else {
                    return Ok(None);
                };
                let message: Message = parse(body)?;
                self.term = message.term();
                let index = message.index();
                self.index = message.entries.last().map_or(index, Entry::index);
                Ok(Some(message))
            }
            Some(other) => Err(format!("unknown kind of frame {other}")),
        }
    }

    fn decode_entries(&mut self, bytes: &mut BytesMut) -> Result<Option<Message>, String> {
        let Some(partial) = &mut self.partial else {
            return Ok(None);
        };
        // The entries that are whole are split off at once: one reference count for all of them.
        let (mut count, mut run_bytes) = (0, 0);
        while count < partial.entries_left
            && let Some(end) = delimited_end(run_bytes, bytes)?
        {
            (count, run_bytes) = (count + 1, end);
        }
        let mut run = bytes.split_to(run_bytes).freeze();
        for _ in 0..count {
            // It is a `usize`: its end was found.
            let length = usize::try_from(run.get_u64()).unwrap_or(usize::MAX);
            partial.entries.push(parse((&mut run).take(length))?);
        }
        partial.entries_left -= count;
        if partial.entries_left > 0 {
            return Ok(None);
        }
        let Some(commit) = u64_at(bytes, 0) else {
            return Ok(None);
        };
        bytes.advance(8);
        let entries = std::mem::take(&mut partial.entries);
        self.partial = None;
        let index = self.index;
        self.index += entries.len() as u64;
        Ok(Some(Message {
            r#type: Some(MSG_APP),
            to: Some(2),
            from: Some(1),
            term: Some(self.term),
            log_term: Some(self.term),
            index: Some(index),
            entries,
            commit: Some(commit),
            ..Message::default()
        }))
    }
}

/// Splits off what stands behind its length, which stands behind `skipped` bytes.
fn delimited(skipped: usize, bytes: &mut BytesMut) -> Result<Option<Bytes>, String> {
    let Some(end) = delimited_end(skipped, bytes)? else {
        return Ok(None);
    };
    bytes.advance(skipped + 8);
    Ok(Some(bytes.split_to(end - skipped - 8).freeze()))
}

/// Where what stands behind its length ends, if it is whole.
fn delimited_end(skipped: usize, bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(length) = u64_at(bytes, skipped) else {
        return Ok(None);
    };
    let length = usize::try_from(length)
        .ok()
        .filter(|&length| length <= 512 * 1024 * 1024)
        .ok_or_else(|| format!("a length of {length} bytes"))?;
    let end = skipped + 8 + length;
    Ok((end <= bytes.len()).then_some(end))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|eight| u64::from_be_bytes(*eight))
}

fn parse<M: prost::Message + Default>(body: impl Buf) -> Result<M, String> {
    M::decode(body).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::codec::load::{Load, Tally};

    fn load() -> Load {
        Load::steady("3x100".parse().unwrap(), 1)
    }

    #[test]
    fn decodes_what_it_encoded_however_it_is_split() {
        let load = load();
        let whole = decode_stream(load.kind, &load.stream).unwrap();
        assert_eq!(whole.len(), load.messages.len());
        assert_eq!(Tally::of(&whole[1..]), load.expected);

        let mut decoder = Decoder::default();
        let mut received = BytesMut::new();
        let mut bytewise = Vec::new();
        for byte in &load.stream[..2000] {
            received.put_u8(*byte);
            bytewise.extend(decoder.decode(load.kind, &mut received).unwrap());
        }
        assert!(bytewise.len() > 3);
        assert_eq!(bytewise[..], whole[..bytewise.len()]);
    }

    #[test]
    fn slices_payloads_and_does_not_copy_them() {
        let load = load();
        let mut received = BytesMut::from(&load.stream[..]);
        let range = received.as_ptr_range();
        let mut decoder = Decoder::default();
        while let Some(message) = decoder.decode(load.kind, &mut received).unwrap() {
            for entry in &message.entries {
                assert!(range.contains(&entry.data.as_ref().unwrap().as_ptr()));
            }
        }
    }

    #[test]
    fn reads_the_message_stream_too() {
        let messages = load().messages;
        let stream = encode_stream(StreamKind::Message, &messages);
        assert_eq!(decode_stream(StreamKind::Message, &stream).unwrap(), messages);
    }

    #[test]
    fn refuses_a_stream_that_ends_inside_a_frame() {
        let load = load();
        let cut = load.stream.slice(..load.stream.len() - 1);
        assert!(decode_stream(load.kind, &cut).is_err());
        assert!(decode_stream(load.kind, &Bytes::from_static(&[9])).is_err());
    }
}
