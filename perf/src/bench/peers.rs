//! etcd's own code, in Go programs that are built when they are asked for (`perf/peers/go`): the
//! codec's peer, the transport's end and a cluster's member, one of each version. Not here: talking to them (each part's
//! contenders).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::error::BenchError;

/// Builds the programs of every version, and returns the folder they are in; or says why they cannot
/// be had here.
pub(crate) fn build() -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/go");
    let build = sources.join("build.sh");
    if !build.is_file() {
        return Err(format!("there is no {}", build.display()));
    }
    let go = go_on_path().ok_or("there is no `go` on the path")?;
    let programs = folder();
    let mut path = std::ffi::OsString::from(go);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let built = Command::new("bash")
        .arg(&build)
        .arg(&programs)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("bash: {error}"))?;
    if !built.status.success() {
        let errors = String::from_utf8_lossy(&built.stderr);
        let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(format!("{}: {}: {last}", build.display(), built.status));
    }
    Ok(programs)
}

/// The folder of `go`: where its own installer puts it often is on no path.
fn go_on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/local/go/bin")])
        .find(|folder| folder.join("go").is_file())
}

/// Beside our own program, so that a clean build folder has no old peer in it.
fn folder() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("peers")
}

/// What each program answers to `version`.
#[derive(Debug, Deserialize)]
struct Version {
    etcd: String,
    raft: String,
    go: String,
}

/// What `program` was built from, in words.
pub(crate) fn version(label: &str, program: &Path) -> Result<String, BenchError> {
    let version = Command::new(program)
        .arg("version")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BenchError::io(program, source))?;
    let version = serde_json::from_slice::<Version>(&version.stdout).map_err(|error| {
        BenchError::Peer { name: label.to_owned(), reason: format!("its version: {error}") }
    })?;
    Ok(format!("{}, raft {}, {}", version.etcd, version.raft, version.go))
}
