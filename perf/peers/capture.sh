#!/usr/bin/env bash
# Records what the members of a real, loaded etcd cluster send each other.
#
#     capture.sh [--etcd COMMAND] [--member PROGRAM] [--puts N] [--value-bytes N] [--clients N] OUTDIR
#
# Starts three members on loopback. What each of them advertises to the others is the address of a
# `raftwire tap`, so that every connection between two members goes through one:
#
#     OUTDIR/tap-N/    what was sent to member N's peer port and what it answered; index.jsonl says
#                      which file is which
#     OUTDIR/log/      what the members, the taps and the load printed
#
# Puts go to all three members until they are acknowledged. Then the members are stopped, and after
# them the taps. OUTDIR must not exist yet.
#
# --etcd says how to start a member (default: etcd 3.6, the member program of peers/go); --member
# which program puts the load on. RAFTWIRE names the `raftwire` command, built if it is not set.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

fail() {
    echo "capture.sh: $*" >&2
    exit 1
}

etcd=
member=
puts=1000
value_bytes=256
clients=16
out=
while [ $# -gt 0 ]; do
    case $1 in
        --etcd) etcd=$2 ;;
        --member) member=$2 ;;
        --puts) puts=$2 ;;
        --value-bytes) value_bytes=$2 ;;
        --clients) clients=$2 ;;
        -*) fail "unknown option $1" ;;
        *)
            [ -z "$out" ] || fail "one OUTDIR, please"
            out=$1
            shift
            continue
            ;;
    esac
    shift 2
done
[ -n "$out" ] || fail "usage: capture.sh [OPTIONS] OUTDIR"
[ ! -e "$out" ] || fail "$out exists already"

if [ -z "${RAFTWIRE:-}" ]; then
    cargo build --locked --quiet --release --manifest-path "$root/Cargo.toml" -p raftwire-perf
    RAFTWIRE=$target/release/raftwire
fi
if [ -z "$member" ]; then
    "$here/go/build.sh" "$target/peers"
    member=$target/peers/member-3.6
fi
read -r -a etcd <<<"${etcd:-$member etcd}"

mkdir -p "$out/log"
out=$(cd "$out" && pwd)
data=$(mktemp -d)
pids=()

stop() { # stop PID...: asks, and after 10 s insists
    kill "$@" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$@" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "$@" 2>/dev/null || true
    wait "$@" 2>/dev/null || true
}

cleanup() {
    [ ${#pids[@]} -eq 0 ] || stop "${pids[@]}"
    rm -rf "$data"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# free_ports N: ports the system has chosen. They are free again when they are printed, and could in
# theory be taken before the member is there: then starting fails, and is tried again.
free_ports() {
    perl -MIO::Socket::INET -e '
        my @held = map {
            IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => 0) or die $!
        } 1 .. shift;
        print join(" ", map { $_->sockport } @held), "\n";
    ' "$1"
}

# Sets tap_pids, tap_addresses for members that will listen on the ports given.
start_taps() {
    tap_pids=()
    tap_addresses=()
    local number=0 port line
    for port; do
        number=$((number + 1))
        "$RAFTWIRE" tap --listen 127.0.0.1:0 --to "127.0.0.1:$port" --out "$out/tap-$number" \
            >"$out/log/tap-$number.out" 2>"$out/log/tap-$number.err" &
        tap_pids+=($!)
        pids+=($!)
        line=
        for _ in $(seq 100); do
            line=$(sed -n 's/^listening on //p' "$out/log/tap-$number.out")
            [ -z "$line" ] || break
            sleep 0.05
        done
        [ -n "$line" ] || fail "tap $number does not listen: $(cat "$out/log/tap-$number.err")"
        tap_addresses+=("$line")
    done
}

# Sets member_pids and endpoints. Returns 1 if a member has gone within its first 2 seconds.
start_members() {
    local ports cluster= number
    read -r -a ports <<<"$(free_ports 6)"
    start_taps "${ports[@]:0:3}"
    for number in 1 2 3; do
        cluster+=${cluster:+,}m$number=http://${tap_addresses[number - 1]}
    done
    member_pids=()
    endpoints=
    for number in 1 2 3; do
        local client=http://127.0.0.1:${ports[number + 2]}
        endpoints+=${endpoints:+,}$client
        # What the environment says to etcd is for somebody else's cluster.
        env -i PATH="$PATH" HOME="$HOME" "${etcd[@]}" --name "m$number" --data-dir "$data/m$number" \
            --listen-peer-urls "http://127.0.0.1:${ports[number - 1]}" \
            --initial-advertise-peer-urls "http://${tap_addresses[number - 1]}" \
            --listen-client-urls "$client" --advertise-client-urls "$client" \
            --initial-cluster "$cluster" --initial-cluster-token raftwire-capture \
            --initial-cluster-state new --log-level warn >"$out/log/m$number.log" 2>&1 &
        member_pids+=($!)
        pids+=($!)
    done
    for _ in $(seq 20); do
        for pid in "${member_pids[@]}"; do
            kill -0 "$pid" 2>/dev/null || return 1
        done
        sleep 0.1
    done
}

tries=1
until start_members; do
    tail -n 3 "$out"/log/m*.log >&2
    [ "$tries" -lt 3 ] || fail "the members do not start; see $out/log"
    tries=$((tries + 1))
    stop "${pids[@]}"
    pids=()
    rm -rf "$data"/m? "$out"/tap-?
done

"$member" load --endpoints "$endpoints" --puts "$puts" --value-bytes "$value_bytes" \
    --clients "$clients" --timeout 2m >"$out/log/load.json" 2>"$out/log/load.err" ||
    fail "the load was not acknowledged: $(cat "$out/log/load.err")"
cat "$out/log/load.json"
# A heartbeat carries the last commit index to the followers; then nothing is under way.
sleep 1

# One after the other: a leader hands over first, and would wait for members that are gone.
for pid in "${member_pids[@]}"; do
    stop "$pid"
done
stop "${tap_pids[@]}"
pids=()
for number in 1 2 3; do
    [ ! -s "$out/log/tap-$number.err" ] || fail "tap $number: $(cat "$out/log/tap-$number.err")"
done
