//! `raftwire bench stream` and `bench commit` from end to end: processes, their answers, and the
//! report. Not here: how good the figures are, which a test cannot judge.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{command, run, stderr};

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
    assert!(report["codec"].is_null() && report["commit"].is_null());
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

/// A folder on the disk the sources are built on.
fn folder_on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A short run with two repetitions, and the report; `folder` is empty again.
fn commit(folder: &Path, options: &[&str]) -> Value {
    let disk = folder.to_str().unwrap();
    let mut arguments = vec!["bench", "commit", "--disk", disk, "--repetitions", "2", "--json"];
    arguments.extend(options);
    let output = run(arguments, b"");
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "data is removed");
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], "raftwire-bench/3");
    assert!(report["codec"].is_null() && report["stream"].is_null());
    report["commit"].take()
}

fn figure(of: &Value, path: &str) -> f64 {
    of.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {of}"))
}

#[test]
fn measures_commits_of_a_cluster_and_where_their_time_goes() {
    let folder = folder_on_disk();
    let report = commit(folder.path(), &["--proposers", "1,16", "--duration", "120ms"]);
    let rows = report["rows"].as_array().unwrap();
    let media: Vec<&str> = report["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(|at| at["medium"].as_str().unwrap())
        .collect();
    assert_eq!(media[0], "disk");
    let proposers: Vec<u64> = rows.iter().map(|row| row["proposers"].as_u64().unwrap()).collect();
    assert_eq!(proposers, [1, 16].repeat(media.len()));
    for row in rows {
        assert_eq!((&row["contender"], row["members"].as_u64()), (&"raftwire".into(), Some(3)));
        consistent(row, report["syscalls_by"] != "not measured");
    }
    for phases in report["phases"].as_array().unwrap() {
        divided(phases);
    }
    assert_eq!(report["phases"].as_array().unwrap().len(), rows.len());
    // Without an etcd nothing is decided, and so nothing met.
    let verdicts = report["verdicts"].as_array().unwrap();
    assert!(verdicts.len() > 8 && verdicts.iter().all(|verdict| verdict["outcome"] == "no_figure"));
}

fn consistent(row: &Value, has_syscalls: bool) {
    let of = |path: &str| figure(row, path);
    let ops = of("/measured_ops");
    assert!(ops > 0.0 && of("/ops_per_s/min") > 0.0, "{row}");
    assert_eq!(row["ops_per_s"]["repetitions"].as_array().unwrap().len(), 2);
    // In a closed loop so many proposers wait all of the time: their number is rate times latency.
    let p50 = row.pointer("/latency/us_p50/p50").and_then(Value::as_f64);
    if ops >= 200.0 {
        let p50 = p50.unwrap_or_else(|| panic!("{ops} operations have a median: {row}"));
        assert!(p50 > 0.0 && p50 <= of("/latency/us_max"), "{row}");
        let at_once = of("/ops_per_s/p50") * p50 / 1e6;
        assert!(at_once < 2.0 * of("/proposers"), "{at_once} at once: {row}");
    }
    assert_eq!(row["latency"]["us_p999"].is_null(), ops < 100_000.0);
    assert_eq!(row["latency"]["us_p99"].is_null(), ops < 10_000.0);
    assert!(of("/cpu_us_per_op/min") > 0.0 && of("/leader_cpu_us_per_op") > 0.0);
    // One put at a time needs an fsync of the leader, and of a follower at least.
    let fsyncs = [of("/leader_fsyncs_per_op"), of("/follower_fsyncs_per_op")];
    match row["proposers"].as_u64() {
        Some(1) => assert!(fsyncs[0] >= 0.95 && fsyncs[1] >= 0.45, "{row}"),
        _ => assert!(fsyncs[0] > 0.0 && fsyncs[0] < 1.0, "{row}"),
    }
    for key in ["/leader_peak_bytes", "/follower_peak_bytes"] {
        assert!(of(key) > 0.0 && of("/members_peak_bytes") > of(key), "{row}");
    }
    assert_eq!(row["leader_syscalls_per_op"].is_null(), !has_syscalls, "{row}");
    assert!(row["ratio_to_etcd"].is_null());
}

fn divided(phases: &Value) {
    let of = |path: &str| figure(phases, path);
    assert!(of("/samples") > 0.0, "{phases}");
    let violations = phases["violations"].as_object().unwrap().values();
    let violations: u64 = violations.map(|count| count.as_u64().unwrap()).sum();
    assert!(violations as f64 <= of("/samples") / 100.0, "{phases}");
    let all = phases["phases"].as_array().unwrap();
    let names: Vec<&str> = all.iter().map(|phase| phase["phase"].as_str().unwrap()).collect();
    let expected = [
        "queue",
        "encode",
        "write",
        "wire",
        "decode",
        "wal wait",
        "wal write",
        "fsync",
        "ack",
        "apply",
    ];
    assert_eq!(names, expected);
    let shares: f64 = all.iter().map(|phase| figure(phase, "/share")).sum();
    assert!((shares - 1.0).abs() < 0.02, "the phases are {shares} of the latency: {phases}");
    assert!(figure(&all[7], "/share") > 0.0, "no commit without an fsync: {phases}");
    assert!(of("/cost/ops_per_s") > 0.0 && of("/cost/cpu_us") > 0.0);
}

#[test]
fn an_open_loop_keeps_its_rate_on_five_members() {
    let folder = folder_on_disk();
    let options = ["--members", "5", "--rate", "200", "--proposers", "32", "--value-bytes", "1000"];
    let report = commit(folder.path(), &[&options[..], &["--duration", "300ms"]].concat());
    for row in report["rows"].as_array().unwrap() {
        assert_eq!((row["members"].as_u64(), row["rate"].as_u64()), (Some(5), Some(200)));
        assert_eq!(row["value_bytes"], 1000);
        // Two repetitions of 300 ms: all that were due, as none may be left out.
        assert_eq!(row["measured_ops"], 120, "{row}");
    }
}

#[test]
fn a_tmpfs_is_no_disk_and_a_disk_no_tmpfs() {
    for (options, said) in [
        (["--disk", "/dev/shm"], "/dev/shm: it is a tmpfs"),
        (["--tmpfs", "/proc"], "/proc: it is no tmpfs"),
        (["--disk", "/nowhere"], "/nowhere: No such file"),
    ] {
        let output = run(["bench", "commit"].into_iter().chain(options), b"");
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(stderr(&output).contains(said), "{options:?}: {}", stderr(&output));
    }
}

#[test]
fn refuses_options_of_another_part() {
    for (arguments, said) in [
        (&["bench", "stream", "--members", "5"][..], "options of `bench commit`"),
        (&["bench", "commit", "--shape", "1x64"], "a commit has no --shape"),
        (&["bench", "commit", "--members", "4"], "3, 5 or 7"),
        (&["bench", "commit", "--captures", "none.bin"], "by the codec alone"),
    ] {
        let output = run(arguments.iter().copied(), b"");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn an_interrupt_removes_the_data_and_ends_the_members() {
    let folder = folder_on_disk();
    let disk = folder.path().to_str().unwrap();
    let mut child = command()
        .args(["bench", "commit", "--proposers", "1", "--duration", "60s", "--disk", disk])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A member that has a log is at work, or about to be.
    wait_until(|| log_of_member(folder.path()).is_some());
    let members = children_of(child.id());
    assert_eq!(members.len(), 3);
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let said = said_at_last(&mut child);
    assert_eq!((child.wait().unwrap().code(), said), (Some(130), true));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "data is removed");
    wait_until(|| members.iter().all(|id| !Path::new(&format!("/proc/{id}/exe")).exists()));
}

fn said_at_last(child: &mut Child) -> bool {
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.map_while(Result::ok).any(|line| line.contains("interrupted"))
}

fn log_of_member(folder: &Path) -> Option<()> {
    let scratch = std::fs::read_dir(folder).ok()?.next()?.ok()?.path();
    std::fs::read_dir(scratch.join("member-3/member/wal")).ok()?.next()?.ok().map(drop)
}

/// The processes that process `id` has started.
fn children_of(id: u32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.split_whitespace().map(str::to_owned).collect()
}

fn wait_until(is_so: impl Fn() -> bool) {
    const PATIENCE: Duration = Duration::from_secs(60);
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_member_says_why_it_cannot_do_what_it_is_asked() {
    let mut child =
        command().arg("bench-member").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut requests = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ask = |line: &str| {
        writeln!(requests, "{line}").unwrap();
        serde_json::from_str::<Value>(&answers.next().unwrap().unwrap()).unwrap()
    };
    assert!(ask(r#"{"op":"usage"}"#)["error"].is_string());
    assert!(ask("nothing")["error"].is_string());
    let start = r#"{"op":"start","id":1,"cluster":"x","dir":"/nowhere","snapshot_entries":1,"catch_up_entries":1}"#;
    let url = ask(start)["url"].as_str().unwrap().to_owned();
    let connect = format!(r#"{{"op":"connect","members":[{{"id":1,"url":"{url}"}}]}}"#);
    assert!(ask(&connect)["error"].as_str().unwrap().contains("cluster x"));
    assert_eq!(ask(r#"{"op":"stop"}"#), serde_json::json!({}));
    assert!(child.wait().unwrap().success());
}
