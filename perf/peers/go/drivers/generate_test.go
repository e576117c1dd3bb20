// The messages of the exchange: what they must have in them for the exchange to mean something.

package drivers

import (
	"reflect"
	"testing"
)

func TestGeneratedAppsTakeEveryPath(t *testing.T) {
	var frames, compressed, commits, probes, steps, long, huge, absent, empty, changes int
	var term, index uint64
	for n := range uint64(2000) {
		m := generate(classMsgApp, 7, n, 1, 2)
		if m.Type != MsgApp || m.From != 1 || m.To != 2 || len(m.Entries) > generatedEntries {
			t.Fatalf("message %d is %+v", n, m)
		}
		// As the stream's encoder decides, whose state follows every message.
		if m.Index == index && m.LogTerm == term && m.Term == term {
			compressed++
			if len(m.Entries) == 0 {
				commits++
			}
		} else {
			frames++
			if len(m.Entries) == 0 {
				probes++
			}
		}
		if m.LogTerm < m.Term {
			steps++
		}
		term, index = m.Term, m.Index+uint64(len(m.Entries))
		for i, e := range m.Entries {
			if e.Index != m.Index+1+uint64(i) || e.Term > m.Term || e.Term < m.LogTerm {
				t.Fatalf("message %d has %+v after %d, %d", n, e, m.Index, m.LogTerm)
			}
			switch {
			case e.Data == nil:
				absent++
			case len(e.Data) == 0:
				empty++
			case len(e.Data) == longBytes:
				long++
			case len(e.Data) == hugeBytes:
				huge++
			case len(e.Data) > mostBytes:
				t.Errorf("message %d has an entry of %d bytes", n, len(e.Data))
			}
			if e.Type != EntryNormal {
				changes++
			}
		}
	}
	if huge != 1 || compressed < frames {
		t.Errorf("%d entries of 2 MiB, %d messages compressed and %d not", huge, compressed, frames)
	}
	for what, n := range map[string]int{"commit alone": commits, "probe": probes,
		"entry of an older term": steps, "entry of 100 KiB": long, "entry without data": absent,
		"empty entry": empty, "configuration change": changes} {
		if n == 0 {
			t.Errorf("no %s", what)
		}
	}
}

func TestGeneratedOthersAreOfEveryType(t *testing.T) {
	seen := map[MessageType]int{}
	rejected, contexts, last := 0, 0, false
	for n := range uint64(2000) {
		m := generate(classMessage, 7, n, 2, 1)
		if m.From != 2 || m.To != 1 || m.IsLinkHeartbeat() {
			t.Fatalf("message %d is %+v", n, m)
		}
		seen[m.Type]++
		if m.Reject {
			rejected++
		}
		if m.Context != nil {
			contexts++
		}
		last = last || m.Index>>63 == 1
		// Forwarded as they were proposed: without a term or a place in the log.
		if local := m.Type == MsgProp || m.Type == MsgReadIndex; local != (m.Term == 0) ||
			local && m.Entries[0].Index+m.Entries[0].Term != 0 {
			t.Errorf("message %d is %+v", n, m)
		}
	}
	for _, want := range generatedTypes {
		if seen[want] < 100 {
			t.Errorf("%d of type %d", seen[want], want)
		}
	}
	if len(seen) != len(generatedTypes) || rejected == 0 || contexts == 0 || !last {
		t.Errorf("%d types, %d rejected, %d contexts, index of 64 bits: %t", len(seen), rejected, contexts, last)
	}
}

func TestGeneratedMessagesDependOnNothingElse(t *testing.T) {
	for _, class := range []Class{classMsgApp, classMessage} {
		one := generate(class, 7, 1000, 1, 2)
		generate(class, 8, 3, 1, 2)
		if !reflect.DeepEqual(one, generate(class, 7, 1000, 1, 2)) {
			t.Errorf("%s 1000 is not the same twice", class)
		}
		if reflect.DeepEqual(one, generate(class, 8, 1000, 1, 2)) {
			t.Errorf("%s 1000 does not depend on the seed", class)
		}
	}
}
