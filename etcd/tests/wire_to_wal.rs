//! A follower's entries go to disk as they came: the bytes of a record are the bytes of the frame, in
//! every dialect, whatever its leader writes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::disallowed_methods, reason = "a test has a clock")]

use bytes::{Buf, BufMut, Bytes};
use raftwire::buf::{Pool, ReceiveBuffer, Space, WriteQueue};
use raftwire::codec::{self, message, msgappv2};
use raftwire::raftpb::{
    ConfChange, Dialect, Entry, EntryType, Message, MessageType, RaftMessage, Wire as _,
};
use raftwire::transport::{ClusterId, MemberId};
use raftwire_etcd::config::{Config, Founder};
use raftwire_etcd::disk::{Disk, OsDisk};
use raftwire_etcd::member::Member;
use raftwire_etcd::raft::Envelope;
use raftwire_etcd::wal::{Reader, RecordKind};
use std::sync::Arc;
use std::time::Instant;

const DIALECTS: [Dialect; 3] = [Dialect::V3_4, Dialect::V3_6, Dialect::V3_7];
const LEADER: u64 = 1;
const FOLLOWER: u64 = 2;
/// Behind the entries the two found their cluster with.
const FIRST: u64 = 3;

/// Entries of every shape, in messages that follow each other: the second and later ones travel as
/// AppEntries frames.
fn messages() -> Vec<Message> {
    let update = ConfChange {
        id: 9,
        change_type: raftwire::raftpb::ConfChangeType(2),
        ..ConfChange::default()
    };
    let shapes = [
        (EntryType::NORMAL, None),
        (EntryType::NORMAL, Some(put("k", 10))),
        (EntryType::CONF_CHANGE, Some(update.encode(Dialect::V3_6).into())),
        (EntryType::NORMAL, Some(put("large", 5000))),
        (EntryType::NORMAL, Some(put("huge", 300_000))),
        (EntryType::NORMAL, Some(Bytes::new())),
    ];
    let mut index = FIRST;
    let mut messages = Vec::new();
    for count in [1, 2, 6, 1] {
        let before = index - 1;
        let entries: Vec<_> = (0..count)
            .map(|_| {
                let (entry_type, data) =
                    shapes[usize::try_from(index).unwrap() % shapes.len()].clone();
                let entry = Entry { entry_type, term: 2, index, data };
                index += 1;
                entry
            })
            .collect();
        messages.push(Message {
            message_type: MessageType::APP,
            to: FOLLOWER,
            from: LEADER,
            term: 2,
            log_term: if before < FIRST { 1 } else { 2 },
            index: before,
            commit: before,
            entries: entries.into(),
            ..Message::default()
        });
    }
    messages
}

