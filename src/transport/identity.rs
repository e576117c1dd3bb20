//! The headers by which members know each other, on both sides of a request.
//!
//! Source: etcd 3.4 to 3.7, `rafthttp/{http,stream,util}.go`; names as Go canonicalises them.

use super::{Config, Version};
use crate::http::Headers;

pub(crate) const CLUSTER_ID: &str = "X-Etcd-Cluster-Id";
pub(crate) const MIN_CLUSTER_VERSION: &str = "X-Min-Cluster-Version";
pub(crate) const PEER_URLS: &str = "X-Peerurls";
pub(crate) const RAFT_TO: &str = "X-Raft-To";
pub(crate) const SERVER_FROM: &str = "X-Server-From";
pub(crate) const SERVER_VERSION: &str = "X-Server-Version";

/// Who this member is, spelled as the wire has it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) id_text: String,
    pub(crate) cluster_text: String,
    pub(crate) version: Version,
    pub(crate) version_text: String,
    /// `X-PeerURLs`; empty if there are none.
    pub(crate) urls_text: String,
}

impl Identity {
    pub(crate) fn of(config: &Config) -> Self {
        let mut urls: Vec<_> = config.urls.iter().map(ToString::to_string).collect();
        urls.sort();
        Self {
            id_text: config.id.to_string(),
            cluster_text: config.cluster.to_string(),
            version: config.version.clone(),
            version_text: config.version.to_string(),
            urls_text: urls.join(","),
        }
    }
}

/// Reads a version header: that of 2.0 where there is none, `None` where it cannot be read.
pub(crate) fn version_of(headers: &Headers, name: &str) -> Option<Version> {
    match headers.get(name) {
        None => Some(Version::UNNAMED),
        // Go sees an empty header as none.
        Some(b"") => Some(Version::UNNAMED),
        Some(text) => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}
