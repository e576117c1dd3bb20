//! Whether a reader that has run dry looks again at once, or sleeps.
//!
//! To be woken on a sleeping core takes 20 to 50 µs, and costs about 30 µs of CPU, the sender's part
//! included. So where what is awaited nearly always comes within that time it is cheaper, not only
//! faster, to look; where it does not it is a waste. Which of the two it is shows in the gaps before:
//! [`Polling::Adaptive`] looks after some short gaps in a row, and stops when it looked in vain, or
//! longer than it pays; each time it is slower to try again.

use crate::transport::Polling;
use std::time::Duration;
use tokio::time::Instant;

/// For how long an adaptive reader looks. The first time the peer still sleeps, and answers the later
/// for it: what comes then takes two to three times what it takes once both look.
const LOOK_MAX: Duration = Duration::from_micros(100);

/// How long it may look on the average: what it would cost to sleep and be woken.
const LOOK_PAYS: Duration = Duration::from_micros(30);

/// A gap slept through contains that wake-up, and the peer's too.
const SHORT_GAP: Duration = Duration::from_micros(150);

/// How many short gaps in a row make it look, at first and after many vain looks.
const SHORT_GAPS_MIN: u32 = 8;
const SHORT_GAPS_MAX: u32 = 8192;

/// How many looks the average is taken of; if they paid, former vain ones are forgotten.
const LOOKS: u32 = 32;

/// No look is shorter than the 25 ns that make this many in [`LOOK_MAX`]: more of them in a row are on a
/// clock that stands still, as in tests.
const TRIES_MAX: u32 = 4096;

/// The state of one reader.
#[derive(Debug)]
pub(crate) struct Spin {
    polling: Polling,
    /// Since when there is nothing to read.
    dry_since: Option<Instant>,
    /// How often it was looked for since.
    tries: u32,
    /// An adaptive reader looks.
    looks: bool,
    /// While it does not look: short gaps in a row. While it does: looks that were not in vain.
    in_a_row: u32,
    /// For how long those looked.
    looked: Duration,
    /// How many short gaps it takes.
    wanted: u32,
}

impl Spin {
    pub(crate) fn new(polling: Polling) -> Self {
        Self {
            polling,
            dry_since: None,
            tries: 0,
            looks: false,
            in_a_row: 0,
            looked: Duration::ZERO,
            wanted: SHORT_GAPS_MIN,
        }
    }

    /// There is nothing to read: whether to look again at once.
    #[inline]
    pub(crate) fn dry(&mut self, now: Instant) -> bool {
        let max = match self.polling {
            Polling::Never => return false,
            Polling::Adaptive => LOOK_MAX,
            Polling::For(max) => max,
        };
        let gap = now - *self.dry_since.get_or_insert(now);
        self.tries = self.tries.saturating_add(1);
        match self.polling {
            Polling::Adaptive if self.looks && (gap >= max || self.tries > TRIES_MAX) => {
                self.stop();
                false
            }
            Polling::Adaptive => self.looks,
            _ => gap < max,
        }
    }

    /// Something was read.
    #[inline]
    pub(crate) fn wet(&mut self, now: Instant) {
        let Some(since) = self.dry_since.take() else {
            return;
        };
        let gap = now - since;
        self.tries = 0;
        if self.looks {
            self.in_a_row += 1;
            self.looked += gap;
            if self.in_a_row == LOOKS {
                let paid = self.looked <= LOOKS * LOOK_PAYS;
                (self.in_a_row, self.looked) = (0, Duration::ZERO);
                if paid {
                    self.wanted = SHORT_GAPS_MIN;
                } else {
                    self.stop();
                }
            }
        } else if gap < SHORT_GAP {
            self.in_a_row += 1;
            if self.in_a_row >= self.wanted {
                self.looks = true;
                (self.in_a_row, self.looked) = (0, Duration::ZERO);
            }
        } else {
            self.in_a_row = 0;
        }
    }

    fn stop(&mut self) {
        self.looks = false;
        self.in_a_row = 0;
        self.wanted = (2 * self.wanted).min(SHORT_GAPS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(10);
    const SLEPT: Duration = Duration::from_micros(80);
    const LONG: Duration = Duration::from_millis(1);

    /// Runs dry, and reads after `gap`; returns whether it looked, and whether until then.
    fn after(spin: &mut Spin, now: &mut Instant, gap: Duration) -> (bool, bool) {
        let looks = spin.dry(*now);
        let end = *now + gap;
        let mut caught = looks;
        while caught && *now + Duration::from_micros(1) < end {
            *now += Duration::from_micros(1);
            caught = spin.dry(*now);
        }
        *now = end;
        spin.wet(end);
        (looks, caught)
    }

    #[test]
    fn looks_after_short_gaps_and_stops_when_it_was_in_vain() {
        let (mut spin, mut now) = (Spin::new(Polling::Adaptive), Instant::now());
        for _ in 0..SHORT_GAPS_MIN {
            assert_eq!(after(&mut spin, &mut now, SLEPT), (false, false));
        }
        // The peer's wake-up is still in the first.
        assert_eq!(after(&mut spin, &mut now, SLEPT / 2), (true, true));
        for _ in 0..1000 {
            assert_eq!(after(&mut spin, &mut now, SHORT), (true, true));
        }
        assert_eq!(after(&mut spin, &mut now, LONG), (true, false));
        assert_eq!(after(&mut spin, &mut now, SLEPT), (false, false));
    }

    #[test]
    fn looks_in_vain_ever_more_rarely() {
        let (mut spin, mut now) = (Spin::new(Polling::Adaptive), Instant::now());
        // Each time it tries the answer is late.
        let mut vain = 0;
        for _ in 0..100_000 {
            if spin.looks {
                vain += 1;
                assert_eq!(after(&mut spin, &mut now, LONG), (true, false));
            } else {
                after(&mut spin, &mut now, SLEPT);
            }
        }
        assert!((8..30).contains(&vain), "{vain}");
        let looked = (0..100_000).filter(|_| after(&mut spin, &mut now, LONG).0).count();
        assert_eq!(looked, 0);
    }

    #[test]
    fn stops_where_looking_takes_longer_than_it_pays() {
        let (mut spin, mut now) = (Spin::new(Polling::Adaptive), Instant::now());
        let looked = (0..100_000).filter(|_| after(&mut spin, &mut now, SLEPT).0).count();
        assert!(looked < 2000, "{looked}");
        let (mut spin, mut now) = (Spin::new(Polling::Adaptive), Instant::now());
        let looked = (0..100_000).filter(|_| after(&mut spin, &mut now, LOOK_PAYS).0).count();
        assert!(looked > 99_000, "{looked}");
    }

    #[test]
    fn sleeps_though_the_clock_stands_still() {
        let (mut spin, now) = (Spin::new(Polling::Adaptive), Instant::now());
        for _ in 0..SHORT_GAPS_MIN {
            assert!(!spin.dry(now));
            spin.wet(now);
        }
        assert_eq!((0..2 * TRIES_MAX).filter(|_| spin.dry(now)).count(), TRIES_MAX as usize);
    }

    #[test]
    fn does_as_it_is_told_otherwise() {
        let mut now = Instant::now();
        let mut never = Spin::new(Polling::Never);
        let mut always = Spin::new(Polling::For(LONG));
        for _ in 0..100 {
            assert_eq!(after(&mut never, &mut now, SHORT), (false, false));
            assert_eq!(after(&mut always, &mut now, SHORT), (true, true));
        }
        assert_eq!(after(&mut always, &mut now, 2 * LONG), (true, false));
    }
}
