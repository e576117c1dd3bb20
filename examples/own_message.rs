//! The codec on a message type of one's own: `cargo run --example own_message`.
//!
//! Nothing is converted through a second type: the encoder reads the fields where they are, the
//! decoder makes the embedder's entries and messages, and payloads stay the `Bytes` they were.

use bytes::{BufMut, Bytes};
use raftwire::buf::{Lists, Pool, ReceiveBuffer, Space, WriteQueue};
use raftwire::codec::{Config, msgappv2};
use raftwire::raftpb::{EntryRef, EntryType, Head, MessageType, Parts, RaftMessage, Snapshot};
use std::borrow::Cow;
use std::error::Error;
use std::time::Instant;

/// A log entry as some raft has it: the position in one field, no types.
#[derive(Debug, PartialEq)]
struct Command {
    term_index: (u64, u64),
    bytes: Bytes,
}

/// A message as it has it. It keeps the wire's numbers together, which saves most of the work.
#[derive(Debug, PartialEq)]
struct Append {
    head: Head,
    commands: Vec<Command>,
}

impl RaftMessage for Append {
    type Entry = Command;

    fn head(&self) -> Head {
        self.head
    }

    fn entries(&self) -> &[Command] {
        &self.commands
    }

    fn entry(command: &Command) -> EntryRef<'_> {
        let (term, index) = command.term_index;
        EntryRef { entry_type: EntryType::NORMAL, term, index, data: Some(&command.bytes) }
    }

    fn context(&self) -> Option<&Bytes> {
        None
    }

    fn snapshot(&self) -> Option<Cow<'_, Snapshot>> {
        None
    }

    fn lists() -> &'static Lists<Command> {
        static LISTS: Lists<Command> = Lists::new();
        &LISTS
    }

    fn make_entry(_: EntryType, term: u64, index: u64, data: Option<Bytes>) -> Command {
        Command { term_index: (term, index), bytes: data.unwrap_or_default() }
    }

    fn from_parts(parts: Parts<Self>) -> Self {
        Self { head: parts.head, commands: parts.entries }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the library asks no clock: whoever embeds it does"
    )]
    let now = Instant::now();
    let message = Append {
        head: Head {
            message_type: MessageType::APP,
            from: 1,
            to: 2,
            term: 5,
            log_term: 5,
            index: 10,
            ..Head::default()
        },
        commands: vec![Command { term_index: (5, 11), bytes: Bytes::from("put") }],
    };

    let mut queue = WriteQueue::new();
    msgappv2::Encoder::new(Config::default()).encode(&message, &mut queue)?;

    let mut decoder = msgappv2::Decoder::<Append>::new(Config::default().local(2).remote(1));
    let mut received = ReceiveBuffer::new(Pool::default());
    if let Space::Room(mut room) = received.space(decoder.needed(), now)? {
        room.put(&mut queue);
    }
    let frame = decoder.decode(&mut received)?.ok_or("part of a frame")?;
    assert_eq!(frame.message, message);
    println!("{}: {:?}", frame.kind, frame.message);

    // The list of entries goes back, and the next message need not allocate another.
    Append::lists().put(frame.message.commands);
    Ok(())
}
