//! What the codec's part of a run found: its rows and the ratios between them. Every key is
//! documented in `docs/report-schema.md`. Not here: the report around it (`bench::report`), and how
//! it is shown (`tables`, `plots`).

use serde::{Deserialize, Serialize};

use super::contender::{Operation, Timed, Used};
use crate::bench::report::{About, ETCD, PLAIN};
use crate::bench::stats::{Buckets, PassTimes, Spread};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CodecReport {
    pub(crate) repetitions: u32,
    pub(crate) measurement_ms: f64,
    pub(crate) contenders: Vec<About>,
    pub(crate) rows: Vec<Row>,
    pub(crate) cluster: Vec<ClusterRow>,
}

/// One contender doing one operation on one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) input: String,
    pub(crate) operation: Operation,
    pub(crate) contender: String,
    pub(crate) stream_bytes_per_message: f64,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) time_ratio_to_fastest_etcd: Option<f64>,
    pub(crate) time_ratio_to_plain_prost: Option<f64>,
}

/// One AppEntries encoded for all followers of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClusterRow {
    pub(crate) input: String,
    pub(crate) members: usize,
    pub(crate) way: String,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// Time and use for each message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) ns_per_message_p50: f64,
    pub(crate) ns_per_message_min: f64,
    pub(crate) ns_per_message_max: f64,
    pub(crate) ns_per_message_repetitions: Vec<f64>,
    pub(crate) timed_messages: u64,
    pub(crate) allocations_per_message: f64,
    pub(crate) allocated_bytes_per_message: f64,
    pub(crate) copied_bytes_per_message: Option<f64>,
    pub(crate) counted_messages: u64,
    pub(crate) passes: Option<Passes>,
}

/// Times of single passes over the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Passes {
    pub(crate) messages_per_pass: u64,
    pub(crate) pass_ns_p50: u64,
    pub(crate) pass_ns_p99: u64,
    pub(crate) pass_ns_max: u64,
    pub(crate) histogram_ns: Buckets,
}

impl Figures {
    /// None of a contender that was never timed.
    pub(crate) fn of(timed: &[Timed], used: Used, messages_per_pass: u64) -> Option<Self> {
        let repetitions: Vec<f64> = timed.iter().map(|timed| timed.ns_per_message).collect();
        let spread = Spread::of(&repetitions)?;
        let mut all = PassTimes::new();
        for passes in timed.iter().filter_map(|timed| timed.passes.as_ref()) {
            all.merge(passes);
        }
        let passes = (!all.is_empty()).then(|| Passes {
            messages_per_pass,
            pass_ns_p50: all.quantile_ns(0.5),
            pass_ns_p99: all.quantile_ns(0.99),
            pass_ns_max: all.quantile_ns(1.0),
            histogram_ns: all.buckets(),
        });
        Some(Self {
            ns_per_message_p50: spread.p50,
            ns_per_message_min: spread.min,
            ns_per_message_max: spread.max,
            ns_per_message_repetitions: repetitions,
            timed_messages: timed.iter().map(|timed| timed.messages).sum(),
            allocations_per_message: used.allocations_per_message,
            allocated_bytes_per_message: used.allocated_bytes_per_message,
            copied_bytes_per_message: used.copied_bytes_per_message,
            counted_messages: used.messages,
            passes,
        })
    }

    pub(crate) fn spread(&self) -> Spread {
        Spread {
            p50: self.ns_per_message_p50,
            min: self.ns_per_message_min,
            max: self.ns_per_message_max,
        }
    }
}

impl Row {
    /// Megabytes (10^6) of stream a second, at the median.
    pub(crate) fn mb_per_s(&self) -> f64 {
        self.stream_bytes_per_message / self.figures.ns_per_message_p50 * 1000.0
    }

    pub(crate) fn is_etcd(&self) -> bool {
        self.contender.starts_with(ETCD)
    }
}

impl CodecReport {
    pub(crate) fn row(&self, input: &str, operation: Operation, contender: &str) -> Option<&Row> {
        self.rows.iter().find(|row| {
            row.input == input && row.operation == operation && row.contender == contender
        })
    }

