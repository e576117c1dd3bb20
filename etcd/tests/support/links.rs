//! The network between members, as a proxy in front of each: it passes, holds or cuts what one
//! member sends another, each direction of each pair apart.
//!
//! A member is reached at its proxy's address only. Who dials stands in the head of the request
//! (`X-Server-From`), and what a connection carries follows from it: what is sent on a stream goes
//! from the member that accepted to the one that dialed, what is posted the other way.
//!
//! - *hold*: the bytes wait, and pass later: a slow network, or messages out of another time.
//! - *cut*: connections end, and new ones with them: what was sent is lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

/// Bytes of a request's head, as the transport has it.
const HEAD_BYTES_MAX: usize = 16 << 10;
const PUMP_BYTES: usize = 64 << 10;

/// What one member sends another: from, to.
pub(crate) type Link = (u64, u64);

/// All proxies. Dropped, they end.
pub(crate) struct Links {
    state: Arc<State>,
    /// Where each member's peers reach it.
    addresses: BTreeMap<u64, SocketAddr>,
    acceptors: Vec<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    shared: Mutex<Shared>,
    /// Told whenever something is held no more.
    changed: Condvar,
}

#[derive(Default)]
struct Shared {
    is_ended: bool,
    held: BTreeSet<Link>,
    cut: BTreeSet<Link>,
    /// Proxies that are no more.
    closed: BTreeSet<SocketAddr>,
    /// Where the members themselves listen.
    members: BTreeMap<u64, SocketAddr>,
    connections: HashMap<u64, Connection>,
    next: u64,
}

struct Connection {
    link: Link,
    proxy: SocketAddr,
    dialed: TcpStream,
    accepted: TcpStream,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), addresses: BTreeMap::new(), acceptors: Vec::new() }
    }

    /// Makes the proxy of a member, and returns the url its peers reach it at.
    pub(crate) fn url(&mut self, member: u64) -> String {
        let state = &self.state;
        let acceptors = &mut self.acceptors;
        let address = self.addresses.entry(member).or_insert_with(|| {
            let (address, acceptor) = serve(state, member);
            acceptors.push(acceptor);
            address
        });
        format!("http://{address}")
    }

    /// Ends a member's proxy and makes another, as if it had moved, and returns its new url.
    pub(crate) fn move_member(&mut self, member: u64) -> String {
        let address = self.addresses.remove(&member).expect("it has a proxy");
        let mut shared = self.state.lock();
        shared.closed.insert(address);
        shared.end_connections(|connection| connection.proxy == address);
        drop(shared);
        self.state.changed.notify_all();
        self.url(member)
    }

    /// Tells where a member listens now.
    pub(crate) fn reach(&self, member: u64, at: SocketAddr) {
        self.state.lock().members.insert(member, at);
    }

    pub(crate) fn cut(&self, link: Link) {
        let mut shared = self.state.lock();
        shared.cut.insert(link);
        shared.end_connections(|connection| connection.link == link);
        drop(shared);
        self.state.changed.notify_all();
    }

    pub(crate) fn hold(&self, link: Link) {
        self.state.lock().held.insert(link);
    }

    /// Cuts a member from all others, both ways.
    pub(crate) fn isolate(&self, member: u64, others: impl IntoIterator<Item = u64>) {
        for other in others.into_iter().filter(|other| *other != member) {
            self.cut((member, other));
            self.cut((other, member));
        }
    }

    /// Lets everything pass.
    pub(crate) fn heal(&self) {
        let mut shared = self.state.lock();
        shared.held.clear();
        shared.cut.clear();
        drop(shared);
        self.state.changed.notify_all();
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let mut shared = self.state.lock();
        shared.is_ended = true;
        shared.end_connections(|_| true);
        drop(shared);
        self.state.changed.notify_all();
        for acceptor in self.acceptors.drain(..) {
            let _ = acceptor.join();
        }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// Waits while the link is held; whether something may pass then.
    fn passes(&self, link: Link) -> bool {
        let blocks = |shared: &mut Shared| {
            shared.held.contains(&link) && !shared.cut.contains(&link) && !shared.is_ended
        };
        let shared = self.changed.wait_while(self.lock(), blocks).unwrap();
        !shared.is_ended && !shared.cut.contains(&link)
    }
}

impl Shared {
    fn is_over(&self, proxy: SocketAddr) -> bool {
        self.is_ended || self.closed.contains(&proxy)
    }

    fn end_connections(&self, ends: impl Fn(&Connection) -> bool) {
        for connection in self.connections.values().filter(|connection| ends(connection)) {
            // It may have ended by itself.
            let _ = connection.dialed.shutdown(Shutdown::Both);
            let _ = connection.accepted.shutdown(Shutdown::Both);
        }
    }
}

/// Accepts for a member until the end.
fn serve(state: &Arc<State>, member: u64) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // So that the end is seen without anyone dialing.
    listener.set_nonblocking(true).unwrap();
    let state = Arc::clone(state);
    let acceptor = thread::spawn(move || {
        while !state.lock().is_over(address) {
            let Ok((dialed, _)) = listener.accept() else {
                thread::sleep(super::POLL);
                continue;
            };
            let state = Arc::clone(&state);
            // Ends with the connection.
            thread::spawn(move || forward(&state, member, address, dialed));
        }
    });
    (address, acceptor)
}

fn forward(state: &State, member: u64, proxy: SocketAddr, mut dialed: TcpStream) -> io::Result<()> {
    dialed.set_nonblocking(false)?;
    dialed.set_nodelay(true)?;
    let head = head(&mut dialed)?;
    let Some(from) = sender(&head) else { return Ok(()) };
    // A stream carries what the member sends to who dialed.
    let is_stream = head.starts_with(b"GET /raft/stream");
    let link = if is_stream { (member, from) } else { (from, member) };

    let Some(address) = state.lock().members.get(&member).copied() else { return Ok(()) };
    let mut accepted = TcpStream::connect(address)?;
    accepted.set_nodelay(true)?;
    let number = {
        let mut shared = state.lock();
        if shared.cut.contains(&link) || shared.is_over(proxy) {
            return Ok(());
        }
        shared.next += 1;
        let number = shared.next;
        let (dialed, accepted) = (dialed.try_clone()?, accepted.try_clone()?);
        shared.connections.insert(number, Connection { link, proxy, dialed, accepted });
        number
    };
    let forwarded = accepted.write_all(&head).map(|()| {
        thread::scope(|scope| {
            scope.spawn(|| pump(state, link, &dialed, &accepted));
            pump(state, link, &accepted, &dialed);
        });
    });
    state.lock().connections.remove(&number);
    forwarded
}

/// Passes bytes on until either side ends, and then ends both: neither is of use alone here.
fn pump(state: &State, link: Link, mut from: &TcpStream, mut to: &TcpStream) {
    let mut bytes = vec![0; PUMP_BYTES];
    loop {
        match from.read(&mut bytes) {
            Ok(count) if count > 0 => {
                if !state.passes(link) || to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Reads up to the empty line, or a little farther.
fn head(dialed: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = dialed.read(&mut bytes)?;
        if count == 0 || head.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&bytes[..count]);
    }
    Ok(head)
}

/// The member a request says it is from.
fn sender(head: &[u8]) -> Option<u64> {
    let head = String::from_utf8_lossy(head);
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("X-Server-From").then(|| value.trim().to_owned())
    })?;
    u64::from_str_radix(&value, 16).ok()
}
