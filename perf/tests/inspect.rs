//! `raftwire inspect` on streams that real etcds wrote, and on what is left of them when they are
//! cut, bent or wrapped in HTTP.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use std::io::{Read, Write};
use std::process::Stdio;
use support::{DIALECTS, clean, command, frames, inspect, run, session_named, sessions, stderr};

#[test]
fn prints_what_etcd_wrote_in_every_dialect() {
    for (dialect, vectors) in DIALECTS {
        for session in sessions(vectors) {
            let printed = clean(&inspect(session.options(), &session.bytes()));
            assert_eq!(printed.len(), session.frames.len(), "{dialect} {}", session.name);
            let mut offset = 0;
            for (printed, frame) in printed.iter().zip(&session.frames) {
                assert_eq!(printed["message"], frame.decoded, "{dialect} {}", session.name);
                assert_eq!(printed["kind"], frame.kind);
                assert_eq!(printed["offset"], offset);
                assert_eq!(printed["len"], frame.bytes.len());
                offset += frame.bytes.len();
            }
        }
    }
}

#[test]
fn marks_no_frame_of_the_dialect_it_is_asked_for() {
    for (dialect, vectors) in DIALECTS {
        for session in sessions(vectors) {
            let options = session.options().into_iter().chain(["--dialect", dialect]);
            for frame in clean(&inspect(options, &session.bytes())) {
                assert_eq!(frame.get("exact"), None, "{dialect} {} {frame}", session.name);
            }
        }
    }
}

#[test]
fn marks_the_frames_another_dialect_writes_differently() {
    let session = session_named("v2-msgapp-then-appentries-1-3-0");
    let options = session.options().into_iter().chain(["--dialect", "3.6"]);
    for frame in clean(&inspect(options, &session.bytes())) {
        let differs = frame["kind"] == "MsgApp";
        assert_eq!(frame.get("exact").is_some(), differs, "{frame}");
        if differs {
            assert_eq!(frame["exact"], false);
        }
    }
}

#[test]
fn marks_a_message_frame_etcd_would_have_compressed() {
    let session = session_named("v2-msgapp-then-appentries-1-3-0");
    let first = &session.frames[0].bytes;
    // Entry 11 again, from index 10: not in sequence. Then an empty MsgApp that is.
    let mut message = session.frames[0].value["message"].clone();
    message["index"] = 11.into();
    message["entries"] = serde_json::json!([]);
    let line = serde_json::json!({"kind": "MsgApp", "message": message}).to_string();
    let again = run(["craft", "--keep-kind"], line.as_bytes()).stdout;
    let printed = clean(&inspect(["--dialect", "3.4"], &[first.clone(), again].concat()));
    assert_eq!(printed[0].get("exact"), None);
    assert_eq!((&printed[1]["kind"], &printed[1]["exact"]), (&"MsgApp".into(), &false.into()));
}

#[test]
fn writes_its_keys_in_the_stated_order() {
    let session = session_named("v2-msgapp-then-appentries-1-3-0");
    let output = inspect(session.options(), &session.frames[0].bytes);
    let line = String::from_utf8(output.stdout).unwrap();
    let expected = concat!(
        r#"{"offset":0,"len":50,"kind":"MsgApp","message":{"type":"MsgApp","to":2,"from":1,"#,
        r#""term":2,"logTerm":2,"index":10,"entries":[{"type":"EntryNormal","term":2,"#,
        r#""index":11,"data":"61"}],"commit":9,"snapshot":{"data":null,"metadata":"#,
        r#"{"conf_state":{"voters":[],"learners":[],"voters_outgoing":[],"learners_next":[],"#,
        r#""auto_leave":false},"index":0,"term":0}},"reject":false,"rejectHint":0,"#,
        r#""context":null},"state":{"term":2,"index":11}}"#,
        "\n"
    );
    assert_eq!(line, expected);
}

