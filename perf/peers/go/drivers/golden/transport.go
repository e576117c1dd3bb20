// Two ends of a version's transport in one process: the ops of the transport program, over real
// sockets. Not here: figures, for which each end needs a process of its own.

package golden

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"raftwire/perf/peers/drivers"
)

type ends struct {
	t    *testing.T
	all  [2]*drivers.Transport
	urls [2]string
}

// Transport tests whatever the program can do.
func Transport(t *testing.T, listen func(drivers.Config, *drivers.End) (drivers.Link, error)) {
	e := &ends{t: t}
	for i := range e.all {
		e.all[i] = drivers.NewTransport(listen)
		e.urls[i] = e.ok(i, `{"op":"start","id":%d,"peer":%d,"cluster":"cdf818194e3a8c32"}`,
			i+1, 2-i)["url"].(string)
	}
	e.connect()
	t.Run("loads", e.loads)
	e.t = t
	e.ok(1, `{"op":"answer","every":0}`)
	const batch = 400
	for round := range 2 {
		for _, stream := range []string{"msgapp", "message"} {
			for from := range e.all {
				e.exchange(stream, from, batch*round, batch)
			}
		}
		if round == 0 {
			e.ok(0, `{"op":"kill_connections"}`)
			e.ok(1, `{"op":"kill_connections"}`)
			e.connect()
		}
	}
	for i := range e.all {
		if got := e.ok(i, `{"op":"usage"}`); got["dropped"].(float64) != 0 || got["received"].(float64) < 4*batch {
			t.Errorf("end %d used %v", i, got)
		}
		e.ok(i, `{"op":"stop"}`)
	}
}

// connect asks both, as each waits for the other.
func (e *ends) connect() {
	e.t.Helper()
	done := make(chan string)
	for i := range e.all {
		go func() {
			done <- e.ask(i, `{"op":"connect","url":%q}`, e.urls[1-i])
		}()
	}
	for range e.all {
		if got := <-done; got != "{}" {
			e.t.Fatal(got)
		}
	}
}

func (e *ends) loads(t *testing.T) {
	e.t = t
	for _, load := range []struct {
		entries, bytes, window, every int
		answers                       string
	}{{1, 64, 1024, 1, "every"}, {1, 64, 1024, 256, "sparse"}, {3, 100, 10, 2, "sparse"},
		{8, 1024, 64, 1, "every"}, {1, 64, 1, 1, "round_trip"}} {
		e.ok(1, `{"op":"answer","every":%d}`, load.every)
		before := e.ok(1, `{"op":"usage"}`)
		got := e.ok(0, `{"op":"run","entries":%d,"bytes":%d,"window":%d,"answers":%q,"messages":2000,"warmup_ms":5}`,
			load.entries, load.bytes, load.window, load.answers)
		after := e.ok(1, `{"op":"usage"}`)
		messages := after["received"].(float64) - before["received"].(float64)
		payload := after["received_payload_bytes"].(float64) - before["received_payload_bytes"].(float64)
		if n := got["messages"].(float64); n < 2000 || messages < n ||
			payload != messages*float64(load.entries*load.bytes) {
			t.Errorf("%+v gave %v, and %v messages of %v bytes arrived", load, got, messages, payload)
		}
		if (got["rtt_us"] != nil) != (load.answers == "round_trip") {
			t.Errorf("%+v took %v", load, got["rtt_us"])
		}
	}
	if got := e.ask(0, `{"op":"exchange","stream":"msgapp","count":4097}`); !strings.Contains(got, "limited to 4096") {
		t.Error(got)
	}
}

func (e *ends) exchange(stream string, from, first, count int) {
	e.t.Helper()
	e.ok(from, `{"op":"exchange","stream":%q,"seed":7,"from":%d,"count":%d}`, stream, first, count)
	sent := e.ask(from, `{"op":"sent","stream":%q}`, stream)
	var got string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = e.ask(1-from, `{"op":"received","stream":%q}`, stream); got == sent {
			return
		}
	}
	e.t.Fatalf("%s was sent, and received %s", sent, got)
}

func (e *ends) ask(end int, format string, args ...any) string {
	answer, err := json.Marshal(e.all[end].Answer(fmt.Appendf(nil, format, args...)))
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

func (e *ends) ok(end int, format string, args ...any) map[string]any {
	e.t.Helper()
	text := e.ask(end, format, args...)
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer["error"] != nil {
		e.t.Fatalf("end %d was asked "+format+" and answered %s", append(append([]any{end}, args...), text)...)
	}
	return answer
}
