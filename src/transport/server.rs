//! The server's side of one accepted connection, up to where a stream begins. Sans-IO: received
//! bytes go in, bytes to write and what to do next come out.
//!
//! ```text
//! received ─▶ next ─▶ Read ──────▶ received ...
//!                  ├▶ Answered ──▶ next ...        the connection is kept alive
//!                  ├▶ Closing                       write, and close
//!                  └▶ Stream                        write, and the connection is the stream's
//! ```

use super::handler::{Answer, Membership, Response, answer, stream_head};
use super::identity::Identity;
use super::{MemberId, StreamKind};
use crate::http::{HeadLimits, RequestHead};

/// A connection and the requests that came over it and are not answered.
#[derive(Debug)]
pub(crate) struct Connection {
    limits: HeadLimits,
    unparsed: Vec<u8>,
}

/// What to do next; in all cases but the first after writing what was put out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read more.
    Read,
    /// The request was refused; there may be another.
    Answered(Refusal),
    /// The request was refused and the connection ends.
    Closing(Refusal),
    /// The rest of the connection is the body of this stream. `bare`: without chunks.
    Stream { kind: StreamKind, to: MemberId, bare: bool },
}

/// For logs: what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Connection {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { limits, unparsed: Vec::new() }
    }

    /// Takes what was read.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.unparsed.extend_from_slice(bytes);
    }

    /// Answers the next request, if it is there: puts what is to be written into `out`.
    pub(crate) fn next(
        &mut self,
        me: &Identity,
        membership: impl FnOnce(MemberId) -> Membership,
        date: &str,
        out: &mut Vec<u8>,
    ) -> Next {
        let mut refuse = |response: Response, closes: bool| {
            response.write(me, date, closes, out);
            let refusal = Refusal { status: response.status, text: response.body };
            if closes { Next::Closing(refusal) } else { Next::Answered(refusal) }
        };
        let request = match RequestHead::parse(&self.unparsed, &self.limits) {
            Ok(None) => return Next::Read,
            Ok(Some((request, len))) => {
                self.unparsed.drain(..len);
                request
            }
            Err(error) => return refuse(Response::bad_request(&error.to_string()), true),
        };
        let has_body = match request.body() {
            Ok(body) => !body.is_over(),
            Err(error) => return refuse(Response::bad_request(&error.to_string()), true),
        };
        let bare = request.minor_version == 0;
        match answer(&request, me, membership) {
            // What follows the head is its body, which nobody reads.
            Answer::Response(response) => refuse(response, has_body || !request.keeps_alive()),
            Answer::Stream { .. } if has_body || !self.unparsed.is_empty() => {
                refuse(Response::bad_request("bytes behind the request for a stream"), true)
            }
            Answer::Stream { kind, to } => {
                stream_head(me, date, bare, !request.keeps_alive(), out);
                Next::Stream { kind, to, bare }
            }
        }
    }
}
