// Package golden holds a version's codec against the golden vectors, for the tests of each
// version's module. Not here: the vectors, which all of the project shares.
package golden

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"raftwire/perf/peers/drivers"
)

// Vectors of every version are read by every version, as in a rolling upgrade.
var files = []string{"golden-vectors.json", "golden-vectors-3.6.json", "golden-vectors-3.7.json"}

type session struct {
	Name   string
	Stream drivers.Stream
	Local  uint64
	Remote uint64
	Frames []frame
}

type frame struct {
	Kind    string
	Message *drivers.Message
	// Decoded is set where decoding does not give back Message.
	Decoded *drivers.Message
	Hex     drivers.Bytes
}

// Test encodes the vectors of own and decodes those of every version.
func Test(t *testing.T, c drivers.Codec, own string) {
	for _, s := range load(t, own) {
		t.Run("encode/"+s.Name, func(t *testing.T) { encode(t, c, s) })
	}
	for _, file := range files {
		for _, s := range load(t, file) {
			t.Run("decode/"+file+"/"+s.Name, func(t *testing.T) { decode(t, c, s) })
		}
	}
}

func load(t *testing.T, file string) []session {
	t.Helper()
	dir := os.Getenv("RAFTWIRE_VECTORS")
	if dir == "" {
		// From a codec folder to the root of the project.
		dir = filepath.FromSlash("../../../../../testdata/vectors")
	}
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	var sessions []session
	if err := json.Unmarshal(text, &sessions); err != nil {
		t.Fatal(err)
	}
	if len(sessions) == 0 {
		t.Fatalf("%s has no session", file)
	}
	return sessions
}

func encode(t *testing.T, c drivers.Codec, s session) {
	var in, out bytes.Buffer
	var want []byte
	for _, f := range s.Frames {
		in.Write(text(t, f.Message))
		in.WriteByte('\n')
		want = append(want, f.Hex...)
	}
	if err := drivers.Encode(c, s.Stream, &in, &out); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("got  %x\nwant %x", out.Bytes(), want)
	}
}

func decode(t *testing.T, c drivers.Codec, s session) {
	var wire []byte
	for _, f := range s.Frames {
		wire = append(wire, f.Hex...)
	}
	got := Replay(t, c, s.Stream, s.Local, s.Remote, wire)
	if got.End != "eof" || got.Error != "EOF" || got.Consumed != len(wire) {
		t.Errorf("end %q (%s) at %d of %d", got.End, got.Error, got.Consumed, len(wire))
	}
	if len(got.Frames) != len(s.Frames) {
		t.Fatalf("%d frames, not %d", len(got.Frames), len(s.Frames))
	}
	for i, f := range s.Frames {
		want := f.Message
		if f.Decoded != nil {
			want = f.Decoded
		}
		if got.Frames[i].Kind != f.Kind {
			t.Errorf("frame %d: kind %s, not %s", i, got.Frames[i].Kind, f.Kind)
		}
		if g, w := text(t, got.Frames[i].Message), text(t, want); !bytes.Equal(g, w) {
			t.Errorf("frame %d\ngot  %s\nwant %s", i, g, w)
		}
	}
}

// Replay asks as the program's standard input would.
func Replay(t *testing.T, c drivers.Codec, stream drivers.Stream, local, remote uint64, wire []byte) *drivers.Replayed {
	t.Helper()
	line, err := json.Marshal(map[string]any{"id": t.Name(), "stream": stream, "local": local,
		"remote": remote, "hex": hex.EncodeToString(wire)})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := drivers.Replay(c, line).(*drivers.Replayed)
	if !ok {
		t.Fatalf("no answer to %s", line)
	}
	return got
}

func text(t *testing.T, m *drivers.Message) []byte {
	t.Helper()
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
