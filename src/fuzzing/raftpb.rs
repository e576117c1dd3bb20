//! The targets of the messages by themselves, each against what prost generates from the same file.
//!
//! Input: the message; of `raftpb_others` a byte first that says which. Asserted of it:
//!
//! - prost takes it or does not, as we do, and reads the same message, but for what
//!   [`may_differ`] lists;
//! - in each dialect it is encoded to the bytes prost writes of the fields that dialect writes, and
//!   those decode to what the dialect carries of it.

use super::expected::written;
use super::input::Input;
use super::{Env, naive};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::raftpb::{
    ConfChange, ConfChangeV2, ConfState, Dialect, Entry, HardState, Message, MessageType, Snapshot,
    Wire, plain,
};
use bytes::Bytes;
use std::fmt::Debug;

/// Whether we and prost may differ here: we found `error` or nothing, and prost that it is `too_deep`
/// or not.
///
/// - We bound the responses of a message and the ids of a conf state
///   ([`RESPONSES_MAX`](crate::raftpb::RESPONSES_MAX),
///   [`CONF_STATE_IDS_MAX`](crate::raftpb::CONF_STATE_IDS_MAX)): each costs far more in memory than
///   on the wire.
/// - To prost an unknown field is a level of nesting as a message is, so that it takes none on the
///   last level. We count messages and groups.
pub(super) fn may_differ(error: Option<&DecodeError>, too_deep: bool) -> bool {
    let bounded = error.is_some_and(|error| {
        matches!(error.kind, DecodeErrorKind::Limit { .. })
            && (error.field == "Message.responses" || error.field.starts_with("ConfState."))
    });
    bounded || too_deep
}

/// prost has no kinds of errors.
pub(super) fn is_too_deep(error: &prost::DecodeError) -> bool {
    error.to_string().contains("recursion limit")
}

/// Compares with prost's `P`. `plain` gives the fields that a dialect writes, `carried` what is left
/// after them.
fn compare<T, P>(input: &[u8], plain: impl Fn(&T, Dialect) -> P, carried: impl Fn(&T, Dialect) -> T)
where
    T: Wire + Debug + PartialEq,
    P: prost::Message + Default + Into<T>,
{
    let bytes = Bytes::copy_from_slice(input);
    let ours = T::decode(&bytes);
    let theirs = P::decode(input);
    let message = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs.into(), "ours, prost's");
            ours
        }
        (Err(error), Err(_)) => {
            assert!(error.offset <= input.len() as u64);
            return;
        }
        (ours, theirs) => {
            let too_deep = theirs.as_ref().is_err_and(is_too_deep);
            let theirs = theirs.map(Into::<T>::into);
            assert!(may_differ(ours.as_ref().err(), too_deep), "{ours:?}, prost {theirs:?}");
            return;
        }
    };
    for dialect in Dialect::ALL {
        let encoded = message.encode(dialect);
        let expected = plain(&message, dialect).encode_to_vec();
        assert_eq!(encoded, expected, "ours, prost's in {dialect:?}");
        let again = T::decode(&encoded.into());
        assert_eq!(again.as_ref(), Ok(&carried(&message, dialect)), "{dialect:?}");
    }
}

fn same<T: Clone>(message: &T, _dialect: Dialect) -> T {
    message.clone()
}

pub(super) fn message(input: &[u8], _env: &Env) {
    compare::<Message, plain::Message>(input, naive::plain_message, written);
}

pub(super) fn entry(input: &[u8], _env: &Env) {
    // By itself an entry is one of the log, unless nothing is set.
    let plain = |entry: &Entry, dialect| {
        let bare = *entry == Entry::default();
        let of = if bare { MessageType::PROP } else { MessageType::APP };
        naive::plain_entry(entry, dialect, of)
    };
    compare::<Entry, plain::Entry>(input, plain, same);
}

pub(super) fn others(input: &[u8], _env: &Env) {
    let mut input = Input(input);
    let which = input.byte() % 5;
    let rest = input.rest();
    match which {
        0 => compare::<Snapshot, plain::Snapshot>(rest, naive::plain_snapshot, same),
        1 => compare::<ConfState, plain::ConfState>(rest, naive::plain_conf_state, same),
        2 => compare::<HardState, plain::HardState>(rest, naive::plain_hard_state, same),
        3 => compare::<ConfChange, plain::ConfChange>(rest, naive::plain_conf_change, same),
        _ => compare::<ConfChangeV2, plain::ConfChangeV2>(rest, naive::plain_conf_change_v2, same),
    }
}
