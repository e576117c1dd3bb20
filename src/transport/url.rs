//! Where a peer listens, and which of its addresses to try next.

use std::fmt;
use std::str::FromStr;

/// The address a peer listens at, as `http://HOST:PORT` or `https://HOST:PORT`.
///
/// The second is for a [`Dial`](super::Dial) of the embedder's own: [`TcpDial`](super::TcpDial) has no
/// TLS yet.
///
/// ```
/// use raftwire::transport::{PeerUrl, UrlError};
///
/// let url: PeerUrl = "http://10.0.0.7:2380".parse()?;
/// assert_eq!(url.authority(), "10.0.0.7:2380");
/// assert_eq!("10.0.0.7:2380".parse::<PeerUrl>(), Err(UrlError::Scheme));
/// # Ok::<(), UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerUrl {
    text: Box<str>,
}

/// What is wrong with a peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// It begins with neither `http://` nor `https://`.
    Scheme,
    /// It asks for a unix socket (`unix`, `unixs`), which cannot be dialed yet.
    Unsupported,
    /// Something follows the port.
    Path,
    /// There is no host, or it holds what no host can.
    Host,
    /// There is no port, or none from 1 to 65535.
    Port,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a peer's url begins with http:// or https://",
            Self::Unsupported => "urls of unix and unixs are not supported yet",
            Self::Path => "a peer's url ends with its port",
            Self::Host => "a peer's url lacks a valid host",
            Self::Port => "a peer's url lacks a port from 1 to 65535",
        })
    }
}

impl std::error::Error for UrlError {}

impl PeerUrl {
    fn parts(&self) -> (&str, &str) {
        self.text.split_once("://").unwrap_or_default()
    }

    /// Whether its scheme is `https`.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.parts().0 == "https"
    }

    /// Returns `HOST:PORT`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.parts().1
    }

    /// Returns the host: a name, or an address, an IPv6 one without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let (host, _) = self.authority().rsplit_once(':').unwrap_or_default();
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.unwrap_or(host)
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        let (_, port) = self.authority().rsplit_once(':').unwrap_or_default();
        // It was parsed when this was made.
        port.parse().unwrap_or_default()
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PeerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err(UrlError::Scheme);
        };
        match scheme {
            "http" | "https" => {}
            "unix" | "unixs" => return Err(UrlError::Unsupported),
            _ => return Err(UrlError::Scheme),
        }
        if authority.contains(['/', '?', '#']) {
            return Err(UrlError::Path);
        }
        let (host, port) = authority.rsplit_once(':').ok_or(UrlError::Port)?;
        let is_address = match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']').ok_or(UrlError::Host)?;
                address.parse::<std::net::Ipv6Addr>().is_ok()
            }
            None => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                !host.is_empty() && host.bytes().all(allowed)
            }
        };
        if !is_address {
            return Err(UrlError::Host);
        }
        // `parse` would take a sign.
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0);
        if !is_port {
            return Err(UrlError::Port);
        }
        Ok(Self { text: text.into() })
    }
}

/// Which of a peer's addresses is dialed.
///
/// Source: etcd `rafthttp/urlpick.go`. Both streams of a peer share one.
#[derive(Debug)]
pub(crate) struct Picker {
    urls: Vec<PeerUrl>,
    picked: usize,
}

impl Picker {
    pub(crate) fn new(urls: &[PeerUrl]) -> Self {
        let mut urls = urls.to_vec();
        urls.sort();
        urls.dedup();
        Self { urls, picked: 0 }
    }

    /// The address to dial, unless the peer has none.
    pub(crate) fn pick(&self) -> Option<PeerUrl> {
        self.urls.get(self.picked).cloned()
    }

    /// Goes on to the next address, if `url` is the one that is picked: two streams that fail at the
    /// same address do not skip one.
    pub(crate) fn unreachable(&mut self, url: &PeerUrl) {
        if self.urls.get(self.picked) == Some(url) {
            self.picked = (self.picked + 1) % self.urls.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_and_ports() {
        for (text, host, port) in [
            ("http://127.0.0.1:2380", "127.0.0.1", 2380),
            ("http://infra-0.etcd_peers.svc.:1", "infra-0.etcd_peers.svc.", 1),
            ("http://[::1]:65535", "::1", 65535),
            ("https://a:2380", "a", 2380),
        ] {
            let url: PeerUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!(url.is_tls(), text.starts_with("https"), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, error) in [
            ("", UrlError::Scheme),
            ("a:1", UrlError::Scheme),
            ("ftp://a:1", UrlError::Scheme),
            ("unix://a:1", UrlError::Unsupported),
            ("http://a:1/", UrlError::Path),
            ("http://a:1?b", UrlError::Path),
            ("http://a", UrlError::Port),
            ("http://a:", UrlError::Port),
            ("http://a:0", UrlError::Port),
            ("http://a:+1", UrlError::Port),
            ("http://a:65536", UrlError::Port),
            ("http://:1", UrlError::Host),
            ("http://a b:1", UrlError::Host),
            ("http://a\r\nb:1", UrlError::Host),
            ("http://user@a:1", UrlError::Host),
            ("http://::1:1", UrlError::Host),
            ("http://[::1:1", UrlError::Host),
            ("http://[a]:1", UrlError::Host),
        ] {
            assert_eq!(text.parse::<PeerUrl>(), Err(error), "{text}");
        }
    }

    fn urls(ports: &[u16]) -> Vec<PeerUrl> {
        ports.iter().map(|port| format!("http://a:{port}").parse().unwrap()).collect()
    }

    #[test]
    fn goes_round_the_sorted_addresses_one_failure_at_a_time() {
        let sorted = urls(&[1, 2, 3]);
        let mut picker = Picker::new(&urls(&[3, 1, 2, 1]));
        for url in sorted.iter().chain(&sorted) {
            assert_eq!(picker.pick().as_ref(), Some(url));
            assert_eq!(picker.pick().as_ref(), Some(url));
            picker.unreachable(url);
            // The other stream's failure at the same address.
            picker.unreachable(url);
        }
    }

    #[test]
    fn a_peer_may_have_no_address() {
        let mut picker = Picker::new(&[]);
        assert_eq!(picker.pick(), None);
        picker.unreachable(&urls(&[1])[0]);
    }
}
