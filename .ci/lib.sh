# What the steps share; a step begins with `. .ci/lib.sh`. The working directory is the project's.

set -euo pipefail

# Where built things are, and below it what the steps make for themselves.
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
scratch=$target/ci
mkdir -p "$scratch"

say() { printf -- '--- %s\n' "$*"; }

run() {
    printf '+ %s\n' "$*"
    "$@"
}

fail() {
    printf 'FAILED: %s\n' "$*"
    exit 1
}

# A tool is missing and cannot be installed here.
missing() {
    printf 'missing: %s\n' "$*"
    exit 77
}

# as_root COMMAND...: with sudo where it asks for nothing.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# The package lists, once a run: a fresh machine has none.
apt_update() {
    command -v apt-get >/dev/null || return 1
    [ -z "$(find "$scratch/apt-updated" -mmin -120 2>/dev/null)" ] || return 0
    run as_root apt-get update -qq && touch "$scratch/apt-updated"
}

# need_command COMMAND PACKAGE: installs Debian's PACKAGE if there is no COMMAND.
need_command() {
    command -v "$1" >/dev/null && return
    apt_update && run as_root apt-get install -y -qq --no-install-recommends "$2" >/dev/null ||
        missing "'$1' (Debian's package $2)"
}

need_go() {
    # Whatever Go is here is used: it shall not fetch another one.
    export GOTOOLCHAIN=local
    command -v go >/dev/null || missing "Go, 1.26 or newer"
}

# readme_block MARK: the code block that follows `<!-- MARK -->` in the README.
readme_block() {
    awk -v mark="<!-- $1 -->" '
        index($0, mark) { wanted = 1; next }
        wanted && /^```/ { if (inside) exit; inside = 1; next }
        inside { print; found = 1 }
        END { exit !found }
    ' README.md || fail "README.md has no code block behind <!-- $1 -->" >&2
}
