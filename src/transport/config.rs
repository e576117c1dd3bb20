//! What a transport is told once: who it is, and its limits in time, memory and on the socket.

use super::{ClusterId, MemberId, PeerUrl, SocketOptions, Version};
use crate::buf::Pool;
use crate::codec;
use crate::http::HeadLimits;
use crate::raftpb::Dialect;
use std::time::Duration;

/// The settings of a [`Transport`](super::Transport).
///
/// ```
/// use raftwire::transport::{ClusterId, Config, MemberId};
///
/// let mut config = Config::new(MemberId(1), ClusterId(0xcdf8_1819_4e3a_8c32));
/// config.queue.bytes_max = 16 << 20;
/// config.urls = vec!["http://10.0.0.1:2380".parse()?];
/// # Ok::<(), raftwire::transport::UrlError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// This member.
    pub id: MemberId,
    /// Its cluster; members of others are refused.
    pub cluster: ClusterId,
    /// The version this member says it has; 3.6.0 by default. etcd refuses what is below 3.0, and
    /// takes everything above.
    pub version: Version,
    /// Where peers reach this member, told in each request; none by default.
    pub urls: Vec<PeerUrl>,
    /// Of both streams: the mode, limits and dialect; strict, 512 MiB and 3.6's by default. The
    /// members' ids in it are not looked at.
    pub codec: codec::Config,
    /// Where streams are received into; the process's own pool by default.
    pub pool: Pool,
    /// How much may wait to be written.
    pub queue: QueueLimits,
    /// What becomes of a `MsgSnap`; [`Snapshots::Dropped`] by default.
    pub snapshots: Snapshots,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// When to dial again.
    pub redial: Redial,
    /// The options of sockets this transport dials and its listeners accept; not of those an embedder
    /// brings.
    pub socket: SocketOptions,
    /// The largest request and response head; 16 KiB and 64 headers by default.
    pub head: HeadLimits,
    /// How many accepted connections that are no stream may be open; 256 by default. Those beyond are
    /// closed at once.
    pub connections_max: usize,
    /// What a reader does that has nothing to read; [`Polling::Adaptive`] by default.
    pub polling: Polling,
}

impl Config {
    /// Makes the default settings of member `id`.
    #[must_use]
    pub fn new(id: MemberId, cluster: ClusterId) -> Self {
        Self {
            id,
            cluster,
            version: Version::new(3, 6, 0),
            urls: Vec::new(),
            codec: codec::Config::default().dialect(Dialect::V3_6),
            pool: Pool::default(),
            queue: QueueLimits::default(),
            snapshots: Snapshots::Dropped,
            timeouts: Timeouts::default(),
            redial: Redial::default(),
            socket: SocketOptions::default(),
            head: HeadLimits::default(),
            connections_max: 256,
            polling: Polling::Adaptive,
        }
    }
}

/// What a reader does that has nothing to read.
///
/// To be woken takes 20 to 50 µs where a core has to be woken for it, and costs more CPU than to look
/// for that long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Polling {
    /// It sleeps.
    Never,
    /// It looks again, for up to 100 µs, while what it awaits comes within 30 µs on the average, as it
    /// does on a busy link, and stops when once it has looked in vain. On an idle link, and where
    /// answers take longer, it sleeps.
    #[default]
    Adaptive,
    /// It looks again for this long, each time. While messages keep coming that is the whole core of
    /// its thread, which it needs for itself, and on a runtime of several threads one for each reader. On a clock that is paused,
    /// as in tests, it never ends.
    For(Duration),
}