#[test]
fn takes_member_ids_from_the_command_line() {
    let bytes = session_named("v2-zero-state-appentries").bytes();
    let options = ["--local", "0xff", "--remote", "18446744073709551615"];
    let first = &clean(&inspect(options, &bytes))[0]["message"];
    assert_eq!((&first["to"], &first["from"]), (&255.into(), &u64::MAX.into()));
    let first = &clean(&inspect([], &bytes))[0]["message"];
    assert_eq!((&first["to"], &first["from"]), (&0.into(), &0.into()));
}

#[test]
fn prints_the_frames_before_a_cut_wherever_it_is() {
    let session = session_named("v2-msgapp-then-appentries-1-3-0");
    let bytes = session.bytes();
    let ends: Vec<usize> = session
        .frames
        .iter()
        .scan(0, |end, frame| {
            *end += frame.bytes.len();
            Some(*end)
        })
        .collect();
    for cut in 0..bytes.len() {
        let output = inspect(session.options(), &bytes[..cut]);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(frames(&output).len(), whole, "{cut}");
        if cut == 0 || ends.contains(&cut) {
            clean(&output);
        } else {
            assert_eq!(output.status.code(), Some(1), "{cut}");
            assert!(stderr(&output).contains("stream ended inside a frame"), "{}", stderr(&output));
            assert!(stderr(&output).contains("at byte "), "{}", stderr(&output));
        }
    }
}

#[test]
fn prints_the_frames_before_a_malformed_one() {
    let session = session_named("v2-msgapp-then-appentries-1-3-0");
    let mut bytes = session.bytes();
    let good = bytes.len();
    bytes.extend_from_slice(&[9; 40]);
    let output = inspect(session.options(), &bytes);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(frames(&output).len(), session.frames.len());
    let place = format!("at byte {good}");
    assert!(stderr(&output).contains(&place), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1);
}

#[test]
fn reports_deviations_or_refuses_them_when_strict() {
    for name in ["v2-non-msgapp-type-quirk", "v2-noncontiguous-entry-index-quirk"] {
        let session = session_named(name);
        let printed = clean(&inspect(session.options(), &session.bytes()));
        assert!(printed.iter().any(|frame| frame.get("deviations").is_some()), "{name}");
        let options = session.options().into_iter().chain(["--strict"]);
        let output = inspect(options, &session.bytes());
        assert_eq!(output.status.code(), Some(1), "{name}");
    }
}

