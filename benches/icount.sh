#!/usr/bin/env bash
# Counts the instructions of `icount.rs` and holds them against what is expected.
#
#   benches/icount.sh                compare with the expectation for this target and rustc, or,
#                                    where there is none, with the parent commit
#   benches/icount.sh --against REV  compare with that commit
#   benches/icount.sh --update       write the expectation for this target and rustc
#
# Exits with 1 if a count is more than 3 % above, and with 2 if nothing could be measured.
set -euo pipefail

percent_max=3
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
tmp=$(mktemp -d)
worktree=$tmp/worktree

cleanup() {
    if [ -e "$worktree" ]; then
        git worktree remove --force "$worktree" || git worktree prune
    fi
    rm -rf "$tmp"
}
trap cleanup EXIT

say() { echo "icount: $*"; }
fail() {
    echo "icount: $*" >&2
    exit 2
}

require_valgrind() {
    if command -v valgrind > /dev/null; then
        return
    fi
    if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        say "installing valgrind"
        apt-get update -qq && apt-get install -y -qq valgrind > /dev/null && return
    fi
    fail "valgrind is missing; on Debian and Ubuntu: apt-get install valgrind"
}

# The library refuses a runner of another version.
require_runner() {
    export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    local version
    version=$(sed -n '/^name = "gungraun-runner"$/{n;s/^version = "\(.*\)"$/\1/p}' "$1/Cargo.lock")
    [ -n "$version" ] || fail "$1/Cargo.lock names no version of gungraun-runner"
    if [ "$(gungraun-runner --version 2> /dev/null)" != "gungraun-runner $version" ]; then
        say "installing gungraun-runner $version"
        cargo install --quiet --locked --version "$version" gungraun-runner
    fi
}

# measure DIR OUT: writes a line `id instructions-per-message` for each bench of the checkout DIR.
measure() {
    local dir=$1 out=$2 home messages profile id
    require_runner "$dir"
    home=$(mktemp -d -p "$tmp")
    # The benches do an operation on this many messages.
    messages=$(sed -n 's/^const MESSAGES: usize = \([0-9]*\);$/\1/p' "$dir/benches/icount.rs")
    [ -n "$messages" ] || fail "$dir/benches/icount.rs does not say how many messages it measures"
    if ! (cd "$dir" && cargo bench --bench icount -- --home="$home") > "$home.log" 2>&1; then
        tail -n 60 "$home.log" >&2
        fail "the benches of $dir do not run"
    fi
    for profile in "$home"/raftwire/icount/*/*/callgrind.*.out; do
        [ -e "$profile" ] || fail "the benches of $dir left no profile"
        id=$(basename "$(dirname "$profile")")
        awk -v id="${id/.//}" -v messages="$messages" \
            '$1 == "summary:" { printf "%s %.1f\n", id, $2 / messages }' "$profile"
    done | sort > "$out"
}

# The lines of an expectation, in the form `measure` writes.
read_expectation() {
    sed -n 's/^"\(.*\)" = \([0-9.]*\)$/\1 \2/p' "$1" | sort
}

# compare EXPECTED MEASURED: prints the table, and says in $tmp/verdicts what is wrong with it.
compare() {
    join -a 1 -a 2 -e - -o 0,1.2,2.2 "$1" "$2" | awk -v max="$percent_max" -v out="$tmp/verdicts" '
        BEGIN {
            printf "%-52s %12s %12s %9s\n", "instructions per message", "expected", "measured", "change"
            printf "" > out
        }
        {
            change = "-"; verdict = ""
            if ($2 == "-") verdict = "new"
            else if ($3 == "-") verdict = "gone"
            else {
                percent = $2 > 0 ? 100 * ($3 - $2) / $2 : 0
                change = sprintf("%+.2f %%", percent)
                if (percent > max) verdict = "worse"
                else if (percent < -max) verdict = "better"
            }
            printf "%-52s %12s %12s %9s %s\n", $1, $2, $3, change, verdict
            if (verdict != "") print verdict > out
        }'
}

# How many benches got this verdict.
count_of() { grep -cx "$1" "$tmp/verdicts" || true; }

update() {
    local file=$1
    mkdir -p "$(dirname "$file")"
    {
        echo "# Instructions per message, counted by callgrind. Written by benches/icount.sh --update;"
        echo "# changed only in a commit of its own that says why (BENCHMARKING.md)."
        sed 's/^\(.*\) \(.*\)$/"\1" = \2/' "$tmp/measured"
    } > "$file"
    say "wrote $file"
}

against_expectation() {
    local file=$1
    say "comparing with $file"
    read_expectation "$file" > "$tmp/expected"
    compare "$tmp/expected" "$tmp/measured"
    local better missing
    better=$(count_of better)
    missing=$(($(count_of new) + $(count_of gone)))
    if [ "$better" -gt 0 ]; then
        say "$better got better by more than $percent_max %: hold them there with benches/icount.sh --update"
    fi
    if [ "$missing" -gt 0 ]; then
        say "$missing benches and expectations have no counterpart: benches/icount.sh --update"
        return 1
    fi
}

against_commit() {
    local rev=$1
    if ! git rev-parse --quiet --verify "$rev^{commit}" > /dev/null; then
        say "NOTHING COMPARED: there is no commit $rev; $(wc -l < "$tmp/measured") measured"
        exit
    fi
    if ! git cat-file -e "$rev:benches/icount.rs" 2> /dev/null; then
        say "NOTHING COMPARED: commit $rev has no such bench; $(wc -l < "$tmp/measured") measured"
        exit
    fi
    say "comparing with commit $(git log -1 --format='%h (%s)' "$rev")"
    git worktree add --quiet --detach "$worktree" "$rev"
    # In a folder of its own: cargo would take its output for this checkout's.
    local output=${CARGO_TARGET_DIR:-target}
    [ "${output#/}" != "$output" ] || output=$root/$output
    CARGO_TARGET_DIR=$output/icount-against measure "$worktree" "$tmp/expected"
    compare "$tmp/expected" "$tmp/measured"
}

mode=compare
rev=
case "${1:-}" in
    "") ;;
    --update) mode=update ;;
    --against) rev=${2:?--against needs a commit} ;;
    *) fail "unknown argument $1" ;;
esac

target=$(rustc -vV | sed -n 's/^host: //p')
release=$(rustc -vV | sed -n 's/^release: //p')
expectation=benches/icount/$target/rustc-$release.toml

require_valgrind
measure "$root" "$tmp/measured"
if [ "$mode" = update ]; then
    update "$expectation"
    exit
fi
complete=true
if [ -n "$rev" ]; then
    against_commit "$rev"
elif [ -e "$expectation" ]; then
    against_expectation "$expectation" || complete=false
else
    say "no expectation for $target and rustc $release"
    against_commit HEAD^
fi
worse=$(count_of worse)
if [ "$worse" -gt 0 ]; then
    say "FAILED: $worse of $(wc -l < "$tmp/measured") take over $percent_max % more instructions"
    exit 1
fi
[ "$complete" = true ] || exit 1
say "passed: $(wc -l < "$tmp/measured") measured, none above by more than $percent_max %"