/// What becomes of a `MsgSnap` that is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Snapshots {
    /// It is dropped, and reported with [`NoPipeline`](super::DropReason::NoPipeline): etcd sends it,
    /// and its database behind it, in a request of its own, which is not here yet.
    #[default]
    Dropped,
    /// It goes over the `message` stream like a large proposal, with what it holds in its data.
    ///
    /// # Warning
    ///
    /// Only where every peer runs this transport, and a raft whose snapshots are whole in their
    /// messages. A real etcd that is sent a `MsgSnap` over a stream looks for the database that should
    /// have come with it, finds none, and panics.
    ///
    /// # What it costs, and what is not known
    ///
    /// It may be as large as [`message_bytes_max`](crate::codec::Limits::message_bytes_max); larger
    /// than [`bytes_max`](QueueLimits::bytes_max), it is taken only if no other proposal or snapshot
    /// waits. A frame is not divided: small messages go before it, but what is sent once it is being
    /// written waits until it is, heartbeats too. So keep snapshots smaller than what the slowest link
    /// moves in an election timeout. What the peer sends has a connection of its own, and goes on.
    ///
    /// One that is lost with its stream, as it waits or as it is written, is reported to
    /// [`unreachable`](super::Raft::unreachable) as a
    /// [`Class::Snapshot`](super::Class::Snapshot). One that is not reported was taken by the socket:
    /// written is not delivered. Whether it arrived, the raft learns from its peer's answers alone;
    /// so it must not wait for ever, and may ask for another when the
    /// [stream ends](super::Event::Ended).
    Stream,
}

/// How much may wait in a queue to one peer. There are three: of the `msgapp` stream, and of the
/// `message` stream one for proposals and other messages that may be large, one for the rest.
///
/// A message is dropped, and reported, that would pass either limit; one that is larger than
/// `bytes_max` alone is taken if the queue is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueLimits {
    /// Messages; 4096 by default, as in etcd.
    pub messages_max: usize,
    /// Bytes of their frames, payloads included; 64 MiB by default. etcd has no such limit, and holds
    /// gigabytes for a slow peer.
    pub bytes_max: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages_max: 4096, bytes_max: 64 << 20 }
    }
}

/// How long a transport waits. Read and write timeouts are looked at four times in their length, and
/// strike after up to a quarter more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For a connection to be made; 2 s by default, which is etcd's 1 s and an election timeout.
    pub connect: Duration,
    /// For the head of a first request on an accepted connection, and of the response to a request;
    /// 5 s by default.
    pub head: Duration,
    /// For the next request on a connection that is kept alive; 15 s by default. Above etcd's 4 s
    /// between two probes, so that a connection is not closed while one is on its way.
    pub idle: Duration,
    /// For a byte of a stream, on the reading side; 5 s by default, which is three link heartbeats.
    /// Shorter than a peer's heartbeats, and idle streams are cut; longer, and a dead peer is noticed
    /// later. etcd from 3.5 on has lost this timeout.
    pub read: Duration,
    /// For a byte to be taken by the socket, on the writing side; 5 s by default. It counts progress:
    /// an entry may take as long as it likes while its bytes trickle away. Linux says that there is room
    /// when a third of the socket's buffer is free, so with its own choice of up to 4 MiB a peer that
    /// takes less than some 300 KB/s seems to take nothing; on slower links set
    /// [`send_bytes`](super::SocketOptions::send_bytes), with 128 KiB for 60 KB/s.
    pub write: Duration,
    /// Between two link heartbeats; 5/3 s by default. etcd cuts a stream that is silent for 5 s.
    pub heartbeat: Duration,
    /// For everything to end at [`stop`](super::Transport::stop); 1 s by default. What has not ended
    /// by then is cut.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            head: Duration::from_secs(5),
            idle: Duration::from_secs(15),
            read: Duration::from_secs(5),
            write: Duration::from_secs(5),
            heartbeat: Duration::from_millis(1666),
            stop: Duration::from_secs(1),
        }
    }
}

/// When a stream that ended, or could not be opened, is dialed again: the first time at once, then
/// after waits that double from `wait_min` to `wait_max`. Each wait is a random part of its length,
/// from half to all of it, so that members do not dial in step.
///
/// A stream that was open for `wait_max` begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redial {
    /// The first wait; 100 ms by default, which is etcd's only one.
    pub wait_min: Duration,
    /// The longest; 1 s by default. It is also how long a peer that came back may wait for its
    /// stream.
    pub wait_max: Duration,
}

impl Default for Redial {
    fn default() -> Self {
        Self { wait_min: Duration::from_millis(100), wait_max: Duration::from_secs(1) }
    }
}
