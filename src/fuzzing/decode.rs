//! The targets of the two stream decoders.
//!
//! Input: [`stream_header_bytes`] bytes of choices, then the stream. Asserted of it:
//!
//! - what comes of it does not depend on how it is cut: frames, end, offset and state are the same
//!   whole, byte by byte, and in pieces of any sizes;
//! - frames tile the stream, and an error lies in what they leave;
//! - strict mode takes what as-etcd takes up to the first deviation, and reports none itself;
//! - the naive decoder takes the same frames, and sees the same end;
//! - what was decoded can be encoded in the chosen dialect, decodes to the same messages, and is
//!   then encoded to the same bytes;
//! - memory stays below [`peak_max`].

use super::codecs::{self, BLOCK_BYTES, Outcome, Stream};
use super::expected::carried;
use super::input::Input;
use super::naive::{self, End};
use super::{Env, raftpb};
use crate::buf::LISTS_MAX;
use crate::codec::{Config, Deviations, Frame, Limits, Mode};
use crate::error::{DecodeError, DecodeErrorKind as Kind};
use crate::raftpb::{Dialect, Entry, Message, RESPONSES_MAX};

/// What the header of an input of the stream targets says, a byte each: dialect, limits, whether
/// terms are checked, the two ids, and the sizes of the pieces.
const HEADER_BYTES: usize = 6;

/// How many bytes come before the stream in an input of the stream targets. Zeros mean the defaults.
#[must_use]
pub const fn stream_header_bytes() -> usize {
    HEADER_BYTES
}

/// The most memory a decoder may take for `bytes`, in bytes:
///
/// - 40 for each byte. The dearest bytes are those of entries that are absent: an entry of no bytes
///   is 2 in a message and 8 in an AppEntries frame, and 56 in memory, where a list that grows is
///   there twice (28, and 7 x 3). An id of a conf state is 1 and 8, in a list that grows by
///   doubling (8 x 3). Blocks double as well (3), and small payloads are copied (1). A byte is one
///   of these at a time, but for the last two.
/// - three messages for each response, in a list that grows by doubling: for each byte that can be
///   the key of one, since it takes two bytes to be a hundred times as large, and there are
///   [`RESPONSES_MAX`] at most.
/// - what there is without any input: two blocks, a store for lists that are ready, and 4 KiB for
///   the rest.
fn peak_max(bytes: &[u8]) -> usize {
    let keys = bytes.iter().filter(|byte| **byte & 0x7f == 14 << 3 | 2).count();
    let responses = 3 * size_of::<Message>() * keys.min(RESPONSES_MAX);
    // A list and its stamp.
    let store = LISTS_MAX * (size_of::<Vec<Entry>>() + size_of::<usize>());
    40 * bytes.len() + responses + 2 * BLOCK_BYTES + store + (4 << 10)
}

pub(super) fn config(input: &mut Input<'_>) -> Config {
    let dialect = input.dialect();
    let limits = input.limits();
    let check_entry_terms = input.byte() & 1 == 0;
    let (local, remote) = (input.byte(), input.byte());
    Config::default()
        .dialect(dialect)
        .limits(limits)
        .check_entry_terms(check_entry_terms)
        .local(local.into())
        .remote(remote.into())
}

pub(super) fn stream(stream: Stream, input: &[u8], env: &Env) {
    let mut input = Input(input);
    let config = config(&mut input);
    let cuts = input.sizes();
    let bytes = input.rest();

    let strict = independent_of_cuts(stream, &config, bytes, cuts, env);
    let lenient = config.clone().mode(Mode::AsEtcd);
    let cuts = Input(&bytes[..bytes.len().min(1)]).sizes();
    let etcd = independent_of_cuts(stream, &lenient, bytes, cuts, env);
    for outcome in [&strict, &etcd] {
        tiles(outcome, bytes);
    }
    compare_modes(&config, &strict, &etcd);
    compare_with_naive(stream, &lenient, &etcd, bytes);
    let lenient = lenient.limits(Limits::default());
    survives_encoding(stream, &lenient, &etcd, env);
    stays_small(stream, &lenient, bytes, env);
}

fn independent_of_cuts(
    stream: Stream,
    config: &Config,
    bytes: &[u8],
    cuts: impl Iterator<Item = usize>,
    env: &Env,
) -> Outcome {
    let whole = codecs::decode(stream, config, bytes, std::iter::empty(), env.now);
    let bytewise = codecs::decode(stream, config, bytes, std::iter::repeat(1), env.now);
    assert_eq!(whole, bytewise, "whole, byte by byte");
    let pieces = codecs::decode(stream, config, bytes, cuts, env.now);
    assert_eq!(whole, pieces, "whole, in pieces");
    whole
}

fn tiles(outcome: &Outcome, bytes: &[u8]) {
    let mut offset = 0;
    for frame in &outcome.frames {
        assert_eq!(frame.offset, offset, "frames lie one behind the other");
        offset += frame.len;
    }
    let len = bytes.len() as u64;
    match outcome.end {
        Ok(deviations) if deviations.is_empty() => {
            assert_eq!(offset, len, "all was decoded");
            assert_eq!(outcome.offset, offset);
        }
        Ok(_) => {
            assert!(offset < len, "a frame was begun");
            assert_eq!(outcome.offset, offset);
        }
        Err(error) => {
            assert!((offset..=len).contains(&error.offset), "{error} of {len} bytes");
        }
    }
}

