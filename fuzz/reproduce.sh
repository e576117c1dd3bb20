#!/bin/sh
# Runs one input again: fuzz/reproduce.sh TARGET FILE.
set -eu
test $# -eq 2 || { echo "usage: $0 TARGET FILE" >&2; exit 2; }
file=$(realpath "$2")
. "$(dirname "$0")/env.sh"

cargo fuzz run -s "$SANITIZER" "$1" "$file"
