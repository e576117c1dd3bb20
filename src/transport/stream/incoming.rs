//! The receiving half of a connection: takes a body out of its framing and frames out of the body,
//! where they lie. Sans-IO.
//!
//! ```text
//! received   │ payload, not parsed │ gap │ raw: framing and payload as it came │ room
//!                                    └─ framing that was taken out
//! ```
//!
//! All frames of a chunk are decoded before the framing behind it is looked at. So there is a gap
//! only where a frame lies across two chunks, which a writer of one batch a chunk never does. etcd's
//! writer does: it cuts chunks at 2048 bytes and around large writes. The gap is closed by moving
//! what is shorter, the beginning of the frame up or the chunk down, so a byte of a chunk costs at
//! most one byte moved however a peer cuts its chunks.

use crate::buf::{ReceiveBuffer, Space};
use crate::codec::{self, Frame, message, msgappv2};
use crate::error::DecodeError;
use crate::http::{Body, Step};
use crate::raftpb::RaftMessage;
use crate::transport::{StreamError, StreamKind};
use bytes::{Buf, BytesMut};
use std::time::Instant;

enum Decoder<M: RaftMessage> {
    MsgApp(msgappv2::Decoder<M>),
    Message(message::Decoder<M>),
}

impl<M: RaftMessage> Decoder<M> {
    fn needed(&self) -> usize {
        match self {
            Self::MsgApp(decoder) => decoder.needed(),
            Self::Message(decoder) => decoder.needed(),
        }
    }

    #[inline]
    fn decode(&mut self, received: &mut ReceiveBuffer) -> Result<Option<Frame<M>>, DecodeError> {
        match self {
            Self::MsgApp(decoder) => decoder.decode(received),
            Self::Message(decoder) => decoder.decode(received),
        }
    }

    fn finish(&self, received: &ReceiveBuffer) -> Result<(), DecodeError> {
        match self {
            Self::MsgApp(decoder) => decoder.finish(received).map(drop),
            Self::Message(decoder) => decoder.finish(received).map(drop),
        }
    }
}

/// What was received over one connection and not delivered.
pub(crate) struct Incoming<M: RaftMessage> {
    received: ReceiveBuffer,
    body: Body,
    decoder: Decoder<M>,
    /// `received` holds payload alone, and it is being decoded.
    is_decoding: bool,
    /// Meanwhile: what lies behind it.
    behind: BytesMut,
    /// Otherwise: how much of `received` is payload, and how much behind that is gap.
    payload: usize,
    gap: usize,
}

impl<M: RaftMessage> Incoming<M> {
    pub(crate) fn new(
        kind: StreamKind,
        config: codec::Config,
        body: Body,
        received: ReceiveBuffer,
    ) -> Self {
        let decoder = match kind {
            StreamKind::MsgApp => Decoder::MsgApp(msgappv2::Decoder::new(config)),
            StreamKind::Message => Decoder::Message(message::Decoder::new(config)),
        };
        Self {
            received,
            body,
            decoder,
            is_decoding: false,
            behind: BytesMut::new(),
            payload: 0,
            gap: 0,
        }
    }

