#!/usr/bin/env bash
# Builds the programs around every etcd version: build.sh OUTDIR
# Not here: tests (`go test ./...` in each module) and choosing versions (each go.mod).
set -eu

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: build.sh OUTDIR"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" || fail "cannot make the folder $1"
out=$(cd "$1" && pwd)

command -v go >/dev/null || fail "Go is missing: there is no 'go' on the path, and 1.26 or newer is needed"
# Whatever Go is here is the one that is measured: it shall not fetch another one.
export GOTOOLCHAIN=local
version=$(go env GOVERSION)
minor=$(printf '%s\n' "$version" | sed -n 's/.*go1\.\([0-9][0-9]*\).*/\1/p')
[ "${minor:-0}" -ge 26 ] || fail "Go is too old: 1.26 or newer is needed, and this is $version"

# Without C the programs need no compiler to build and no libraries to run.
export CGO_ENABLED=0
for version in 3.6 3.7; do
    module=$here/v${version/./}
    for program in peer member transport commit wal; do
        (cd "$module" && go build -trimpath -buildvcs=false -o "$out/$program-$version" "./cmd/$program") ||
            fail "cannot build $program-$version; where the lines above speak of downloads, the modules in $module/go.sum are missing and no module proxy was reached"
    done
done
