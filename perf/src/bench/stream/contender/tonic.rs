//! The tonic contender: one bidirectional stream of the same prost messages, set up as someone
//! would who knows gRPC's costs. The service is written by hand as tonic's generator would write it,
//! without its router. Not here: reconnecting, dropping and checking who the peer is beyond what
//! tonic does by itself.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use raftwire::raftpb::plain::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tonic::codec::{BufferSettings, Codec, Streaming};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, body};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::enqueue;
use super::runtime::{self, Starter};
use crate::bench::stream::end::End;
use crate::bench::stream::member::Member;
use crate::bench::stream::protocol::{LEADER, Start};

/// How it is set up, for the report.
pub(crate) const ABOUT: &str = "a bidirectional gRPC stream of prost-generated messages over Bytes, \
    nodelay, no TLS, no compression. Windows of 64 MiB for the stream and the connection, not \
    adaptive; HTTP/2 frames of up to 1 MiB; buffers of 64 KiB, of which up to 64 KiB of messages are \
    sent at once; queues drained 1024 messages at a time. One current-thread runtime. Does not \
    reconnect, drop or identify anyone.";

const WINDOW_BYTES: u32 = 64 << 20;
const HTTP2_FRAME_BYTES_MAX: u32 = 1 << 20;
const MESSAGE_BYTES_MAX: usize = 512 << 20;
const BATCH_BYTES: usize = 64 << 10;
const BATCH_MESSAGES_MAX: usize = 1024;

const PATH: &str = "/raftwire.bench.Raft/Messages";

#[derive(Debug)]
pub(crate) struct Tonic {
    starter: Starter,
    id: u64,
    member: Arc<Member<Message>>,
    queue: UnboundedSender<Message>,
    queued: Queued,
}

/// What the one stream there will be takes its messages from.
type Queued = Arc<Mutex<Option<Queue>>>;

impl End for Tonic {
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
        let queued = Arc::new(Mutex::new(Some(Queue::new(queued))));
        let raft =
            Raft { member: Arc::clone(member), queue: queue.clone(), queued: Arc::clone(&queued) };
        let server = Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(HTTP2_FRAME_BYTES_MAX)
            .http2_adaptive_window(Some(false));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        starter.spawn(async move {
            // Ends with the process; a stream that failed is seen by whoever waits for an answer.
            let _ = server.serve_with_incoming(raft, incoming).await;
        });
        let member = Arc::clone(member);
        Ok((Self { starter, id: start.id, member, queue, queued }, url))
    }

    fn connect(&mut self, url: &str) -> Result<(), String> {
        let queue = self.queue.clone();
        self.starter.lead(Arc::clone(&self.member), move |message| enqueue(&queue, message));
        if self.id != LEADER {
            return Ok(());
        }
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| error.to_string())?
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(HTTP2_FRAME_BYTES_MAX)
            .http2_adaptive_window(false);
        let queued = take(&self.queued).map_err(|status| status.to_string())?;
        let answers = self.starter.block_on(async {
            let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
            let mut client = tonic::client::Grpc::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            client.ready().await.map_err(|error| error.to_string())?;
            let path = PathAndQuery::from_static(PATH);
            let answers = client.streaming(Request::new(queued), path, Buffered).await;
            answers.map_err(|status| status.to_string())
        })?;
        let (member, queue) = (Arc::clone(&self.member), self.queue.clone());
        self.starter.spawn(read(answers.into_inner(), member, queue));
        Ok(())
    }

    fn begin(&self) {
        self.starter.begin();
    }

    fn dropped(&self) -> u64 {
        0
    }
}

fn take(queued: &Queued) -> Result<Queue, Status> {
    let queue = queued.lock().unwrap_or_else(PoisonError::into_inner).take();
    queue.ok_or_else(|| Status::already_exists("there is a stream"))
}

async fn read(
    mut stream: Streaming<Message>,
    member: Arc<Member<Message>>,
    queue: UnboundedSender<Message>,
) {
    while let Ok(Some(message)) = stream.message().await {
        member.process(&message, |message| enqueue(&queue, message));
    }
}

/// The server: a single method, whose two streams are the two directions.
#[derive(Clone, Debug)]
struct Raft {
    member: Arc<Member<Message>>,
    queue: UnboundedSender<Message>,
    queued: Queued,
}

impl Service<http::Request<body::Body>> for Raft {
    type Response = http::Response<body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<body::Body>) -> Self::Future {
        let method = Messages(self.clone());
        let mut server = tonic::server::Grpc::new(Buffered)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("there is one method only").into_http());
            }
            Ok(server.streaming(method, request).await)
        })
    }
}

#[derive(Debug)]
struct Messages(Raft);

impl Service<Request<Streaming<Message>>> for Messages {
    type Response = Response<Answers>;
    type Error = Status;
    type Future = std::future::Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Message>>) -> Self::Future {
        let Raft { member, queue, queued } = &self.0;
        let answers = take(queued).map(|queue| Response::new(Answers(queue)));
        if answers.is_ok() {
            // On the runtime that serves the connection.
            tokio::spawn(read(request.into_inner(), Arc::clone(member), queue.clone()));
        }
        std::future::ready(answers)
    }
}

/// The messages to be sent, as a stream; drained in batches, as a message at a time costs more and
/// makes tokio suspend the stream after 128.
#[derive(Debug)]
struct Queue {
    queued: UnboundedReceiver<Message>,
    batch: Vec<Message>,
    next: VecDeque<Message>,
}

impl Queue {
    fn new(queued: UnboundedReceiver<Message>) -> Self {
        let batch = Vec::with_capacity(BATCH_MESSAGES_MAX);
        Self { queued, batch, next: VecDeque::with_capacity(BATCH_MESSAGES_MAX) }
    }
}

impl Stream for Queue {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let Self { queued, batch, next } = &mut *self;
        if next.is_empty() {
            ready!(queued.poll_recv_many(context, batch, BATCH_MESSAGES_MAX));
            next.extend(batch.drain(..));
        }
        Poll::Ready(next.pop_front())
    }
}

/// The same with the `Result` a server answers in.
#[derive(Debug)]
struct Answers(Queue);

impl Stream for Answers {
    type Item = Result<Message, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map(|message| message.map(Ok))
    }
}

/// Tonic's codec for prost, with larger buffers than its own 8 KiB.
#[derive(Clone, Copy, Debug)]
struct Buffered;

impl Codec for Buffered {
    type Encode = Message;
    type Decode = Message;
    type Encoder = ProstEncoder<Message>;
    type Decoder = ProstDecoder<Message>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<Message, Message>::raw_encoder(BufferSettings::new(BATCH_BYTES, BATCH_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<Message, Message>::raw_decoder(BufferSettings::new(BATCH_BYTES, BATCH_BYTES))
    }
}
