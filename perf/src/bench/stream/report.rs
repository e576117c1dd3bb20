//! What the stream's part of a run found: its rows and the ratios between them. Every key is
//! documented in `docs/report-schema.md`. Not here: the report around it (`bench::report`), and how
//! it is shown (`tables`, `plots`).

use serde::{Deserialize, Serialize};

use super::pair::Turn;
use super::protocol::Answers;
use crate::bench::report::{About, ETCD, PLAIN};
use crate::bench::stats::{SAMPLES_BEYOND_MIN, Series};

/// Ours with a thread that looks for bytes instead of sleeping.
pub(crate) const POLLING: &str = "raftwire, polling";

/// And without any.
pub(crate) const SLEEPING: &str = "raftwire, sleeping";
pub(crate) const TONIC: &str = "tonic";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamReport {
    pub(crate) repetitions: u32,
    pub(crate) measurement_ms: f64,
    pub(crate) round_trips_ms: f64,
    /// What counted system calls.
    pub(crate) syscalls_by: String,
    pub(crate) contenders: Vec<About>,
    pub(crate) rows: Vec<Row>,
}

/// One contender moving messages of one shape, answered in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) input: String,
    pub(crate) answers: Answers,
    pub(crate) contender: String,
    pub(crate) window_messages: u64,
    pub(crate) payload_bytes_per_message: u64,
    pub(crate) measured_messages: u64,
    pub(crate) messages_per_s: Series,
    /// Of both processes, as all that follows but the memory.
    pub(crate) cpu_us_per_message: Series,
    pub(crate) allocations_per_message: f64,
    pub(crate) allocated_bytes_per_message: f64,
    pub(crate) syscalls_per_message: Option<f64>,
    pub(crate) leader_peak_bytes: u64,
    pub(crate) follower_peak_bytes: u64,
    pub(crate) round_trip: Option<RoundTrip>,
    pub(crate) ratios: Ratios,
}

/// Percentiles of round trips in microseconds, each the median of the repetitions' own; none where
/// fewer than [`SAMPLES_BEYOND_MIN`] round trips took longer, in all repetitions together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoundTrip {
    pub(crate) us_p50: Option<Series>,
    pub(crate) us_p99: Option<Series>,
    pub(crate) us_p999: Option<Series>,
}

/// This row's figures in units of another contender's, same shape and answers: rates above 1 are
/// better, all others below. Of several etcds the best one in each figure is the unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratios {
    pub(crate) to_etcd: Option<Ratio>,
    pub(crate) to_tonic: Option<Ratio>,
    pub(crate) to_plain_prost: Option<Ratio>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) messages_per_s: f64,
    pub(crate) cpu_us: f64,
    pub(crate) allocations: Option<f64>,
    pub(crate) syscalls: Option<f64>,
    pub(crate) round_trip_us_p50: Option<f64>,
}

impl RoundTrip {
    /// None where there are no round trips.
    fn of(turns: &[Turn]) -> Option<Self> {
        let trips: Vec<_> = turns.iter().filter_map(|turn| turn.round_trips).collect();
        if trips.is_empty() {
            return None;
        }
        let samples: u64 = turns.iter().map(|turn| turn.messages).sum();
        let series = |beyond: f64, us: &dyn Fn(&super::protocol::RoundTrips) -> f64| {
            let enough = samples as f64 * beyond >= SAMPLES_BEYOND_MIN;
            Series::of(trips.iter().map(us).collect()).filter(|_| enough)
        };
        Some(Self {
            us_p50: series(0.5, &|trips| trips.p50),
            us_p99: series(0.01, &|trips| trips.p99),
            us_p999: series(0.001, &|trips| trips.p999),
        })
    }
}

