#!/usr/bin/env bash
# Holds the library's count of copied bytes against valgrind's, which sees every call of memcpy and
# memmove in the process: `perf/check-copies.sh [PROGRAM]`. Fails if they differ.
#
# Each case runs with N and with 2N messages, and the differences are compared: what starting up
# and printing copies is in both and falls out. valgrind sees calls only, and not all of them copy a
# payload: the compiler moves a struct of more than about a hundred bytes (a decoded message, say)
# with a call, and writes small copies of a known size without one. That does not depend on the
# payload, so a control of as many entries without data measures it, and it is subtracted.
#
# What is left may differ by a quarter of the payload bytes, but by no more than 512 bytes a message:
# a read that ends inside a frame makes the decoder put what it has aside, a struct move the control
# has fewer of, and inlined copies lower valgrind's count. A payload copied once more than counted is
# off by all of its bytes, hence always too far.
#
# Not here: allocations (tests/alloc.rs), and times.
set -euo pipefail

SLACK_MESSAGE_BYTES=512

fail() {
    echo "check-copies.sh: $*" >&2
    exit 1
}

command -v valgrind >/dev/null || fail "valgrind is missing (3.18 or newer is needed)"
here=$(cd "$(dirname "$0")" && pwd)
program=${1:-}
if [ -z "$program" ]; then
    (cd "$here/.." && cargo build --release --quiet -p raftwire-perf) || fail "it does not build"
    target=$(cd "$here/.." && cargo metadata --format-version 1 --no-deps |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    program=$target/release/raftwire
fi
[ -x "$program" ] || fail "$program cannot be run"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Prints: messages, bytes we counted, bytes valgrind counted.
count() { # shape direction messages
    valgrind --tool=dhat --mode=copy --dhat-out-file="$scratch/dhat" --log-file="$scratch/log" \
        "$program" bench codec --count-only "$1" --direction "$2" --messages "$3" --allocator system \
        >"$scratch/counted" || { cat "$scratch/log" >&2; fail "$1 $2 did not run"; }
    local seen
    seen=$(sed -n 's/.*Total: *\([0-9,]*\) bytes.*/\1/p' "$scratch/log" | tr -d ,)
    [ -n "$seen" ] || { cat "$scratch/log" >&2; fail "valgrind said no total"; }
    for key in messages copied_bytes; do
        sed -n "s/.*\"$key\":\([0-9]*\).*/\1/p" "$scratch/counted"
    done | tr '\n' ' '
    echo "$seen"
}

# Prints: messages, bytes we counted, bytes valgrind counted, of N messages after the first N.
difference() { # shape direction N
    local m1 ours1 seen1 m2 ours2 seen2
    read -r m1 ours1 seen1 <<<"$(count "$1" "$2" "$3")"
    read -r m2 ours2 seen2 <<<"$(count "$1" "$2" $((2 * $3)))"
    [ "${m2:-0}" -gt "${m1:-0}" ] || fail "$1 $2: twice the messages were no more messages"
    echo "$((m2 - m1)) $((ours2 - ours1)) $((seen2 - seen1))"
}

failed=0
printf '%-8s %-7s %9s %13s %13s %12s %10s %10s\n' \
    shape what messages 'counted B' 'valgrind B' 'structs B' 'off by B' 'allowed B'
for case in 1x64:64:20480 64x1KiB:65536:600 1x64KiB:65536:600; do
    IFS=: read -r shape payload n <<<"$case"
    for direction in encode decode; do
        read -r messages ours seen <<<"$(difference "$shape" $direction "$n")"
        read -r control_messages control_ours control_seen <<<"$(difference "${shape%x*}x0" $direction "$n")"
        structs=$(((control_seen - control_ours) * messages / control_messages))
        off=$((seen - structs - ours))
        slack=$((payload / 4 < SLACK_MESSAGE_BYTES ? payload / 4 : SLACK_MESSAGE_BYTES))
        verdict=
        if [ "${off#-}" -gt $((messages * slack)) ]; then
            verdict=' TOO FAR'
            failed=1
        fi
        printf '%-8s %-7s %9d %13d %13d %12d %10d %10d%s\n' "$shape" $direction "$messages" \
            "$ours" "$seen" "$structs" "$off" $((messages * slack)) "$verdict"
    done
done
[ "$failed" = 0 ] || fail "the library's count of copied bytes is not what was copied"
