//! Two runs side by side: part by part, and whether they can be compared at all. Not here: which
//! changes are too large (each part's `compare`), and ratios between contenders of one run.

use super::report::Report;
use super::table::Table;
use super::{codec, commit, stream};

/// The changes as tables, and how many of our rows are worse.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) tables: Vec<Table>,
    pub(crate) worse: usize,
}

/// Compares the parts that both runs have.
pub(crate) fn compare(old: &Report, new: &Report, threshold_percent: f64) -> Comparison {
    let codec = old.codec.as_ref().zip(new.codec.as_ref());
    let codec = codec.map(|(old, new)| codec::compare::compare(old, new, threshold_percent));
    let stream = old.stream.as_ref().zip(new.stream.as_ref());
    let stream = stream.map(|(old, new)| stream::compare::compare(old, new, threshold_percent));
    let commit = old.commit.as_ref().zip(new.commit.as_ref());
    let commit = commit.map(|(old, new)| commit::compare::compare(old, new, threshold_percent));
    let mut all = Comparison { tables: Vec::new(), worse: 0 };
    for part in codec.into_iter().chain(stream).chain(commit) {
        all.tables.extend(part.tables);
        all.worse += part.worse;
    }
    for table in &mut all.tables {
        table.title = format!("{} since {}", table.title, old.run.command_line.join(" "));
        table.note = format!("{} {}", machines(old, new), table.note);
    }
    all
}

/// Whether the two runs can be compared at all.
fn machines(old: &Report, new: &Report) -> String {
    let mut differences = Vec::new();
    let mut differ = |what: &str, old: &str, new: &str| {
        if old != new {
            differences.push(format!("{what} {old} then, {new} now"));
        }
    };
    differ("processor", &old.machine.cpu, &new.machine.cpu);
    differ("kernel", &old.machine.kernel, &new.machine.kernel);
    differ("compiler", &old.versions.rustc, &new.versions.rustc);
    differ("allocator", &old.run.allocator, &new.run.allocator);
    differ("mode", &old.run.mode, &new.run.mode);
    if differences.is_empty() {
        return "Same machine, compiler, allocator and mode.".to_owned();
    }
    format!("NOT the same conditions: {}.", differences.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::report;

    #[test]
    fn a_run_is_never_worse_than_itself() {
        let comparison = compare(&report(), &report(), 10.0);
        assert_eq!((comparison.tables.len(), comparison.worse), (3, 0));
        assert!(comparison.tables[0].note.starts_with("Same machine"));
    }

    #[test]
    fn a_part_that_one_run_lacks_is_left_out() {
        let mut new = report();
        new.codec = None;
        assert_eq!(compare(&report(), &new, 10.0).tables.len(), 2);
        let mut old = report();
        old.commit = None;
        assert_eq!(compare(&old, &new, 10.0).tables.len(), 1);
    }

    #[test]
    fn says_when_the_conditions_differ() {
        let mut new = report();
        new.run.allocator = "mimalloc".to_owned();
        let comparison = compare(&report(), &new, 10.0);
        assert!(comparison.tables[0].note.starts_with("NOT the same"));
    }
}
