// Three members of a version's commit program in one process: its ops, over real sockets and files.
// Not here: figures, for which each member needs a process of its own.

package golden

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raftwire/perf/peers/drivers"
)

// CutOff stops a member's traffic with a peer, or lets it go on.
type CutOff func(m drivers.CommitMember, peer uint64, cut bool)

// The third member writes no snapshot but those it is sent.
var snapshotEntries = [3]int{200, 200, 1_000_000}

type members struct {
	t       *testing.T
	dirs    [3]string
	all     [3]*drivers.Commit
	started [3]drivers.CommitMember
}

// alone is a member without a cluster, in memory.
type alone struct {
	state *drivers.State
	puts  uint64
}

func (a *alone) URL() string                              { return "" }
func (a *alone) Found([]drivers.Voter) error              { return nil }
func (a *alone) Campaign(context.Context) (uint64, error) { return 2, nil }
func (a *alone) Applied() uint64                          { return a.puts }
func (a *alone) Fsyncs() (wal, snap uint64, err error)    { return 0, 0, nil }
func (a *alone) SnapshotsSent() uint64                    { return 0 }
func (a *alone) Stop() error                              { return nil }

func (a *alone) Propose(_ context.Context, key, value []byte) error {
	a.puts++
	a.state.Put(key, slices.Clone(value))
	return nil
}

func (a *alone) Inspect(_ context.Context, look func(*drivers.State, uint64)) error {
	look(a.state, a.puts)
	return nil
}

// Commit tests whatever the program can do.
func Commit(t *testing.T, start func(drivers.CommitConfig) (drivers.CommitMember, error), cutOff CutOff,
	files drivers.WALFiles) {
	m := &members{t: t}
	var voters []string
	for i := range m.all {
		m.dirs[i] = t.TempDir()
		m.all[i] = drivers.NewCommit(func(c drivers.CommitConfig) (drivers.CommitMember, error) {
			member, err := start(c)
			m.started[i] = member
			return member, err
		})
		m.refused(i, `{"op":"usage"}`, "the first op is")
		url := m.ok(i, `{"op":"start","id":%d,"cluster":"cdf818194e3a8c32","dir":%q,"snapshot_entries":%d,"catch_up_entries":50,"snapshot_state":%t}`,
			i+1, m.dirs[i], snapshotEntries[i], i == 0)["url"]
		voters = append(voters, fmt.Sprintf(`{"id":%d,"url":%q}`, i+1, url))
	}
	t.Cleanup(func() {
		for i := range m.all {
			m.all[i].Answer([]byte(`{"op":"stop"}`))
		}
	})
	m.refused(0, `{"op":"campaign"}`, "not founded")
	m.refused(0, `{"op":"connect","members":[`+voters[1]+`]}`, "not among the voters")
	// In any order, founders agree on the members.
	for i := range m.all {
		m.ok(i, `{"op":"connect","members":[%s,%s,%s]}`, voters[i], voters[(i+1)%3], voters[(i+2)%3])
	}
	if term := m.ok(0, `{"op":"campaign"}`)["term"].(float64); term < 2 {
		t.Errorf("led in term %v", term)
	}
	m.puts(t)
	m.loads(t)
	m.equal(t, 100)
	t.Run("followers do not lead", func(t *testing.T) {
		// Whoever follows forwards, and is as good.
		m.t = t
		m.ok(1, `{"op":"run","proposers":4,"duration_ms":50,"keys":100,"seed":3}`)
		m.equal(t, 100)
		// And takes the lead when asked.
		before := m.ok(1, `{"op":"campaign"}`)["term"].(float64)
		if after := m.ok(0, `{"op":"campaign"}`)["term"].(float64); after <= before {
			t.Errorf("terms %v and %v", before, after)
		}
	})
	t.Run("a member that fell behind gets a snapshot", func(t *testing.T) {
		m.t = t
		cutOff(m.started[0], 3, true)
		cutOff(m.started[2], 1, true)
		cutOff(m.started[1], 3, true)
		cutOff(m.started[2], 2, true)
		behind := m.ok(2, `{"op":"usage"}`)["applied"].(float64)
		ahead := behind
		for seed := 4; ahead < behind+500; seed++ {
			m.ok(0, `{"op":"run","proposers":16,"duration_ms":100,"keys":1000,"seed":%d}`, seed)
			ahead = m.ok(0, `{"op":"usage"}`)["applied"].(float64)
		}
		if now := m.ok(2, `{"op":"usage"}`)["applied"].(float64); now != behind {
			t.Fatalf("member 3 went from %v to %v, and member 1 to %v", behind, now, ahead)
		}
		had := len(m.files(2, "snap", "*.snap"))
		cutOff(m.started[0], 3, false)
		cutOff(m.started[2], 1, false)
		cutOff(m.started[1], 3, false)
		cutOff(m.started[2], 2, false)
		m.equal(t, 1000)
		if sent := m.ok(0, `{"op":"usage"}`)["snapshots_sent"].(float64); sent < 1 {
			t.Errorf("member 1 sent %v snapshots", sent)
		}
		if len(m.files(2, "snap", "*.snap")) <= had {
			t.Error("member 3 caught up without a snapshot")
		}
	})
	m.t = t
	for i := range m.all {
		applied := m.ok(i, `{"op":"usage"}`)["applied"].(float64)
		m.ok(i, `{"op":"stop"}`)
		log := filepath.Join(m.dirs[i], "member", "wal")
		if got, ok := drivers.WALCommand(files, "open", log, nil).(drivers.WALDescribed); !ok ||
			got.Member != uint64(i+1) || got.Cluster != 0xcdf818194e3a8c32 || got.Snapshot.Index == 0 ||
			got.Entries > 0 && got.First != got.Snapshot.Index+1 ||
			float64(max(got.Last, got.Snapshot.Index)) < applied || got.HardState.Term < 3 {
			t.Errorf("member %d applied %v, and its log is %+v", i+1, applied, got)
		}
		if len(m.files(i, "wal", "*.wal")) == 0 || len(m.files(i, "snap", "*.snap")) == 0 {
			t.Errorf("member %d left no files", i+1)
		}
		m.refused(i, `{"op":"check"}`, "the first op is")
		m.refused(i, fmt.Sprintf(`{"op":"start","id":1,"cluster":"1","dir":%q}`, m.dirs[i]), "there is a WAL in")
	}
}

