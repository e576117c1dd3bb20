# Sourced by the scripts beside it: where things are, and how targets are built.
#
# Targets build with the toolchain at hand: cargo-fuzz needs two flags that stable rustc keeps back.
# No sanitizer: the crate forbids unsafe code, and overflow checks and debug assertions are on.
# `SANITIZER=address fuzz/run.sh ...` works as well, at a tenth of the speed (`raftpb_message`).

cd "$(dirname "$0")/.."
export RUSTC_BOOTSTRAP=1
SANITIZER=${SANITIZER:-none}
CARGO_FUZZ_VERSION=0.13.2

# Some cargo-fuzz is good enough to run; a missing one is installed.
cargo fuzz --version >/dev/null 2>&1 ||
    cargo install cargo-fuzz --version "$CARGO_FUZZ_VERSION" --locked

targets() {
    cargo fuzz list
}

# The flags of libFuzzer for a target. Longer inputs than these find nothing a shorter one does not,
# but for a decoder's blocks and lists, and the trailers of a body, which need some length.
flags() {
    case $1 in
    wal_read | snap_read) echo "-max_len=8192" ;;
    *_decode | framed | stream_receive) echo "-dict=fuzz/dict/stream.dict -max_len=16384" ;;
    http_body) echo "-dict=fuzz/dict/http.dict -max_len=20480" ;;
    server_connection) echo "-dict=fuzz/dict/http.dict -max_len=4096" ;;
    http_*) echo "-dict=fuzz/dict/http.dict -max_len=2048" ;;
    craft) echo "-dict=fuzz/dict/craft.dict -max_len=4096" ;;
    raftpb_*) echo "-dict=fuzz/dict/raftpb.dict -max_len=4096" ;;
    *) echo "-max_len=1024" ;;
    esac
}
