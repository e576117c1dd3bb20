//! From which size a payload is better queued by reference than copied behind its head: what
//! justifies `SHARE_BYTES_MIN`. Two tables, of medians over rounds in which the ways alternate:
//!
//! - over a loopback TCP connection, ns an entry until the reader has it, and CPU ns of both ends;
//! - without a socket, ns an entry to queue it and to let go of it.
//!
//! Payloads are hot (one batch of them, sent again and again) or cold (more of them than any cache
//! holds). Each is an allocation of its own, as a proposal is.
//!
//! The queue here is laid out as [`WriteQueue`](raftwire::buf::WriteQueue) is, but for its
//! threshold, which can be chosen. Not here: the codec around it (`codec.rs`).

mod support;

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::payload;

/// A busy writer finds this much queued.
const BATCH_BYTES: usize = 256 << 10;

/// More than the caches of most machines.
const COLD_BYTES: usize = 128 << 20;

/// An entry's length, and its fields.
const HEAD: [u8; 20] = [0x5a; 20];

const SOCKET_PAYLOADS: [usize; 9] =
    [64, 256, 512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 64 << 10];
const QUEUE_PAYLOADS: [usize; 7] = [64, 256, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10];

/// How entries get from their messages to the socket.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    /// Payloads of at least this many bytes are queued by reference.
    share_bytes_min: usize,
    /// How many slices a vectored write takes.
    slices: usize,
}

/// tokio passes 64 slices on; Linux takes 1024.
const WAYS: [Way; 3] = [
    Way { name: "copy", share_bytes_min: usize::MAX, slices: 64 },
    Way { name: "gather 64", share_bytes_min: 0, slices: 64 },
    Way { name: "gather 1024", share_bytes_min: 0, slices: 1024 },
];

enum Slice {
    Heads { start: usize, end: usize },
    Payload(Bytes),
}

#[derive(Default)]
struct Queue {
    heads: Vec<u8>,
    used: usize,
    open: usize,
    slices: VecDeque<Slice>,
}

impl Queue {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        if self.heads.len() < end {
            self.heads.resize(2 * end, 0);
        }
        self.heads[self.used..end].copy_from_slice(bytes);
        self.used = end;
    }

    #[inline]
    fn put_entry(&mut self, data: &Bytes, share_bytes_min: usize) {
        self.put(&HEAD);
        if data.len() < share_bytes_min {
            self.put(data);
            return;
        }
        self.close();
        self.slices.push_back(Slice::Payload(data.clone()));
    }

    fn close(&mut self) {
        if self.open < self.used {
            let (start, end) = (self.open, self.used);
            self.slices.push_back(Slice::Heads { start, end });
            self.open = end;
        }
    }

    fn clear(&mut self) {
        self.slices.clear();
        self.used = 0;
        self.open = 0;
    }

    /// Writes everything, at most `slices` slices at a time.
    fn flush(&mut self, socket: &mut TcpStream, slices: usize) {
        self.close();
        let mut skip = 0;
        while !self.slices.is_empty() {
            let parts = self.slices.iter().take(slices).map(|slice| match slice {
                Slice::Heads { start, end } => &self.heads[*start..*end],
                Slice::Payload(payload) => &payload[..],
            });
            let mut gathered: Vec<IoSlice<'_>> = parts.map(IoSlice::new).collect();
            gathered[0].advance(skip);
            skip += socket.write_vectored(&gathered).expect("the reader is there");
            while let Some(slice) = self.slices.front() {
                let len = match slice {
                    Slice::Heads { start, end } => end - start,
                    Slice::Payload(payload) => payload.len(),
                };
                if skip < len {
                    break;
                }
                skip -= len;
                self.slices.pop_front();
            }
        }
        self.clear();
    }
}

/// Payloads, of which each batch takes the next ones, round and round.
struct Payloads {
    list: Vec<Bytes>,
    next: usize,
    batch: usize,
}

impl Payloads {
    fn new(bytes: usize, total_bytes: usize) -> Self {
        let batch = (BATCH_BYTES / (bytes + HEAD.len())).max(1);
        let batches = (total_bytes / (batch * bytes)).max(1);
        let list: Vec<Bytes> = (0..batch * batches)
            .map(|_| payload(1, bytes))
            // A `Bytes` shares its count from the first clone on, which allocates.
            .inspect(|payload| drop(payload.clone()))
            .collect();
        Self { list, next: 0, batch }
    }

    fn next(&mut self) -> &[Bytes] {
        let start = self.next;
        self.next = (start + self.batch) % self.list.len();
        &self.list[start..start + self.batch]
    }
}

#[derive(Clone, Copy, Default)]
struct Cost {
    wall_ns: f64,
    cpu_ns: f64,
}

/// A connection whose reader counts what it read.
struct Loopback {
    socket: TcpStream,
    received: Arc<AtomicU64>,
    sent: u64,
}

impl Loopback {
    fn new() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let socket = TcpStream::connect(listener.local_addr()?)?;
        socket.set_nodelay(true)?;
        let (mut peer, _) = listener.accept()?;
        let received = Arc::new(AtomicU64::new(0));
        let counter = received.clone();
        #[allow(clippy::disallowed_methods, reason = "a bench may start a thread")]
        std::thread::spawn(move || {
            let mut block = vec![0; BATCH_BYTES];
            while let Ok(count @ 1..) = peer.read(&mut block) {
                counter.fetch_add(count as u64, Ordering::Release);
            }
        });
        Ok(Self { socket, received, sent: 0 })
    }

    fn send(&mut self, payloads: &mut Payloads, queue: &mut Queue, way: Way, bytes: usize) -> Cost {
        let mut entries = 0;
        let end = self.sent + bytes as u64;
        let (start, start_cpu) = (now(), cpu_ns());
        while self.sent < end {
            for data in payloads.next() {
                queue.put_entry(data, way.share_bytes_min);
                self.sent += (HEAD.len() + data.len()) as u64;
                entries += 1;
            }
            queue.flush(&mut self.socket, way.slices);
        }
        while self.received.load(Ordering::Acquire) < self.sent {
            std::thread::yield_now();
        }
        Cost {
            wall_ns: start.elapsed().as_nanos() as f64 / f64::from(entries),
            cpu_ns: (cpu_ns() - start_cpu) / f64::from(entries),
        }
    }
}

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a bench may ask the clock")]
    Instant::now()
}

