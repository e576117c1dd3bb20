//! `raftwire-etcd`: one member of a cluster, driven by lines of JSON. All of it is in
//! [`raftwire_etcd::console`]; the flags are parsed here.

use clap::Parser;
use raftwire_etcd::console;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    args: console::Args,
}

fn main() -> ExitCode {
    console::run(&Cli::parse().args)
}
