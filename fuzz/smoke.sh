#!/bin/sh
# Fuzzes every target for a little while: fuzz/smoke.sh [SECONDS_PER_TARGET]. For CI: the corpus is
# copied, so that the tree stays as it is, and the first failure ends it, with how to reproduce it.
set -eu
. "$(dirname "$0")/env.sh"

corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT
cargo fuzz build -s "$SANITIZER"
for target in $(targets); do
    cp -r "fuzz/corpus/$target" "$corpus/$target"
    echo "== $target"
    # shellcheck disable=SC2046 # flags are words
    cargo fuzz run -s "$SANITIZER" "$target" "$corpus/$target" -- $(flags "$target") \
        -max_total_time="${1:-10}" -print_final_stats=1 >"$corpus/log" 2>&1 || {
        cat "$corpus/log"
        echo "FAILED: $target. To reproduce: fuzz/reproduce.sh $target fuzz/artifacts/$target/FILE" >&2
        ls "fuzz/artifacts/$target" >&2
        exit 1
    }
    grep -e 'number_of_executed_units' -e 'Done' "$corpus/log" || true
done
