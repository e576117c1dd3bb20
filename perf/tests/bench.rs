//! `raftwire bench stream` from end to end: pairs of processes, their answers, and the report. Not
//! here: the figures, which a test cannot judge.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use support::{run, stderr};

const CONTENDERS: [&str; 5] =
    ["raftwire", "raftwire, polling", "raftwire, sleeping", "plain prost", "tonic"];

fn measure() -> Value {
    let arguments =
        ["bench", "stream", "--shape", "1x64", "--duration", "5ms", "--repetitions", "2", "--json"];
    let output = run(arguments, b"");
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn measures_every_contender_between_two_processes() {
    let report = measure();
    assert!(report["codec"].is_null());
    let stream = &report["stream"];
    let rows = stream["rows"].as_array().unwrap();
    let measured: BTreeSet<(&str, &str)> = rows
        .iter()
        .map(|row| (row["contender"].as_str().unwrap(), row["answers"].as_str().unwrap()))
        .collect();
    let expected: BTreeSet<(&str, &str)> = CONTENDERS
        .into_iter()
        .flat_map(|contender| {
            let ways: &[&str] = match contender {
                "raftwire, polling" | "raftwire, sleeping" => &["round_trip"],
                _ => &["every", "sparse", "round_trip"],
            };
            ways.iter().map(move |way| (contender, *way))
        })
        .collect();
    assert_eq!(measured, expected);
    for row in rows {
        let figure = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
        assert!(figure("measured_messages") > 0.0);
        for key in ["messages_per_s", "cpu_us_per_message"] {
            assert_eq!(row[key]["repetitions"].as_array().unwrap().len(), 2);
            assert!(row[key]["min"].as_f64().unwrap() > 0.0, "{key}: {row}");
        }
        assert!(figure("leader_peak_bytes") > 0.0 && figure("follower_peak_bytes") > 0.0);
        assert_eq!(row["window_messages"] == 1, row["answers"] == "round_trip");
        // Wherever they can be counted at all, they are.
        assert_eq!(row["syscalls_per_message"].is_null(), stream["syscalls_by"] == "not measured");
    }
    let names = stream["contenders"].as_array().unwrap().iter();
    assert_eq!(
        names.map(|about| about["contender"].as_str().unwrap()).collect::<Vec<_>>(),
        CONTENDERS
    );
}

#[test]
fn refuses_captures_on_a_stream() {
    let output = run(["bench", "stream", "--captures", "none.bin"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("by the codec alone"));
}
