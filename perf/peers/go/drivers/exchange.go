// The exchange: given messages over the link, and digests of what was sent and of what arrived,
// which are equal where nothing was lost, changed or reordered. Not here: the messages themselves
// (generate.go); waiting for the other end, which the caller does between two batches.

package drivers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
)

// Class names the messages of one stream, by type: on an unbroken link every MsgApp goes on the
// stream of its own, and all else on the other.
type Class string

const (
	classMsgApp  Class = "msgapp"
	classMessage Class = "message"
)

func (c Class) check() error {
	if c != classMsgApp && c != classMessage {
		return fmt.Errorf("no such stream: %q", c)
	}
	return nil
}

// As many as rafthttp queues: more at once could be dropped.
const exchangeMax = 4096

func (e *End) exchange(line []byte) error {
	var cmd struct {
		Stream Class  `json:"stream"`
		From   uint64 `json:"from"`
		Count  uint64 `json:"count"`
		Seed   uint64 `json:"seed"`
	}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return err
	}
	if err := cmd.Stream.check(); err != nil {
		return err
	}
	if cmd.Count > exchangeMax {
		return fmt.Errorf("count is limited to %d, which is what rafthttp queues", exchangeMax)
	}
	if missing := e.streams.missing(writes); len(missing) > 0 {
		return fmt.Errorf("not up: %q", missing)
	}
	dropped := e.dropped.Load()
	for n := cmd.From; n < cmd.From+cmd.Count; n++ {
		m := generate(cmd.Stream, cmd.Seed, n, e.ID, e.Peer)
		// What arrives meanwhile is digested, and what rafthttp drops reported, under the mutex.
		e.mu.Lock()
		err := e.sent.add(m)
		e.mu.Unlock()
		if err != nil {
			return err
		}
		e.link.Send(m)
	}
	if n := e.dropped.Load() - dropped; n > 0 {
		return fmt.Errorf("rafthttp dropped %d messages", n)
	}
	return nil
}

// Digested is the answer to received and sent.
type Digested struct {
	Count  uint64 `json:"count"`
	SHA256 string `json:"sha256"`
	// Bad counts what arrived, of either class, and was not for this end or not from its peer.
	Bad uint64 `json:"bad"`
}

func (e *End) digested(line []byte, d *digests) (*Digested, error) {
	var cmd struct {
		Stream Class `json:"stream"`
	}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return nil, err
	}
	if err := cmd.Stream.check(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failure != nil {
		return nil, e.failure
	}
	answer := d.of(cmd.Stream)
	if d == &e.received {
		answer.Bad = e.bad
	}
	return answer, nil
}

// digests are over the JSON form of messages, a line each. Proposals have one of their own, as
// rafthttp hands them over in a goroutine of their own and keeps no order between them and others.
type digests struct {
	apps, proposals, others digest
}

type digest struct {
	count uint64
	hash  hash.Hash
}

func newDigests() digests {
	return digests{digest{hash: sha256.New()}, digest{hash: sha256.New()}, digest{hash: sha256.New()}}
}

func (d *digests) add(m *Message) error {
	if m.IsLinkHeartbeat() {
		return errors.New("rafthttp let a link heartbeat through")
	}
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	of := &d.others
	switch m.Type {
	case MsgApp:
		of = &d.apps
	case MsgProp:
		of = &d.proposals
	}
	of.count++
	of.hash.Write(line)
	of.hash.Write([]byte{'\n'})
	return nil
}

func (d *digests) of(class Class) *Digested {
	sum, count := d.apps.hash.Sum(nil), d.apps.count
	if class == classMessage {
		both := sha256.Sum256(d.proposals.hash.Sum(d.others.hash.Sum(nil)))
		sum, count = both[:], d.others.count+d.proposals.count
	}
	return &Digested{Count: count, SHA256: hex.EncodeToString(sum)}
}
