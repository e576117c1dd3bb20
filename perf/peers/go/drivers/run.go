// The load on the transport: a closed window of MsgApps from the end that leads to the one that
// follows, whose answers let the next ones go. Nothing is dropped, as no queue of rafthttp's ever
// holds more than the window. Not here: raft, which would pace and batch the messages.

package drivers

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

const (
	loadTerm = 5
	// loadIndex is that of a load's first entry, and no other of its messages has it.
	loadIndex = 1_000_001
	// rafthttp queues 4096 messages, and the pipeline stands by for none of these.
	windowMax = 4000
	// How long a load may be without an answer: longer than any message takes to send.
	stallTimeout = 10 * time.Second
)

// Rings are what a version makes the messages of a load for, once and before it begins.
type Rings struct {
	// Apps are the messages of the ring SendApp goes round. They differ only in their entries'
	// indexes, which are set before sending; the payloads are the same in all.
	Apps     int
	Payloads []Bytes
	// Answers is the size of the ring of answers.
	Answers int
}

// App is a MsgApp of the load.
func (e *End) App(payloads []Bytes) *Message {
	m := &Message{Type: MsgApp, To: e.Peer, From: e.ID, Term: loadTerm, LogTerm: loadTerm,
		Index: loadIndex - 1, Commit: loadIndex - 1}
	for i, data := range payloads {
		m.Entries = append(m.Entries, Entry{Term: loadTerm, Index: loadIndex + uint64(i), Data: data})
	}
	return m
}

// Answer is the MsgAppResp of the load.
func (e *End) Answer() *Message {
	return &Message{Type: MsgAppResp, To: e.Peer, From: e.ID, Term: loadTerm}
}

// AppIndex is what the n-th MsgApp of so many entries follows.
func AppIndex(n uint64, entries int) uint64 { return loadIndex - 1 + n*uint64(entries) }

type runCommand struct {
	Entries    int    `json:"entries"`
	Bytes      int    `json:"bytes"`
	Window     uint64 `json:"window"`
	Answers    string `json:"answers"`
	Messages   uint64 `json:"messages"`
	DurationMS int    `json:"duration_ms"`
	WarmupMS   int    `json:"warmup_ms"`
	Seed       uint64 `json:"seed"`
}

// Ran is the answer to run, of the measured part alone.
type Ran struct {
	Messages uint64     `json:"messages"`
	Seconds  float64    `json:"seconds"`
	RTT      *RoundTrip `json:"rtt_us"`
	Usage    RunUsage   `json:"usage"`
}

// RoundTrip is from before a MsgApp is sent until its answer has been received.
type RoundTrip struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
}

// RunUsage is what this end used.
type RunUsage struct {
	CPUUS          int64  `json:"cpu_us"`
	Allocations    uint64 `json:"allocations"`
	AllocatedBytes uint64 `json:"allocated_bytes"`
}

func (cmd *runCommand) check() error {
	switch {
	case cmd.Entries < 1 || cmd.Entries > entriesMax:
		return fmt.Errorf("entries must lie in 1..=%d", entriesMax)
	case cmd.Bytes < 0 || cmd.Bytes*cmd.Entries > messageBytesMax:
		return fmt.Errorf("a message is limited to %d bytes", messageBytesMax)
	case cmd.Window < 1 || cmd.Window > windowMax:
		return fmt.Errorf("window must lie in 1..=%d", windowMax)
	case cmd.DurationMS < 0 || cmd.DurationMS > durationMSMax ||
		cmd.WarmupMS < 0 || cmd.WarmupMS > durationMSMax:
		return fmt.Errorf("duration_ms and warmup_ms must lie in 0..=%d", durationMSMax)
	case cmd.DurationMS == 0 && cmd.Messages == 0:
		return errors.New("neither messages nor duration_ms")
	case cmd.Answers == "round_trip" && cmd.Window != 1:
		return errors.New("a round trip is a window of 1")
	}
	_, err := cmd.every()
	return err
}

// every is how many messages the end that follows answers at once.
func (cmd *runCommand) every() (uint64, error) {
	switch cmd.Answers {
	case "every", "round_trip":
		return 1, nil
	case "sparse":
		return max(cmd.Window/4, 1), nil
	}
	return 0, fmt.Errorf("no such answers: %q", cmd.Answers)
}

// leader keeps the window full. It sends from within rafthttp's call with an answer, which spares
// a goroutine and its wake-ups.
type leader struct {
	entries, window, every uint64
	sent, answered         uint64
	// The measured part goes from since to until, or to the message that reaches last.
	measuring    bool
	base, last   uint64
	since, until time.Time
	// stopping sends no further than the next answer needs.
	stopping bool
	drained  chan struct{}
	// For round trips.
	trips  []uint32
	timed  bool
	sentAt time.Time
}

func (e *End) run(line []byte) (*Ran, error) {
	cmd := runCommand{Entries: 1, Bytes: 64, Window: 1024, Answers: "every", DurationMS: 2000,
		WarmupMS: 200, Seed: 1}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return nil, err
	}
	if err := cmd.check(); err != nil {
		return nil, err
	}
	if missing := e.streams.missing(reads, writes); len(missing) > 0 {
		return nil, fmt.Errorf("not up: %q", missing)
	}
	l, err := e.lead(&cmd)
	if err != nil {
		return nil, err
	}
	ran, err := e.measure(&cmd, l)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leader = nil
	if err != nil {
		e.fail(err)
	}
	// What went wrong first says more than that the answers stayed away then.
	if e.failure != nil {
		return nil, e.failure
	}
	return ran, nil
}

