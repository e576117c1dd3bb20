// What etcd does with malformed streams, the same in every version.
// Not here: what it does in each version with malformed protobuf on the message stream.

package golden

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"raftwire/perf/peers/drivers"
)

const (
	heartbeat = "00"
	zeros     = "0000000000000000"
)

var hostile = []struct {
	name, stream, hex string
	frames, consumed  int
	end, error        string
}{
	{"nothing", "msgappv2", "", 0, 0, "eof", "EOF"},
	{"end after a kind byte", "msgappv2", heartbeat + "01", 1, 1, "eof", "EOF"},
	{"end inside a count", "msgappv2", heartbeat + "0100", 1, 1, "unexpected-eof", ""},
	{"end before the commit", "msgappv2", "01" + zeros, 0, 0, "eof", "EOF"},
	{"unknown kind", "msgappv2", heartbeat + "07", 1, 1, "error", "failed to parse type 7"},
	{"unknown message type", "msgappv2", "02" + "0000000000000002" + "0863", 1, 11, "eof", "EOF"},
	{"malformed entry", "msgappv2", "01" + "0000000000000001" + "0000000000000001" + "08",
		0, 0, "panic", "unmarshal should never fail"},
	{"count no slice can have", "msgappv2", "01" + "ffffffffffffffff",
		0, 0, "panic", "makeslice: len out of range"},
	{"length no slice can have", "msgappv2", "02" + "7fffffffffffffff",
		0, 0, "panic", "makeslice: len out of range"},
	{"entry length no slice can have", "msgappv2", "01" + "0000000000000001" + "ffffffffffffffff",
		0, 0, "panic", "makeslice: len out of range"},
	{"count no machine has", "msgappv2", heartbeat + "01" + "0000100000000000",
		1, 1, "refused-to-allocate", "17592186044416 entries announced"},
	{"length no machine has", "msgappv2", "02" + "0000100000000000",
		0, 0, "refused-to-allocate", "message of 17592186044416 bytes announced"},
	{"entry length no machine has", "msgappv2", "01" + "0000000000000001" + "0000100000000000",
		0, 0, "refused-to-allocate", "entry of 17592186044416 bytes announced"},
	{"merely large count", "msgappv2", "01" + "0000000000100000", 0, 0, "eof", "EOF"},
	{"merely large length", "msgappv2", "02" + "0000000004000000", 0, 0, "eof", "EOF"},
	{"over the limit", "message", "0000000020000001", 0, 0, "error", "error limit exceeded"},
	{"large and within the limit", "message", "0000000020000000",
		0, 0, "refused-to-allocate", "message of 536870912 bytes announced"},
	{"zero message", "message", zeros, 1, 8, "eof", "EOF"},
	{"end inside a length", "message", "00", 0, 0, "unexpected-eof", ""},
}

// Hostile tests replay's ends. What a version makes of messages nested too deep is its own.
func Hostile(t *testing.T, c drivers.Codec, deepEnd, deepError string) {
	t.Run("a million levels", func(t *testing.T) {
		got := Replay(t, c, drivers.MessageStream, 2, 1, nested(1_000_000))
		if got.Consumed != 0 || got.End != deepEnd || !strings.Contains(got.Error, deepError) {
			t.Errorf("%d consumed, %s: %s", got.Consumed, got.End, got.Error)
		}
	})
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			wire, err := hex.DecodeString(h.hex)
			if err != nil {
				t.Fatal(err)
			}
			got := Replay(t, c, drivers.Stream(h.stream), 2, 1, wire)
			if len(got.Frames) != h.frames || got.Consumed != h.consumed || got.End != h.end ||
				!strings.Contains(got.Error, h.error) {
				t.Errorf("%d frames, %d consumed, %s: %s", len(got.Frames), got.Consumed, got.End, got.Error)
			}
		})
	}
}

// nested is a frame of the message stream: a message whose only field is responses, with one
// such message in it, and so on.
func nested(levels int) []byte {
	headers := make([][]byte, levels)
	size := 0
	for i := range headers {
		headers[levels-1-i] = binary.AppendUvarint([]byte{0x72}, uint64(size))
		size += len(headers[levels-1-i])
	}
	return append(binary.BigEndian.AppendUint64(nil, uint64(size)), bytes.Join(headers, nil)...)
}
