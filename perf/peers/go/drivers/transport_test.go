// The ends of a link without a link: digests, and loads over queues that can be made to misbehave.

package drivers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDigestIsOverLinesOfJSON(t *testing.T) {
	line := func(kind, rest string) string {
		return `{"type":"` + kind + `","to":2,"from":1,"term":5,"logTerm":0,"index":0,"entries":[` + rest +
			`],"commit":0,"snapshot":{"data":null,"metadata":{"conf_state":{"voters":[],"learners":[],` +
			`"voters_outgoing":[],"learners_next":[],"auto_leave":false},"index":0,"term":0}},` +
			`"reject":false,"rejectHint":0,"context":null}` + "\n"
	}
	sum := func(text string) []byte {
		s := sha256.Sum256([]byte(text))
		return s[:]
	}
	d := newDigests()
	for _, m := range []*Message{
		{Type: MsgApp, Entries: List[Entry]{{Term: 4, Index: 9, Data: Bytes("a")}, {Data: Bytes{}}}},
		{Type: MsgHeartbeat}, {Type: MsgProp, Entries: List[Entry]{{}}}, {Type: MsgTimeoutNow}, {Type: MsgApp},
	} {
		m.From, m.To, m.Term = 1, 2, 5
		if err := d.add(m); err != nil {
			t.Fatal(err)
		}
	}
	apps := line("MsgApp", `{"type":"EntryNormal","term":4,"index":9,"data":"61"},`+
		`{"type":"EntryNormal","term":0,"index":0,"data":""}`) + line("MsgApp", "")
	others := line("MsgHeartbeat", "") + line("MsgTimeoutNow", "")
	proposals := line("MsgProp", `{"type":"EntryNormal","term":0,"index":0,"data":null}`)
	for class, want := range map[Class]Digested{
		classMsgApp:  {Count: 2, SHA256: hex.EncodeToString(sum(apps))},
		classMessage: {Count: 3, SHA256: hex.EncodeToString(sum(string(slices.Concat(sum(others), sum(proposals)))))},
	} {
		if got := d.of(class); *got != want {
			t.Errorf("%s: %+v, not %+v", class, *got, want)
		}
	}
	if err := d.add(&Message{Type: MsgHeartbeat}); err == nil {
		t.Error("a link heartbeat was digested")
	}
}

// queues are a link to an end in the same process.
type queues struct {
	own, peer *End
	rings     Rings
	out       chan Arrival
	// spoil may change a message or swallow it.
	spoil func(*Arrival) bool
}

func (q *queues) URL() string          { return "" }
func (q *queues) Connect(string) error { return nil }
func (q *queues) Prepare(r Rings)      { q.rings = r }
func (q *queues) Send(*Message)        {}
func (q *queues) Drop()                {}
func (q *queues) Stop()                {}

func (q *queues) SendApp(n uint64) {
	entries := len(q.rings.Payloads)
	q.send(Arrival{Type: MsgApp, Term: loadTerm, Index: AppIndex(n, entries), Entries: entries,
		PayloadBytes: entries * len(q.rings.Payloads[0]), Regular: true})
}

func (q *queues) SendAnswer(index uint64) { q.send(Arrival{Type: MsgAppResp, Index: index}) }

func (q *queues) send(a Arrival) {
	a.From, a.To = q.own.ID, q.peer.ID
	if q.spoil == nil || q.spoil(&a) {
		q.out <- a
	}
}

func (q *queues) deliver() {
	for a := range q.out {
		if q.peer.Arrived(a) {
			q.peer.Critical(fmt.Errorf("to be recorded: %+v", a))
		}
	}
}

// newQueues gives both ends, with all streams up.
func newQueues() (leads, follows *queues) {
	a, b := newEnd(Config{ID: 1, Peer: 2}), newEnd(Config{ID: 2, Peer: 1})
	leads = &queues{own: a, peer: b, out: make(chan Arrival, windowMax)}
	follows = &queues{own: b, peer: a, out: make(chan Arrival, windowMax)}
	for _, q := range []*queues{leads, follows} {
		q.own.link = q
		for _, stream := range []string{msgAppStream, messageStream} {
			q.own.Logged(Log{Message: "established TCP streaming connection with remote peer", Reader: stream})
			q.own.Logged(Log{Message: "established TCP streaming connection with remote peer", Writer: stream})
		}
		go q.deliver()
	}
	return leads, follows
}

