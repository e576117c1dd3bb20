//! The transport carries raft-rs's own messages, without a conversion: two members, over loopback.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use raft_proto::eraftpb::{Entry, Message, MessageType};
use raftwire::transport::{
    ClusterId, Config, Driver, Dropped, MemberId, PeerUrl, Raft, StreamKind, Transport,
};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

struct Inbox(mpsc::Sender<(MemberId, Message)>);

impl Raft<Message> for Inbox {
    fn process(&self, from: MemberId, message: Message) {
        let _ = self.0.send((from, message));
    }

    fn unreachable(&self, dropped: &Dropped) {
        panic!("{dropped}");
    }

    fn is_removed(&self, _: MemberId) -> bool {
        false
    }
}

fn member(
    id: u64,
    driver: &Driver,
) -> (Transport<Message>, PeerUrl, mpsc::Receiver<(MemberId, Message)>) {
    let (sender, received) = mpsc::channel();
    let config = Config::new(MemberId(id), ClusterId(7));
    let transport = Transport::start(config, Arc::new(Inbox(sender)), driver.handle()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    transport.serve(listener).unwrap();
    (transport, url, received)
}

fn append(index: u64) -> Message {
    let mut entry = Entry { term: 5, index: index + 1, ..Entry::default() };
    entry.data = vec![7; 100].into();
    let mut message = Message { to: 2, from: 1, term: 5, log_term: 5, index, ..Message::default() };
    message.set_msg_type(MessageType::MsgAppend);
    message.entries.push(entry);
    message
}

#[test]
#[allow(clippy::disallowed_methods, reason = "waits for a condition, with a deadline")]
fn messages_of_raft_rs_arrive_as_they_were_sent() {
    let driver = Driver::start().unwrap();
    let (leader, leader_url, answers) = member(1, &driver);
    let (follower, follower_url, appends) = member(2, &driver);
    leader.add_peer(MemberId(2), &[follower_url]).unwrap();
    follower.add_peer(MemberId(1), &[leader_url]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_open = |transport: &Transport<Message>, peer, kind| {
        transport.peer(MemberId(peer)).unwrap().stream(kind).is_outgoing_open
    };
    while !(is_open(&leader, 2, StreamKind::MsgApp) && is_open(&follower, 1, StreamKind::Message)) {
        assert!(Instant::now() < deadline, "the streams do not open");
        std::thread::sleep(Duration::from_millis(1));
    }

    // The first is written whole, the others as entries alone.
    for index in 10..20 {
        leader.send(&append(index));
    }
    for index in 10..20 {
        let received = appends.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(received, (MemberId(1), append(index)));
    }
    let mut answer = Message { to: 1, from: 2, term: 5, index: 20, ..Message::default() };
    answer.set_msg_type(MessageType::MsgAppendResponse);
    follower.send(&answer);
    let received = answers.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(received, (MemberId(2), answer));
    driver.handle().block_on(async {
        leader.stop().await;
        follower.stop().await;
    });
}
