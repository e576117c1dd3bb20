//! Two members that append an entry over real sockets: the transport of one sends, the other's gives
//! the message to its raft. Here each raft is a channel.

#![allow(clippy::disallowed_methods, reason = "an example waits as its user may")]

use bytes::Bytes;
use raftwire::raftpb::{Entry, Message, MessageType};
use raftwire::transport::{
    ClusterId, Config, Driver, Dropped, Event, MemberId, PeerStats, PeerUrl, Raft, StreamKind,
    Transport,
};
use std::error::Error;
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// What a raft does with what the transport brings.
struct Inbox {
    name: &'static str,
    messages: mpsc::Sender<Message>,
}

impl Raft<Message> for Inbox {
    fn process(&self, _from: MemberId, message: Message) {
        // Never blocks: the stream is read by the thread that calls this.
        let _ = self.messages.send(message);
    }

    fn unreachable(&self, dropped: &Dropped) {
        // Here a raft-rs node would call `report_unreachable`, and for a snapshot `report_snapshot`.
        println!("{}: {dropped}", self.name);
    }

    fn is_removed(&self, _member: MemberId) -> bool {
        false
    }

    fn event(&self, event: &Event<'_>) {
        println!("{}: {event}", self.name);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (sender, inbox) = mpsc::channel();
    let follower = member(2, "follower", sender.clone())?;
    let leader = member(1, "leader", sender)?;
    follower.transport.add_peer(MemberId(1), &[leader.url])?;

    let message = Message {
        message_type: MessageType::APP,
        from: 1,
        to: 2,
        term: 5,
        log_term: 5,
        index: 10,
        entries: vec![Entry {
            term: 5,
            index: 11,
            data: Some(Bytes::from("put")),
            ..Entry::default()
        }]
        .into(),
        ..Message::default()
    };
    let (transport, peer_url) = (leader.transport, follower.url);
    // In the README from here
    transport.add_peer(MemberId(2), &[peer_url])?;
    // A stream to the peer is there once the peer has dialed.
    let is_open = |peer: PeerStats| peer.stream(StreamKind::MsgApp).is_outgoing_open;
    while !transport.peer(MemberId(2)).is_some_and(is_open) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Encoded at once, written with whatever else is queued; never blocks.
    transport.send(&message);
    // To here
    println!("received {:?}", inbox.recv()?.entries);
    Ok(())
}

struct Member {
    transport: Transport<Message>,
    url: PeerUrl,
    _driver: Driver,
}

fn member(
    id: u64,
    name: &'static str,
    messages: mpsc::Sender<Message>,
) -> Result<Member, Box<dyn Error>> {
    // A thread for this transport. With a tokio runtime of your own: its handle.
    let driver = Driver::start()?;
    let config = Config::new(MemberId(id), ClusterId(7));
    let raft = Arc::new(Inbox { name, messages });
    let transport = Transport::start(config, raft, driver.handle())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?).parse()?;
    transport.serve(listener)?;
    Ok(Member { transport, url, _driver: driver })
}
