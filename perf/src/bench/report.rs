//! What a run found, as it is written to `report.json` and read back by `--compare`. Every key is
//! documented in `docs/report-schema.md`; a change of meaning changes [`SCHEMA`]. Not here: the rows
//! of each part (`codec::report`, `stream::report`, `commit::report`), and how they are shown.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::codec::report::CodecReport;
use super::commit::report::CommitReport;
use super::error::BenchError;
use super::machine::{Machine, Versions};
use super::stream::report::StreamReport;

pub(crate) const SCHEMA: &str = "raftwire-bench/3";

/// What else can be compared with: it has the same keys, and no commits.
const SCHEMA_WITHOUT_COMMIT: &str = "raftwire-bench/2";

/// Ours, as it is called in every table.
pub(crate) const OURS: &str = "raftwire";
pub(crate) const PLAIN: &str = "plain prost";
pub(crate) const ETCD: &str = "etcd ";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: String,
    pub(crate) machine: Machine,
    pub(crate) versions: Versions,
    pub(crate) run: Run,
    /// None where it was not asked for; likewise the others.
    pub(crate) codec: Option<CodecReport>,
    pub(crate) stream: Option<StreamReport>,
    pub(crate) commit: Option<CommitReport>,
    pub(crate) notes: Vec<String>,
}

/// How the run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) command_line: Vec<String>,
    pub(crate) started_unix_s: u64,
    pub(crate) elapsed_s: f64,
    /// Of the whole, in the order measured.
    #[serde(default)]
    pub(crate) parts: Vec<PartTime>,
    pub(crate) mode: String,
    pub(crate) allocator: String,
    pub(crate) seed: u64,
}

/// How long a part took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartTime {
    pub(crate) part: String,
    pub(crate) elapsed_s: f64,
}

/// A contender's version and settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) contender: String,
    pub(crate) version: String,
    pub(crate) settings: String,
}

impl Report {
    pub(crate) fn write(&self, path: &Path) -> Result<(), BenchError> {
        let write = || {
            let mut file = BufWriter::new(File::create(path)?);
            serde_json::to_writer(&mut file, self)?;
            writeln!(file)?;
            file.flush()
        };
        write().map_err(|source| BenchError::io(path, source))
    }

    pub(crate) fn read(path: &Path) -> Result<Self, BenchError> {
        #[derive(Deserialize)]
        struct Header {
            schema: String,
        }
        let refuse = |reason: String| BenchError::Report { path: path.to_owned(), reason };
        let open = || File::open(path).map_err(|source| BenchError::io(path, source));
        let header: Header = serde_json::from_reader(BufReader::new(open()?))
            .map_err(|error| refuse(format!("not a report: {error}")))?;
        if ![SCHEMA, SCHEMA_WITHOUT_COMMIT].contains(&header.schema.as_str()) {
            return Err(refuse(format!(
                "its schema is {}, not {SCHEMA} or {SCHEMA_WITHOUT_COMMIT}",
                header.schema
            )));
        }
        serde_json::from_reader(BufReader::new(open()?)).map_err(|error| refuse(error.to_string()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::codec::contender::Operation;
    use crate::bench::{codec, commit, stream};

    /// A report with a row of each part.
    pub(crate) fn report() -> Report {
        Report {
            schema: SCHEMA.to_owned(),
            machine: Machine::default(),
            versions: Versions::default(),
            run: Run {
                command_line: vec!["raftwire".to_owned(), "bench".to_owned()],
                started_unix_s: 0,
                elapsed_s: 1.5,
                parts: vec![PartTime { part: "codec".to_owned(), elapsed_s: 1.0 }],
                mode: "quick".to_owned(),
                allocator: "system".to_owned(),
                seed: 1,
            },
            codec: Some(codec::report::tests::report(&[(OURS, Operation::Encode, 20.0)])),
            stream: Some(stream::report::tests::report(&[(OURS, 1e6), ("tonic", 5e5)])),
            commit: Some(commit::report::tests::report(&[(OURS, 9e3), ("etcd 3.6", 3e3)])),
            notes: vec!["a < b".to_owned()],
        }
    }

    #[test]
    fn comes_back_from_json_as_it_was() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn refuses_another_schema_and_what_is_no_report() {
        let folder = std::env::temp_dir().join(format!("raftwire-report-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("old.json");
        let mut old = report();
        old.write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), old);
        old.schema = SCHEMA_WITHOUT_COMMIT.to_owned();
        old.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut without: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys = without.as_object_mut().unwrap();
        keys.remove("commit");
        keys["run"].as_object_mut().unwrap().remove("parts");
        std::fs::write(&path, without.to_string()).unwrap();
        let read = Report::read(&path).unwrap();
        assert_eq!((&read.commit, &read.stream), (&None, &old.stream));
        old.schema = "raftwire-bench/1".to_owned();
        old.write(&path).unwrap();
        assert!(Report::read(&path).unwrap_err().to_string().contains("raftwire-bench/1"));
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Report::read(&path), Err(BenchError::Report { .. })));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(Report::read(&path), Err(BenchError::Io { .. })));
    }
}
