//! What is called zero-copy is: the payload that comes out is the memory that went in.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::{Buf, BufMut, Bytes};
use raft_proto::eraftpb;
use raftwire::buf::{
    COPY_OUT_FRACTION, FrameCache, Pool, PoolConfig, ReceiveBuffer, SHARE_BYTES_MIN, WriteQueue,
};
use raftwire::codec::{Config, FrameKind, message, msgappv2};
use raftwire::raftpb::{Entry, Message, MessageType, RaftMessage, Snapshot, SnapshotMetadata};
use std::io::IoSlice;
use std::time::Instant;

fn app(index: u64, payloads: &[Bytes]) -> Message {
    let entry = |(position, data): (usize, &Bytes)| Entry {
        term: 5,
        index: index + 1 + position as u64,
        data: Some(data.clone()),
        ..Entry::default()
    };
    Message {
        message_type: MessageType::APP,
        from: 1,
        to: 2,
        term: 5,
        log_term: 5,
        index,
        commit: index,
        entries: payloads.iter().enumerate().map(entry).collect(),
        ..Message::default()
    }
}

fn payload(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

fn received() -> ReceiveBuffer {
    ReceiveBuffer::new(Pool::new(PoolConfig::default()))
}

/// Puts all of `queue` into the room of `received`, which is large enough.
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
fn transfer(queue: &mut WriteQueue, received: &mut ReceiveBuffer, needed: usize) {
    let mut room = received.space(needed, Instant::now()).unwrap().room().unwrap();
    assert!(room.remaining_mut() >= queue.remaining());
    room.put(queue);
}

/// Where the bytes of `part` lie in those of `whole`.
fn offset_in(whole: (*const u8, usize), part: &[u8]) -> Option<usize> {
    let offset = (part.as_ptr() as usize).checked_sub(whole.0 as usize)?;
    (offset + part.len() <= whole.1).then_some(offset)
}

fn block(received: &ReceiveBuffer) -> (*const u8, usize) {
    (received.unparsed().as_ptr(), received.unparsed().len())
}

#[test]
fn decoded_entries_are_slices_of_the_block_they_were_received_into() {
    let sizes = [64, 1, 127, 128, 1 << 10, 20 << 10];
    let payloads: Vec<_> = sizes.into_iter().map(payload).collect();
    let mut encoder = msgappv2::Encoder::new(Config::default());
    let mut queue = WriteQueue::new();
    assert_eq!(encoder.encode(&app(10, &payloads), &mut queue).unwrap(), FrameKind::MsgApp);
    let next = app(10 + sizes.len() as u64, &payloads);
    assert_eq!(encoder.encode(&next, &mut queue).unwrap(), FrameKind::AppEntries);

    let mut received = received();
    let mut decoder = msgappv2::Decoder::<Message>::new(Config::default());
    transfer(&mut queue, &mut received, decoder.needed());
    let block = block(&received);
    let mut last = 0;
    for _ in 0..2 {
        let frame = decoder.decode(&mut received).unwrap().unwrap();
        for (entry, len) in frame.message.entries.iter().zip(sizes) {
            let data = entry.data.as_ref().unwrap();
            let offset = offset_in(block, data).expect("the payload was copied");
            assert!(offset > last && data.len() == len);
            last = offset;
        }
    }
    assert_eq!(received.stats().copied_out_bytes, 0);
    assert_eq!(received.stats().moved_bytes, 0);
}

#[test]
fn decoded_contexts_and_snapshots_are_slices_of_the_block() {
    let snapshot = Snapshot {
        data: Some(payload(5000)),
        metadata: SnapshotMetadata { index: 7, term: 2, ..SnapshotMetadata::default() },
    };
    let message = Message {
        message_type: MessageType::SNAP,
        context: Some(payload(3000)),
        snapshot: Some(Box::new(snapshot)),
        ..Message::default()
    };
    let (mut encoder, mut queue) = (message::Encoder::new(Config::default()), WriteQueue::new());
    encoder.encode(&message, &mut queue).unwrap();
    let mut received = received();
    let mut decoder = message::Decoder::<Message>::new(Config::default());
    transfer(&mut queue, &mut received, decoder.needed());
    let block = block(&received);
    let decoded = decoder.decode(&mut received).unwrap().unwrap().message;
    assert_eq!(decoded, message);
    assert!(offset_in(block, decoded.context.as_ref().unwrap()).is_some());
    assert!(offset_in(block, decoded.snapshot.unwrap().data.as_ref().unwrap()).is_some());
}

#[test]
fn a_payload_longer_than_a_block_is_in_one_piece_and_moved_less_than_twice() {
    let data = payload(3 << 20);
    let mut encoder = msgappv2::Encoder::new(Config::default());
    let mut queue = WriteQueue::new();
    encoder.encode(&app(10, &[]), &mut queue).unwrap();
    encoder.encode(&app(10, std::slice::from_ref(&data)), &mut queue).unwrap();
    let mut received = received();
    let mut decoder = msgappv2::Decoder::<Message>::new(Config::default());
    let mut frames = Vec::new();
    #[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
    let now = Instant::now();
    while queue.has_remaining() {
        let mut room = received.space(decoder.needed(), now).unwrap().room().unwrap();
        let count = room.remaining_mut().min(queue.chunk().len());
        room.put_slice(&queue.chunk()[..count]);
        queue.advance(count);
        while let Some(frame) = decoder.decode(&mut received).unwrap() {
            frames.push(frame.message);
        }
    }
    assert_eq!(frames[1].entries[0].data.as_ref().unwrap(), &data);
    assert!(received.stats().moved_bytes < 2 * data.len() as u64, "{:?}", received.stats());
}

#[test]
fn small_payloads_are_copied_out_of_a_block_that_is_otherwise_dead() {
    // Heartbeats with a context of 8 bytes: a seventh of the stream is payload.
    let message = Message {
        message_type: MessageType::HEARTBEAT,
        to: 2,
        from: 1,
        context: Some(payload(8)),
        ..Message::default()
    };
    let (mut encoder, mut queue) = (message::Encoder::new(Config::default()), WriteQueue::new());
    const MESSAGES: usize = 1000;
    for _ in 0..MESSAGES {
        encoder.encode(&message, &mut queue).unwrap();
    }
    let stream_bytes = queue.len();
    assert!(8 * MESSAGES * COPY_OUT_FRACTION < stream_bytes);
    let mut received = received();
    let mut decoder = message::Decoder::<Message>::new(Config::default());
    transfer(&mut queue, &mut received, decoder.needed());
    let block = block(&received);
    let mut kept = Vec::new();
    while let Some(frame) = decoder.decode(&mut received).unwrap() {
        kept.push(frame.message.context.unwrap());
    }
    assert_eq!(kept.len(), MESSAGES);
    assert!(
        kept.iter().all(|context| offset_in(block, context).is_none() && context == &payload(8))
    );
    assert_eq!(received.stats().copied_out_bytes, 8 * MESSAGES as u64);
    // The copies lie one behind the other.
    for pair in kept.windows(2) {
        assert_eq!(pair[0].as_ptr() as usize + 8, pair[1].as_ptr() as usize);
    }
}

#[test]
fn large_payloads_are_written_from_where_they_are() {
    let small = payload(SHARE_BYTES_MIN - 1);
    let large = payload(SHARE_BYTES_MIN);
    let mut encoder = msgappv2::Encoder::new(Config::default());
    let mut queue = WriteQueue::new();
    encoder.encode(&app(10, &[]), &mut queue).unwrap();
    encoder.encode(&app(10, &[small.clone(), large.clone(), small.clone()]), &mut queue).unwrap();
    let mut slices = [IoSlice::new(&[]); 8];
    let count = queue.chunks_vectored(&mut slices);
    assert_eq!((count, queue.slices()), (3, 3), "heads and small payloads are one slice");
    assert_eq!(slices[1].as_ptr(), large.as_ptr());
    assert_eq!(slices[1].len(), large.len());
    let copied = queue.copied_bytes();
    assert!(copied >= 2 * small.len() as u64 && copied < 2 * small.len() as u64 + 100);
}

/// The memory of every slice of a queue but the first, which is the MsgApp frame that came before.
fn slices_behind(queue: &WriteQueue, skip: usize) -> Vec<(*const u8, usize)> {
    let mut slices = [IoSlice::new(&[]); 64];
    let count = queue.chunks_vectored(&mut slices);
    slices[skip..count].iter().map(|slice| (slice.as_ptr(), slice.len())).collect()
}

#[test]
fn followers_in_one_state_share_one_encoding() {
    // Large and small ones in turn: many slices, so that the frame itself is shared.
    let payloads: Vec<_> =
        (0..12).map(|number| payload([SHARE_BYTES_MIN, 100][number % 2])).collect();
    let mut followers: Vec<_> = (2..6)
        .map(|to| (to, msgappv2::Encoder::new(Config::default()), WriteQueue::new()))
        .collect();
    let addressed = |to, index, payloads: &[Bytes]| Message { to, ..app(index, payloads) };
    for (to, encoder, queue) in &mut followers {
        encoder.encode(&addressed(*to, 10, &[]), queue).unwrap();
        queue.clear();
    }
    // One follower is elsewhere.
    let (_, encoder, queue) = &mut followers[3];
    encoder.encode(&addressed(5, 4, &[]), queue).unwrap();
    queue.clear();

    let mut frames = FrameCache::new();
    let first = addressed(2, 10, &payloads);
    let mut sharing = frames.share(&first);
    let mut kinds = Vec::new();
    for (to, encoder, queue) in &mut followers {
        // Each follower's message is its own; its entries share their payloads with the others'.
        let message = addressed(*to, 10, &payloads);
        kinds.push(encoder.encode_shared(&message, &mut sharing, queue).unwrap());
        assert!(sharing.is_encoded());
    }
    use FrameKind::{AppEntries, MsgApp};
    assert_eq!(kinds, [AppEntries, AppEntries, AppEntries, MsgApp]);
    // The three have the very same memory: heads and payloads.
    let slices: Vec<_> = followers.iter().map(|(_, _, queue)| slices_behind(queue, 0)).collect();
    assert_eq!(slices[0].len(), 13);
    assert_eq!(slices[0], slices[1]);
    assert_eq!(slices[0], slices[2]);
    assert_ne!(slices[0][0], slices[3][0]);
    // And what each would have written by itself.
    let mut alone = msgappv2::Encoder::new(Config::default());
    let mut expected = WriteQueue::new();
    alone.encode(&addressed(2, 10, &[]), &mut expected).unwrap();
    expected.clear();
    alone.encode(&first, &mut expected).unwrap();
    let expected = expected.copy_to_bytes(expected.remaining());
    for (_, encoder, queue) in followers.iter_mut().take(3) {
        assert_eq!(queue.copy_to_bytes(queue.remaining()), expected);
        assert_eq!(encoder.state(), alone.state());
    }
}

#[test]
fn a_message_that_differs_is_not_sent_as_another_ones_frame() {
    let mut encoder = msgappv2::Encoder::new(Config::default());
    let mut queue = WriteQueue::new();
    encoder.encode(&app(10, &[]), &mut queue).unwrap();
    queue.clear();
    let payloads = [payload(20), payload(30)];
    let shared = app(10, &payloads);
    let other_commit = Message { commit: 9, ..shared.clone() };
    let other_payload = app(10, &[payload(20), payload(30)]);
    let fewer = app(10, &payloads[..1]);
    for message in [other_commit, other_payload, fewer] {
        let mut frames = FrameCache::new();
        let mut sharing = frames.share(&shared);
        let (mut one, mut first) = (encoder.clone(), WriteQueue::new());
        one.encode_shared(&shared, &mut sharing, &mut first).unwrap();
        let (mut two, mut second) = (encoder.clone(), WriteQueue::new());
        two.encode_shared(&message, &mut sharing, &mut second).unwrap();
        let (mut alone, mut expected) = (encoder.clone(), WriteQueue::new());
        alone.encode(&message, &mut expected).unwrap();
        let written = second.copy_to_bytes(second.remaining());
        assert_eq!(written, expected.copy_to_bytes(expected.remaining()));
        assert_eq!(two.state(), alone.state());
    }
}

#[test]
fn raft_rs_messages_share_their_payloads_both_ways() {
    let data = payload(SHARE_BYTES_MIN);
    let entry =
        |index| eraftpb::Entry { term: 5, index, data: data.clone(), ..eraftpb::Entry::default() };
    let message = |index, count: u64| eraftpb::Message {
        msg_type: eraftpb::MessageType::MsgAppend,
        term: 5,
        log_term: 5,
        index,
        entries: (1..=count).map(|position| entry(index + position)).collect::<Vec<_>>().into(),
        ..eraftpb::Message::default()
    };
    let (mut encoder, mut queue) = (msgappv2::Encoder::new(Config::default()), WriteQueue::new());
    encoder.encode(&message(10, 0), &mut queue).unwrap();
    let kind = encoder.encode(&message(10, 2), &mut queue).unwrap();
    assert_eq!(kind, FrameKind::AppEntries);
    let slices = slices_behind(&queue, 0);
    assert_eq!(slices.iter().filter(|(start, _)| *start == data.as_ptr()).count(), 2);

    let mut received = received();
    let mut decoder = msgappv2::Decoder::<eraftpb::Message>::new(Config::default());
    transfer(&mut queue, &mut received, decoder.needed());
    let block = block(&received);
    assert_eq!(decoder.decode(&mut received).unwrap().unwrap().message, message(10, 0));
    let decoded = decoder.decode(&mut received).unwrap().unwrap().message;
    assert_eq!(decoded, message(10, 2));
    assert!(decoded.entries.iter().all(|entry| offset_in(block, &entry.data).is_some()));
    <eraftpb::Message as RaftMessage>::lists().put(decoded.entries.into_vec());
    assert_eq!(<eraftpb::Message as RaftMessage>::lists().ready(), 1);
}
