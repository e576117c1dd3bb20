//! Writes the seeds of the corpora, from etcd's golden vectors: the streams as they are, and the
//! messages they hold; and from the transcripts of its HTTP. And a log. The same seeds each time.
//!
//! `seed kept` writes only those that are to be kept though they pass no edge of their own. Not here:
//! making the corpora smaller, which is libFuzzer's (`fuzz/seed.sh`).

use raftwire::raftpb::{
    ConfState, Dialect, Entry, HardState, Message, RaftMessage, Snapshot, SnapshotMetadata, Wire,
};
use raftwire_etcd::disk::fault::FaultDisk;
use raftwire_etcd::snap;
use raftwire_etcd::wal::{Metadata, Options, Prepare, SnapshotRecord, Wal};
use serde_json::Value;
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Seeds {
    corpus: PathBuf,
}

impl Seeds {
    fn write(&self, target: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let directory = self.corpus.join(target);
        fs::create_dir_all(&directory)?;
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' }
        };
        let name: String = name.chars().map(safe).collect();
        Ok(fs::write(directory.join(format!("seed-{name}")), bytes)?)
    }

    /// A stream, behind the choices of the stream targets.
    fn stream(
        &self,
        stream: &str,
        name: &str,
        dialect: u8,
        ids: [u8; 2],
        bytes: &[u8],
    ) -> Result<()> {
        let mut header = vec![0; raftwire::fuzzing::stream_header_bytes()];
        header[0] = dialect;
        header[3..5].copy_from_slice(&ids);
        // How it is cut.
        header[5] = bytes.len() as u8;
        let target = format!("{stream}_decode");
        self.write(&target, name, &[&header, bytes].concat())?;
        // The adapters take both: the first bit says which.
        if stream == "message" {
            header[0] += 129;
        }
        self.write("framed", name, &[&header, bytes].concat())
    }
}

impl Seeds {
    /// A head or a body, behind the choices of that target: the first, and how it is cut.
    fn http(&self, what: &str, name: &str, choice: u8, bytes: impl AsRef<[u8]>) -> Result<()> {
        let bytes = bytes.as_ref();
        let choices = [choice, bytes.len() as u8];
        self.write(&format!("http_{what}"), name, &[&choices, bytes].concat())
    }
}

fn hex(value: &Value) -> Result<Vec<u8>> {
    let text = value.as_str().ok_or("no hex")?;
    let byte = |at| Ok(u8::from_str_radix(text.get(at..at + 2).ok_or("half a byte")?, 16)?);
    (0..text.len()).step_by(2).map(byte).collect()
}

fn list(value: &Value) -> Result<&[Value]> {
    Ok(value.as_array().ok_or("no list")?)
}

