//! The versions members tell each other, and which of them get along.
//!
//! Source: etcd `server/etcdserver/api/rafthttp/util.go` (`checkVersionCompatibility`) and
//! `stream.go` (`supportedStream`). Only major and minor count.

use std::fmt;
use std::str::FromStr;

/// A member's version, `MAJOR.MINOR.PATCH` with an optional pre-release and build, as in
/// `3.8.0-alpha.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(semver::Version);

/// Text that is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionError;

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a version of the form MAJOR.MINOR.PATCH")
    }
}

impl std::error::Error for VersionError {}

impl Version {
    /// Makes a release's version.
    #[must_use]
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// What a member is taken for that names no version.
    pub(crate) const UNNAMED: Self = Self::new(2, 0, 0);

    /// The oldest cluster this member can be in, as every etcd from 3.1 on says of itself.
    pub(crate) const MIN_CLUSTER: Self = Self::new(3, 0, 0);

    fn release(&self) -> (u64, u64) {
        (self.0.major, self.0.minor)
    }

    /// Whether a member of this version can talk to one of version `remote`, which itself talks to
    /// members of at least `remote_min`.
    pub(crate) fn is_compatible(&self, remote: &Self, remote_min: &Self) -> bool {
        remote.release() >= Self::MIN_CLUSTER.release() && remote_min.release() <= self.release()
    }

    /// Whether a server of this version serves both streams to a client of version `client`: those of
    /// 2.0 and before do not. That of a newer one is not asked.
    pub(crate) fn serves_streams(&self, client: &Self) -> bool {
        self.release() >= client.release() || self.release() >= (2, 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        semver::Version::parse(text).map(Self).map_err(|_| VersionError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn only_major_and_minor_count() {
        for (local, remote, remote_min, compatible) in [
            ("3.4.23", "3.4.0", "3.0.0", true),
            ("3.4.23", "3.8.0-alpha.0", "3.0.0", true),
            ("3.4.23", "4.0.0", "3.4.9", true),
            ("3.4.23", "4.0.0", "3.5.0", false),
            ("3.4.23", "3.0.0-rc.1", "2.3.0", true),
            ("3.4.23", "2.3.8", "2.1.0", false),
            ("3.4.23", "2.0.0", "2.0.0", false),
        ] {
            assert_eq!(
                version(local).is_compatible(&version(remote), &version(remote_min)),
                compatible,
                "{local}, {remote}, {remote_min}"
            );
        }
    }

    #[test]
    fn streams_came_with_2_1() {
        let local = version("3.6.0");
        for (server, serves) in
            [("2.0.0", false), ("2.1.0", true), ("3.4.1", true), ("9.0.0", true)]
        {
            assert_eq!(version(server).serves_streams(&local), serves, "{server}");
        }
    }

    #[test]
    fn refuses_what_is_no_version() {
        for text in
            ["", "3", "3.4", "3.4.x", "v3.4.0", "3.4.0.1", "03.4.0", "99999999999999999999.0.0"]
        {
            assert_eq!(text.parse::<Version>(), Err(VersionError), "{text}");
        }
    }
}
