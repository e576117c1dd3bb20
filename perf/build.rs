//! Tells the command which compiler, commit and contenders it was built from, for its reports.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    tell("RAFTWIRE_RUSTC", Command::new(rustc).arg("--version"));

    println!("cargo::rerun-if-changed=../Cargo.lock");
    let lock = std::fs::read_to_string("../Cargo.lock").unwrap_or_default();
    for (crate_name, variable) in CONTENDERS {
        if let Some(version) = locked(&lock, crate_name) {
            println!("cargo::rustc-env={variable}={crate_name} {version}");
        }
    }

    // A source tree without history has no commit to name, and nothing to watch.
    let head = Path::new("../.git/logs/HEAD");
    if head.exists() {
        println!("cargo::rerun-if-changed={}", head.display());
        tell("RAFTWIRE_COMMIT", Command::new("git").args(["describe", "--always", "--dirty"]));
    }
}

/// What the contenders that are not ours are made of.
const CONTENDERS: [(&str, &str); 4] = [
    ("prost", "RAFTWIRE_PROST"),
    ("tokio", "RAFTWIRE_TOKIO"),
    ("tokio-util", "RAFTWIRE_TOKIO_UTIL"),
    ("tonic", "RAFTWIRE_TONIC"),
];

/// The version of a crate that is there once.
fn locked<'a>(lock: &'a str, crate_name: &str) -> Option<&'a str> {
    let entry = format!("name = \"{crate_name}\"\nversion = \"");
    let (_, version) = lock.split_once(&entry)?;
    version.split('"').next()
}

fn tell(variable: &str, command: &mut Command) {
    let Ok(output) = command.output() else { return };
    if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        println!("cargo::rustc-env={variable}={}", text.trim());
    }
}
