//! The bodies of the fuzz targets, as library code: a fuzz target is one line that calls one, and a
//! test replays the committed corpus through the same code.
//!
//! A body takes bytes somebody else chose, and panics where a property does not hold. What each
//! asserts stands on it; the commands are in `docs/fuzzing.md`. Private feature `__fuzzing`: it is no
//! part of the crate's interface.

mod codecs;
mod decode;
mod encode;
mod expected;
mod framed;
pub mod http;
mod input;
pub mod naive;
mod raftpb;
mod transport;

use std::time::Instant;

pub use codecs::{Stream, decode_as_etcd};
pub use decode::stream_header_bytes;
pub use expected::carried;

/// What a body needs and the core does not take from anywhere itself.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "private")]
pub struct Env {
    /// The time; it stands still.
    pub now: Instant,
    /// Runs something and returns how many more bytes were allocated at once than before, or 0
    /// where nobody counts.
    pub peak_of: fn(&mut dyn FnMut()) -> usize,
}

impl Env {
    /// Makes one that counts nothing.
    #[must_use]
    pub fn uncounted(now: Instant) -> Self {
        let peak_of = |run: &mut dyn FnMut()| {
            run();
            0
        };
        Self { now, peak_of }
    }
}

/// The code of a fuzz target.
pub type Body = fn(&[u8], &Env);

/// Every target, by the name of its corpus.
pub const TARGETS: &[(&str, Body)] = &[
    ("msgappv2_decode", msgappv2_decode),
    ("message_decode", message_decode),
    ("framed", framed::adapters),
    ("msgappv2_encode", encode::msgappv2),
    ("message_encode", encode::message),
    ("raftpb_message", raftpb::message),
    ("raftpb_entry", raftpb::entry),
    ("raftpb_others", raftpb::others),
    ("http_request", http::request),
    ("http_response", http::response),
    ("http_body", http::body),
    ("server_connection", transport::server_connection),
    ("stream_receive", transport::stream_receive),
];

fn msgappv2_decode(input: &[u8], env: &Env) {
    decode::stream(Stream::MsgAppV2, input, env);
}

fn message_decode(input: &[u8], env: &Env) {
    decode::stream(Stream::Message, input, env);
}

/// Runs the target `name`.
///
/// # Panics
///
/// If a property does not hold, or there is no such target.
pub fn run(name: &str, input: &[u8], env: &Env) {
    let body = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, body) = body.unwrap_or_else(|| panic!("no fuzz target {name}"));
    body(input, env);
}