// lead prepares a load without beginning it.
func (e *End) lead(cmd *runCommand) (*leader, error) {
	random := splitmix(cmd.Seed)
	payloads := make([]Bytes, cmd.Entries)
	for i := range payloads {
		payloads[i] = random.bytes(cmd.Bytes)
	}
	every, err := cmd.every()
	if err != nil {
		return nil, err
	}
	l := &leader{entries: uint64(cmd.Entries), window: cmd.Window, every: every,
		drained: make(chan struct{})}
	if cmd.Answers == "round_trip" {
		// A round trip takes longer than 10 µs.
		l.timed = true
		l.trips = make([]uint32, 0, 100*cmd.DurationMS+int(min(cmd.Messages, 1<<24)))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.follower != nil {
		return nil, errors.New("this end follows")
	}
	// An answered message may still be in the hands of the goroutine that wrote it, so none is
	// used again before a window of others went by.
	e.link.Prepare(Rings{Apps: max(2*int(cmd.Window), 16), Payloads: payloads})
	e.failure = nil
	e.leader = l
	return l, nil
}

func (e *End) measure(cmd *runCommand, l *leader) (*Ran, error) {
	dropped, lost := e.dropped.Load(), e.streams.losses()
	watch := func(done <-chan struct{}, limit time.Duration) error {
		return e.watch(l, done, limit, func() error {
			if n := e.dropped.Load() - dropped; n > 0 {
				return fmt.Errorf("rafthttp dropped %d messages", n)
			}
			if e.streams.losses() != lost {
				return errors.New("a stream was lost")
			}
			return nil
		})
	}
	runtime.GC()
	e.mu.Lock()
	l.fill(e.link)
	e.mu.Unlock()
	if err := watch(nil, time.Duration(cmd.WarmupMS)*time.Millisecond); err != nil {
		return nil, err
	}

	before, err := runUsage()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	l.measuring, l.base, l.since = true, l.answered, time.Now()
	if cmd.Messages > 0 {
		l.last = l.base + cmd.Messages
	}
	e.mu.Unlock()
	if cmd.Messages > 0 {
		err = watch(l.drained, durationMSMax*time.Millisecond)
	} else {
		err = watch(nil, time.Duration(cmd.DurationMS)*time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	if l.measuring {
		l.finish(time.Now())
	}
	ran := &Ran{Messages: l.last - l.base, Seconds: l.until.Sub(l.since).Seconds()}
	e.mu.Unlock()
	after, err := runUsage()
	if err != nil {
		return nil, err
	}
	ran.Usage = after.since(before)
	if err := watch(l.drained, stallTimeout); err != nil {
		return nil, err
	}
	if l.timed {
		ran.RTT = roundTrip(l.trips)
	}
	return ran, nil
}

// watch waits until it is done or the time is up, and looks now and then whether all is well.
func (e *End) watch(l *leader, done <-chan struct{}, limit time.Duration, check func() error) error {
	end := time.After(limit)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	moved := time.Now()
	var answered uint64
	for {
		ended := false
		select {
		case <-done:
			ended = true
		case <-end:
			if done != nil {
				return errors.New("out of time")
			}
			ended = true
		case <-tick.C:
		}
		e.mu.Lock()
		failure, now := e.failure, l.answered
		e.mu.Unlock()
		if failure != nil {
			return failure
		}
		if err := check(); err != nil {
			return err
		}
		if ended {
			return nil
		}
		if now != answered {
			moved, answered = time.Now(), now
		} else if time.Since(moved) > stallTimeout {
			return fmt.Errorf("no answer in %v after %d messages", stallTimeout, now)
		}
	}
}

// take is told of an answer, with the end's mutex held as in all that follows.
func (l *leader) take(a Arrival, link Link) error {
	n := (a.Index - (loadIndex - 1)) / l.entries
	if a.Type != MsgAppResp || AppIndex(n, int(l.entries)) != a.Index ||
		n <= l.answered || n > l.sent {
		return fmt.Errorf("%d messages sent, %d answered, and then %+v", l.sent, l.answered, a)
	}
	l.answered = n
	if l.measuring {
		if l.timed {
			took := time.Since(l.sentAt).Nanoseconds()
			l.trips = append(l.trips, uint32(min(took, 1<<32-1)))
		}
		if l.last > 0 && n >= l.last {
			l.finish(time.Now())
		}
	}
	l.fill(link)
	if l.stopping && l.answered == l.sent {
		close(l.drained)
	}
	return nil
}

// fill sends what the window lets go, and at the end only what the next answer waits for.
func (l *leader) fill(link Link) {
	for l.sent-l.answered < l.window && !(l.stopping && l.sent%l.every == 0) {
		if l.timed {
			l.sentAt = time.Now()
		}
		link.SendApp(l.sent)
		l.sent++
	}
}

// finish ends the measured part.
func (l *leader) finish(now time.Time) {
	l.measuring, l.stopping = false, true
	l.last, l.until = l.answered, now
}

func runUsage() (RunUsage, error) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	cpu, err := cpuUS()
	return RunUsage{cpu, memory.Mallocs, memory.TotalAlloc}, err
}

func (u RunUsage) since(before RunUsage) RunUsage {
	return RunUsage{u.CPUUS - before.CPUUS, u.Allocations - before.Allocations,
		u.AllocatedBytes - before.AllocatedBytes}
}

func roundTrip(trips []uint32) *RoundTrip {
	if len(trips) == 0 {
		return nil
	}
	slices.Sort(trips)
	at := func(permille int) float64 {
		return float64(trips[(len(trips)-1)*permille/1000]) / 1e3
	}
	return &RoundTrip{P50: at(500), P99: at(990), P999: at(999)}
}
