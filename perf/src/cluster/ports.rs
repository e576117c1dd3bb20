//! Where the members of a cluster on one machine listen.
//!
//! Not at ports the system would give: those it also gives to connections that go out. A member that
//! is down would lose its port to one, even to one of those that try to reach it there, which then
//! is connected to itself.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

/// Ports below are for services that everybody knows.
const FIRST: u16 = 10_000;
/// Where most systems begin with ports for connections that go out, if this one does not tell.
const USUAL_OUTGOING: u16 = 32_768;
/// How often another port is tried.
const TRIES: u32 = 1000;

/// Finds so many ports of the loopback that nobody listens at.
pub(super) fn find(count: u64) -> io::Result<Vec<SocketAddr>> {
    let range = listening(fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok());
    // Held until all are found, so that none is found twice.
    let mut found: Vec<TcpListener> = Vec::new();
    let mut last = None;
    for _ in 0..TRIES {
        if found.len() as u64 == count {
            break;
        }
        match TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(range.clone()))) {
            Ok(listener) => found.push(listener),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if (found.len() as u64) < count => Err(error),
        _ => found.iter().map(TcpListener::local_addr).collect(),
    }
}

/// The ports to choose from, by what Linux says of those for connections that go out.
fn listening(outgoing: Option<String>) -> Range<u16> {
    let outgoing = outgoing.and_then(|line| {
        let mut ports = line.split_whitespace().map(|port| port.parse::<u16>().ok());
        Some(ports.next()??..=ports.next()??)
    });
    let Some(outgoing) = outgoing else { return FIRST..USUAL_OUTGOING };
    // The larger of what is left below and above.
    let (below, above) = (outgoing.start().saturating_sub(FIRST), u16::MAX - outgoing.end());
    match below.max(above) {
        // All of them are given to connections.
        0..100 => FIRST..u16::MAX,
        _ if below >= above => FIRST..*outgoing.start(),
        _ => outgoing.end() + 1..u16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn avoids_the_ports_of_connections() {
        let listening = |line: &str| listening(Some(line.to_owned()));
        assert_eq!(listening("32768\t60999\n"), 10_000..32_768);
        assert_eq!(listening("1024 40000"), 40_001..u16::MAX);
        assert_eq!(listening("1024 65535"), 10_000..u16::MAX);
        assert_eq!(listening("?"), 10_000..32_768);
    }

    #[test]
    fn finds_ports_that_differ() {
        let mut found = find(9).unwrap();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 9);
    }
}