/// Whether strict mode alone finds this.
fn is_strictness(error: &DecodeError) -> bool {
    matches!(
        error.kind,
        Kind::NotMsgApp(_) | Kind::EntryIndex { .. } | Kind::EntryTerm { .. } | Kind::IndexWrap
    )
}

fn compare_modes(config: &Config, strict: &Outcome, etcd: &Outcome) {
    let rejects = |found: Deviations| {
        found.names().any(|name| config.check_entry_terms || name != "entry-term")
    };
    let taken = etcd.frames.iter().take_while(|frame| !rejects(frame.deviations)).count();
    assert_eq!(strict.frames.len(), taken, "strict mode stops at the first deviation");
    for (strict, etcd) in strict.frames.iter().zip(&etcd.frames) {
        assert!(strict.deviations.is_empty(), "strict mode reports none");
        assert_eq!(strict.message, etcd.message);
        assert_eq!((strict.kind, strict.offset), (etcd.kind, etcd.offset));
    }
    match (strict.end, etcd.end) {
        (Ok(found), etcd) => {
            assert!(found.is_empty(), "strict mode reports none");
            assert_eq!(etcd, Ok(found));
        }
        (Err(error), etcd) if !is_strictness(&error) => {
            let between = error.kind == Kind::Truncated && etcd.is_ok();
            assert!(etcd == Err(error) || between, "{error}, {etcd:?}");
        }
        (Err(_), etcd_end) => {
            let later = taken < etcd.frames.len();
            assert!(later || etcd_end != Ok(Deviations::default()), "strict without a reason");
        }
    }
}

fn compare_with_naive(stream: Stream, config: &Config, etcd: &Outcome, bytes: &[u8]) {
    let (local, remote) = (config.local, config.remote);
    let (frames, end) = naive::decode(stream, bytes, &config.limits, local, remote);
    for (ours, (kind, message)) in etcd.frames.iter().zip(&frames) {
        assert_eq!((ours.kind, &ours.message), (*kind, message));
    }
    let ours = match etcd.end {
        Ok(deviations) if deviations.is_empty() => End::Clean,
        Ok(_) => End::BetweenFields,
        Err(error) if error.kind == Kind::Truncated => End::InsideField,
        Err(_) => End::Malformed,
    };
    if (etcd.frames.len(), ours) == (frames.len(), end) {
        return;
    }
    let error = etcd.end.err();
    // Limits that limit nothing are lowered to what memory could hold; the oracle's are not.
    let lowered =
        |error: &DecodeError| matches!(error.kind, Kind::Limit { limit, .. } if limit >= 1 << 56);
    let lowered = error.as_ref().is_some_and(lowered) && etcd.frames.len() == frames.len();
    assert!(
        lowered || raftpb::may_differ(error.as_ref(), end == End::TooDeep),
        "{} frames and {:?}, naive {} frames and {end:?}",
        etcd.frames.len(),
        etcd.end,
        frames.len()
    );
}

fn survives_encoding(stream: Stream, config: &Config, etcd: &Outcome, env: &Env) {
    let messages = etcd.frames.iter().map(|frame| &frame.message);
    let (kinds, bytes) = codecs::encode(stream, config, messages);
    let again = codecs::decode(stream, config, &bytes, std::iter::empty(), env.now);
    assert_eq!(again.end, Ok(Deviations::default()));
    assert_eq!(again.frames.len(), etcd.frames.len());
    for ((frame, kind), first) in again.frames.iter().zip(kinds).zip(&etcd.frames) {
        assert_eq!(frame.kind, kind);
        let (local, remote) = (config.local, config.remote);
        let expected = carried(&first.message, kind, config.dialect, local, remote);
        assert_eq!(frame.message, expected);
    }
    // 3.7 writes the entries of a proposal otherwise than those of a MsgApp, and an AppEntries frame
    // makes a MsgApp of whatever it was.
    let retyped = |frame: &Frame<Message>| frame.deviations.contains(Deviations::NOT_MSG_APP);
    if config.dialect == Dialect::V3_7 && etcd.frames.iter().any(retyped) {
        return;
    }
    let messages = again.frames.iter().map(|frame| &frame.message);
    let (_, stable) = codecs::encode(stream, config, messages);
    assert_eq!(stable, bytes, "encoding what was decoded gives the same bytes");
}

fn stays_small(stream: Stream, config: &Config, bytes: &[u8], env: &Env) {
    for size in [bytes.len().max(1), 1] {
        let peak = (env.peak_of)(&mut || {
            let sizes = std::iter::repeat(size);
            codecs::decode_into(stream, config, bytes, sizes, env.now, drop);
        });
        let max = peak_max(bytes);
        assert!(peak <= max, "{peak} bytes for {} bytes, {max} at most", bytes.len());
    }
}
