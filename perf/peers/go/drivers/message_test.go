// The JSON form of messages and the payload generator.

package drivers

import (
	"encoding/json"
	"testing"
)

func TestMessageKeepsItsJSON(t *testing.T) {
	const text = `{"type":"MsgSnap","to":18446744073709551615,"from":1,"term":2,"logTerm":3,` +
		`"index":4,"entries":[{"type":77,"term":1,"index":2,"data":null},` +
		`{"type":"EntryConfChange","term":1,"index":3,"data":""}],"commit":5,` +
		`"snapshot":{"data":"00ff","metadata":{"conf_state":{"voters":[1],"learners":[],` +
		`"voters_outgoing":[2],"learners_next":[],"auto_leave":true},"index":6,"term":7}},` +
		`"reject":true,"rejectHint":8,"context":"63"}`
	m, err := parseMessage([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != text {
		t.Errorf("got  %s\nwant %s", got, text)
	}
	framed, err := parseMessage([]byte(`{"kind":"message","message":` + text + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if framed.Index != 4 {
		t.Errorf("a message in a frame was read as %+v", framed)
	}
}

func TestUnknownNameIsAnError(t *testing.T) {
	if _, err := parseMessage([]byte(`{"type":"MsgNone"}`)); err == nil {
		t.Error("no error")
	}
}

// The first values of SplitMix64 from the seed 1234567, as its reference implementation has them.
func TestSplitmix(t *testing.T) {
	s := splitmix(1234567)
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := s.next(); got != want {
			t.Errorf("value %d: %d, not %d", i, got, want)
		}
	}
}
