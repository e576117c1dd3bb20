//! What must become of a log that was damaged: the table in `raftwire_etcd::wal`, once more, as
//! plainly as it can be written, over whole files in memory. It shares nothing with the reader but
//! the decoders of raft's messages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(dead_code, reason = "each test binary uses a part of this")]

use bytes::Bytes;
use raftwire::raftpb::{Entry, HardState, Wire};
use std::ops::ControlFlow;

/// What must become of a log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Opens {
        entries: Vec<Entry>,
        hard_state: HardState,
        /// Where the last segment ends, and whether a torn record is cut off there.
        end: usize,
        torn: bool,
    },
    /// Refused, in this segment at this offset, or for what is missing in the end.
    Refused(Option<(usize, usize)>),
}

struct Log {
    metadata: Option<Vec<u8>>,
    entries: Vec<Entry>,
    hard_state: HardState,
    met: bool,
    crc: u32,
}

/// What stands at an offset.
enum Found {
    Nothing,
    Frame { kind: u64, crc: u32, data: Vec<u8>, next: usize },
    Torn,
    Refused,
}

/// Reads the segments from the origin on.
pub(crate) fn verdict(segments: &[Vec<u8>]) -> Verdict {
    let mut log = Log {
        metadata: None,
        entries: Vec::new(),
        hard_state: HardState::default(),
        met: false,
        crc: 0,
    };
    for (number, segment) in segments.iter().enumerate() {
        let is_last = number + 1 == segments.len();
        let mut at = 0;
        loop {
            let refused = Verdict::Refused(Some((number, at)));
            match find(segment, at, log.crc, is_last) {
                Found::Refused => return refused,
                Found::Frame { kind, crc, data, next } => {
                    if log.take(kind, crc, data).is_break() {
                        return refused;
                    }
                    at = next;
                    continue;
                }
                Found::Nothing if !is_last => break,
                end @ (Found::Nothing | Found::Torn) => {
                    if !log.met || log.metadata.is_none() {
                        return Verdict::Refused(None);
                    }
                    let torn = matches!(end, Found::Torn);
                    let Log { entries, hard_state, .. } = log;
                    return Verdict::Opens { entries, hard_state, end: at, torn };
                }
            }
        }
    }
    unreachable!("there is a last segment")
}

fn find(segment: &[u8], at: usize, running: u32, is_last: bool) -> Found {
    let rest = &segment[at..];
    let short = || if is_last { Found::Torn } else { Found::Refused };
    if rest.is_empty() {
        return Found::Nothing;
    }
    if rest.len() < 8 {
        return short();
    }
    if rest[..8] == [0; 8] {
        return Found::Nothing;
    }
    let mut length = [0; 8];
    length[..7].copy_from_slice(&rest[..7]);
    let record = usize::try_from(u64::from_le_bytes(length)).unwrap();
    let padding = if rest[7] >= 0x80 { usize::from(rest[7] % 8) } else { 0 };
    if 8 + record + padding > rest.len() {
        return short();
    }
    let next = at + 8 + record + padding;
    let damaged = || {
        let body = at + 8..next;
        let sectors =
            (0..segment.len().div_ceil(512)).map(|sector| sector * 512..sector * 512 + 512);
        let zero = sectors
            .map(|sector| sector.start.max(body.start)..sector.end.min(body.end))
            .any(|part| !part.is_empty() && segment[part].iter().all(|byte| *byte == 0));
        if is_last && zero { Found::Torn } else { Found::Refused }
    };
    let Some((kind, crc, data)) = fields(&segment[at + 8..at + 8 + record]) else {
        return damaged();
    };
    if kind != 4 && crc32c::crc32c_append(running, &data) != crc {
        return damaged();
    }
    Found::Frame { kind, crc, data, next }
}

/// The three fields of a record.
fn fields(mut bytes: &[u8]) -> Option<(u64, u32, Vec<u8>)> {
    let (mut kind, mut crc, mut data) = (0, 0, Vec::new());
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match (key >> 3, key & 7) {
            (1, 0) => kind = varint(&mut bytes)?,
            (2, 0) => crc = u32::try_from(varint(&mut bytes)? & 0xffff_ffff).unwrap(),
            (3, 2) => data = delimited(&mut bytes)?.to_vec(),
            (1..=3, _) | (0, _) => return None,
            (number, wire) if number < 1 << 29 => skip(&mut bytes, number, wire, 0)?,
            _ => return None,
        }
    }
    Some((kind, crc, data))
}

fn skip(bytes: &mut &[u8], number: u64, wire: u64, depth: usize) -> Option<()> {
    match wire {
        0 => varint(bytes).map(|_| ()),
        1 => bytes.split_off(..8).map(|_| ()),
        2 => delimited(bytes).map(|_| ()),
        3 if depth < 99 => loop {
            let key = varint(bytes)?;
            match (key >> 3, key & 7) {
                (0, _) | (_, 6..) => return None,
                (inner, _) if inner >= 1 << 29 => return None,
                (inner, 4) => return (inner == number).then_some(()),
                (inner, wire) => skip(bytes, inner, wire, depth + 1)?,
            }
        },
        5 => bytes.split_off(..4).map(|_| ()),
        _ => None,
    }
}

fn delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(varint(bytes)?).ok()?;
    if len > bytes.len() { None } else { bytes.split_off(..len) }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

impl Log {
    fn take(&mut self, kind: u64, crc: u32, data: Vec<u8>) -> ControlFlow<()> {
        const OK: ControlFlow<()> = ControlFlow::Continue(());
        const NO: ControlFlow<()> = ControlFlow::Break(());
        if kind == 4 && self.crc != 0 && self.crc != crc {
            return NO;
        }
        self.crc = crc;
        match kind {
            4 => OK,
            1 => {
                let same = self.metadata.get_or_insert_with(|| data.clone()) == &data;
                let well_formed = two_numbers(&data).is_some();
                if same && well_formed { OK } else { NO }
            }
            2 => {
                let Ok(entry) = Entry::decode(&Bytes::from(data)) else { return NO };
                if entry.index > self.entries.len() as u64 + 1 {
                    return NO;
                }
                if entry.index > 0 {
                    self.entries.truncate(usize::try_from(entry.index).unwrap() - 1);
                    self.entries.push(entry);
                }
                OK
            }
            3 => match HardState::decode(&Bytes::from(data)) {
                Ok(state) => {
                    self.hard_state = state;
                    OK
                }
                Err(_) => NO,
            },
            5 => match two_numbers(&data) {
                Some((0, term)) if term > 0 => NO,
                Some((index, _)) => {
                    self.met |= index == 0;
                    OK
                }
                None => NO,
            },
            _ => NO,
        }
    }
}

/// Fields 1 and 2 of a message in which field 3, if it is there, is one that is well formed.
fn two_numbers(mut bytes: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = (0, 0);
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match (key >> 3, key & 7) {
            (1, 0) => numbers.0 = varint(&mut bytes)?,
            (2, 0) => numbers.1 = varint(&mut bytes)?,
            (1 | 2, _) | (0, _) => return None,
            (3, 2) => drop(delimited(&mut bytes)?),
            (number, wire) if number < 1 << 29 => skip(&mut bytes, number, wire, 0)?,
            _ => return None,
        }
    }
    Some(numbers)
}
