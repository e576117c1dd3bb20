#!/bin/sh
# Replays the corpora through etcd's own decoders, 3.6's and 3.7's, and compares: fuzz/replay-etcd.sh.
# Needs Go; what may differ, and why, is listed in fuzz/examples/replay.rs.
set -eu
cd "$(dirname "$0")/.."

peers=$(mktemp -d)
trap 'rm -rf "$peers"' EXIT
perf/peers/go/build.sh "$peers"
cargo run --quiet --manifest-path fuzz/Cargo.toml --example replay -- \
    "3.6=$peers/peer-3.6" "3.7=$peers/peer-3.7"
