// A version's WAL against one that is only in memory: what is written must be what is read, before and
// after it is torn and repaired. Not here: the bytes of records, which are etcd's.

package golden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"raftwire/perf/peers/drivers"
)

// memory keeps a log as a member that starts would find it.
type memory struct {
	content  drivers.WALContent
	all      drivers.List[drivers.Entry]
	snapshot drivers.Snapshot
	// How often entries took the place of others.
	overwritten int
}

func (m *memory) Create(_, _ string, _ int64, member, cluster uint64) (drivers.WALWriter, error) {
	m.content.Member, m.content.Cluster = member, cluster
	return m, nil
}

func (m *memory) Save(state drivers.HardState, entries drivers.List[drivers.Entry]) error {
	for _, e := range entries {
		if e.Index <= m.content.HardState.Commit || e.Index > uint64(len(m.all))+1 {
			return fmt.Errorf("entry %d behind %d, with %+v", e.Index, len(m.all), state)
		}
		if e.Index <= uint64(len(m.all)) {
			m.overwritten++
		}
		m.all = append(m.all[:e.Index-1], e)
	}
	if state != (drivers.HardState{}) {
		if state.Term < m.content.HardState.Term || state.Commit < m.content.HardState.Commit ||
			state.Commit > uint64(len(m.all)) {
			return fmt.Errorf("from %+v to %+v", m.content.HardState, state)
		}
		m.content.HardState = state
	}
	return nil
}

func (m *memory) Snapshot(s drivers.Snapshot) error {
	at := s.Metadata
	if at.Index > m.content.HardState.Commit || m.all[at.Index-1].Term != at.Term {
		return fmt.Errorf("a snapshot of %d in term %d", at.Index, at.Term)
	}
	m.snapshot = s
	m.content.SnapshotIndex, m.content.SnapshotTerm = at.Index, at.Term
	return nil
}

func (m *memory) Close() error       { return nil }
func (m *memory) Repair(string) bool { return false }

func (m *memory) Read(string, string) (*drivers.WALContent, error) {
	m.content.Entries = m.all[m.content.SnapshotIndex:]
	return &m.content, nil
}

func (m *memory) Open(wal, snap string) (*drivers.WALContent, error) { return m.Read(wal, snap) }

func (m *memory) NewestSnapshot(string) (*drivers.Snapshot, error) {
	if m.snapshot.Empty() {
		return nil, errors.New("no snapshot")
	}
	return &m.snapshot, nil
}

// WAL tests whatever the program can do.
func WAL(t *testing.T, files drivers.WALFiles) {
	overwritten := 0
	for _, args := range [][]string{
		{}, {"--seed", "2"}, {"--entries", "0"}, {"--entries", "7", "--snapshot-at", "1"},
		{"--entries", "40", "--bytes", "0"},
		{"--entries", "1500", "--bytes", "300", "--segment-bytes", "65536", "--snapshot-at", "900"},
	} {
		for _, torn := range []bool{false, true} {
			t.Run(fmt.Sprint(args, torn), func(t *testing.T) {
				overwritten += written(t, files, args, torn)
			})
		}
	}
	if overwritten == 0 {
		t.Error("no entry took the place of another")
	}
	failures(t, files)
}

func written(t *testing.T, files drivers.WALFiles, args []string, torn bool) (overwritten int) {
	dir := t.TempDir()
	wal, snap := filepath.Join(dir, "wal"), filepath.Join(dir, "snap")
	expected := &memory{}
	want, ok := drivers.WALCommand(expected, "write", filepath.Join(t.TempDir(), "wal"), args).(drivers.WALDescribed)
	if !ok {
		t.Fatal("nothing was written to memory")
	}
	if torn {
		args = append(slices.Clone(args), "--torn")
	}
	equal := func(command string) {
		t.Helper()
		if got := drivers.WALCommand(files, command, wal, nil); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, not %+v", command, got, want)
		}
	}
	if got := drivers.WALCommand(files, "write", wal, args); !reflect.DeepEqual(got, want) {
		t.Errorf("write: %+v, not %+v", got, want)
	}
	before := content(t, wal)
	equal("read")
	if !reflect.DeepEqual(before, content(t, wal)) {
		t.Error("read changed a segment")
	}
	if torn {
		if got, ok := drivers.WALCommand(files, "open", wal, nil).(drivers.WALFailure); !ok || got.Kind != "torn" {
			t.Errorf("open: %+v", got)
		}
		if got := drivers.WALCommand(files, "repair", wal, nil); got != (drivers.Repaired{Repaired: true}) {
			t.Errorf("repair: %+v", got)
		}
	}
	equal("open")
	equal("read")
	wanted := drivers.WALCommand(expected, "snap", snap, nil)
	got := drivers.WALCommand(files, "snap", snap, nil)
	_, wantedNone := wanted.(drivers.WALFailure)
	_, gotNone := got.(drivers.WALFailure)
	if wantedNone != gotNone || !wantedNone && !reflect.DeepEqual(got, wanted) {
		t.Errorf("snap: %+v, not %+v", got, wanted)
	}
	return expected.overwritten
}

func failures(t *testing.T, files drivers.WALFiles) {
	dir := t.TempDir()
	wal := filepath.Join(dir, "wal")
	fails := func(kind, command, dir string, args ...string) {
		t.Helper()
		if got, ok := drivers.WALCommand(files, command, dir, args).(drivers.WALFailure); !ok ||
			got.Kind != kind || got.Error == "" {
			t.Errorf("%s %q: %+v", command, args, got)
		}
	}
	fails("error", "read", wal)
	fails("error", "write", wal, "--entries", "20", "--snapshot-at", "15")
	fails("error", "write", wal, "--segment-bytes", "100")
	fails("error", "write", wal, "more")
	fails("error", "other", wal)
	if _, ok := drivers.WALCommand(files, "write", wal, []string{"--entries", "20"}).(drivers.WALDescribed); !ok {
		t.Fatal("not written")
	}
	fails("error", "write", wal)
	// A byte in the middle of the log is another, which no tail's repair mends.
	for name, text := range content(t, wal) {
		text[600] ^= 1
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fails("error", "read", wal)
	fails("error", "open", wal)
	if got := drivers.WALCommand(files, "repair", wal, nil); got != (drivers.Repaired{}) {
		t.Errorf("repair: %+v", got)
	}
}

// content is that of every segment.
func content(t *testing.T, wal string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(wal, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		if all[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