/// `bytes` in chunks of `size`, with an extension and a trailer here and there.
fn chunked(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::new();
    for (number, chunk) in bytes.chunks(size).enumerate() {
        let extension = if number % 3 == 1 { ";n=v" } else { "" };
        write!(framed, "{:x}{extension}\r\n", chunk.len()).unwrap();
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\nX-Trailer: yes\r\n\r\n");
    framed
}

#[test]
fn takes_chunk_framing_off_whatever_the_chunks_are() {
    let session = session_named("v2-msgapp-then-appentries-1-3-0");
    let bytes = session.bytes();
    let plain = clean(&inspect(session.options(), &bytes));
    for size in 1..=bytes.len() {
        let framed = chunked(&bytes, size);
        let options = session.options().into_iter().chain(["--chunked"]);
        let printed = clean(&inspect(options, &framed));
        assert_eq!(printed.len(), plain.len());
        for (mut printed, plain) in printed.into_iter().zip(&plain) {
            let at = printed.as_object_mut().unwrap().remove("file_offset").unwrap();
            let kind = framed[usize::try_from(at.as_u64().unwrap()).unwrap()];
            let offset = usize::try_from(plain["offset"].as_u64().unwrap()).unwrap();
            assert_eq!((kind, &printed), (bytes[offset], plain), "{size}");
        }
    }
}

#[test]
fn skips_a_response_head() {
    let session = session_named("msg-heartbeat");
    let bytes = session.bytes();
    let head = "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: cdf818194e3a8c32\r\n\
        X-Server-Version: 3.4.23\r\nDate: Sat, 21 Nov 2026 02:36:36 GMT\r\n";
    let http = |framing: &str, body: &[u8]| [head.as_bytes(), framing.as_bytes(), body].concat();
    for file in [
        http("Transfer-Encoding: chunked\r\n\r\n", &chunked(&bytes, 7)),
        http(&format!("Content-Length: {}\r\n\r\n", bytes.len()), &bytes),
        http("\r\n", &bytes),
    ] {
        let options = session.options().into_iter().chain(["--http"]);
        let printed = clean(&inspect(options, &file));
        assert_eq!(printed.len(), session.frames.len());
        for (printed, frame) in printed.iter().zip(&session.frames) {
            assert_eq!(printed["message"], frame.decoded);
        }
    }
}

#[test]
fn says_where_the_http_framing_is_broken() {
    let session = session_named("v2-link-heartbeat-only");
    let refused = |option: &str, file: &[u8]| {
        let output = inspect(session.options().into_iter().chain([option]), file);
        assert_eq!(output.status.code(), Some(1));
        (frames(&output).len(), stderr(&output))
    };
    let (count, error) = refused("--chunked", b"2\r\n\0\0\r\n");
    assert_eq!(count, 2);
    assert!(error.contains("at byte 7 of the file"), "{error}");
    let (count, error) = refused("--chunked", b"1\r\n\0\r\nx");
    assert_eq!(count, 1);
    assert!(error.contains("at byte 6 of the file"), "{error}");
    let (count, error) = refused("--chunked", b"1\r\n\0\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n");
    assert_eq!(count, 1);
    assert!(error.contains("after the end of the body at byte 11 "), "{error}");
    let (_, error) = refused("--http", b"HTTP/1.1 410 Gone\r\n\r\n");
    assert!(error.contains("410"), "{error}");
    let (_, error) = refused("--http", b"HTTP/1.1 200 OK\r\nServer: etc");
    assert!(error.contains("ended inside"), "{error}");
}

#[test]
fn prints_a_table_line_for_each_frame() {
    let session = session_named("v2-msgapp-then-appentries-1-3-0");
    let args = ["inspect", "-"].into_iter().chain(session.options());
    let output = run(args, &session.bytes());
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), session.frames.len());
    for (line, frame) in text.lines().zip(&session.frames) {
        assert!(line.contains(&frame.kind), "{line}");
    }
}

#[test]
fn reads_a_file() {
    let session = session_named("msg-heartbeat");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stream.bin");
    std::fs::write(&path, session.bytes()).unwrap();
    let options = session.options().into_iter().chain([path.to_str().unwrap()]);
    assert_eq!(clean(&inspect(options, b"")).len(), session.frames.len());
}

#[test]
fn tells_usage_and_io_errors_from_malformed_streams() {
    for options in [
        &["--stream", "msgapp"][..],
        &["--dialect", "3.3"],
        &["--local", "ff"],
        &["--format", "xml"],
        &["/no/such/file"],
        &["/"],
        &["one", "two"],
    ] {
        let output = inspect(options.iter().copied(), b"");
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn keeps_its_exit_code_when_stderr_is_full() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = command().args(["inspect", "/"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn ends_quietly_when_nobody_reads_on() {
    let mut child = command()
        .args(["inspect", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    // A stream without an end: the command must end by itself.
    let mut stdin = child.stdin.take().unwrap();
    while stdin.write_all(&[0; 4096]).is_ok() {}
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

/// A long stream goes through in the memory of its largest frame.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_stream() {
    const STREAM_BYTES: usize = 64 << 20;
    const PEAK_KIB_MAX: u64 = 16 << 10;
    let data = "61".repeat(1000);
    let line = serde_json::json!({"type": "MsgApp", "term": 1, "entries": [{"data": data}]});
    let first = run(["craft"], line.to_string().as_bytes()).stdout;
    let mut child = command()
        .args(["inspect", "--dialect", "3.4", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while stdout.read(&mut buffer).unwrap() > 0 {}
    });
    let mut stdin = child.stdin.take().unwrap();
    let piece = first.repeat((1 << 16) / first.len());
    for _ in 0..STREAM_BYTES / piece.len() {
        stdin.write_all(&piece).unwrap();
    }
    // Its stdin is open: it has read all but what the pipe holds, and waits.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < PEAK_KIB_MAX, "{peak_kib} KiB");
}
