//! The targets of HTTP's heads and bodies.
//!
//! Input of a head's target: two bytes of choices (limits; the request that is answered, and how
//! further bytes arrive), then the head. Asserted of it:
//!
//! - it is found whole, or wrong, at one byte, and further ones do not change that;
//! - the naive reader finds the same, at the same byte;
//! - written again it is read as the same head, and says the same of its body;
//! - memory stays below `head_peak_max`.
//!
//! Input of a body's: two bytes of choices (how it is framed; how it arrives), then the body.
//! Asserted of it:
//!
//! - payload and end are the same whole, byte by byte and in pieces of any sizes, and steps consume
//!   exactly the input;
//! - the naive decoder finds the same, at the same byte;
//! - its payload in other chunks is the same payload;
//! - nothing is allocated.

pub mod naive;

use super::Env;
use super::input::Input;
use crate::http::{
    Body, BodyError, BodyErrorKind, CHUNK_END, CHUNK_HEAD_BYTES_MAX, HeadError, HeadLimits,
    LAST_CHUNK, RequestHead, ResponseHead, Step, chunk_head,
};
use naive::Decoded;
use std::fmt::Debug;

/// Every prefix is tried up to here; beyond, some are.
const PREFIXES: usize = 64;

/// The most memory a head of `bytes` may take: its text once; for each header there may be, what
/// httparse puts it in (32), and a list that grows by doubling (32 x 3); and an error's search.
fn head_peak_max(bytes: &[u8], limits: &HeadLimits) -> usize {
    let headers = limits.headers_max.min(bytes.len() / 4);
    bytes.len() + headers * (2 * 32 + 3 * 32) + 256
}

fn limits(input: &mut Input<'_>) -> HeadLimits {
    match input.byte() % 4 {
        0 => HeadLimits::default(),
        1 => HeadLimits::default().bytes_max(64).headers_max(2),
        2 => HeadLimits::default().headers_max(0),
        _ => HeadLimits::default().bytes_max(usize::MAX).headers_max(usize::MAX),
    }
}

type Parsed<H> = Result<Option<(H, usize)>, HeadError>;

/// Reads the head, having asserted what holds for either kind.
fn head<H: Debug + PartialEq>(
    bytes: &[u8],
    limits: &HeadLimits,
    cuts: impl Iterator<Item = usize>,
    env: &Env,
    parse: fn(&[u8], &HeadLimits) -> Parsed<H>,
    naive: fn(&[u8], &HeadLimits) -> Parsed<H>,
    write: fn(&H, &mut Vec<u8>) -> Result<(), HeadError>,
) -> Option<H> {
    let whole = parse(bytes, limits);
    assert_eq!(whole, naive(bytes, limits), "ours, the naive reader's");

    let mut known = None;
    let every = 0..=bytes.len().min(PREFIXES);
    let some = cuts.scan(PREFIXES, |end, size| {
        *end += size;
        (*end <= bytes.len()).then_some(*end)
    });
    for end in every.chain(some).chain([bytes.len()]) {
        let found = parse(&bytes[..end], limits);
        match &known {
            Some(known) => assert_eq!(&found, known, "{end} bytes, fewer"),
            None if found != Ok(None) => known = Some(found),
            None => {}
        }
    }
    assert_eq!(known.unwrap_or(Ok(None)), whole, "a prefix, all");

    let peak = (env.peak_of)(&mut || drop(parse(bytes, limits)));
    let max = head_peak_max(bytes, limits);
    assert!(peak <= max, "{peak} bytes allocated for {}, {max} at most", bytes.len());

    let (head, len) = match whole {
        Ok(Some(whole)) => whole,
        Ok(None) => {
            assert!(bytes.len() < limits.bytes_max, "no head is longer");
            return None;
        }
        Err(error) => {
            assert!(error.offset <= bytes.len().min(limits.bytes_max), "{error}");
            return None;
        }
    };
    assert!(len <= bytes.len().min(limits.bytes_max));
    let mut written = b"before".to_vec();
    write(&head, &mut written).expect("what was read can be written");
    let written = &written["before".len()..];
    // A space behind a colon may be one more than there was.
    let limits = HeadLimits::default().bytes_max(usize::MAX).headers_max(usize::MAX);
    let again = parse(written, &limits).expect("what was written can be read");
    let (again, again_len) = again.expect("it is whole");
    assert_eq!((&again, again_len), (&head, written.len()), "read, written and read again");
    Some(head)
}