/// What the threads of this process ran, where Linux says so; elsewhere 0.
fn cpu_ns() -> f64 {
    // A thread's own figure is brought up to date when it gives way.
    std::thread::yield_now();
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0.0;
    };
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Queues without a socket.
fn queue_only(payloads: &mut Payloads, queue: &mut Queue, way: Way, bytes: usize) -> Cost {
    let mut entries = 0;
    let mut total = Duration::ZERO;
    let mut queued = 0;
    while queued < bytes {
        let batch = payloads.next();
        let start = now();
        for data in batch {
            queue.put_entry(data, way.share_bytes_min);
        }
        std::hint::black_box(&queue.heads);
        queue.clear();
        total += start.elapsed();
        entries += batch.len();
        queued += batch.len() * (batch[0].len() + HEAD.len());
    }
    Cost { wall_ns: total.as_nanos() as f64 / entries as f64, cpu_ns: 0.0 }
}

/// The middle one of each figure.
fn median(costs: &[Cost]) -> Cost {
    let middle = |figure: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = costs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Cost { wall_ns: middle(|cost| cost.wall_ns), cpu_ns: middle(|cost| cost.cpu_ns) }
}

/// How much is measured.
struct Extent {
    rounds: usize,
    /// In each round, each way.
    bytes: usize,
    cold_bytes: usize,
}

/// Measures the ways in turn, in each round.
fn rounds<const N: usize>(
    extent: &Extent,
    ways: [Way; N],
    mut measure: impl FnMut(Way) -> Cost,
) -> [Cost; N] {
    let mut costs = ways.map(|_| Vec::new());
    for way in ways {
        measure(way);
    }
    for _ in 0..extent.rounds {
        for (way, costs) in ways.into_iter().zip(&mut costs) {
            costs.push(measure(way));
        }
    }
    costs.map(|costs| median(&costs))
}

fn temperatures(bytes: usize, extent: &Extent) -> [(&'static str, Payloads); 2] {
    [("hot", Payloads::new(bytes, BATCH_BYTES)), ("cold", Payloads::new(bytes, extent.cold_bytes))]
}

fn sockets(extent: &Extent) -> std::io::Result<()> {
    println!("loopback TCP, ns an entry: wall (CPU of both ends)");
    print!("{:>8} {:>5}", "bytes", "");
    for way in WAYS {
        print!(" {:>19}", way.name);
    }
    println!();
    let mut loopback = Loopback::new()?;
    for bytes in SOCKET_PAYLOADS {
        for (temperature, mut payloads) in temperatures(bytes, extent) {
            let mut queue = Queue::default();
            let costs = rounds(extent, WAYS, |way| {
                loopback.send(&mut payloads, &mut queue, way, extent.bytes)
            });
            print!("{bytes:>8} {temperature:>5}");
            for cost in costs {
                print!(" {:>8.0} ({:>8.0})", cost.wall_ns, cost.cpu_ns);
            }
            println!();
        }
    }
    Ok(())
}

fn queues(extent: &Extent) {
    println!("queue only, ns an entry: to queue it and to let go of it");
    println!("{:>8} {:>5} {:>10} {:>10}", "bytes", "", "copy", "reference");
    for bytes in QUEUE_PAYLOADS {
        for (temperature, mut payloads) in temperatures(bytes, extent) {
            let mut queue = Queue::default();
            let [copy, reference] = rounds(extent, [WAYS[0], WAYS[1]], |way| {
                queue_only(&mut payloads, &mut queue, way, extent.bytes)
            });
            println!(
                "{bytes:>8} {temperature:>5} {:>10.1} {:>10.1}",
                copy.wall_ns, reference.wall_ns
            );
        }
    }
}

fn main() -> std::io::Result<()> {
    // `cargo bench` says so; anything else is a test that it runs.
    let bench = std::env::args().any(|arg| arg == "--bench");
    let test = std::env::args().any(|arg| arg == "--test");
    let extent = if bench && !test {
        Extent { rounds: 9, bytes: 64 << 20, cold_bytes: COLD_BYTES }
    } else {
        Extent { rounds: 1, bytes: 1 << 20, cold_bytes: 1 << 20 }
    };
    check();
    sockets(&extent)?;
    println!();
    queues(&extent);
    Ok(())
}

/// All ways must write the same bytes.
fn check() {
    let mut payloads = Payloads::new(1 << 10, BATCH_BYTES);
    let batch = payloads.next();
    let written = WAYS.map(|way| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a bound port");
        let mut socket = TcpStream::connect(address).expect("a connection");
        let (mut peer, _) = listener.accept().expect("a connection");
        let mut queue = Queue::default();
        let mut received = vec![0; batch.len() * (HEAD.len() + (1 << 10))];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for data in batch {
                    queue.put_entry(data, way.share_bytes_min);
                }
                queue.flush(&mut socket, way.slices);
            });
            peer.read_exact(&mut received).expect("every byte");
        });
        received
    });
    assert!(written.iter().all(|bytes| *bytes == written[0]));
}