/// An `InternalRaftRequest` that puts a value.
fn put(key: &str, value_bytes: usize) -> Bytes {
    let mut put = vec![0x0a, u8::try_from(key.len()).unwrap()];
    put.extend_from_slice(key.as_bytes());
    put.push(0x12);
    varint(value_bytes, &mut put);
    put.resize(put.len() + value_bytes, 7);
    let mut request = vec![0x22];
    varint(put.len(), &mut request);
    request.extend(put);
    request.into()
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

/// Gives `bytes` to a decoder in pieces of so many, and returns what it makes of them.
fn received(
    bytes: &[u8],
    piece_bytes: usize,
    mut decode: impl FnMut(&mut ReceiveBuffer) -> (Option<Envelope>, usize),
) -> Vec<Envelope> {
    let mut buffer = ReceiveBuffer::new(Pool::default());
    let mut rest = bytes;
    let mut envelopes = Vec::new();
    loop {
        let (envelope, needed) = decode(&mut buffer);
        if let Some(envelope) = envelope {
            envelopes.push(envelope);
            continue;
        }
        let mut room = match buffer.space(needed, Instant::now()).unwrap() {
            Space::Room(room) => room,
            Space::Decode => continue,
            _ => panic!("the pool has room"),
        };
        if rest.is_empty() {
            return envelopes;
        }
        let count = rest.len().min(piece_bytes).min(room.remaining_mut());
        room.put_slice(&rest[..count]);
        rest = &rest[count..];
    }
}

/// Takes what is queued.
fn written(queue: &mut WriteQueue) -> Vec<u8> {
    let bytes = queue.copy_to_bytes(queue.remaining()).to_vec();
    queue.clear();
    bytes
}

/// What a leader that writes `dialect` sends, as its follower receives it, on either stream.
fn over_the_wire(dialect: Dialect, on_message_stream: bool, piece_bytes: usize) -> Vec<Envelope> {
    let config = codec::Config::default().dialect(dialect).local(FOLLOWER).remote(LEADER);
    let mut queue = WriteQueue::new();
    if on_message_stream {
        let mut encoder = message::Encoder::new(config.clone());
        for message in messages() {
            encoder.encode(&message, &mut queue).unwrap();
        }
        let bytes = written(&mut queue);
        let mut decoder = message::Decoder::<Envelope>::new(config);
        return received(&bytes, piece_bytes, |buffer| {
            let frame = decoder.decode(buffer).unwrap();
            (frame.map(|frame| frame.message), decoder.needed())
        });
    }
    let mut encoder = msgappv2::Encoder::new(config.clone());
    for message in messages() {
        encoder.encode(&message, &mut queue).unwrap();
    }
    let bytes = written(&mut queue);
    let mut decoder = msgappv2::Decoder::<Envelope>::new(config);
    received(&bytes, piece_bytes, |buffer| {
        let frame = decoder.decode(buffer).unwrap();
        (frame.map(|frame| frame.message), decoder.needed())
    })
}

/// The entries' bytes as `dialect`'s encoder writes them, which is what its frames hold.
fn frames(dialect: Dialect) -> Vec<Vec<u8>> {
    let entries = messages().into_iter().flat_map(|message| message.entries.into_vec());
    entries.map(|entry| in_frame(&entry, dialect)).collect()
}

/// The bytes of an entry in a frame, cut out of it by its length.
fn in_frame(entry: &Entry, dialect: Dialect) -> Vec<u8> {
    let config = codec::Config::default().dialect(dialect);
    let mut encoder = msgappv2::Encoder::new(config);
    let mut queue = WriteQueue::new();
    let before = Message {
        message_type: MessageType::APP,
        term: entry.term,
        log_term: entry.term,
        index: entry.index - 1,
        ..Message::default()
    };
    encoder.encode(&before, &mut queue).unwrap();
    written(&mut queue);
    let message = Message { entries: vec![entry.clone()].into(), ..before };
    encoder.encode(&message, &mut queue).unwrap();
    let frame = written(&mut queue);
    // kind 1 | count 8 | length 8 | entry | commit 8
    assert_eq!(frame[0], 1, "an AppEntries frame");
    let length = u64::from_be_bytes(frame[9..17].try_into().unwrap());
    frame[17..17 + usize::try_from(length).unwrap()].to_vec()
}

fn follower(dir: &std::path::Path, disk: &Arc<dyn Disk>) -> Member {
    let mut config = Config::new(MemberId(FOLLOWER), ClusterId(7), dir);
    config.members = [LEADER, FOLLOWER]
        .map(|id| Founder {
            id: MemberId(id),
            urls: vec![format!("http://127.0.0.1:{id}").parse().unwrap()],
            is_learner: false,
        })
        .to_vec();
    config.wal.segment_bytes = 1 << 20;
    Member::open(config, disk, 1).unwrap()
}

/// The data of the entries' records, behind those that found the cluster.
fn on_disk(dir: &std::path::Path, disk: &dyn Disk) -> Vec<Vec<u8>> {
    let mut reader = Reader::open(disk, &dir.join("member").join("wal")).unwrap();
    let mut entries = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        if record.kind == RecordKind::ENTRY {
            entries.push(record.data.to_vec());
        }
    }
    entries.split_off(usize::try_from(FIRST - 1).unwrap())
}

#[test]
fn a_followers_records_are_the_bytes_of_the_frames() {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    for dialect in DIALECTS {
        let expected = frames(dialect);
        for (on_message_stream, piece_bytes) in [(false, usize::MAX), (false, 1000), (true, 4096)] {
            let dir = tempfile::tempdir().unwrap();
            let mut member = follower(dir.path(), &disk);
            let mut answers = 0;
            let mut send = |envelope: &Envelope| {
                let head = RaftMessage::head(envelope);
                assert_eq!((head.message_type, head.reject), (MessageType::APP_RESP, false));
                answers += 1;
            };
            // What founds the cluster is applied first.
            while member.has_work() {
                let turn = member.begin(&mut send);
                member.persist(turn, &mut send).unwrap();
                member.apply().unwrap();
            }
            for envelope in over_the_wire(dialect, on_message_stream, piece_bytes) {
                member.receive(envelope);
                while member.has_work() {
                    let turn = member.begin(&mut send);
                    member.persist(turn, &mut send).unwrap();
                    member.apply().unwrap();
                }
            }
            assert_eq!(answers, messages().len());
            member.close().unwrap();
            assert!(on_disk(dir.path(), &*disk) == expected, "{dialect:?} {piece_bytes}");
        }
    }
}

#[test]
fn the_dialects_differ_on_disk() {
    // Or the test above would show nothing: 3.7 leaves zeros out.
    let [old, middle, new] = DIALECTS.map(|dialect| frames(dialect)[1].len());
    assert_eq!(old, middle);
    assert!(new < middle, "{new} {middle}");
}
