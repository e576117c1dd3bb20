//! Control messages: the answers, heartbeats and votes that hold numbers and at most a context. Each
//! append is answered by one, so they are read and written in one pass, in place.
//!
//! Read here is what encoders write: each field at most once, in the order of their numbers. Any
//! other message, and whatever is malformed, is left to the reader in `decode.rs`, which starts over.

use super::decode::{NO_SNAPSHOT, enum_number};
use super::encode::{SCALARS_ROOM, Scalars};
use super::read::{Span, read_long_varint};
use super::varint::{VARINT_BYTES_MAX, put_varint};
use super::{Dialect, Head, MessageType};
use bytes::Bytes;

/// A control message whose context has not been cut out yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub(crate) head: Head,
    pub(crate) context: Option<Span>,
}

/// Reads the message that `frame` holds behind its first `prefix` bytes. `None`: it is none, or not
/// as encoders write it.
#[inline]
pub(crate) fn read_control(frame: &[u8], prefix: usize) -> Option<Control> {
    let mut rest = frame.get(prefix..)?;
    let mut head = Head {
        message_type: MessageType(enum_number(number(&mut rest, 0x08)?)),
        to: number(&mut rest, 0x10)?,
        from: number(&mut rest, 0x18)?,
        term: number(&mut rest, 0x20)?,
        log_term: number(&mut rest, 0x28)?,
        index: number(&mut rest, 0x30)?,
        commit: number(&mut rest, 0x40)?,
        ..Head::default()
    };
    if let Some((field, behind)) = rest.split_first_chunk()
        && *field == NO_SNAPSHOT
    {
        // There is one in a MsgSnap, be it empty.
        if head.message_type == MessageType::SNAP {
            return None;
        }
        rest = behind;
    }
    head.reject = number(&mut rest, 0x50)? != 0;
    head.reject_hint = number(&mut rest, 0x58)?;
    let mut context = None;
    if let [0x62, len, behind @ ..] = rest
        && *len < 0x80
    {
        let start = frame.len() - behind.len();
        rest = behind.get(usize::from(*len)..)?;
        context = Some(Span { start, end: frame.len() - rest.len() });
    }
    head.vote = number(&mut rest, 0x68)?;
    rest.is_empty().then_some(Control { head, context })
}

/// Takes the field that begins with `key` off the front of `rest`. If there is none it is 0. `None`:
/// it is malformed.
#[inline(always)]
fn number(rest: &mut &[u8], key: u8) -> Option<u64> {
    match **rest {
        [first, value, ref behind @ ..] if first == key => {
            if value < 0x80 {
                *rest = behind;
                return Some(u64::from(value));
            }
            let (value, len) = read_long_varint(&rest[1..]);
            *rest = if len > 0 { rest.get(1 + len..)? } else { return None };
            Some(value)
        }
        _ => Some(0),
    }
}

/// How much room [`put_control`] wants, but for the context.
pub(crate) const CONTROL_ROOM: usize = 2 * SCALARS_ROOM + 1 + VARINT_BYTES_MAX;

/// Writes a control message to the front of `out`, which holds [`CONTROL_ROOM`] bytes and the
/// context's, and returns how many that took. `None`: it does not.
#[inline(always)]
pub(crate) fn put_control(
    head: &Head,
    context: Option<&Bytes>,
    dialect: Dialect,
    out: &mut [u8],
) -> Option<usize> {
    let blank = dialect == Dialect::V3_7
        && head.message_type == MessageType::default()
        && *head == Head::default()
        && context.is_none();
    let mut scalars = Scalars::new(out.first_chunk_mut()?, dialect, head, blank);
    scalars.put_before_entries(head);
    scalars.put_commit(head);
    scalars.put_no_snapshot();
    scalars.put_before_context(head);
    let Some(context) = context else {
        scalars.put_behind_context(head);
        return Some(scalars.take().len());
    };
    let mut at = scalars.take().len();
    out[at] = 0x62;
    at += 1 + put_varint(&mut out[at + 1..], context.len() as u64);
    out[at..at + context.len()].copy_from_slice(context);
    at += context.len();
    let mut scalars = Scalars::new(out[at..].first_chunk_mut()?, dialect, head, blank);
    scalars.put_behind_context(head);
    Some(at + scalars.take().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftpb::{Entry, Message, RaftMessage, Wire};

    const NUMBERS: [u64; 9] = [0, 1, 127, 128, 1 << 20, 1 << 28, (1 << 56) - 1, 1 << 56, u64::MAX];

    /// Messages of every type with every number, in every field.
    fn messages() -> impl Iterator<Item = Message> {
        let contexts = [None, Some(Bytes::new()), Some(Bytes::from(vec![7; 200]))];
        let kinds = (0..24).chain([-1, 1 << 20]).flat_map(|kind| [(kind, false), (kind, true)]);
        kinds.flat_map(move |(kind, reject)| {
            let contexts = contexts.clone();
            NUMBERS.iter().enumerate().flat_map(move |(shift, _)| {
                let number = move |field: usize| NUMBERS[(field * shift + shift) % NUMBERS.len()];
                contexts.clone().map(|context| Message {
                    message_type: MessageType(kind),
                    to: number(2),
                    from: number(3),
                    term: number(4),
                    log_term: number(5),
                    index: number(6),
                    commit: number(8),
                    reject,
                    reject_hint: number(11),
                    context,
                    vote: number(13),
                    ..Message::default()
                })
            })
        })
    }

    #[test]
    fn writes_what_is_written_piece_by_piece_and_reads_it() {
        for message in messages() {
            for dialect in Dialect::ALL {
                let expected = message.encode(dialect);
                let mut out = vec![0xee; CONTROL_ROOM + 200];
                let context = message.context.as_ref();
                let len = put_control(&message.head(), context, dialect, &mut out).unwrap();
                assert_eq!(out[..len], expected, "{dialect:?} {message:?}");

                let frame = [&[0xee; 3], &expected[..]].concat();
                let general = Message::decode(&expected.into()).unwrap();
                match read_control(&frame, 3) {
                    Some(control) => {
                        let context = control.context.map(|span| &frame[span.start..span.end]);
                        assert_eq!(control.head, general.head());
                        assert_eq!(context, general.context.as_deref());
                        assert!(general.snapshot.is_none());
                    }
                    None => {
                        let long = general.context.is_some_and(|context| context.len() > 127);
                        let snap = general.message_type == MessageType::SNAP;
                        assert!(long || (snap && dialect == Dialect::V3_4), "{message:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn leaves_everything_else_to_the_reader() {
        let right = [0x08, 4, 0x10, 1, 0x18, 2, 0x62, 1, 7];
        assert!(read_control(&right, 0).is_some());
        for cut in [1, 3, 5, 7, 8] {
            assert!(read_control(&right[..cut], 0).is_none(), "{cut}");
        }
        for wrong in [
            &[0x10, 1, 0x08, 4][..],
            &[0x08, 4, 0x08, 4],
            &[0x08, 4, 0x88, 0],
            &[0x09, 4],
            &[0x08, 4, 0x72, 0],
            &[0x08, 4, 0x4a, 0],
            &[0x08, 4, 0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2],
            &[0x08, 4, 0x10, 0x80, 0x80],
            &[0x08, 4, 0x62, 2, 0],
            &[0x08, 4, 0x62, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert!(read_control(wrong, 0).is_none(), "{wrong:x?}");
        }
        let message = Message { entries: vec![Entry::default()].into(), ..Message::default() };
        for dialect in Dialect::ALL {
            assert!(read_control(&message.encode(dialect), 0).is_none());
        }
    }
}
