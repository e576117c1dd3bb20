//! The plain contender: prost messages behind the lengths of tokio-util's codec, over one
//! connection for both directions, as someone would who knows both well. Not here: reconnecting,
//! dropping, checking who the peer is: raftwire pays for them, and this does without.
//!
//! Writing: a queue, of which everything that is there is fed before one flush; each message encoded
//! straight into the write buffer behind its length, which the codec's own encoder would copy it
//! for. Reading: the codec, with room for a large read kept free, and entries that are slices of
//! what was read.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use raftwire::raftpb::plain::Message;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite, LengthDelimitedCodec};

use super::enqueue;
use super::runtime::{self, Starter};
use crate::bench::stream::end::End;
use crate::bench::stream::member::Member;
use crate::bench::stream::protocol::{LEADER, Start};

/// How it is set up, for the report.
pub(crate) const ABOUT: &str = "prost-generated messages over Bytes, LengthDelimitedCodec, one \
    connection for both directions, nodelay. A queue of which up to 1024 messages are fed before one \
    flush, each encoded straight into a write buffer of 256 KiB; reads into 256 KiB, of which payloads \
    are slices. One current-thread runtime. Does not reconnect, drop or identify anyone.";

/// A frame may be as long as etcd lets one be.
const FRAME_BYTES_MAX: usize = 512 << 20;

/// Read at once at most, and written at once about.
const BUFFER_BYTES: usize = 256 << 10;

/// A read into less is not worth a syscall.
const ROOM_BYTES_MIN: usize = 64 << 10;

const BATCH_MESSAGES_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) struct Plain {
    starter: Starter,
    id: u64,
    listener: TcpListener,
    member: Arc<Member<Message>>,
    queue: UnboundedSender<Message>,
    queued: Option<UnboundedReceiver<Message>>,
}

impl End for Plain {
    type Message = Message;

    fn start(start: Start<'_>, member: &Arc<Member<Message>>) -> Result<(Self, String), String> {
        let open = || {
            let starter = Starter::new(runtime::start()?);
            let listener = starter.block_on(TcpListener::bind("127.0.0.1:0"))?;
            let url = format!("http://{}", listener.local_addr()?);
            Ok::<_, io::Error>((starter, listener, url))
        };
        let (starter, listener, url) = open().map_err(|error| error.to_string())?;
        let (queue, queued) = mpsc::unbounded_channel();
        let (member, queued, id) = (Arc::clone(member), Some(queued), start.id);
        Ok((Self { starter, id, listener, member, queue, queued }, url))
    }

    fn connect(&mut self, url: &str) -> Result<(), String> {
        let queued = self.queued.take().ok_or("it is connected")?;
        let address = url.strip_prefix("http://").unwrap_or(url);
        let address: SocketAddr = address.parse().map_err(|_| format!("no address: {url}"))?;
        let connection = self.starter.block_on(async {
            let connection = if self.id == LEADER {
                TcpStream::connect(address).await?
            } else {
                self.listener.accept().await?.0
            };
            connection.set_nodelay(true)?;
            Ok::<_, io::Error>(connection)
        });
        let (reads, writes) = connection.map_err(|error| error.to_string())?.into_split();
        self.starter.spawn(write(writes, queued));
        self.starter.spawn(read(reads, Arc::clone(&self.member), self.queue.clone()));
        let queue = self.queue.clone();
        self.starter.lead(Arc::clone(&self.member), move |message| enqueue(&queue, message));
        Ok(())
    }

    fn begin(&self) {
        self.starter.begin();
    }

    fn dropped(&self) -> u64 {
        0
    }
}

async fn write(connection: OwnedWriteHalf, mut queued: UnboundedReceiver<Message>) {
    let mut framed = FramedWrite::new(connection, Codec::new());
    framed.set_backpressure_boundary(BUFFER_BYTES);
    framed.write_buffer_mut().reserve(2 * BUFFER_BYTES);
    let mut batch = Vec::with_capacity(BATCH_MESSAGES_MAX);
    while queued.recv_many(&mut batch, BATCH_MESSAGES_MAX).await > 0 {
        for message in batch.drain(..) {
            if framed.feed(message).await.is_err() {
                return;
            }
        }
        if framed.flush().await.is_err() {
            return;
        }
    }
}

async fn read(
    connection: OwnedReadHalf,
    member: Arc<Member<Message>>,
    queue: UnboundedSender<Message>,
) {
    let mut framed = FramedRead::with_capacity(connection, Codec::new(), BUFFER_BYTES);
    while let Some(Ok(message)) = framed.next().await {
        member.process(&message, |message| enqueue(&queue, message));
    }
}

/// The length-delimited codec around prost's.
#[derive(Debug)]
struct Codec {
    lengths: LengthDelimitedCodec,
}

impl Codec {
    fn new() -> Self {
        let mut lengths = LengthDelimitedCodec::new();
        lengths.set_max_frame_length(FRAME_BYTES_MAX);
        Self { lengths }
    }
}

impl Encoder<Message> for Codec {
    type Error = io::Error;

    fn encode(&mut self, message: Message, to: &mut BytesMut) -> io::Result<()> {
        let length = message.encoded_len();
        let prefix = u32::try_from(length)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too long for a frame"))?;
        to.reserve(size_of::<u32>() + length);
        to.put_u32(prefix);
        // The length was computed just now; `encode` would compute it once more.
        message.encode_raw(to);
        Ok(())
    }
}

impl Decoder for Codec {
    type Item = Message;
    type Error = io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> io::Result<Option<Message>> {
        let Some(frame) = self.lengths.decode(from)? else {
            if from.capacity() - from.len() < ROOM_BYTES_MIN {
                from.reserve(BUFFER_BYTES);
            }
            return Ok(None);
        };
        Ok(Some(Message::decode(frame.freeze())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stream::message::Message as _;
    use bytes::Bytes;

    #[test]
    fn frames_as_the_length_delimited_codec_does() {
        let mut message = Message::append(&[Bytes::from_static(b"abc")]);
        message.set_index(7);
        let mut ours = BytesMut::new();
        Codec::new().encode(message.clone(), &mut ours).unwrap();
        let mut theirs = BytesMut::new();
        let body = Bytes::from(message.encode_to_vec());
        LengthDelimitedCodec::new().encode(body, &mut theirs).unwrap();
        assert_eq!(ours, theirs);

        let mut half = ours.split_to(5);
        let mut codec = Codec::new();
        assert_eq!(codec.decode(&mut half).unwrap(), None);
        half.unsplit(ours);
        assert_eq!(codec.decode(&mut half).unwrap(), Some(message));
    }
}
