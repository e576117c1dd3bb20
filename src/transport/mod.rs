//! etcd's peer streams over sockets: from [`send`](Transport::send) in one process to
//! [`process`](Raft::process) in another. Feature `net`, on tokio.
//!
//! ```text
//!            this member                              a peer
//! Raft ──▶ Transport::send ──▶ queue ──▶ writer ══▶ reader ──▶ Raft::process
//!                                    (on the connection the peer dialed)
//! ```
//!
//! A member dials each peer twice, for its `msgapp` and its `message` stream, and receives on what it
//! dialed; it sends on what its peers dialed. A `MsgApp` takes the `msgapp` stream, everything else
//! the `message` stream. A message for which no stream is open is dropped, and reported: pipeline,
//! etcd's way of sending snapshots, and remotes are not here yet. [`Snapshots`] has another way, for
//! clusters without an etcd in them.
//!
//! - [`Transport`] is what sends; it keeps the streams, dials, accepts and answers.
//! - [`Raft`] is the embedder's: it takes messages and learns what was lost.
//! - [`Config`] has the limits, with their defaults and reasons.
//! - [`Driver`] is a thread to run on, for who has no runtime of their own.
//!
//! # Example
//!
//! Two members, one of which heartbeats the other.
//!
//! ```
//! use raftwire::raftpb::{Message, MessageType};
//! use raftwire::transport::{ClusterId, Config, Driver, Dropped, MemberId, Raft, Transport};
//! use std::sync::{Arc, mpsc};
//!
//! struct Inbox(mpsc::Sender<Message>);
//!
//! impl Raft<Message> for Inbox {
//!     fn process(&self, _: MemberId, message: Message) {
//!         let _ = self.0.send(message);
//!     }
//!     fn unreachable(&self, _: &Dropped) {}
//!     fn is_removed(&self, _: MemberId) -> bool {
//!         false
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let driver = Driver::start()?;
//! let (sender, received) = mpsc::channel();
//! let mut members = Vec::new();
//! let mut urls = Vec::new();
//! for id in [1, 2] {
//!     let config = Config::new(MemberId(id), ClusterId(7));
//!     let raft = Arc::new(Inbox(sender.clone()));
//!     let transport = Transport::<Message>::start(config, raft, driver.handle())?;
//!     let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//!     urls.push(format!("http://{}", listener.local_addr()?).parse()?);
//!     transport.serve(listener)?;
//!     members.push(transport);
//! }
//! members[0].add_peer(MemberId(2), &urls[1..])?;
//! members[1].add_peer(MemberId(1), &urls[..1])?;
//!
//! let heartbeat = Message {
//!     message_type: MessageType::HEARTBEAT,
//!     from: 1,
//!     to: 2,
//!     term: 1,
//!     ..Message::default()
//! };
//! // Until member 2 has dialed there is no stream, and the message is dropped.
//! let wait = std::time::Duration::from_millis(5);
//! let message = loop {
//!     members[0].send(&heartbeat);
//!     if let Ok(message) = received.recv_timeout(wait) {
//!         break message;
//!     }
//! };
//! assert_eq!(message, heartbeat);
//! # Ok(())
//! # }
//! ```

mod accept;
mod class;
mod config;
mod core;
mod dialer;
mod driver;
mod drops;
mod error;
mod event;
mod handler;
mod id;
mod identity;
mod raft;
mod server;
mod shared;
mod socket;
mod stream;
mod traffic;
mod url;
mod version;

pub use self::core::Transport;
pub use class::Class;
pub use config::{Config, Polling, QueueLimits, Redial, Snapshots, Timeouts};
pub use driver::Driver;
pub use drops::{DropReason, Dropped};
pub use error::{StreamError, TransportError};
pub use event::{Direction, Event, StreamKind};
pub use id::{ClusterId, IdError, MemberId};
pub use raft::Raft;
pub use shared::Carried;
pub use socket::{BoxSocket, Dial, Dialing, Socket, SocketOptions, TcpDial};
pub use traffic::{PeerStats, QueueLevel, StreamStats};
pub use url::{PeerUrl, UrlError};
pub use version::{Version, VersionError};

pub(crate) use traffic::Traffic;