// puts makes a member's puts those of one that is alone.
func (m *members) puts(t *testing.T) {
	const load = `{"op":"run","proposers":1,"rate":500,"duration_ms":200,"keys":50,"seed":9}`
	single := drivers.NewCommit(func(drivers.CommitConfig) (drivers.CommitMember, error) {
		return &alone{state: drivers.NewState()}, nil
	})
	for _, line := range []string{`{"op":"start","id":1,"cluster":"1","dir":"none"}`,
		`{"op":"connect"}`, load} {
		single.Answer([]byte(line))
	}
	want := single.Answer([]byte(`{"op":"check"}`)).(drivers.Checked)
	if got := m.ok(0, `{"op":"check"}`); got["keys"].(float64) != 0 || got["hash"] != "cbf29ce484222325" {
		t.Errorf("no put gave %v", got)
	}
	m.ok(0, load)
	if got := m.ok(0, `{"op":"check"}`); want.Applied != 100 || got["hash"] != want.Hash ||
		got["keys"].(float64) != float64(want.Keys) {
		t.Errorf("the state is %v, not %+v", got, want)
	}
}

func (m *members) loads(t *testing.T) {
	before := m.ok(0, `{"op":"usage"}`)
	var puts float64
	for _, load := range []string{`"proposers":1`, `"proposers":16`, `"proposers":16,"rate":500`} {
		got := m.ok(0, `{"op":"run",%s,"duration_ms":200,"keys":100,"seed":1}`, load)
		puts += got["ops"].(float64)
		if got["ops"].(float64) == 0 || strings.Contains(load, "rate") && got["ops"].(float64) != 100 {
			t.Errorf("%s gave %v", load, got)
		}
	}
	after := m.ok(0, `{"op":"usage"}`)
	grew := func(what string) float64 { return after[what].(float64) - before[what].(float64) }
	if grew("applied") != puts || grew("fsyncs") == 0 || grew("cpu_us") == 0 || grew("allocations") == 0 ||
		puts > 300 && grew("snap_fsyncs") == 0 {
		t.Errorf("%v puts, and usage went from %v to %v", puts, before, after)
	}
}

// equal finds the members in one state: each waits for what is committed.
func (m *members) equal(t *testing.T, keys float64) {
	t.Helper()
	var checked [3]map[string]any
	for i := range m.all {
		checked[i] = m.ok(i, `{"op":"check"}`)
	}
	if checked[0]["keys"].(float64) > keys || fmt.Sprint(checked[0]) != fmt.Sprint(checked[1]) ||
		fmt.Sprint(checked[0]) != fmt.Sprint(checked[2]) {
		t.Errorf("the states are %v", checked)
	}
}

func (m *members) files(member int, dir, pattern string) []string {
	m.t.Helper()
	names, err := filepath.Glob(filepath.Join(m.dirs[member], "member", dir, pattern))
	if err != nil {
		m.t.Fatal(err)
	}
	return names
}

func (m *members) ask(member int, line string) (answer map[string]any) {
	m.t.Helper()
	text, err := json.Marshal(m.all[member].Answer([]byte(line)))
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return answer
}

func (m *members) ok(member int, format string, args ...any) map[string]any {
	m.t.Helper()
	line := fmt.Sprintf(format, args...)
	answer := m.ask(member, line)
	if answer["error"] != nil {
		m.t.Fatalf("member %d was asked %s and answered %v", member+1, line, answer)
	}
	return answer
}

func (m *members) refused(member int, line, why string) {
	m.t.Helper()
	answer := m.ask(member, line)
	if text, _ := answer["error"].(string); !strings.Contains(text, why) {
		m.t.Errorf("member %d was asked %s and answered %v", member+1, line, answer)
	}
}
