//! Our contender: raftwire's transport in its default configuration, on its own driver thread; with
//! polling, the same but for that one setting. Nothing here touches bytes or sockets beyond handing
//! over a listener. Not here: the load (`member`).

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use raftwire::raftpb::Message;
use raftwire::transport::{
    ClusterId, Config, Driver, Dropped, MemberId, PeerUrl, Polling, Raft, StreamStats, Transport,
};

use super::runtime::Starter;
use crate::bench::stream::end::End;
use crate::bench::stream::member::Member;
use crate::bench::stream::protocol::Start;

/// How it is set up, for the report.
pub(crate) const ABOUT: &str = "raftwire's transport in its default configuration, on its Driver: \
    etcd's two streams each way, four connections, heads, handshakes and limits checked, reconnecting \
    and drop accounting on. Messages are sent by reference from one that is used again.";

/// The same for the one that polls.
pub(crate) const ABOUT_POLLING: &str = "as raftwire, with polling for 1 ms: a reader that runs dry \
    looks for bytes for so long before it sleeps, which takes a core. Measured in round trips alone.";

/// And for the one that never does.
pub(crate) const ABOUT_SLEEPING: &str = "as raftwire, without polling: a reader that runs dry sleeps. \
    In its default configuration it looks for up to 100 us where answers come within 30 on the average. \
    Measured in round trips alone.";

/// Longer than any round trip, so that the reader never sleeps while there are some.
const POLLED: Duration = Duration::from_millis(1);

const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);
const CONNECT_LOOK: Duration = Duration::from_millis(1);

pub(crate) struct Ours {
    raft: Arc<Loop>,
    transport: Transport<Message>,
    peer: MemberId,
    starter: Starter,
    _driver: Driver,
}

/// The raft above the transport: the load, on the thread that received.
struct Loop {
    member: Arc<Member<Message>>,
    /// Set before there is a peer to receive from.
    transport: OnceLock<Transport<Message>>,
}

impl Raft<Message> for Loop {
    fn process(&self, _: MemberId, message: Message) {
        self.member.process(&message, |message| self.send(message));
    }

    fn unreachable(&self, _: &Dropped) {
        // The transport's own count is what the command asks for.
    }

    fn is_removed(&self, _: MemberId) -> bool {
        false
    }
}

impl Loop {
    fn send(&self, message: &Message) {
        if let Some(transport) = self.transport.get() {
            transport.send(message);
        }
    }
}

impl Ours {
    pub(crate) fn start_polling(
        start: Start<'_>,
        member: &Arc<Member<Message>>,
    ) -> Result<(Self, String), String> {
        Self::start_with(start, member, Polling::For(POLLED))
    }

    pub(crate) fn start_sleeping(
        start: Start<'_>,
        member: &Arc<Member<Message>>,
    ) -> Result<(Self, String), String> {
        Self::start_with(start, member, Polling::Never)
    }

    fn start_with(
        start: Start<'_>,
        member: &Arc<Member<Message>>,
        polling: Polling,
    ) -> Result<(Self, String), String> {
        let cluster = u64::from_str_radix(start.cluster, 16);
        let cluster = ClusterId(cluster.map_err(|error| format!("the cluster: {error}"))?);
        let mut config = Config::new(MemberId(start.id), cluster);
        config.polling = polling;
        let driver = Driver::start().map_err(|error| error.to_string())?;
        let member = Arc::clone(member);
        let raft = Arc::new(Loop { member, transport: OnceLock::new() });
        let transport = Transport::start(config, raft.clone(), driver.handle());
        let transport = transport.map_err(|error| error.to_string())?;
        let _ = raft.transport.set(transport.clone());
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        transport.serve(listener).map_err(|error| error.to_string())?;
        let starter = Starter::new(driver.handle().clone());
        let peer = MemberId(start.peer);
        Ok((Self { raft, transport, peer, starter, _driver: driver }, format!("http://{address}")))
    }
}

impl End for Ours {
    type Message = Message;

    fn start(start: Start<'_>, member: &Arc<Member<Message>>) -> Result<(Self, String), String> {
        Self::start_with(start, member, Polling::default())
    }

    fn connect(&mut self, url: &str) -> Result<(), String> {
        let url: PeerUrl = url.parse().map_err(|_| format!("no address: {url}"))?;
        self.transport.add_peer(self.peer, &[url]).map_err(|error| error.to_string())?;
        let is_open = |stream: &StreamStats| stream.is_incoming_open && stream.is_outgoing_open;
        let connecting = Instant::now();
        while !self.transport.peer(self.peer).is_some_and(|peer| peer.streams.iter().all(is_open)) {
            if connecting.elapsed() > CONNECT_TIME_MAX {
                return Err("the streams did not come up".to_owned());
            }
            std::thread::sleep(CONNECT_LOOK);
        }
        let raft = Arc::clone(&self.raft);
        self.starter.lead(Arc::clone(&self.raft.member), move |message| raft.send(message));
        Ok(())
    }

    fn begin(&self) {
        self.starter.begin();
    }

    fn dropped(&self) -> u64 {
        self.transport.peer(self.peer).map_or(0, |peer| peer.dropped_messages)
    }
}
