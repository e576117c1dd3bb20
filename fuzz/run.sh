#!/bin/sh
# Fuzzes: fuzz/run.sh [TARGET] [SECONDS]. All targets and 60 seconds each by default. What is found
# goes into fuzz/corpus/TARGET, what fails into fuzz/artifacts/TARGET.
set -eu
. "$(dirname "$0")/env.sh"

for target in ${1:-$(targets)}; do
    # shellcheck disable=SC2046 # flags are words
    cargo fuzz run -s "$SANITIZER" "$target" -- $(flags "$target") -max_total_time="${2:-60}"
done
