// The state machine, and what its snapshots may be.

package drivers

import "testing"

func TestHashIsOverPairsInTheOrderOfKeys(t *testing.T) {
	// FNV-1a of nothing, and of "aXYbZ".
	if got := NewState().Hash(); got != 0xcbf29ce484222325 {
		t.Errorf("%016x", got)
	}
	hash := uint64(0xcbf29ce484222325)
	for _, b := range []byte("aXYbZ") {
		hash = (hash ^ uint64(b)) * 0x100000001b3
	}
	s := NewState()
	s.Put([]byte("b"), []byte("Z"))
	s.Put([]byte("a"), []byte("old"))
	s.Put([]byte("a"), []byte("XY"))
	if got := s.Hash(); got != hash || s.Len() != 2 {
		t.Errorf("%016x of %d keys, not %016x", got, s.Len(), hash)
	}
}

func TestSnapshotRestores(t *testing.T) {
	s := NewState()
	for _, pair := range [][2]string{{"a", ""}, {"b", "one"}, {"b", "three"}, {"", "empty"}} {
		s.Put([]byte(pair[0]), []byte(pair[1]))
	}
	data := s.Snapshot()
	if len(data) != cap(data) {
		t.Errorf("%d bytes were made room for, and %d needed", cap(data), len(data))
	}
	restored := NewState()
	restored.Put([]byte("gone"), nil)
	if err := restored.Restore(data); err != nil {
		t.Fatal(err)
	}
	if restored.Hash() != s.Hash() || restored.Len() != 3 || restored.bytes != s.bytes {
		t.Errorf("%d keys of %d bytes", restored.Len(), restored.bytes)
	}
	whole := 0
	for n := range data {
		if err := NewState().Restore(data[:n]); err == nil {
			whole++
		}
	}
	// Nothing, and what ends between two of the three pairs.
	if whole != 3 {
		t.Errorf("%d beginnings of a snapshot were taken for one", whole)
	}
}