impl Row {
    /// None of a contender that had no turn. The ratios need the other rows.
    pub(crate) fn of(
        input: String,
        answers: Answers,
        contender: &str,
        window_messages: u64,
        payload_bytes_per_message: u64,
        turns: &[Turn],
        syscalls_per_message: Option<f64>,
    ) -> Option<Self> {
        let series = |of: &dyn Fn(&Turn) -> f64| Series::of(turns.iter().map(of).collect());
        let messages: u64 = turns.iter().map(|turn| turn.messages).sum();
        // Of all repetitions: there is no noise that a median would take out.
        let mean = |of: &dyn Fn(&Turn) -> f64| {
            turns.iter().map(|turn| of(turn) * turn.messages as f64).sum::<f64>() / messages as f64
        };
        let most = |of: &dyn Fn(&Turn) -> u64| turns.iter().map(of).max().unwrap_or(0);
        Some(Self {
            input,
            answers,
            contender: contender.to_owned(),
            window_messages,
            payload_bytes_per_message,
            measured_messages: messages,
            messages_per_s: series(&|turn| turn.messages as f64 / turn.seconds)?,
            cpu_us_per_message: series(&|turn| turn.cpu_us_per_message)?,
            allocations_per_message: mean(&|turn| turn.allocations_per_message),
            allocated_bytes_per_message: mean(&|turn| turn.allocated_bytes_per_message),
            syscalls_per_message,
            leader_peak_bytes: most(&|turn| turn.leader_peak_bytes),
            follower_peak_bytes: most(&|turn| turn.follower_peak_bytes),
            round_trip: RoundTrip::of(turns),
            ratios: Ratios::default(),
        })
    }

    /// Megabytes (10^6) of payload a second, at the median.
    pub(crate) fn mb_per_s(&self) -> f64 {
        self.messages_per_s.p50 * self.payload_bytes_per_message as f64 / 1e6
    }

    pub(crate) fn is_etcd(&self) -> bool {
        self.contender.starts_with(ETCD)
    }

    pub(crate) fn round_trip_us_p50(&self) -> Option<f64> {
        Some(self.round_trip.as_ref()?.us_p50.as_ref()?.p50)
    }

    /// In units of the best of `others` in each figure; none if there are none.
    fn ratio_to(&self, others: &[&Self]) -> Option<Ratio> {
        // What a row has none of is no unit.
        let part = |value: f64, unit: f64| (unit > 0.0).then(|| value / unit);
        let least = |of: &dyn Fn(&Self) -> Option<f64>| {
            others.iter().filter_map(|row| of(row)).min_by(f64::total_cmp)
        };
        let to_least = |of: &dyn Fn(&Self) -> Option<f64>| {
            of(self).zip(least(of)).and_then(|(value, unit)| part(value, unit))
        };
        let fastest = others.iter().map(|row| row.messages_per_s.p50).max_by(f64::total_cmp)?;
        Some(Ratio {
            messages_per_s: part(self.messages_per_s.p50, fastest)?,
            cpu_us: to_least(&|row| Some(row.cpu_us_per_message.p50))?,
            allocations: to_least(&|row| Some(row.allocations_per_message)),
            syscalls: to_least(&|row| row.syscalls_per_message),
            round_trip_us_p50: to_least(&Self::round_trip_us_p50),
        })
    }
}

