// The load on a cluster: proposers that put keys on the member that leads, either each when its last
// put is done, or at a given rate whatever the cluster does. Not here: what a put is made of.

package drivers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	proposersMax = 4096
	// Keys have eight digits.
	keysMax       = 100_000_000
	valueBytesMax = 1 << 20
	rateMax       = 10_000_000
	// How long the puts in flight may take when the time is up.
	drainTimeout = 30 * time.Second
)

type proposeCommand struct {
	Proposers   int    `json:"proposers"`
	ValueBytes  int    `json:"value_bytes"`
	Keys        uint64 `json:"keys"`
	DurationMS  int    `json:"duration_ms"`
	Rate        uint64 `json:"rate"`
	Seed        uint64 `json:"seed"`
	SampleEvery uint64 `json:"sample_every"`
}

func (cmd *proposeCommand) check() error {
	switch {
	case cmd.Proposers < 1 || cmd.Proposers > proposersMax:
		return fmt.Errorf("proposers must lie in 1..=%d", proposersMax)
	case cmd.ValueBytes < 0 || cmd.ValueBytes > valueBytesMax:
		return fmt.Errorf("value_bytes must lie in 0..=%d", valueBytesMax)
	case cmd.Keys < 1 || cmd.Keys > keysMax:
		return fmt.Errorf("keys must lie in 1..=%d", keysMax)
	case cmd.DurationMS < 1 || cmd.DurationMS > durationMSMax:
		return fmt.Errorf("duration_ms must lie in 1..=%d", durationMSMax)
	case cmd.Rate > rateMax:
		return fmt.Errorf("rate must lie in 0..=%d", rateMax)
	case cmd.SampleEvery != 0:
		return errors.New("sample_every must be 0: etcd has nothing to sample the phases of a commit with")
	}
	return nil
}

// Proposed is the answer to run.
type Proposed struct {
	Ops uint64 `json:"ops"`
	// Seconds are from the first put's begin to the last one's end.
	Seconds   float64     `json:"seconds"`
	Histogram [][2]uint64 `json:"histogram"`
	MaxNS     uint64      `json:"max_ns"`
	Usage     RunUsage    `json:"usage"`
}

type propose func(ctx context.Context, key, value []byte) error

// proposing is one load.
type proposing struct {
	proposeCommand
	put       propose
	began     time.Time
	length    time.Duration
	latencies latencies
	schedule  *schedule
	// The first error ends the load.
	failed  atomic.Bool
	failure error
	cancel  context.CancelFunc
}

func runProposers(line []byte, put propose) (any, error) {
	cmd := proposeCommand{Proposers: 1, ValueBytes: 256, Keys: 10_000, DurationMS: 1000, Seed: 1}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return nil, err
	}
	if err := cmd.check(); err != nil {
		return nil, err
	}
	p := &proposing{proposeCommand: cmd, put: put,
		length: time.Duration(cmd.DurationMS) * time.Millisecond}
	if cmd.Rate > 0 {
		var err error
		if p.schedule, err = newSchedule(cmd.Rate); err != nil {
			return nil, err
		}
		defer p.schedule.close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.length+drainTimeout)
	defer cancel()
	p.cancel = cancel
	return p.run(ctx)
}

func (p *proposing) run(ctx context.Context) (any, error) {
	before, err := runUsage()
	if err != nil {
		return nil, err
	}
	p.began = time.Now()
	var all sync.WaitGroup
	for i := range p.Proposers {
		all.Go(func() { p.proposer(ctx, uint64(i)) })
	}
	all.Wait()
	took := time.Since(p.began)
	after, err := runUsage()
	if err != nil {
		return nil, err
	}
	if p.failed.Load() {
		return nil, p.failure
	}
	answer := Proposed{Seconds: took.Seconds(), MaxNS: p.latencies.max.Load(),
		Usage: after.since(before)}
	answer.Ops, answer.Histogram = p.latencies.histogram()
	return answer, nil
}

func (p *proposing) fail(err error) {
	if p.failed.CompareAndSwap(false, true) {
		p.failure = err
		p.cancel()
	}
}

func (p *proposing) proposer(ctx context.Context, number uint64) {
	r := random(p.Seed, number)
	key := make([]byte, 8)
	value := []byte(r.bytes(p.ValueBytes))
	// next is when the put begins from which its latency counts.
	next := p.closed
	if p.schedule != nil {
		next = p.open
	}
	var ended time.Time
	for {
		began, ok := next(ended)
		if !ok || p.failed.Load() {
			return
		}
		digits(key, r.next()%p.Keys)
		// No two puts have the same value, so that states differ where a put is missing.
		stamp(value, r.next())
		if err := p.put(ctx, key, value); err != nil {
			p.fail(err)
			return
		}
		ended = time.Now()
		p.latencies.add(ended.Sub(began))
	}
}

// closed begins a put where the last one ended.
func (p *proposing) closed(ended time.Time) (time.Time, bool) {
	if ended.IsZero() {
		ended = p.began
	}
	return ended, ended.Sub(p.began) < p.length
}

// open begins a put when it is due, or late when all proposers were busy then.
func (p *proposing) open(time.Time) (time.Time, bool) {
	due, ok, err := p.schedule.next(p.began, p.length)
	if err != nil {
		p.fail(err)
		return due, false
	}
	return due, ok
}

func digits(key []byte, n uint64) {
	for i := len(key) - 1; i >= 0; i-- {
		key[i] = '0' + byte(n%10)
		n /= 10
	}
}

func stamp(value []byte, n uint64) {
	for i := range min(len(value), 8) {
		value[i] = byte(n >> (8 * i))
	}
}

// schedule says when puts at a rate are due. Whoever takes the next one waits for it with the mutex
// held, and proposes at once: nobody has to be woken in between.
type schedule struct {
	rate  uint64
	mu    sync.Mutex
	taken uint64
	alarm *alarm
}

func newSchedule(rate uint64) (*schedule, error) {
	a, err := newAlarm()
	return &schedule{rate: rate, alarm: a}, err
}

func (s *schedule) next(began time.Time, length time.Duration) (due time.Time, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	after := time.Duration(s.taken/s.rate)*time.Second +
		time.Duration(s.taken%s.rate)*time.Second/time.Duration(s.rate)
	if after >= length {
		return due, false, nil
	}
	s.taken++
	due = began.Add(after)
	return due, true, s.alarm.wait(time.Until(due))
}

func (s *schedule) close() { s.alarm.close() }
