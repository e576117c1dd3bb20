//! The `raftwire` command: dispatches to one module per subcommand and turns their
//! result into an exit status. Nothing is measured or parsed here.

mod allocator;
mod bench;

use clap::{Parser, Subcommand};
use raftwire_perf::{cluster, craft, inspect, tap};
use std::process::ExitCode;

/// Measures, opens, writes and records the streams of etcd's peer transport.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(bench::Args),
    /// One end of a pair that `bench stream` measures; it starts both itself
    #[command(hide = true)]
    BenchEnd(bench::EndArgs),
    /// One member of a cluster that `bench commit` measures; it starts all itself
    #[command(hide = true)]
    BenchMember,
    Inspect(inspect::Args),
    Craft(craft::Args),
    Tap(tap::Args),
    Cluster(cluster::Args),
    /// One member of a cluster that `cluster` runs; it starts all itself
    #[command(hide = true)]
    ClusterMember(cluster::MemberArgs),
}

/// 0: clean. 1: the input is malformed, or a threshold was passed. 2: usage or I/O.
fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::BenchEnd(args) => bench::run_end(&args),
        Command::BenchMember => bench::run_member(),
        Command::Inspect(args) => inspect::run(&args),
        Command::Craft(args) => craft::run(&args),
        Command::Tap(args) => tap::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::ClusterMember(args) => cluster::run_member(&args),
    }
}