    /// The inputs in the order they were measured.
    pub(crate) fn inputs(&self) -> Vec<&str> {
        let mut inputs: Vec<&str> = self.rows.iter().map(|row| row.input.as_str()).collect();
        inputs.dedup();
        inputs
    }

    /// The etcd that took the least for `operation`. Both kinds of decoding are held against the
    /// only one etcd has, which contains the copy out of its reader.
    pub(crate) fn fastest_etcd(&self, input: &str, operation: Operation) -> Option<&Row> {
        let operation = match operation {
            Operation::Encode => Operation::Encode,
            Operation::DecodeFilled | Operation::DecodeCopied => Operation::DecodeCopied,
        };
        self.rows
            .iter()
            .filter(|row| row.is_etcd() && row.input == input && row.operation == operation)
            .min_by(|a, b| a.figures.ns_per_message_p50.total_cmp(&b.figures.ns_per_message_p50))
    }

    /// Fills in the ratios, which need all rows.
    pub(crate) fn set_ratios(&mut self) {
        let ratios: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let to =
                    |other: &Row| row.figures.ns_per_message_p50 / other.figures.ns_per_message_p50;
                let plain = self.row(&row.input, row.operation, PLAIN);
                (self.fastest_etcd(&row.input, row.operation).map(to), plain.map(to))
            })
            .collect();
        for (row, (etcd, plain)) in self.rows.iter_mut().zip(ratios) {
            row.time_ratio_to_fastest_etcd = etcd;
            row.time_ratio_to_plain_prost = plain;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::report::OURS;
    use std::time::Duration;

    /// A report of one input, with each contender's nanoseconds for encode.
    pub(crate) fn report(rows: &[(&str, Operation, f64)]) -> CodecReport {
        let rows = rows.iter().map(|&(contender, operation, ns)| row(contender, operation, ns));
        let mut report = CodecReport {
            repetitions: 3,
            measurement_ms: 50.0,
            contenders: vec![About {
                contender: OURS.to_owned(),
                version: "0 & <1>".to_owned(),
                settings: String::new(),
            }],
            rows: rows.collect(),
            cluster: Vec::new(),
        };
        report.set_ratios();
        report
    }

    fn row(contender: &str, operation: Operation, ns: f64) -> Row {
        let timed = [0.9, 1.0, 1.1].map(|part| {
            let mut passes = PassTimes::new();
            passes.record(Duration::from_micros(3));
            Timed { messages: 10, ns_per_message: ns * part, passes: Some(passes) }
        });
        let used = Used {
            messages: 10,
            allocations_per_message: if contender == OURS { 0.0 } else { 3.0 },
            allocated_bytes_per_message: 0.0,
            copied_bytes_per_message: Some(64.0),
        };
        Row {
            input: "1x64".to_owned(),
            operation,
            contender: contender.to_owned(),
            stream_bytes_per_message: 99.0,
            figures: Figures::of(&timed, used, 10).unwrap(),
            time_ratio_to_fastest_etcd: None,
            time_ratio_to_plain_prost: None,
        }
    }

    #[test]
    fn comes_back_from_json_as_it_was() {
        let report = report(&[(OURS, Operation::Encode, 20.0), (PLAIN, Operation::Encode, 40.0)]);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<CodecReport>(&text).unwrap(), report);
    }

    #[test]
    fn ratios_are_to_the_fastest_etcd() {
        let report = report(&[
            (OURS, Operation::DecodeFilled, 20.0),
            ("etcd 3.7", Operation::DecodeCopied, 400.0),
            ("etcd 3.6", Operation::DecodeCopied, 200.0),
        ]);
        assert_eq!(report.rows[0].time_ratio_to_fastest_etcd, Some(0.1));
        assert_eq!(report.rows[0].time_ratio_to_plain_prost, None);
        assert_eq!(report.rows[1].time_ratio_to_fastest_etcd, Some(2.0));
    }
}
