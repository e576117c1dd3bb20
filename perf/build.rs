//! Tells the command which compiler and which commit it was built from, for its reports.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    tell("RAFTWIRE_RUSTC", Command::new(rustc).arg("--version"));

    // A source tree without history has no commit to name, and nothing to watch.
    let head = Path::new("../.git/logs/HEAD");
    if head.exists() {
        println!("cargo::rerun-if-changed={}", head.display());
        tell("RAFTWIRE_COMMIT", Command::new("git").args(["describe", "--always", "--dirty"]));
    }
}

fn tell(variable: &str, command: &mut Command) {
    let Ok(output) = command.output() else { return };
    if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        println!("cargo::rustc-env={variable}={}", text.trim());
    }
}
