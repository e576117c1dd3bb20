// One end of the link: what it knows of its streams, and what it does with what arrives.
// Not here: rafthttp, which calls this from the goroutines of its own.

package drivers

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// End counts, checks and answers what arrives. Nothing of it allocates while a load runs.
type End struct {
	Config
	link    Link
	streams streams
	// rafthttp reports from within Send, with mu held.
	dropped atomic.Uint64

	mu sync.Mutex
	// What arrived since the start, and what of it was not for this end or not from its peer.
	messages, payload, bad uint64
	// The first thing that went wrong in a load, until the next one.
	failure error
	// At most one of the two is set, and while neither is, all that arrives is digested.
	leader         *leader
	follower       *follower
	received, sent digests
}

func newEnd(config Config) *End {
	return &End{Config: config, received: newDigests(), sent: newDigests()}
}

// Arrival is what a load needs to know of a message.
type Arrival struct {
	Type                  MessageType
	From, To, Term, Index uint64
	Entries               int
	// PayloadBytes are those of all entries.
	PayloadBytes int
	// Regular says that the entries' indexes follow Index, and their payloads have one length.
	Regular bool
}

// Arrived takes a message and says whether Record is to have it too.
func (e *End) Arrived(a Arrival) (record bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.messages++
	e.payload += uint64(a.PayloadBytes)
	if a.To != e.ID || a.From != e.Peer {
		e.bad++
	}
	switch {
	case e.failure != nil:
		// Whatever comes now belongs to a load that is over.
		return false
	case e.follower != nil:
		if err := e.follower.take(a, e.link); err != nil {
			e.fail(err)
		}
	case e.leader != nil:
		if err := e.leader.take(a, e.link); err != nil {
			e.fail(err)
		}
	default:
		return true
	}
	return false
}

// Record digests a message.
func (e *End) Record(m *Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.received.add(m); err != nil {
		e.fail(err)
	}
}

// Unreachable counts what rafthttp did not send.
func (e *End) Unreachable() { e.dropped.Add(1) }

// Critical is what etcd would stop for.
func (e *End) Critical(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(err)
}

// fail keeps the first error. It is called with mu held.
func (e *End) fail(err error) {
	if e.failure == nil {
		e.failure = err
	}
}

// Logged is told what rafthttp logs, which is where it says that a stream came or went, and that
// it dropped what it had received.
func (e *End) Logged(l Log) {
	if l.Message == "dropped internal Raft message since receiving buffer is full (overloaded network)" ||
		l.Message == "dropped Raft message since receiving buffer is full (overloaded network)" {
		e.dropped.Add(1)
	}
	e.streams.logged(l)
}

// Log is a line of rafthttp's log, with the fields that matter here.
type Log struct {
	Message, Writer, Reader string
	// Peer is the other member's id as etcd prints it.
	Peer string
	// Warning is set for whatever is more than information.
	Warning bool
	Error   string
}

// follower answers the MsgApps of a load.
type follower struct {
	every, taken uint64
	// What the next message must be.
	index        uint64
	payloadBytes int
}

// follow begins or ends the answering of a load.
func (e *End) follow(line []byte) error {
	var cmd struct {
		Every uint64 `json:"every"`
	}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leader != nil {
		return errors.New("this end leads")
	}
	e.failure = nil
	e.follower = nil
	if cmd.Every > 0 {
		e.link.Prepare(Rings{Answers: 2 * windowMax})
		e.follower = &follower{every: cmd.Every}
	}
	return nil
}

// take checks a message before it answers: entries that are not the next ones end the answering,
// and the load with it.
func (f *follower) take(a Arrival, link Link) error {
	if a.Index == loadIndex-1 {
		// A load begins.
		f.taken, f.index = 0, a.Index
		f.payloadBytes = a.PayloadBytes / max(a.Entries, 1)
	}
	if a.Type != MsgApp || a.Term != loadTerm || a.Index != f.index || a.Entries == 0 ||
		!a.Regular || a.PayloadBytes != a.Entries*f.payloadBytes {
		return fmt.Errorf("after entry %d arrived %+v", f.index, a)
	}
	f.index += uint64(a.Entries)
	f.taken++
	if f.taken%f.every == 0 {
		link.SendAnswer(f.index)
	}
	return nil
}

// streams is what rafthttp's log says about the four streams of a link: of each kind, one that
// this end reads, having dialled it, and one that it writes.
type streams struct {
	mu   sync.Mutex
	up   map[string]bool
	lost uint64
	// The last warning, for when they do not come up.
	warning string
}

const (
	reads         = "reads "
	writes        = "writes "
	msgAppStream  = "stream MsgApp v2"
	messageStream = "stream Message"
)

func (s *streams) logged(l Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Warning {
		s.warning = l.Message + ": " + l.Error
	}
	name := reads + l.Reader
	if l.Writer != "" {
		name = writes + l.Writer
	}
	if s.up == nil {
		s.up = make(map[string]bool)
	}
	switch l.Message {
	case "established TCP streaming connection with remote peer":
		s.up[name] = true
	case "lost TCP streaming connection with remote peer",
		"closed TCP streaming connection with remote peer":
		// One that is replaced is closed first, and the new one established then.
		s.up[name] = false
		s.lost++
	}
}

// forgetWriters is called before their connections are closed, which rafthttp does not notice
// before it writes.
func (s *streams) forgetWriters() {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.up, writes+msgAppStream)
	delete(s.up, writes+messageStream)
}

// missing names the streams of the given directions that are not up.
func (s *streams) missing(directions ...string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, direction := range directions {
		for _, kind := range []string{msgAppStream, messageStream} {
			if !s.up[direction+kind] {
				names = append(names, direction+kind)
			}
		}
	}
	return names
}

func (s *streams) losses() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

func (s *streams) wait(timeout time.Duration) error {
	for end := time.Now().Add(timeout); ; time.Sleep(5 * time.Millisecond) {
		missing := s.missing(reads, writes)
		if len(missing) == 0 {
			return nil
		}
		if time.Now().After(end) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return fmt.Errorf("not up: %q; the last warning is %q", missing, s.warning)
		}
	}
}