func TestLoads(t *testing.T) {
	leads, follows := newQueues()
	for _, load := range []struct {
		every, window int
		answers       string
	}{{1, 1, "round_trip"}, {1, 1, "sparse"}, {1, 100, "every"}, {25, 100, "sparse"}, {2, 11, "sparse"}} {
		if err := follows.own.follow(fmt.Appendf(nil, `{"every":%d}`, load.every)); err != nil {
			t.Fatal(err)
		}
		before := follows.own.messages
		got, err := leads.own.run(fmt.Appendf(nil,
			`{"entries":3,"bytes":10,"window":%d,"answers":%q,"messages":1000,"warmup_ms":1}`, load.window, load.answers))
		if err != nil {
			t.Fatalf("%+v: %v", load, err)
		}
		if got.Messages < 1000 || got.Messages >= 1000+uint64(load.every) || got.Seconds <= 0 {
			t.Errorf("%+v: %+v", load, got)
		}
		if arrived := follows.own.messages - before; arrived < got.Messages || arrived%uint64(load.every) != 0 {
			t.Errorf("%+v: %d arrived", load, arrived)
		}
	}
}

func TestLoadOfDuration(t *testing.T) {
	leads, follows := newQueues()
	if err := follows.own.follow([]byte(`{"every":1}`)); err != nil {
		t.Fatal(err)
	}
	got, err := leads.own.run([]byte(`{"window":16,"duration_ms":30,"warmup_ms":5}`))
	if err != nil || got.Messages == 0 || got.Seconds < 0.03 || got.RTT != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatGoesWrongIsFound(t *testing.T) {
	const run = `{"entries":2,"bytes":8,"window":8,"messages":100000,"warmup_ms":0}`
	at := func(n uint64, do func(*Arrival) bool) func(*Arrival) bool {
		return func(a *Arrival) bool { return a.Index != AppIndex(n, 2) || do(a) }
	}
	for name, spoil := range map[string]func(*Arrival) bool{
		"swallowed":       at(50, func(*Arrival) bool { return false }),
		"other term":      at(50, func(a *Arrival) bool { a.Term++; return true }),
		"other length":    at(50, func(a *Arrival) bool { a.PayloadBytes--; return true }),
		"irregular":       at(50, func(a *Arrival) bool { a.Regular = false; return true }),
		"without entries": at(50, func(a *Arrival) bool { a.Entries, a.PayloadBytes = 0, 0; return true }),
	} {
		t.Run(name, func(t *testing.T) {
			leads, follows := newQueues()
			if err := follows.own.follow([]byte(`{"every":1}`)); err != nil {
				t.Fatal(err)
			}
			leads.spoil = spoil
			go leads.own.run([]byte(run))
			for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
				if _, err := follows.own.usage(); err != nil {
					if !strings.Contains(err.Error(), fmt.Sprintf("after entry %d arrived", loadIndex-1+100)) {
						t.Error(err)
					}
					break
				}
				if time.Now().After(end) {
					t.Fatal("the end that follows found nothing")
				}
			}
			// Lets the load end at once.
			leads.own.Critical(fmt.Errorf("enough"))
		})
	}
	for name, spoil := range map[string]func(*Arrival) bool{
		"answer not asked for": func(a *Arrival) bool { a.Index++; return true },
		"other type":           func(a *Arrival) bool { a.Type = MsgHeartbeat; return true },
	} {
		t.Run(name, func(t *testing.T) {
			leads, follows := newQueues()
			if err := follows.own.follow([]byte(`{"every":1}`)); err != nil {
				t.Fatal(err)
			}
			follows.spoil = spoil
			if got, err := leads.own.run([]byte(run)); err == nil || !strings.Contains(err.Error(), "and then {") {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	t.Run("dropped", func(t *testing.T) {
		leads, follows := newQueues()
		if err := follows.own.follow([]byte(`{"every":1}`)); err != nil {
			t.Fatal(err)
		}
		leads.spoil = at(50, func(*Arrival) bool { leads.own.Unreachable(); return false })
		if got, err := leads.own.run([]byte(run)); err == nil || err.Error() != "rafthttp dropped 1 messages" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestStreams(t *testing.T) {
	var s streams
	const up, lost = "established TCP streaming connection with remote peer", "lost TCP streaming connection with remote peer"
	for _, stream := range []string{msgAppStream, messageStream} {
		s.logged(Log{Message: up, Reader: stream})
		s.logged(Log{Message: up, Writer: stream})
	}
	if got := s.missing(reads, writes); got != nil || s.losses() != 0 {
		t.Errorf("%q missing, %d lost", got, s.losses())
	}
	s.logged(Log{Message: lost, Reader: msgAppStream, Warning: true, Error: "EOF"})
	s.forgetWriters()
	s.logged(Log{Message: up, Writer: messageStream})
	if got := s.missing(reads, writes); fmt.Sprint(got) != "[reads stream MsgApp v2 writes stream MsgApp v2]" || s.losses() != 1 {
		t.Errorf("%q missing, %d lost", got, s.losses())
	}
	if err := s.wait(0); err == nil || !strings.Contains(err.Error(), lost+": EOF") {
		t.Error(err)
	}
}
