//! The messages that were not delivered: counted where they are lost, told to the embedder later
//! and elsewhere.
//!
//! `send` may be called with the embedder's locks held, so it never calls the embedder back. It
//! counts, and a task of the transport reports: once for each class and reason, with how many.

use super::{Class, MemberId};
use crate::error::EncodeError;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Why messages were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue of the stream was full, in messages or in bytes: the peer, or the way to it, is too
    /// slow.
    QueueFull,
    /// The peer has no stream open to this member.
    NoStream,
    /// The stream was closed with the messages queued or not wholly written. Those last written may
    /// have arrived all the same.
    StreamClosed,
    /// No stream carries them, only etcd's own requests for snapshots, which are not here yet: a
    /// `MsgSnap`, unless [`Snapshots::Stream`](super::Snapshots::Stream) is chosen.
    NoPipeline,
    /// The encoder refused them: they are larger than the limits, or are none that the stream can
    /// carry.
    Refused,
}

impl DropReason {
    const ALL: [Self; 5] =
        [Self::QueueFull, Self::NoStream, Self::StreamClosed, Self::NoPipeline, Self::Refused];

    /// Returns its name, as in `queue full`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue full",
            Self::NoStream => "no stream",
            Self::StreamClosed => "stream closed",
            Self::NoPipeline => "no pipeline",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Messages to one peer that were dropped since the last report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Whom they were for.
    pub peer: MemberId,
    /// What they were about.
    pub class: Class,
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub count: u64,
    /// What the encoder had against the last that was [refused](DropReason::Refused).
    pub refusal: Option<EncodeError>,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, class, reason, count, refusal } = self;
        write!(f, "dropped {count} {class} messages to {peer}: {reason}")?;
        match refusal {
            Some(refusal) => write!(f, ": {refusal}"),
            None => Ok(()),
        }
    }
}

/// How many messages of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u32; Class::ALL.len()]);

impl Counts {
    #[inline]
    pub(crate) fn add(&mut self, class: Class) {
        self.0[class as usize] += 1;
    }

    pub(crate) fn total(&self) -> usize {
        self.0.iter().map(|&count| count as usize).sum()
    }

    fn iter(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.into_iter().zip(self.0).map(|(class, count)| (class, u64::from(count)))
    }
}

const CELLS: usize = Class::ALL.len() * DropReason::ALL.len();

/// The drops of one peer.
#[derive(Debug)]
pub(crate) struct Ledger {
    unreported: [AtomicU64; CELLS],
    total: AtomicU64,
    last_refusal: Mutex<Option<EncodeError>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            unreported: std::array::from_fn(|_| AtomicU64::new(0)),
            total: AtomicU64::new(0),
            last_refusal: Mutex::new(None),
        }
    }
}

impl Ledger {
    pub(crate) fn add(&self, class: Class, reason: DropReason, count: u64) {
        if count > 0 {
            let cell = class as usize * DropReason::ALL.len() + reason as usize;
            self.unreported[cell].fetch_add(count, Ordering::Relaxed);
            self.total.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Counts a message the encoder refused.
    pub(crate) fn add_refused(&self, class: Class, refusal: EncodeError) {
        *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        self.add(class, DropReason::Refused, 1);
    }

    pub(crate) fn add_all(&self, counts: &Counts, reason: DropReason) {
        for (class, count) in counts.iter() {
            self.add(class, reason, count);
        }
    }

    /// How many were dropped since the peer was added.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Takes what was not reported yet.
    pub(crate) fn report(&self, peer: MemberId, mut report: impl FnMut(&Dropped)) {
        for class in Class::ALL {
            for reason in DropReason::ALL {
                let cell = class as usize * DropReason::ALL.len() + reason as usize;
                let count = self.unreported[cell].swap(0, Ordering::Relaxed);
                if count > 0 {
                    let refusal = match reason {
                        DropReason::Refused => {
                            *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner)
                        }
                        _ => None,
                    };
                    report(&Dropped { peer, class, reason, count, refusal });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_each_class_and_reason_once_with_its_count() {
        let ledger = Ledger::default();
        let mut counts = Counts::default();
        for class in [Class::Append, Class::Append, Class::Other] {
            counts.add(class);
        }
        assert_eq!(counts.total(), 3);
        ledger.add_all(&counts, DropReason::StreamClosed);
        ledger.add(Class::Append, DropReason::StreamClosed, 5);
        ledger.add(Class::Append, DropReason::QueueFull, 1);

        let mut reports = Vec::new();
        ledger.report(MemberId(2), |dropped| {
            reports.push((dropped.class, dropped.reason, dropped.count))
        });
        assert_eq!(
            reports,
            [
                (Class::Append, DropReason::QueueFull, 1),
                (Class::Append, DropReason::StreamClosed, 7),
                (Class::Other, DropReason::StreamClosed, 1),
            ]
        );
        ledger.report(MemberId(2), |dropped| panic!("{dropped} again"));
        assert_eq!(ledger.total(), 9);
    }
}
