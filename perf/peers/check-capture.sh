#!/usr/bin/env bash
# Decodes every stream that capture.sh recorded, strictly, and encodes it again to the same bytes.
#
#     check-capture.sh --dialect 3.4|3.6|3.7 DIR
#
# A member that stops cuts the streams it reads, where it likes: such a recording has no last chunk,
# and may end inside a frame. That is the one error that is accepted, and it is counted.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "check-capture.sh: $*" >&2
    exit 1
}

[ $# -eq 3 ] && [ "$1" = --dialect ] || fail "usage: check-capture.sh --dialect 3.4|3.6|3.7 DIR"
dialect=$2
recorded=$3
: "${RAFTWIRE:?names the raftwire command}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Whether the HTTP body is whole.
ended() { tail -c 5 "$1" | cmp -s - <(printf '0\r\n\r\n'); }

streams=0 frames=0 cut=0 compressed=0
while IFS=$'\t' read -r response request line; do
    [ -s "$response" ] || continue
    head -n 1 "$response" | grep -q '^HTTP/1.1 200 ' || continue
    case $line in
        'GET /raft/stream/msgapp/'*) stream=msgappv2 ;;
        'GET /raft/stream/message/'*) stream=message ;;
        *) continue ;;
    esac
    reader=$(sed -n '1s/^GET [^ ]*\/\([0-9a-f]*\) .*/\1/p' "$request")
    writer=$(tr -d '\r' <"$request" | sed -n 's/^X-Raft-To: //Ip')
    options=(--stream "$stream" --local "0x$reader" --remote "0x$writer")

    status=0
    "$RAFTWIRE" inspect --http --strict --format json --dialect "$dialect" "${options[@]}" \
        "$response" >"$work/frames" 2>"$work/error" || status=$?
    if [ $status -ne 0 ]; then
        [ $status -eq 1 ] && grep -q 'ended inside' "$work/error" && ! ended "$response" ||
            fail "$response: $(cat "$work/error")"
        cut=$((cut + 1))
    fi
    if grep -m 1 '"exact":false' "$work/frames"; then
        fail "$response: this frame is not as $dialect writes it"
    fi

    "$here/dechunk.pl" "$response" >"$work/body"
    "$RAFTWIRE" craft --stream "$stream" --dialect "$dialect" "$work/frames" >"$work/crafted"
    # All of it, but for a frame of which only a part is there.
    bytes=$(stat -c %s "$work/body")
    [ $status -eq 0 ] || bytes=$(stat -c %s "$work/crafted")
    cmp -n "$bytes" "$work/body" "$work/crafted" || fail "$response: inspect | craft does not give it back"

    count=$(wc -l <"$work/frames")
    streams=$((streams + 1))
    frames=$((frames + count))
    compressed=$((compressed + $(grep -c '"kind":"AppEntries"' "$work/frames" || true)))
    printf '%-9s %6d frames %8d bytes  %s\n' "$stream" "$count" "$(stat -c %s "$work/body")" "$response"
done < <(for index in "$recorded"/tap-*/index.jsonl; do
    jq -r --arg folder "$(dirname "$index")" 'select(.to_client != null and .request != null)
        | [$folder + "/" + .to_client.file, $folder + "/" + .to_server.file, .request] | @tsv' "$index"
done)

# Three members read two streams from each of two others, and the leader's are busy.
[ "$streams" -ge 12 ] || fail "$streams streams, where a cluster of three has 12"
[ "$compressed" -ge 100 ] || fail "$compressed AppEntries frames: there was no load"
echo "$streams streams, $frames frames, $compressed of them AppEntries, decoded and encoded alike; $cut streams end without a last chunk"