/// What a head says of its body lies in one of its headers, if it says nothing good.
fn points_at_a_header(body: &Result<Body, HeadError>, written: &[u8]) {
    if let Err(error) = body {
        let line = &written[error.offset..];
        let is = |name: &str| {
            let start = line.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
        };
        assert!(is("Content-Length: ") || is("Transfer-Encoding: "), "{error}");
    }
}

pub(super) fn request(input: &[u8], env: &Env) {
    let mut input = Input(input);
    let (limits, cuts) = (limits(&mut input), input.sizes());
    let (parse, naive) = (RequestHead::parse, naive::request);
    if let Some(head) = head(input.rest(), &limits, cuts, env, parse, naive, RequestHead::write) {
        let mut written = Vec::new();
        head.write(&mut written).expect("it was written before");
        points_at_a_header(&head.body(), &written);
        let _ = head.keeps_alive();
    }
}

pub(super) fn response(input: &[u8], env: &Env) {
    let mut input = Input(input);
    let (limits, cuts) = (limits(&mut input), input.sizes());
    let (parse, naive) = (ResponseHead::parse, naive::response);
    if let Some(head) = head(input.rest(), &limits, cuts, env, parse, naive, ResponseHead::write) {
        let mut written = Vec::new();
        head.write(&mut written).expect("it was written before");
        let body = head.body("GET");
        points_at_a_header(&body, &written);
        let none = body.map(|_| Body::none());
        assert_eq!(head.body("HEAD"), none, "nothing answers HEAD");
        let _ = head.keeps_alive();
    }
}

/// What came of a body whose connection was then closed: its payload, how many bytes it took, and
/// how it ended.
#[derive(Debug, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "private")]
pub struct Outcome {
    /// The payload.
    pub payload: Vec<u8>,
    /// How many bytes were consumed.
    pub consumed: usize,
    /// What [`Body::finish`] said.
    pub end: Result<(), BodyError>,
}

/// Takes the payload out of a body that arrives in pieces of these `sizes`.
///
/// # Panics
///
/// If a step does not keep what it promises.
#[must_use]
pub fn decode(mut body: Body, bytes: &[u8], mut sizes: impl Iterator<Item = usize>) -> Outcome {
    let mut payload = Vec::new();
    let end = steps(&mut body, bytes, &mut sizes, |bytes| payload.extend_from_slice(bytes));
    let consumed = end.consumed;
    if end.error.is_none() && !body.is_over() {
        assert_eq!(consumed, bytes.len(), "all was consumed");
    }
    Outcome { payload, consumed, end: body.finish() }
}

struct End {
    consumed: usize,
    error: Option<BodyError>,
}

fn steps(
    body: &mut Body,
    bytes: &[u8],
    sizes: &mut impl Iterator<Item = usize>,
    mut take: impl FnMut(&[u8]),
) -> End {
    let (mut arrived, mut consumed) = (0, 0);
    let mut was_framing = false;
    loop {
        let raw = &bytes[consumed..arrived];
        let was_over = body.is_over();
        let step = match body.step(raw) {
            Ok(step) => step,
            Err(error) => {
                assert_eq!(body.step(raw), Err(error), "an error stays");
                assert_eq!(body.finish(), Err(error));
                let at = usize::try_from(error.offset).expect("it is one of the input's");
                assert!((consumed..arrived).contains(&at), "{error} in {consumed}..{arrived}");
                return End { consumed, error: Some(error) };
            }
        };
        assert_eq!(was_over, step == Some(Step::End));
        match step {
            None => {
                assert!(raw.is_empty(), "something is consumed of what is there");
                if arrived == bytes.len() {
                    return End { consumed, error: None };
                }
                let size = sizes.next().unwrap_or(usize::MAX);
                arrived = arrived.saturating_add(size).min(bytes.len());
                was_framing = false;
            }
            Some(Step::Framing(count)) => {
                assert!((1..=raw.len()).contains(&count) && !was_framing, "framing comes at once");
                consumed += count;
                was_framing = true;
            }
            Some(Step::Payload(count)) => {
                assert!((1..=raw.len()).contains(&count));
                take(&raw[..count]);
                consumed += count;
                was_framing = false;
            }
            Some(Step::End) => return End { consumed, error: None },
        }
    }
}

