//! The flags a member is started with.

use crate::config::{Config, Founder};
use raftwire::raftpb::Dialect;
use raftwire::transport::{ClusterId, IdError, MemberId, PeerUrl, UrlError};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// One member of a cluster, asked by lines of JSON
///
/// It reads requests on standard input, answers on standard output and logs to standard error:
///
///   {"id":1,"op":"put","key":K,"value":V}    delete, get and get_local take a key
///   {"id":2,"op":"status"}                   digest, campaign and stop take nothing either
///   {"id":3,"op":"transfer","to":"2"}
///   {"id":4,"op":"change","change":{"add_learner":{"id":"4","urls":["http://..."]}}}
///                                            add_voter, update; promote and remove take an id;
///                                            {"joint":[...]} and "leave_joint"
///
/// Exit codes: 0 stopped, or its input was closed. 1 it could not go on. 2 it could not start.
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[non_exhaustive]
pub struct Args {
    /// The member's id, in hex
    #[arg(long, value_name = "ID")]
    pub id: MemberId,
    /// The cluster's id, in hex
    #[arg(long, value_name = "ID")]
    pub cluster_id: ClusterId,
    /// Directory of its data; made if missing, restarted from if it holds a member
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Address to listen on for its peers, port 0 for any; the actual one is told when it is ready
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: String,
    /// A member that votes, and where it is reached; given for each, this one included. On a restart
    /// they may be left out, or tell where members are reached today
    #[arg(long = "voter", value_name = "ID=URL[,URL]")]
    pub voters: Vec<FounderFlag>,
    /// The same of a member that only learns
    #[arg(long = "learner", value_name = "ID=URL[,URL]")]
    pub learners: Vec<FounderFlag>,
    /// Join the cluster of those members, which has added this one, instead of founding it
    #[arg(long)]
    pub join: bool,
    /// Milliseconds of a tick, which is what heartbeats are apart
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub tick_ms: u64,
    /// Ticks without a leader before an election
    #[arg(long, value_name = "TICKS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub election_ticks: u16,
    /// Entries applied between two snapshots
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot for followers that are slow
    #[arg(long, value_name = "COUNT", default_value_t = 5_000)]
    pub catch_up_entries: u64,
    /// Length at which the log goes on in a new file
    #[arg(long, value_name = "BYTES")]
    pub segment_bytes: Option<u64>,
    /// Campaign without asking first whether it could win
    #[arg(long)]
    pub no_pre_vote: bool,
    /// Lead on without hearing from a majority
    #[arg(long)]
    pub no_check_quorum: bool,
    /// How entries are spelled: as etcd of this release does
    #[arg(long, value_name = "RELEASE", default_value = "3.6", value_parser = dialect)]
    pub dialect: Dialect,
    /// Milliseconds a request may take before its outcome is given up as unknown
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub request_timeout_ms: u64,
    /// Log nothing
    #[arg(long)]
    pub quiet: bool,
}

impl Args {
    /// What the node is started with.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.id, self.cluster_id, &self.dir);
        let founders = |flags: &[FounderFlag], is_learner| {
            let founder = move |flag: &FounderFlag| {
                let FounderFlag { id, urls } = flag.clone();
                Founder { id, urls, is_learner }
            };
            flags.iter().map(founder).collect::<Vec<_>>()
        };
        config.members = founders(&self.voters, false);
        config.members.extend(founders(&self.learners, true));
        config.join = self.join;
        config.tick = Duration::from_millis(self.tick_ms);
        config.election_ticks = usize::from(self.election_ticks);
        config.snapshot_entries = self.snapshot_entries;
        config.catch_up_entries = self.catch_up_entries;
        config.pre_vote = !self.no_pre_vote;
        config.check_quorum = !self.no_check_quorum;
        config.dialect = self.dialect;
        config.request_timeout = Duration::from_millis(self.request_timeout_ms);
        if let Some(bytes) = self.segment_bytes {
            config.wal.segment_bytes = bytes;
        }
        config
    }
}

fn dialect(text: &str) -> Result<Dialect, String> {
    match text {
        "3.4" => Ok(Dialect::V3_4),
        "3.6" => Ok(Dialect::V3_6),
        "3.7" => Ok(Dialect::V3_7),
        _ => Err("one of 3.4, 3.6 and 3.7".to_owned()),
    }
}

/// A founder, as `ID=URL[,URL]`.
///
/// ```
/// use raftwire_etcd::console::FounderFlag;
///
/// let founder: FounderFlag = "1a=http://10.0.0.7:2380".parse()?;
/// assert_eq!(founder.id.0, 26);
/// assert_eq!(founder.to_string(), "1a=http://10.0.0.7:2380");
/// # Ok::<(), raftwire_etcd::console::FounderFlagError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "an id and its urls")]
pub struct FounderFlag {
    /// The founder's id,
    pub id: MemberId,
    /// and where it is reached.
    pub urls: Vec<PeerUrl>,
}

/// Text that names no founder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FounderFlagError {
    /// There is no `=`.
    NoUrls,
    /// What is left of it is no id.
    Id(IdError),
    /// One of the urls is none.
    Url(UrlError),
}

impl fmt::Display for FounderFlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUrls => f.write_str("not of the form ID=URL[,URL]"),
            Self::Id(error) => write!(f, "the id: {error}"),
            Self::Url(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for FounderFlagError {}

impl FromStr for FounderFlag {
    type Err = FounderFlagError;

    fn from_str(text: &str) -> Result<Self, FounderFlagError> {
        let (id, urls) = text.split_once('=').ok_or(FounderFlagError::NoUrls)?;
        let id = id.parse().map_err(FounderFlagError::Id)?;
        let urls = urls.split(',').map(str::parse).collect::<Result<_, _>>();
        Ok(Self { id, urls: urls.map_err(FounderFlagError::Url)? })
    }
}

impl fmt::Display for FounderFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.id)?;
        for (at, url) in self.urls.iter().enumerate() {
            write!(f, "{}{url}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_founders_as_it_writes_them() {
        for text in ["1=http://a:1", "ab=http://a:1,http://[::1]:2"] {
            assert_eq!(text.parse::<FounderFlag>().unwrap().to_string(), text);
        }
        assert_eq!("1".parse::<FounderFlag>(), Err(FounderFlagError::NoUrls));
        assert_eq!(
            "x=http://a:1".parse::<FounderFlag>(),
            Err(FounderFlagError::Id("x".parse::<MemberId>().unwrap_err()))
        );
        assert_eq!("1=".parse::<FounderFlag>(), Err(FounderFlagError::Url(UrlError::Scheme)));
    }
}
