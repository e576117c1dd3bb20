//! The codec between two members, with memory in place of a socket: `cargo run --example embed`.

use bytes::{BufMut, Bytes};
use raftwire::buf::{Pool, ReceiveBuffer, Space, WriteQueue};
use raftwire::codec::{Config, msgappv2};
use raftwire::raftpb::{Entry, Message, MessageType};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the library asks no clock: whoever embeds it does"
    )]
    let now = Instant::now();
    let messages: Vec<Message> = (10..13).map(append).collect();

    // In the README from here.
    // Member 1 sends: whatever is queued leaves in one vectored write.
    let mut encoder = msgappv2::Encoder::new(Config::default());
    let mut queue = WriteQueue::new();
    for message in &messages {
        encoder.encode(message, &mut queue)?;
    }
    let mut socket = queue; // with tokio: socket.write_all_buf(&mut queue).await?

    // Member 2 receives, and decodes where the bytes lie: no payload is copied.
    let mut decoder = msgappv2::Decoder::<Message>::new(Config::default().local(2).remote(1));
    let mut received = ReceiveBuffer::new(Pool::default());
    if let Space::Room(mut room) = received.space(decoder.needed(), now)? {
        room.put(&mut socket); // with tokio: socket.read_buf(&mut room).await?
    }
    while let Some(frame) = decoder.decode(&mut received)? {
        println!("{}: {:?}", frame.kind, frame.message.entries);
    }
    // To here.
    Ok(())
}

/// The message of a leader that has appended an entry behind `index`.
fn append(index: u64) -> Message {
    let entry =
        Entry { term: 5, index: index + 1, data: Some(Bytes::from("put")), ..Entry::default() };
    Message {
        message_type: MessageType::APP,
        from: 1,
        to: 2,
        term: 5,
        log_term: 5,
        index,
        entries: vec![entry].into(),
        ..Message::default()
    }
}
