//! etcd's codec as it was measured when raftwire was designed: the yardstick against which a run's
//! own etcd figures are checked, so that a slow or disturbed machine does not pass for a ratio.
//! Not here: ratios, which are always to the etcd measured in the same run.
//!
//! Origin: etcd 3.6.14's and 3.7.1's own encoder and decoder, medians on a shared 2-core VM (AMD
//! EPYC, Linux 6.18), Go 1.26; the encoder writes to a discarding writer, the decoder reads from
//! memory. Spread there 10 to 25 %.

use super::contender::Operation;
use super::contender::etcd;
use crate::bench::shape::Shape;

/// Beyond this the difference is named in the report, before any ratio is believed.
pub(crate) const DEVIATION_PERCENT_MAX: f64 = 25.0;

struct Baseline {
    shape: &'static str,
    /// Nanoseconds a message: 3.6.14 and 3.7.1.
    encode_ns: [f64; 2],
    decode_ns: [f64; 2],
}

#[rustfmt::skip]
const BASELINES: [Baseline; 7] = [
    Baseline { shape: "1x64",     encode_ns: [   122.0,    189.0], decode_ns: [    188.0,     397.0] },
    Baseline { shape: "1x1KiB",   encode_ns: [   131.0,    198.0], decode_ns: [    453.0,     734.0] },
    Baseline { shape: "1x64KiB",  encode_ns: [  1341.0,   1375.0], decode_ns: [ 15_877.0,  16_659.0] },
    Baseline { shape: "8x1KiB",   encode_ns: [   437.0,    929.0], decode_ns: [  2_428.0,   4_568.0] },
    Baseline { shape: "64x64",    encode_ns: [  1671.0,   5855.0], decode_ns: [  5_061.0,  12_516.0] },
    Baseline { shape: "64x1KiB",  encode_ns: [  2367.0,   6523.0], decode_ns: [ 25_377.0,  32_568.0] },
    Baseline { shape: "64x64KiB", encode_ns: [91_777.0, 100_473.0], decode_ns: [609_268.0, 619_726.0] },
];

/// What `contender` took for one message of `shape`; none for what was never measured.
pub(crate) fn ns_per_message(contender: &str, shape: Shape, operation: Operation) -> Option<f64> {
    let version = match contender {
        "etcd 3.6" => 0,
        "etcd 3.7" => 1,
        _ => return None,
    };
    let name = shape.to_string();
    let baseline = BASELINES.iter().find(|baseline| baseline.shape == name)?;
    match operation {
        Operation::Encode => Some(baseline.encode_ns[version]),
        etcd::DECODE => Some(baseline.decode_ns[version]),
        Operation::DecodeFilled => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::shape::CODEC_GRID;

    #[test]
    fn covers_the_grid() {
        for shape in CODEC_GRID {
            for contender in ["etcd 3.6", "etcd 3.7"] {
                assert!(ns_per_message(contender, shape, Operation::Encode).is_some(), "{shape}");
                assert!(ns_per_message(contender, shape, etcd::DECODE).is_some(), "{shape}");
            }
        }
        assert_eq!(ns_per_message("raftwire", CODEC_GRID[0], Operation::Encode), None);
    }
}
