//! Where a run was made: processor, kernel, memory, and the versions that were built. Read from
//! `/proc`; what cannot be read stays empty. Not here: what the machine's own limits are.

use std::fs;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) memory_bytes: u64,
    /// Runnable tasks over the last minute, as the run began: others at work disturb it.
    pub(crate) load_average_1m: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub(crate) raftwire: String,
    pub(crate) commit: Option<String>,
    pub(crate) rustc: String,
    pub(crate) target: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default().to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            load_average_1m: first_number(&read("/proc/loadavg")),
        }
    }
}

impl Versions {
    pub(crate) fn built() -> Self {
        Self {
            raftwire: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("RAFTWIRE_COMMIT").map(str::to_owned),
            rustc: option_env!("RAFTWIRE_RUSTC").unwrap_or("unknown").to_owned(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

fn memory_bytes(meminfo: &str) -> u64 {
    let kib = field(meminfo, "MemTotal").and_then(|value| value.split(' ').next()?.parse().ok());
    kib.unwrap_or(0_u64) * 1024
}

fn first_number(text: &str) -> f64 {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_tables() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC\nprocessor\t: 1\n";
        assert_eq!(field(cpuinfo, "model name"), Some("AMD EPYC"));
        assert_eq!(memory_bytes("MemTotal:       2048 kB\nMemFree: 1 kB\n"), 2048 * 1024);
        assert_eq!(memory_bytes(""), 0);
        assert_eq!(first_number("0.25 0.5 1 1/2 3"), 0.25);
    }
}
