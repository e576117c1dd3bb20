#!/bin/sh
# Makes the corpora anew from testdata, and minimises them: fuzz/seed.sh [SECONDS_PER_TARGET]. What
# is in the corpora is kept if it covers more than the seeds do. With seconds, fuzzes for that long
# in between.
set -eu
. "$(dirname "$0")/env.sh"

smaller=$(mktemp -d)
trap 'rm -rf "$smaller"' EXIT
cargo run --quiet --manifest-path fuzz/Cargo.toml --example seed
for target in $(targets); do
    # shellcheck disable=SC2046 # flags are words
    test "${1:-0}" -eq 0 ||
        cargo fuzz run -s "$SANITIZER" "$target" -- $(flags "$target") -max_total_time="$1"
    # Few inputs that together pass every edge, however often: `cargo fuzz cmin` keeps several times
    # the files.
    mkdir "$smaller/$target"
    cargo fuzz run -s "$SANITIZER" "$target" "$smaller/$target" "fuzz/corpus/$target" -- \
        -set_cover_merge=1 -use_counters=0
    rm -r "fuzz/corpus/$target"
    mv "$smaller/$target" fuzz/corpus/
done

# What these are for, memory and numbers a step too large, is no edge.
cargo run --quiet --manifest-path fuzz/Cargo.toml --example seed -- kept
