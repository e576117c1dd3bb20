//! An AppEntries frame of which the count, and perhaps some entries, are parsed. What the entries must
//! be, and when the frame is whole, is `decoder.rs`'s.

use crate::buf::{Carve, Charge, Lists};
use crate::codec::Deviations;
use crate::codec::decoder::{LENGTH_BYTES, LIST_BYTES_UNCHARGED};
use crate::raftpb::{EntryType, Expected, RaftMessage, RawEntry, Span};
use bytes::Bytes;

/// An AppEntries frame of which the count, and perhaps some entries, are parsed.
pub(super) struct Partial<E> {
    /// Entries still to come.
    pub(super) left: usize,
    pub(super) entries: Vec<E>,
    /// The next entry's index.
    pub(super) next: u64,
    charge: Option<Charge>,
    pub(super) deviations: Deviations,
}

impl<E> Partial<E> {
    pub(super) fn new(left: usize, next: u64, deviations: Deviations) -> Self {
        Self { left, entries: Vec::new(), next, charge: None, deviations }
    }

    /// Takes up to `whole` entries at `at` of `run`, as long as they look as expected. Returns where
    /// the next one begins, and how many were taken.
    #[inline(never)]
    pub(super) fn take_expected<M: RaftMessage<Entry = E>>(
        &mut self,
        expected: &mut Expected,
        run: &mut Bytes,
        mut at: usize,
        whole: usize,
        carve: &mut Carve,
    ) -> (usize, usize) {
        // Where the block is mostly payload, as here it nearly always is, nothing is copied out.
        let shares_all = carve.shares_all(run.len());
        let mut shared_bytes = 0;
        let mut last_bytes = 0;
        let mut taken = 0;
        while taken < whole
            && let Some(span) = expected.data(run, at)
        {
            let raw = RawEntry {
                entry_type: EntryType::NORMAL,
                term: expected.term(),
                index: expected.index(),
                data: Some(span),
            };
            let end = span.end;
            let whole_entry = Span { start: at + LENGTH_BYTES, end };
            self.entries.push(raw.make::<M>(whole_entry, true, |span| {
                if taken + 1 == whole {
                    last_bytes = end - at;
                    carve.shared_bytes += std::mem::take(&mut shared_bytes);
                    carve.last_payload(std::mem::take(run), span)
                } else if shares_all {
                    shared_bytes += span.len();
                    run.slice(span.start..span.end)
                } else {
                    carve.payload(run, span)
                }
            }));
            at = end;
            taken += 1;
            if !expected.advance() {
                break;
            }
        }
        carve.shared_bytes += shared_bytes;
        if last_bytes > 0 {
            carve.item(last_bytes);
        }
        self.next = self.next.wrapping_add(taken as u64);
        (at, taken)
    }

    /// Counts a list of `count` entries against the budget. `false`: there is no room for it.
    fn charge_for(&mut self, count: usize, carve: &Carve) -> bool {
        let bytes = count * size_of::<E>();
        if bytes < LIST_BYTES_UNCHARGED {
            return true;
        }
        match &mut self.charge {
            Some(charge) => charge.grow(bytes),
            none => {
                *none = Charge::new(&carve.pool, bytes);
                none.is_some()
            }
        }
    }

    /// Makes room for `count` more entries, all of which have arrived.
    #[inline]
    pub(super) fn make_room(
        &mut self,
        count: usize,
        carve: &mut Carve,
        lists: &Lists<E>,
    ) -> Result<(), ()> {
        let wanted = self.entries.len() + count;
        if wanted <= self.entries.capacity() {
            return Ok(());
        }
        // More than the announced entries will not come.
        let most = self.entries.len().saturating_add(self.left);
        let doubled = wanted.max((2 * self.entries.capacity()).min(most));
        let wanted = if self.charge_for(doubled, carve) {
            doubled
        } else if self.charge_for(wanted, carve) {
            wanted
        } else {
            let bytes = wanted * size_of::<E>();
            let charged = self.charge.as_ref().map_or(0, Charge::bytes);
            let can_ever = bytes <= carve.pool.config().budget_bytes;
            carve.wants_list_bytes = if can_ever { bytes - charged } else { bytes };
            return Err(());
        };
        if self.entries.capacity() == 0 {
            self.entries = lists.take(wanted);
        } else {
            self.entries.reserve_exact(wanted - self.entries.len());
        }
        Ok(())
    }
}