/// Puts `payload` in chunks of these `sizes`.
#[must_use]
pub fn chunked(mut payload: &[u8], mut sizes: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut out = Vec::new();
    while !payload.is_empty() {
        let size = sizes.next().unwrap_or(usize::MAX).clamp(1, payload.len());
        let (chunk, rest) = payload.split_at(size);
        let mut room = [0; CHUNK_HEAD_BYTES_MAX];
        let start = chunk_head(u32::try_from(size).unwrap_or(u32::MAX), &mut room);
        out.extend_from_slice(&room[start..]);
        out.extend_from_slice(chunk);
        out.extend_from_slice(CHUNK_END);
        payload = rest;
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

/// What [`decode`] is to return for a body in chunks.
#[must_use]
pub fn expected(raw: &[u8]) -> Outcome {
    let Decoded { payload, end } = naive::chunked(raw);
    let truncated = BodyError { kind: BodyErrorKind::Truncated, offset: raw.len() as u64 };
    let (consumed, end) = match end {
        Ok(Some(len)) => (len, Ok(())),
        Ok(None) => (raw.len(), Err(truncated)),
        // What is good before it is consumed in one step with it, or before.
        Err(error) => (0, Err(error)),
    };
    Outcome { payload, consumed, end }
}

impl Outcome {
    /// Leaves out what depends on how bytes arrived: how many of those in front of one that is wrong
    /// were consumed before it was found.
    #[must_use]
    pub fn independent(self) -> Self {
        let is_wrong = matches!(self.end, Err(error) if error.kind != BodyErrorKind::Truncated);
        Self { consumed: if is_wrong { 0 } else { self.consumed }, ..self }
    }
}

pub(super) fn body(input: &[u8], env: &Env) {
    let mut input = Input(input);
    let framing = input.byte();
    let cuts = input.sizes();
    let body = match framing {
        0..0xc0 => Body::chunked(),
        0xc0 => Body::none(),
        0xc1 => Body::until_close(),
        0xc2 => Body::length(input.number()),
        _ => Body::length((framing - 0xc3).into()),
    };
    let bytes = input.rest();

    let whole = decode(body.clone(), bytes, std::iter::empty()).independent();
    let bytewise = decode(body.clone(), bytes, std::iter::repeat(1)).independent();
    assert_eq!(whole, bytewise, "whole, byte by byte");
    let pieces = decode(body.clone(), bytes, cuts.clone()).independent();
    assert_eq!(whole, pieces, "whole, in pieces");
    if framing < 0xc0 {
        assert_eq!(whole, expected(bytes), "ours, the naive decoder's");
    } else {
        assert_eq!(whole.payload, bytes[..whole.consumed], "it is not framed");
    }

    let peak = (env.peak_of)(&mut || {
        steps(&mut body.clone(), bytes, &mut cuts.clone(), |_| {});
    });
    assert_eq!(peak, 0, "nothing is allocated");

    let again = chunked(&whole.payload, cuts.clone());
    let decoded = decode(Body::chunked(), &again, cuts);
    let same = Outcome { consumed: again.len(), end: Ok(()), payload: whole.payload };
    assert_eq!(decoded, same, "in other chunks");
}