impl StreamReport {
    pub(crate) fn row(&self, input: &str, answers: Answers, contender: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.input == input && row.answers == answers && row.contender == contender)
    }

    /// The rows answered in this way, a list for each shape, in the order they were measured.
    pub(crate) fn groups(&self, answers: Answers) -> Vec<Vec<&Row>> {
        let mut groups: Vec<Vec<&Row>> = Vec::new();
        for row in self.rows.iter().filter(|row| row.answers == answers) {
            match groups.last_mut() {
                Some(group) if group[0].input == row.input => group.push(row),
                _ => groups.push(vec![row]),
            }
        }
        groups
    }

    /// Fills in the ratios, which need all rows.
    pub(crate) fn set_ratios(&mut self) {
        let ratios: Vec<Ratios> = self
            .rows
            .iter()
            .map(|row| {
                let to = |is: &dyn Fn(&Row) -> bool| {
                    let same =
                        |other: &&Row| other.input == row.input && other.answers == row.answers;
                    let others = self.rows.iter().filter(same).filter(|other| is(other));
                    row.ratio_to(&others.collect::<Vec<_>>())
                };
                Ratios {
                    to_etcd: to(&Row::is_etcd),
                    to_tonic: to(&|other| other.contender == TONIC),
                    to_plain_prost: to(&|other| other.contender == PLAIN),
                }
            })
            .collect();
        for (row, ratios) in self.rows.iter_mut().zip(ratios) {
            row.ratios = ratios;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::report::OURS;
    use crate::bench::stream::protocol::RoundTrips;

    /// A turn at this rate; CPU and allocations follow from it.
    pub(crate) fn turn(messages_per_s: f64) -> Turn {
        Turn {
            messages: 20_000,
            seconds: 20_000.0 / messages_per_s,
            round_trips: None,
            cpu_us_per_message: 1e6 / messages_per_s,
            allocations_per_message: 3.0,
            allocated_bytes_per_message: 100.0,
            leader_peak_bytes: 8 << 20,
            follower_peak_bytes: 6 << 20,
        }
    }

    pub(crate) fn row(input: &str, answers: Answers, contender: &str, rate: f64) -> Row {
        let turns = [0.95, 1.0, 1.05].map(|part| {
            let us = 1e6 / (rate * part);
            let trips = RoundTrips { p50: us, p99: 2.0 * us, p999: 3.0 * us };
            let round_trips = (answers == Answers::RoundTrip).then_some(trips);
            let ours = if contender == OURS { 0.0 } else { 3.0 };
            Turn { round_trips, allocations_per_message: ours, ..turn(rate * part) }
        });
        Row::of(input.to_owned(), answers, contender, 1024, 64, &turns, Some(0.25)).unwrap()
    }

    /// A report of 1x64 in every way, with each contender's messages a second.
    pub(crate) fn report(rates: &[(&str, f64)]) -> StreamReport {
        let ways = [Answers::Every, Answers::Sparse, Answers::RoundTrip];
        let rows = ways.iter().flat_map(|&answers| {
            rates.iter().map(move |&(contender, rate)| row("1x64", answers, contender, rate))
        });
        let mut report = StreamReport {
            repetitions: 3,
            measurement_ms: 100.0,
            round_trips_ms: 100.0,
            syscalls_by: "perf".to_owned(),
            contenders: vec![About {
                contender: OURS.to_owned(),
                version: "0".to_owned(),
                settings: "a < b".to_owned(),
            }],
            rows: rows.collect(),
        };
        report.set_ratios();
        report
    }

    #[test]
    fn ratios_are_to_the_best_etcd_in_each_figure() {
        let mut report = report(&[(OURS, 9e5), ("etcd 3.6", 3e5), ("etcd 3.7", 2e5)]);
        report.rows[2].cpu_us_per_message.p50 = 2.0;
        report.set_ratios();
        let ratio = report.rows[0].ratios.to_etcd.unwrap();
        assert!((ratio.messages_per_s - 3.0).abs() < 1e-9);
        assert!((ratio.cpu_us - 1e6 / 9e5 / 2.0).abs() < 1e-9);
        assert_eq!(ratio.allocations, Some(0.0));
        assert_eq!(ratio.round_trip_us_p50, None);
        assert_eq!(report.rows[0].ratios.to_tonic, None);
    }

    #[test]
    fn nothing_is_no_unit() {
        let report = report(&[(OURS, 9e5), (TONIC, 3e5)]);
        let tonic = report.row("1x64", Answers::RoundTrip, TONIC).unwrap();
        let to_itself = tonic.ratios.to_tonic.unwrap();
        assert_eq!(to_itself.round_trip_us_p50, Some(1.0));
        assert_eq!(tonic.ratios.to_etcd, None);
    }

    #[test]
    fn a_percentile_needs_samples_beyond_it() {
        // 60 000 round trips: 600 beyond p99, 60 beyond p99.9.
        let row = row("1x64", Answers::RoundTrip, OURS, 1e4);
        let trip = row.round_trip.unwrap();
        assert!(trip.us_p50.is_some() && trip.us_p99.is_some());
        assert_eq!(trip.us_p999, None);
    }

    #[test]
    fn allocations_are_of_all_repetitions() {
        let one = Turn { messages: 1000, allocations_per_message: 1.0, ..turn(1e5) };
        let more = Turn { messages: 3000, allocations_per_message: 0.0, ..turn(1e5) };
        let row = Row::of("1x64".into(), Answers::Every, OURS, 1024, 64, &[one, more], None);
        assert_eq!(row.unwrap().allocations_per_message, 0.25);
    }
}