    /// Where to read to, once [`next`](Self::next) gave nothing more.
    pub(crate) fn space(&mut self, now: Instant) -> Result<Space<'_>, DecodeError> {
        let needed = self.decoder.needed();
        self.received.space(needed, now)
    }

    /// Whether a frame has begun that is not whole: its rest is on its way.
    pub(crate) fn is_within_frame(&self) -> bool {
        let within_entries = match &self.decoder {
            Decoder::MsgApp(decoder) => decoder.is_within_entries(),
            Decoder::Message(_) => false,
        };
        self.payload > 0 || within_entries
    }

    /// Whether the body is over: nothing may follow.
    pub(crate) fn is_over(&self) -> bool {
        // What waits for memory is still to be decoded.
        self.body.is_over() && !self.is_decoding
    }

    /// Says how the connection ended, once there is nothing more to read.
    pub(crate) fn finish(&self) -> StreamError {
        let ended = self.body.finish().map_err(StreamError::Body);
        match ended.and_then(|()| Ok(self.decoder.finish(&self.received)?)) {
            Ok(()) => StreamError::Closed,
            Err(error) => error,
        }
    }

    /// Gives the next message. `None`: more must be received, or memory is needed;
    /// [`space`](Self::space) says which.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Frame<M>>, StreamError> {
        loop {
            if self.is_decoding {
                if let Some(frame) = self.decoder.decode(&mut self.received)? {
                    return Ok(Some(frame));
                }
                if self.received.wants_memory() {
                    return Ok(None);
                }
                self.is_decoding = false;
                self.payload = self.received.unparsed().len();
                self.join();
            }
            if !self.next_chunk()? {
                return Ok(None);
            }
            self.is_decoding = true;
        }
    }

    /// Puts what lies behind a chunk back where it was.
    fn join(&mut self) {
        let (bytes, _) = self.received.parts();
        if !self.behind.is_empty() {
            bytes.unsplit(std::mem::take(&mut self.behind));
        }
    }

    /// Makes the next bytes of the body payload to be decoded. `false`: there are none.
    fn next_chunk(&mut self) -> Result<bool, StreamError> {
        let (bytes, _) = self.received.parts();
        loop {
            let raw = bytes.get(self.payload + self.gap..).unwrap_or_default();
            match self.body.step(raw)? {
                Some(Step::Framing(len)) if self.payload == 0 => {
                    bytes.advance(self.gap + len);
                    self.gap = 0;
                }
                Some(Step::Framing(len)) => self.gap += len,
                Some(Step::Payload(len)) => {
                    if self.gap > 0 {
                        self.close_gap(len);
                    }
                    self.payload += len;
                    self.set_aside()?;
                    return Ok(true);
                }
                Some(Step::End) | None => {
                    let rest = raw.len();
                    bytes.truncate(self.payload);
                    self.gap = 0;
                    return if rest == 0 { Ok(false) } else { Err(StreamError::UnexpectedBytes) };
                }
            }
        }
    }

    /// Brings the payload behind the gap, the first `len` raw bytes, to that in front of it.
    fn close_gap(&mut self, len: usize) {
        let (bytes, _) = self.received.parts();
        let raw = self.payload + self.gap;
        if self.payload <= len {
            bytes.copy_within(..self.payload, self.gap);
            bytes.advance(self.gap);
            self.gap = 0;
        } else {
            bytes.copy_within(raw..raw + len, self.payload);
        }
    }

    /// Leaves nothing but payload in `received`.
    fn set_aside(&mut self) -> Result<(), StreamError> {
        let (bytes, _) = self.received.parts();
        let raw = &bytes[self.payload + self.gap..];
        // The end of a chunk that was received whole is nearly always the last of what was.
        if raw.len() <= 2 {
            // What is wrong with it is found again, once the chunk is decoded.
            let framing = match self.body.step(raw) {
                Ok(Some(Step::Framing(len))) => len,
                _ => 0,
            };
            if framing == raw.len() {
                bytes.truncate(self.payload);
                self.gap = 0;
                return Ok(());
            }
            self.gap += framing;
        }
        self.behind = bytes.split_off(self.payload);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::{Pool, PoolConfig};
    use crate::codec::{Config, Mode};
    use crate::error::DecodeErrorKind;
    use crate::http::{BodyErrorKind, CHUNK_END, CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, chunk_head};
    use crate::raftpb::{Entry, Message, MessageType};
    use bytes::BufMut;
    use serde_json::Value;

    const GOLDEN: [&str; 3] = [
        include_str!("../../../testdata/vectors/golden-vectors.json"),
        include_str!("../../../testdata/vectors/golden-vectors-3.6.json"),
        include_str!("../../../testdata/vectors/golden-vectors-3.7.json"),
    ];

    /// What one of etcd's encoders wrote over one connection.
    struct Session {
        name: String,
        kind: StreamKind,
        config: Config,
        frames: Vec<Vec<u8>>,
    }

    impl Session {
        fn bytes(&self) -> Vec<u8> {
            self.frames.concat()
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    fn sessions() -> Vec<Session> {
        let files = GOLDEN.map(|text| serde_json::from_str::<Vec<Value>>(text).unwrap());
        let session = |value: &Value| Session {
            name: value["name"].as_str().unwrap().to_owned(),
            kind: match value["stream"].as_str().unwrap() {
                "msgappv2" => StreamKind::MsgApp,
                _ => StreamKind::Message,
            },
            config: Config::default()
                .mode(match value["name"].as_str().unwrap().ends_with("-quirk") {
                    // What no strict reader takes.
                    true => Mode::AsEtcd,
                    false => Mode::Strict,
                })
                .local(value["local"].as_u64().unwrap())
                .remote(value["remote"].as_u64().unwrap()),
            frames: value["frames"]
                .as_array()
                .unwrap()
                .iter()
                .map(|frame| hex(frame["hex"].as_str().unwrap()))
                .collect(),
        };
        let sessions: Vec<_> = files.iter().flatten().map(session).collect();
        assert_eq!(sessions.len(), 63);
        sessions
    }

    #[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
    fn now() -> Instant {
        Instant::now()
    }

    fn pool(blocks_max: usize) -> Pool {
        let mut config = PoolConfig::default();
        config.block_bytes = 4 << 10;
        config.budget_bytes = blocks_max * config.block_bytes;
        Pool::new(config)
    }

    type Frames = Vec<Frame<Message>>;

    /// Reads as the reader's task does: pieces that end at these places, then the end of the
    /// connection.
    fn receive(
        incoming: &mut Incoming<Message>,
        raw: &[u8],
        ends: impl IntoIterator<Item = usize>,
    ) -> (Frames, StreamError) {
        let (now, mut frames, mut at) = (now(), Vec::new(), 0);
        for end in ends {
            while at < end {
                let Space::Room(mut room) = incoming.space(now).unwrap() else {
                    panic!("there is memory");
                };
                let count = room.remaining_mut().min(end - at);
                room.put_slice(&raw[at..at + count]);
                at += count;
                loop {
                    match incoming.next() {
                        Ok(Some(frame)) => frames.push(frame),
                        Ok(None) => break,
                        Err(error) => return (frames, error),
                    }
                }
                if incoming.is_over() {
                    let rest = if at < raw.len() {
                        StreamError::UnexpectedBytes
                    } else {
                        incoming.finish()
                    };
                    return (frames, rest);
                }
            }
        }
        let error = incoming.finish();
        (frames, error)
    }

    fn incoming(kind: StreamKind, config: &Config, body: &Body) -> Incoming<Message> {
        let received = ReceiveBuffer::new(pool(1 << 12));
        Incoming::new(kind, config.clone(), body.clone(), received)
    }

    /// A stream without a body around it.
    fn bare(session: &Session) -> Frames {
        let bytes = session.bytes();
        let body = Body::until_close();
        let mut incoming = incoming(session.kind, &session.config, &body);
        let (frames, end) = receive(&mut incoming, &bytes, [bytes.len()]);
        assert!(matches!(end, StreamError::Closed), "{}: {end:?}", session.name);
        assert_eq!(frames.len(), session.frames.len(), "{}", session.name);
        frames
    }

    fn chunked<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut raw = Vec::new();
        for chunk in chunks {
            let mut room = [0; CHUNK_HEAD_BYTES_MAX];
            let start = chunk_head(u32::try_from(chunk.len()).unwrap(), &mut room);
            raw.extend_from_slice(&room[start..]);
            raw.extend_from_slice(chunk);
            raw.extend_from_slice(CHUNK_END);
        }
        raw.extend_from_slice(LAST_CHUNK);
        raw
    }

    /// Cut at random, with all that a size line may have.
    fn dressed_up(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        let (mut raw, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let most = if random.bool() { 8 } else { 300 };
            let count = random.usize(1..=most).min(bytes.len() - at);
            let dress = ["", " ", "\t ", ";a", ";a=b", " ;a=\"b c\";d"][random.usize(..6)];
            let zeros = "0".repeat(random.usize(..4));
            let size = match random.bool() {
                true => format!("{zeros}{count:x}"),
                false => format!("{zeros}{count:X}"),
            };
            raw.extend_from_slice(format!("{size}{dress}\r\n").as_bytes());
            raw.extend_from_slice(&bytes[at..at + count]);
            raw.extend_from_slice(b"\r\n");
            at += count;
        }
        raw.extend_from_slice([&b"0\r\n\r\n"[..], b"000;a\r\nB: c\r\n\r\n"][random.usize(..2)]);
        raw
    }

    /// A session in every kind of body.
    fn bodies(session: &Session) -> Vec<(&'static str, Body, Vec<u8>)> {
        let bytes = session.bytes();
        let mut random = fastrand::Rng::with_seed(bytes.len() as u64);
        vec![
            ("one chunk", Body::chunked(), chunked([&bytes[..]])),
            ("a chunk a frame", Body::chunked(), chunked(session.frames.iter().map(|it| &it[..]))),
            ("a chunk a byte", Body::chunked(), chunked(bytes.chunks(1))),
            ("chunks as Go's", Body::chunked(), chunked(bytes.chunks(2048))),
            ("any chunks", Body::chunked(), dressed_up(&bytes, &mut random)),
            ("any others", Body::chunked(), dressed_up(&bytes, &mut random)),
            ("a length", Body::length(bytes.len() as u64), bytes.clone()),
            ("until close", Body::until_close(), bytes),
        ]
    }

    /// Every place to cut a body of `len` bytes; of a long one some, by a step that no framing has.
    fn cuts(len: usize) -> impl Iterator<Item = usize> {
        (0..len).step_by(if len < 800 { 1 } else { 13 })
    }

    #[test]
    fn a_body_holds_the_messages_of_the_bare_stream_however_it_is_cut() {
        for session in sessions() {
            let expected = bare(&session);
            for (how, body, raw) in bodies(&session) {
                let receive_cut = |ends: &mut dyn Iterator<Item = usize>| {
                    let mut incoming = incoming(session.kind, &session.config, &body);
                    let (frames, end) = receive(&mut incoming, &raw, ends);
                    let context = format!("{} in {how}", session.name);
                    assert!(matches!(end, StreamError::Closed), "{context}: {end:?}");
                    assert_eq!(frames, expected, "{context}");
                };
                receive_cut(&mut [raw.len()].into_iter());
                receive_cut(&mut (0..=raw.len()));
                for cut in cuts(raw.len()) {
                    receive_cut(&mut [cut, raw.len()].into_iter());
                }
            }
        }
    }

    /// Whatever arrives of a body: the frames that are whole, and how it ends.
    #[test]
    fn an_end_is_proper_behind_the_last_chunk_and_a_frame_and_nowhere_else() {
        // etcd takes an end between two fields of a frame.
        let is_strict = |session: &Session| session.config.mode == Mode::Strict;
        for session in sessions().into_iter().filter(is_strict) {
            let expected = bare(&session);
            let bytes = session.bytes();
            let mut ends = Vec::new();
            for frame in &session.frames {
                ends.push(ends.last().unwrap_or(&0) + frame.len());
            }
            let whole = |payload: usize| ends.iter().filter(|end| **end <= payload).count();
            // Where there are bytes of a frame whose rest is not there.
            let is_between = |payload: usize| payload == 0 || ends.contains(&payload);
            for (how, body, raw) in bodies(&session) {
                let payload_of = |cut: usize| {
                    let (mut body, mut at, mut payload) = (body.clone(), 0, 0);
                    while at < cut {
                        match body.step(&raw[at..cut]).unwrap().unwrap() {
                            Step::Framing(count) => at += count,
                            Step::Payload(count) => {
                                at += count;
                                payload += count;
                            }
                            Step::End => unreachable!("nothing is behind it"),
                        }
                    }
                    payload
                };
                for cut in cuts(raw.len()) {
                    let context = format!("{} in {how}, {cut} bytes", session.name);
                    let mut incoming = incoming(session.kind, &session.config, &body);
                    let (frames, end) = receive(&mut incoming, &raw[..cut], [cut]);
                    let payload = payload_of(cut);
                    assert_eq!(frames, expected[..whole(payload)], "{context}");
                    match end {
                        StreamError::Closed => {
                            assert!(body.is_until_close() && is_between(payload), "{context}");
                        }
                        StreamError::Body(error) => {
                            assert!(!body.is_until_close(), "{context}");
                            assert_eq!(error.kind, BodyErrorKind::Truncated, "{context}");
                            assert_eq!(error.offset, cut as u64, "{context}");
                        }
                        StreamError::Decode(error) => {
                            assert!(body.is_until_close() && !is_between(payload), "{context}");
                            assert_eq!(error.kind, DecodeErrorKind::Truncated, "{context}");
                        }
                        other => panic!("{context}: {other:?}"),
                    }
                }
            }
            // A body may end properly where a frame does not.
            for cut in 1..bytes.len() {
                for (body, raw) in [
                    (Body::chunked(), chunked([&bytes[..cut]])),
                    (Body::length(cut as u64), bytes[..cut].to_vec()),
                ] {
                    let mut incoming = incoming(session.kind, &session.config, &body);
                    let (frames, end) = receive(&mut incoming, &raw, [raw.len()]);
                    assert_eq!(frames, expected[..whole(cut)], "{} at {cut}", session.name);
                    match end {
                        StreamError::Closed => {
                            assert!(is_between(cut), "{} at {cut}", session.name)
                        }
                        StreamError::Decode(error) => {
                            assert_eq!(error.kind, DecodeErrorKind::Truncated);
                            assert!(!is_between(cut), "{} at {cut}", session.name);
                        }
                        other => panic!("{} at {cut}: {other:?}", session.name),
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_behind_the_end_of_a_body_are_an_error_after_its_messages() {
        for session in sessions() {
            let expected = bare(&session);
            for (how, body, mut raw) in bodies(&session) {
                if body.is_until_close() {
                    continue;
                }
                for more in [&b"\n"[..], b"\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"] {
                    let end = raw.len();
                    raw.extend_from_slice(more);
                    let ends: [&[usize]; 3] =
                        [&[raw.len()], &[end - 1, raw.len()], &[end, raw.len()]];
                    for ends in ends {
                        let mut incoming = incoming(session.kind, &session.config, &body);
                        let ends = ends.iter().copied();
                        let (frames, found) = receive(&mut incoming, &raw, ends);
                        assert_eq!(frames, expected, "{} in {how}", session.name);
                        let is_it = matches!(found, StreamError::UnexpectedBytes);
                        assert!(is_it, "{} in {how}: {found:?}", session.name);
                    }
                    raw.truncate(end);
                }
            }
        }
    }

    #[test]
    fn what_breaks_a_body_breaks_it_behind_the_messages_in_front() {
        let session = sessions().into_iter().find(|session| session.frames.len() > 3).unwrap();
        let expected = bare(&session);
        let good = chunked([&session.frames[0][..], &session.frames[1]]);
        let good = &good[..good.len() - LAST_CHUNK.len()];
        for bad in [&b"x\r\n"[..], b"\r\n", b"5\n", b"5;\x01", b"11111111111111111", b"-1\r\n"] {
            let raw = [good, bad].concat();
            for cut in 1..=raw.len() {
                let mut incoming = incoming(session.kind, &session.config, &Body::chunked());
                let (frames, end) = receive(&mut incoming, &raw, [cut, raw.len()]);
                assert_eq!(frames, expected[..2], "{}", bad.escape_ascii());
                let StreamError::Body(error) = end else {
                    panic!("{}: {end:?}", bad.escape_ascii());
                };
                assert_ne!(error.kind, BodyErrorKind::Truncated, "{}", bad.escape_ascii());
                assert!(error.offset >= good.len() as u64, "{}", bad.escape_ascii());
            }
        }
    }

    /// The last bytes that arrived are one or two, and not the end of a chunk.
    #[test]
    fn a_chunk_that_ends_badly_gives_its_messages_first() {
        let session = sessions().into_iter().find(|session| session.frames.len() > 3).unwrap();
        let expected = bare(&session);
        let good = chunked([&session.frames[0][..]]);
        let good = &good[..good.len() - CHUNK_END.len() - LAST_CHUNK.len()];
        for bad in [&b"x"[..], b"xy", b"xyz", b"\rx", b"\n"] {
            let raw = [good, bad].concat();
            let mut incoming = incoming(session.kind, &session.config, &Body::chunked());
            let (frames, end) = receive(&mut incoming, &raw, [raw.len()]);
            assert!(matches!(end, StreamError::Body(_)), "{}: {end:?}", bad.escape_ascii());
            assert_eq!(frames, expected[..1], "{}", bad.escape_ascii());
        }
    }

    /// A frame of one entry of so many bytes.
    fn large(kind: StreamKind, bytes: usize) -> Vec<u8> {
        let message = Message {
            message_type: if kind == StreamKind::MsgApp {
                MessageType::APP
            } else {
                MessageType::PROP
            },
            entries: vec![Entry {
                data: Some(vec![7; bytes].into()),
                index: 1,
                ..Entry::default()
            }]
            .into(),
            ..Message::default()
        };
        let mut queue = crate::buf::WriteQueue::new();
        match kind {
            StreamKind::MsgApp => {
                let mut encoder = msgappv2::Encoder::new(Config::default());
                encoder.encode(&message, &mut queue).unwrap();
            }
            StreamKind::Message => {
                let mut encoder = message::Encoder::new(Config::default());
                encoder.encode(&message, &mut queue).unwrap();
            }
        }
        queue.copy_to_bytes(queue.remaining()).to_vec()
    }

    /// How many bytes closing a gap moved, seen from outside: the payload, if that begins elsewhere
    /// now, or else what was added to it.
    fn next_chunk_moves(incoming: &mut Incoming<Message>) -> (bool, usize) {
        let (had, start) = (incoming.payload, incoming.received.unparsed().as_ptr() as usize);
        let more = incoming.next_chunk().unwrap();
        let added = incoming.payload - had;
        let is_moved_up = incoming.received.unparsed().as_ptr() as usize != start;
        (
            more,
            if had == 0 {
                0
            } else if is_moved_up {
                had
            } else {
                added
            },
        )
    }

    /// As [`Incoming::next`] does it, counting the bytes moved.
    fn next_counted(incoming: &mut Incoming<Message>, moved: &mut usize) -> Option<Frame<Message>> {
        loop {
            if incoming.is_decoding {
                if let Some(frame) = incoming.decoder.decode(&mut incoming.received).unwrap() {
                    return Some(frame);
                }
                incoming.is_decoding = false;
                incoming.payload = incoming.received.unparsed().len();
                incoming.join();
            }
            let (more, moves) = next_chunk_moves(incoming);
            *moved += moves;
            if !more {
                return None;
            }
            incoming.is_decoding = true;
        }
    }

    #[test]
    fn however_chunks_are_cut_a_byte_is_moved_once_to_close_gaps() {
        const BYTES: usize = 2 << 20;
        // One chunk each; or now the frame's beginning is longer, now the chunk; or as Go cuts them.
        let cuts: [fn(usize) -> usize; 4] =
            [|_| 1, |n| [1, 2, 3, 40_000][n % 4], |n| 1 << (n % 18), |_| 2048];
        for kind in StreamKind::ALL {
            let bytes = large(kind, BYTES);
            for (how, cut) in cuts.into_iter().enumerate() {
                let (mut chunks, mut rest) = (Vec::new(), &bytes[..]);
                for number in 0.. {
                    let (chunk, behind) = rest.split_at(cut(number).min(rest.len()));
                    chunks.push(chunk);
                    rest = behind;
                    if rest.is_empty() {
                        break;
                    }
                }
                let raw = chunked(chunks.iter().copied());
                let pool = Pool::new(PoolConfig::default());
                let received = ReceiveBuffer::new(pool);
                let mut incoming =
                    Incoming::<Message>::new(kind, Config::default(), Body::chunked(), received);
                let (mut at, mut moved, mut frames) = (0, 0, 0);
                let now = now();
                while at < raw.len() {
                    let mut room = incoming.space(now).unwrap().room().unwrap();
                    let count = room.remaining_mut().min(raw.len() - at);
                    room.put_slice(&raw[at..at + count]);
                    at += count;
                    while next_counted(&mut incoming, &mut moved).is_some() {
                        frames += 1;
                    }
                }
                assert_eq!(frames, 1, "{kind} {how}");
                assert!(moved <= bytes.len(), "{kind} {how}: {moved} of {}", bytes.len());
                // From block to block: once for each time it doubles, and the framing in between.
                let blocks = incoming.received.stats().moved_bytes;
                assert!(blocks <= 2 * raw.len() as u64, "{kind} {how}: {blocks} of {}", raw.len());
            }
        }
    }

    /// Many entries and little else: their list is what wants memory.
    fn crowd(kind: StreamKind) -> Vec<u8> {
        const ENTRIES: u64 = 8000;
        let entry = |index| Entry { term: 1, index, ..Entry::default() };
        let mut message = Message {
            message_type: if kind == StreamKind::MsgApp {
                MessageType::APP
            } else {
                MessageType::PROP
            },
            term: 1,
            log_term: 1,
            entries: (1..=ENTRIES).map(entry).collect(),
            ..Message::default()
        };
        let mut queue = crate::buf::WriteQueue::new();
        let mut msgappv2 = msgappv2::Encoder::new(Config::default());
        let mut other = message::Encoder::new(Config::default());
        for _ in 0..3 {
            match kind {
                StreamKind::MsgApp => msgappv2.encode(&message, &mut queue).unwrap(),
                StreamKind::Message => other.encode(&message, &mut queue).unwrap(),
            };
            message.index += ENTRIES;
            for entry in message.entries.iter_mut() {
                entry.index += ENTRIES;
            }
        }
        queue.copy_to_bytes(queue.remaining()).to_vec()
    }

    #[test]
    fn waiting_for_memory_loses_nothing() {
        for kind in StreamKind::ALL {
            let bytes = crowd(kind);
            let expected = {
                let mut incoming = incoming(kind, &Config::default(), &Body::until_close());
                receive(&mut incoming, &bytes, [bytes.len()]).0
            };
            assert_eq!(expected.len(), 3);
            let (mut waits, mut waits_within) = (0, 0);
            let cuts = [1 << 20, 2048, 100, 7].into_iter();
            let blocks = [4 << 10, 64 << 10, 256 << 10];
            for (cut, block_bytes) in cuts.flat_map(|cut| blocks.map(|bytes| (cut, bytes))) {
                let raw = chunked(bytes.chunks(cut));
                let budget_bytes = 2 << 20;
                let config = PoolConfig { block_bytes, budget_bytes, ..PoolConfig::default() };
                let pool = Pool::new(config);
                // Others hold all but a block, and let go of theirs as they are wanted.
                let mut hogs = Vec::new();
                for _ in 1..budget_bytes / block_bytes {
                    let mut hog = ReceiveBuffer::new(pool.clone());
                    assert!(hog.space(1, now()).unwrap().room().is_some());
                    hogs.push(hog);
                }
                let received = ReceiveBuffer::new(pool.clone());
                let mut incoming =
                    Incoming::<Message>::new(kind, Config::default(), Body::chunked(), received);
                let (mut frames, mut at) = (Vec::new(), 0);
                let now = now();
                while at < raw.len() || incoming.is_decoding {
                    match incoming.space(now).unwrap() {
                        Space::Room(mut room) => {
                            let count = room.remaining_mut().min(raw.len() - at);
                            room.put_slice(&raw[at..at + count]);
                            at += count;
                        }
                        Space::Decode => {}
                        Space::Wait { .. } => {
                            waits += 1;
                            waits_within += u32::from(!incoming.behind.is_empty());
                            // A reader that asks once more changes nothing.
                            assert!(incoming.next().unwrap().is_none());
                            hogs.pop();
                        }
                    }
                    while let Some(frame) = incoming.next().unwrap() {
                        frames.push(frame);
                    }
                }
                assert_eq!(frames, expected, "{kind}, blocks of {block_bytes}, chunks of {cut}");
                assert!(matches!(incoming.finish(), StreamError::Closed));
            }
            assert!(waits > waits_within && waits_within > 0, "{kind}: {waits} {waits_within}");
        }
    }

    /// A body of a known length is over while the last of its messages are decoded.
    #[test]
    fn a_body_that_waits_for_memory_is_not_over() {
        let kind = StreamKind::Message;
        let bytes = crowd(kind);
        let pool = pool(512);
        let received = ReceiveBuffer::new(pool.clone());
        let body = Body::length(bytes.len() as u64);
        let mut incoming = Incoming::<Message>::new(kind, Config::default(), body, received);
        let mut hogs = Vec::new();
        let (now, mut at) = (now(), 0);
        while at < bytes.len() {
            let mut room = incoming.space(now).unwrap().room().unwrap();
            let count = room.remaining_mut().min(bytes.len() - at);
            room.put_slice(&bytes[at..at + count]);
            at += count;
            // Memory becomes tight before the last message is there.
            while at > bytes.len() - 100 {
                let mut hog = ReceiveBuffer::new(pool.clone());
                if hog.space(1, now).unwrap().room().is_none() {
                    break;
                }
                hogs.push(hog);
            }
            while incoming.next().unwrap().is_some() {}
        }
        assert!(matches!(incoming.space(now).unwrap(), Space::Wait { .. }));
        assert!(!incoming.is_over(), "a message is left");
    }
}