fn parse(path: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

/// The bodies of an AppEntries frame's entries.
fn entries(frame: &[u8]) -> Vec<&[u8]> {
    let number =
        |at: usize| frame[at..at + 8].iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    let mut at = 9;
    let next = |_| {
        let start = at + 8;
        at = start + number(at);
        &frame[start..at]
    };
    (0..number(1)).map(next).collect()
}

fn sessions(seeds: &Seeds, vectors: &Path) -> Result<()> {
    let files = ["golden-vectors.json", "golden-vectors-3.6.json", "golden-vectors-3.7.json"];
    for (dialect, file) in (0..).zip(files) {
        for session in list(&parse(&vectors.join(file))?)? {
            let text = |key: &str| session[key].as_str().ok_or("no text");
            let name = format!("{}-{dialect}", text("name")?);
            let ids =
                ["local", "remote"].map(|key| session[key].as_u64().unwrap_or_default() as u8);
            let (mut bytes, mut lines) = (Vec::new(), String::new());
            for (position, frame) in list(&session["frames"])?.iter().enumerate() {
                let frame_bytes = hex(&frame["hex"])?;
                let name = format!("{name}-{position}");
                match frame["kind"].as_str() {
                    Some("MsgApp") => seeds.write("raftpb_message", &name, &frame_bytes[9..])?,
                    Some("message") => seeds.write("raftpb_message", &name, &frame_bytes[8..])?,
                    Some("AppEntries") => {
                        for (entry, body) in entries(&frame_bytes).iter().enumerate() {
                            seeds.write("raftpb_entry", &format!("{name}-{entry}"), body)?;
                        }
                    }
                    _ => {}
                }
                bytes.extend(frame_bytes);
                lines +=
                    &format!("{{\"kind\":{},\"message\":{}}}\n", frame["kind"], frame["message"]);
            }
            // The dialect, the stream, and whether frames keep their kind.
            let options = dialect | if text("stream")? == "message" { 4 } else { 0 };
            seeds.write("craft", &name, &[&[options], lines.as_bytes()].concat())?;
            seeds.stream(text("stream")?, &name, dialect, ids, &bytes)?;
        }
    }
    Ok(())
}

/// The messages that stand by themselves, behind the byte that says which one it is.
fn standalone(seeds: &Seeds, vectors: &Path) -> Result<()> {
    let others = ["Snapshot{", "ConfState{", "HardState{", "ConfChange{", "ConfChangeV2{"];
    for vector in list(&parse(&vectors.join("pb-vectors.json"))?)? {
        let name = vector["name"].as_str().ok_or("no name")?;
        let bodies = ["gogo_3_4", "gogo_3_6", "protobuf_3_7"].map(|key| hex(&vector[key]));
        let bodies = bodies.into_iter().collect::<Result<BTreeSet<_>>>()?;
        for (position, body) in bodies.iter().enumerate() {
            let file = format!("{name}-{position}");
            if let Some(which) = others.iter().position(|other| name.starts_with(other)) {
                seeds.write("raftpb_others", &file, &[&[which as u8], &body[..]].concat())?;
            } else if name.starts_with("Entry{") {
                seeds.write("raftpb_entry", &file, body)?;
            }
        }
    }
    Ok(())
}

/// Crowds of what costs more memory than bytes: no vector has them, and a fuzzer makes short inputs.
fn crowds(seeds: &Seeds) -> Result<()> {
    const COUNT: usize = 1500;
    let field = |number: u8, body: &[u8]| {
        let len = [body.len() as u8 | 0x80, (body.len() >> 7) as u8];
        [&[number << 3 | 2], &len[..], body].concat()
    };
    let length = |len: usize| (len as u64).to_be_bytes();
    let conf_state = |ids: &[u8]| field(9, &field(2, &field(1, ids)));
    for (name, body) in [
        ("entries", [0x3a, 0].repeat(COUNT)),
        ("responses", [0x72, 0].repeat(COUNT)),
        ("responses-with-entries", [0x72, 2, 0x3a, 0].repeat(COUNT / 2)),
        ("packed-voters", conf_state(&field(1, &[1; COUNT]))),
        ("learners", conf_state(&[0x10, 1].repeat(COUNT))),
    ] {
        seeds.stream("message", name, 1, [0, 0], &[&length(body.len())[..], &body].concat())?;
        let frame = [&[2], &length(body.len())[..], &body].concat();
        seeds.stream("msgappv2", name, 1, [0, 0], &frame)?;
    }
    let entries = [&[1], &length(COUNT)[..], &vec![0; 8 * COUNT], &[0; 8]].concat();
    seeds.stream("msgappv2", "empty-entries", 1, [0, 0], &entries)
}

/// What lies a step beyond an edge's last value, which is no edge of its own.
fn brinks(seeds: &Seeds) -> Result<()> {
    let length = |len: usize| (len as u64).to_be_bytes();
    let framed = |body: &[u8]| [&length(body.len()), body].concat();
    let app_entries = |entry: &[u8]| [&[1], &length(1)[..], &framed(entry), &[0; 8]].concat();
    // A MsgApp at the last index there is, and an entry behind it.
    let last = [&[8, 3, 0x20, 1, 0x28, 1, 0x30], &[0xff; 9][..], &[1]].concat();
    let wrap = [&[2], &framed(&last)[..], &app_entries(&[0x10, 1])].concat();
    seeds.stream("msgappv2", "index-wrap", 0, [2, 1], &wrap)?;
    // Terms of 64, 65 and 67 bits, and of eleven bytes.
    for (name, end) in [("64", &[1][..]), ("65", &[2]), ("67", &[8]), ("more", &[0x81, 0])] {
        let name = format!("varint-of-{name}-bits");
        let entry = [&[0x18, 1, 0x10], &[0xff; 9][..], end].concat();
        let message = [&[8, 3, 0x20], &[0xff; 9][..], end].concat();
        seeds.write("raftpb_entry", &name, &entry)?;
        seeds.write("raftpb_message", &name, &message)?;
        seeds.stream("msgappv2", &name, 0, [2, 1], &app_entries(&entry))?;
        seeds.stream("message", &name, 0, [2, 1], &framed(&message))?;
    }
    Ok(())
}

/// The same of HTTP: lengths that are just within their bounds, and just not.
fn http_brinks(seeds: &Seeds) -> Result<()> {
    for more in [0, 1] {
        let name = |what: &str| format!("{what}-{more}");
        let digits = "f".repeat(16 + more);
        seeds.http("body", &name("size"), 0, format!("{digits}\r\nhello"))?;
        let extension = "x".repeat(4096 - 2 + more);
        seeds.http("body", &name("extension"), 0, format!("0;{extension}\r\n\r\n"))?;
        let trailer = "x".repeat((16 << 10) - 4 + more);
        seeds.http("body", &name("trailer"), 0, format!("0\r\na:{trailer}\r\n\r\n"))?;
        let length = u64::MAX as u128 + more as u128;
        let headers = format!("Content-Length: {length}\r\n");
        seeds.http("request", &name("length"), 0, format!("POST / HTTP/1.1\r\n{headers}\r\n"))?;
        seeds.http("response", &name("length"), 0, format!("HTTP/1.1 200 \r\n{headers}\r\n"))?;
        // The second choice of limits: 64 bytes, two headers.
        for (what, start) in [("request", "GET / HTTP/1.1\r\n"), ("response", "HTTP/1.1 200 \r\n")]
        {
            let value = "x".repeat(64 - start.len() - "a:\r\n\r\n".len() + more);
            seeds.http(what, &name("long"), 1, format!("{start}a:{value}\r\n\r\n"))?;
            let headers = "a:\r\n".repeat(2 + more);
            seeds.http(what, &name("many"), 1, format!("{start}{headers}\r\n"))?;
        }
    }
    Ok(())
}

/// The requests and responses of etcd, their bodies behind them: CRLF stands in the file as `\r\n`.
fn transcripts(seeds: &Seeds, vectors: &Path) -> Result<()> {
    let text = fs::read(vectors.join("http-transcripts.txt"))?;
    let text = String::from_utf8_lossy(&text);
    let (server, client) = text.split_once("################ CLIENT").ok_or("no client")?;
    let unescaped = |text: &str| text.replace("\\r\\n\n", "\r\n");
    for case in server.split("\n=== ").skip(1) {
        let (name, rest) = case.split_once('\n').ok_or("no name")?;
        let (answer, _) = rest.split_once("<<(").ok_or("no end")?;
        let answer = unescaped(answer);
        seeds.http("response", name, 0, &answer)?;
        if let Some((_, body)) = answer.split_once("\r\n\r\n") {
            seeds.http("body", name, 0, body)?;
        }
    }
    for event in client.split("] conn ") {
        if let Some((name, rest)) = event.split_once(":\n")
            && let Some((head, _)) = rest.split_once("\n\n")
        {
            seeds.http("request", name, 0, unescaped(&format!("{head}\n")))?;
        }
    }
    Ok(())
}

/// The first frames of a stream in the chunks etcd put them in, and what no etcd writes.
fn bodies(seeds: &Seeds, captures: &Path) -> Result<()> {
    let capture = fs::read(captures.join("leader-message.bin"))?;
    let head = capture.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("no head")?;
    seeds.http("body", "leader-message", 0, &capture[head + 4..])?;
    for (name, framing, body) in [
        (
            "extensions",
            0,
            "5;a=b\r\nhello\r\n0A \t;c=\"d\"\r\n, raftwire\r\n1 \r\n!\r\n0;e\r\n\r\n",
        ),
        ("trailers", 0, "1\r\n!\r\n000\r\nX: y\r\nZ:\r\n\r\nHTTP/1.1"),
        ("none", 0xc0, "hello"),
        ("until-close", 0xc1, "hello"),
        ("length", 0xc2, "\u{4}hello"),
    ] {
        seeds.http("body", name, framing, body)?;
    }
    for (name, headers) in [
        ("close", "Connection: keep-alive, close\r\n"),
        ("length", "Content-Length: 5\r\ncontent-length: 5\r\n"),
        ("two-lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("both", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("coding", "Transfer-Encoding: gzip, chunked\r\n"),
        ("folded", "A: b\r\n c\r\n"),
    ] {
        seeds.http("request", name, 0, format!("POST /raft HTTP/1.1\r\n{headers}\r\n"))?;
        seeds.http("response", name, 0, format!("HTTP/1.0 200 OK\r\n{headers}\r\n"))?;
    }
    Ok(())
}

/// Requests for a stream as the member of the server's target answers them, each with one thing
/// changed; alone, behind another, and what no member sends.
fn connections(seeds: &Seeds) -> Result<()> {
    let good = "GET /raft/stream/msgapp/2 HTTP/1.1\r\nHost: 127.0.0.1:2380\r\n\
        User-Agent: Go-http-client/1.1\r\nX-Etcd-Cluster-Id: cdf818194e3a8c32\r\n\
        X-Min-Cluster-Version: 3.0.0\r\nX-Raft-To: 1\r\nX-Server-From: 2\r\n\
        X-Server-Version: 3.4.23\r\nAccept-Encoding: gzip\r\n\r\n";
    let seed = |name: &str, choice: u8, bytes: &[u8]| {
        let choices = [choice, bytes.len() as u8];
        seeds.write("server_connection", name, &[&choices, bytes].concat())
    };
    for (name, from, to) in [
        ("good", "", ""),
        ("message", "msgapp/2", "message/2"),
        ("method", "GET", "POST"),
        ("head", "GET", "HEAD"),
        ("version-low", "3.4.23", "2.3.8"),
        ("version-high", "3.0.0", "3.7.0"),
        ("version-newer", "3.4.23", "3.8.0-alpha.0"),
        ("version-none", "X-Server-Version: 3.4.23\r\n", ""),
        ("version-garbage", "3.4.23", "garbage"),
        ("cluster", "cdf8", "cdf9"),
        ("path-v1", "msgapp/2", "2"),
        ("path", "msgapp/2", "snapshot/2"),
        ("from", "msgapp/2", "msgapp/xyz"),
        ("from-padded", "msgapp/2", "msgapp/0002"),
        ("removed", "msgapp/2", "msgapp/dead"),
        ("unknown", "msgapp/2", "msgapp/3"),
        ("to", "X-Raft-To: 1", "X-Raft-To: 5"),
        ("no-slash", "/msgapp/2", ""),
        ("slash", "msgapp/2", "msgapp/2/"),
        ("slashes", "/stream/", "/stream//./x/../"),
        ("url", "GET ", "GET http://127.0.0.1:2380"),
        ("query", "msgapp/2", "msgapp/2?a=b"),
        ("elsewhere", "/raft/stream/msgapp/2", "/metrics"),
        ("http-1.0", "HTTP/1.1", "HTTP/1.0"),
        ("http-2", "HTTP/1.1", "HTTP/2.0"),
        ("close", "Accept-Encoding: gzip", "Connection: close"),
        ("length", "Accept-Encoding: gzip", "Content-Length: 5"),
        ("chunked", "Accept-Encoding: gzip", "Transfer-Encoding: chunked"),
        ("half", "\r\n\r\n", "\r\n"),
    ] {
        let request = good.replacen(from, to, 1);
        seed(name, 0, request.as_bytes())?;
        seed(&format!("{name}-small"), 1, request.as_bytes())?;
        let removed = good.replacen("msgapp/2", "msgapp/dead", 1);
        seed(&format!("{name}-second"), 0, format!("{removed}{request}").as_bytes())?;
        seed(&format!("{name}-first"), 0, format!("{request}{good}").as_bytes())?;
    }
    seed("short", 0, "GET / HTTP/1.1\r\n\r\n".repeat(20).as_bytes())?;
    seed("tls", 0, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc])?;
    seed("long", 0, format!("GET /{}", "a".repeat(17 << 10)).as_bytes())
}

/// Streams in bodies of every kind, behind the choices of the receiver's target.
fn received(seeds: &Seeds, vectors: &Path) -> Result<()> {
    let chunked = |bytes: &[u8], size: usize, dress: &str| {
        let mut raw = Vec::new();
        for chunk in bytes.chunks(size) {
            raw.extend(format!("{:x}{dress}\r\n", chunk.len()).into_bytes());
            raw.extend(chunk);
            raw.extend(b"\r\n");
        }
        raw.extend(b"0\r\n\r\n");
        raw
    };
    let files = ["golden-vectors.json", "golden-vectors-3.6.json", "golden-vectors-3.7.json"];
    for (dialect, file) in (0..).zip(files) {
        for session in list(&parse(&vectors.join(file))?)? {
            let name = session["name"].as_str().ok_or("no name")?;
            let is_message = session["stream"] == "message";
            let frames = list(&session["frames"])?.iter().map(|frame| hex(&frame["hex"]));
            let bytes = frames.collect::<Result<Vec<_>>>()?.concat();
            for (how, framing, body) in [
                ("whole", 0, chunked(&bytes, bytes.len().max(1), "")),
                ("small", 0, chunked(&bytes, 7, "")),
                ("dressed", 0, chunked(&bytes, 40, " ;a=b")),
                ("behind", 0, [chunked(&bytes, 100, ""), b"more".to_vec()].concat()),
                ("until-close", 0x60 << 1, bytes.clone()),
                ("length", 0x70 << 1, bytes.clone()),
            ] {
                let mut input = vec![framing | u8::from(is_message)];
                if how == "length" {
                    input.push((bytes.len() % 0xf0) as u8);
                }
                // As etcd takes it; no limits; how it is cut.
                input.extend([dialect, 1, 0, bytes.len() as u8]);
                input.extend(body);
                seeds.write("stream_receive", &format!("{name}-{dialect}-{how}"), &input)?;
            }
        }
    }
    Ok(())
}

/// Choices the encoders' targets make messages of: there is no vector of these.
fn choices(seeds: &Seeds) -> Result<()> {
    for target in ["msgappv2_encode", "message_encode"] {
        for dialect in 0..3 {
            // Header; a jump; entries that follow it; a link heartbeat; a message of every field.
            let header = [dialect, 0, 0, 1, 2, 7];
            let jump = [12, 0, 9, 5];
            let entries = [0, 3, 0, 5, 97, 0, 0, 1, 0xf8, 98, 4];
            let any = [3, 3, 1, 0, 1, 2, 3, 1, 2, 1, 4, 5, 6, 7, 1, 2, 98, 1, 1, 0, 0, 0, 1, 5, 6];
            let input = [&header[..], &jump, &entries, &entries, &[2], &any, &entries].concat();
            seeds.write(target, &dialect.to_string(), &input)?;
        }
    }
    Ok(())
}

/// A log of three segments as the files it is, the choices of one, and a snapshot.
fn logs(seeds: &Seeds) -> Result<()> {
    let (disk, dir) = (FaultDisk::new(0), Path::new("/data/wal"));
    disk.put(Path::new("/data/other"), &[]);
    let mut options = Options::default();
    (options.segment_bytes, options.prepare) = (4096, Prepare::Inline);
    let metadata = Metadata { member: 1, cluster: 2 };
    let mut wal = Wal::create(Arc::new(disk.clone()), dir, metadata, options)?;
    let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    for index in 1..12 {
        let data = vec![index as u8; 100 * index];
        let entry =
            Entry { term: 1, index: index as u64, data: Some(data.into()), ..Entry::default() };
        wal.append(Message::entry(&entry));
        wal.set_hard_state(HardState { term: 1, vote: 2, commit: index as u64 - 1 });
        if index == 7 {
            let conf_state = Some(conf_state.clone());
            wal.append_snapshot(&SnapshotRecord { index: 5, term: 1, conf_state });
        }
        wal.sync()?;
    }
    wal.close()?;
    let files = disk.files();
    let segments = files.iter().filter(|path| path.extension().is_some_and(|kind| kind == "wal"));
    let segments: Vec<_> = segments.filter_map(|path| disk.contents(path)).collect();
    let [first, second] = &segments[..] else { return Err("the log has two segments".into()) };
    let written = second.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    let length = (first.len() as u16).to_le_bytes();
    let torn = written - 900;
    for (name, second) in
        [("whole", &second[..]), ("cut", &second[..written]), ("torn", &second[..torn])]
    {
        seeds.write("wal_read", name, &[&[0, 1], &length[..], first, second].concat())?;
    }
    seeds.write("wal_read", "one", &[&[0, 0], &first[..]].concat())?;
    let record = |kind: u8, data: &[u8]| [&[kind, data.len() as u8], data].concat();
    let entry = |index: u8| record(2, &[8, 0, 16, 1, 24, index, 0x22, 2, 7, 7]);
    let records = [
        entry(1),
        record(3, &[8, 1, 16, 1, 24, 1]),
        record(0xe8 | 2, &[8, 0, 16, 1, 24, 2]),
        entry(2),
        record(5, &[8, 1, 16, 1]),
        entry(3),
        record(4, &[]),
    ]
    .concat();
    for how in 0..4 {
        seeds.write(
            "wal_read",
            &format!("records-{how}"),
            &[&[1, how, 0, 60, 9], &records[..]].concat(),
        )?;
    }
    let metadata = SnapshotMetadata { conf_state, index: 5, term: 1 };
    let snapshot = Snapshot { data: Some("state".into()), metadata };
    seeds.write("snap_read", "file", &snap::encode(&snapshot)?)?;
    seeds.write("snap_read", "data", &snapshot.encode(Dialect::V3_7))
}

fn main() -> Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = Seeds { corpus: fuzz.join("corpus") };
    let vectors = fuzz.join("../testdata/vectors");
    crowds(&seeds)?;
    brinks(&seeds)?;
    http_brinks(&seeds)?;
    if std::env::args().any(|argument| argument == "kept") {
        return Ok(());
    }
    sessions(&seeds, &vectors)?;
    standalone(&seeds, &vectors)?;
    transcripts(&seeds, &vectors)?;
    bodies(&seeds, &fuzz.join("../testdata/captures"))?;
    connections(&seeds)?;
    received(&seeds, &vectors)?;
    logs(&seeds)?;
    choices(&seeds)
}
