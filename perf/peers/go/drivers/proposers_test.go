// Loads on a member that is none: which puts they make, when, and what they say of them.

package drivers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
)

// puts is a member that keeps what it is asked to put.
type puts struct {
	mu    sync.Mutex
	state *State
	count int
	takes time.Duration
	fails int
}

func (p *puts) propose(_ context.Context, key, value []byte) error {
	time.Sleep(p.takes)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if p.count == p.fails {
		return errors.New("dropped")
	}
	p.state.Put(key, append([]byte(nil), value...))
	return nil
}

func load(t *testing.T, p *puts, format string, args ...any) Proposed {
	t.Helper()
	p.state = NewState()
	answer, err := runProposers(fmt.Appendf(nil, format, args...), p.propose)
	if err != nil {
		t.Fatal(err)
	}
	return answer.(Proposed)
}

func TestClosedLoopCountsEveryPut(t *testing.T) {
	p := &puts{takes: time.Millisecond}
	got := load(t, p, `{"proposers":4,"value_bytes":20,"keys":3,"duration_ms":100}`)
	var counted uint64
	least := uint64(math.MaxUint64)
	for _, bucket := range got.Histogram {
		least = min(least, bucket[0])
		counted += bucket[1]
	}
	if got.Ops == 0 || got.Ops != uint64(p.count) || counted != got.Ops || got.Seconds < 0.1 {
		t.Errorf("%d puts, and the answer is %+v", p.count, got)
	}
	// A bucket is named after its least value.
	if least < 990_000 || got.MaxNS < least {
		t.Errorf("puts of 1 ms took %d to %d ns", least, got.MaxNS)
	}
	if p.state.Len() != 3 {
		t.Errorf("%d keys", p.state.Len())
	}
	for key, value := range p.state.values {
		if len(key) != 8 || !strings.HasPrefix(key, "0000000") || len(*value) != 20 {
			t.Errorf("put %q, %d bytes", key, len(*value))
		}
	}
}

func TestOpenLoopCountsFromWhenAPutIsDue(t *testing.T) {
	// One proposer is busy for 10 ms with each of the puts that are due every 5 ms.
	p := &puts{takes: 10 * time.Millisecond}
	got := load(t, p, `{"proposers":1,"rate":200,"duration_ms":100}`)
	if got.Ops != 20 || got.MaxNS < 100_000_000 || got.Seconds < 0.195 {
		t.Errorf("%+v", got)
	}
	p = &puts{}
	got = load(t, p, `{"proposers":2,"rate":200,"duration_ms":100}`)
	if got.Ops != 20 || p.count != 20 || got.Seconds < 0.094 {
		t.Errorf("%+v", got)
	}
}

func TestSeedDecidesWhatOneProposerPuts(t *testing.T) {
	hash := func(seed int) uint64 {
		p := &puts{}
		// The number of puts is the same each time, as the time is that of an open loop.
		load(t, p, `{"proposers":1,"rate":10000,"duration_ms":20,"keys":100,"seed":%d}`, seed)
		if p.count != 200 {
			t.Fatalf("%d puts", p.count)
		}
		return p.state.Hash()
	}
	if one, again, other := hash(1), hash(1), hash(2); one != again || one == other {
		t.Errorf("%x, %x, and with another seed %x", one, again, other)
	}
}

func TestFailedPutFailsTheRun(t *testing.T) {
	p := &puts{state: NewState(), fails: 50}
	began := time.Now()
	got, err := runProposers([]byte(`{"proposers":8,"duration_ms":60000}`), p.propose)
	if err == nil || err.Error() != "dropped" || time.Since(began) > 30*time.Second {
		t.Errorf("%v, %v", got, err)
	}
}

func TestLoadsOutOfBoundsAreRefused(t *testing.T) {
	for line, want := range map[string]string{
		`{"proposers":0}`:            "proposers must lie in",
		`{"value_bytes":-1}`:         "value_bytes must lie in",
		`{"keys":100000001}`:         "keys must lie in",
		`{"duration_ms":0}`:          "duration_ms must lie in",
		`{"rate":10000001}`:          "rate must lie in",
		`{"sample_every":1}`:         "sample_every must be 0",
		`{"proposers":"one hundred"`: "unexpected end",
	} {
		if _, err := runProposers([]byte(line), (&puts{}).propose); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestBucketsKeepNineBits(t *testing.T) {
	for _, of := range [][2]uint64{{0, 0}, {1, 1}, {511, 511}, {512, 512}, {513, 512}, {1023, 1022},
		{1024, 1024}, {1027, 1024}, {1 << 40, 1 << 40}, {1<<40 + 1<<32, 1<<40 + 1<<32},
		{1<<40 + 1<<31, 1 << 40}, {math.MaxInt64, 511 << 54}} {
		var l latencies
		l.add(time.Duration(of[0]))
		if n, got := l.histogram(); n != 1 || len(got) != 1 || got[0] != [2]uint64{of[1], 1} {
			t.Errorf("%d is in %v", of[0], got)
		}
		if l.max.Load() != of[0] {
			t.Errorf("the most of %d is %d", of[0], l.max.Load())
		}
	}
	var l latencies
	for _, ns := range []time.Duration{7000, 5, 7001, -1} {
		l.add(ns)
	}
	if n, got := l.histogram(); n != 4 || fmt.Sprint(got) != "[[0 1] [5 1] [6992 2]]" {
		t.Errorf("%d in %v", n, got)
	}
}
