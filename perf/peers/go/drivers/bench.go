// The codec benchmark: steady AppEntries on a stream in step, encoded to a writer that discards
// and decoded from memory. Not here: sockets, HTTP, or the MsgApp that brings both ends into step,
// which is on the stream but never inside the measured time.

package drivers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"time"
)

type benchCommand struct {
	What       string `json:"what"`
	Entries    int    `json:"entries"`
	Bytes      int    `json:"bytes"`
	DurationMS int    `json:"duration_ms"`
	Seed       uint64 `json:"seed"`
	Term       uint64 `json:"term"`
	// Index is that of the first entry.
	Index uint64 `json:"index"`
}

// Measured is the answer. Every figure is for one AppEntries; MB are 1e6 bytes of stream.
type Measured struct {
	Messages              uint64  `json:"messages"`
	NsPerMessage          float64 `json:"ns_per_message"`
	AllocsPerMessage      float64 `json:"allocs_per_message"`
	AllocBytesPerMessage  float64 `json:"alloc_bytes_per_message"`
	StreamBytesPerMessage float64 `json:"stream_bytes_per_message"`
	MBPerS                float64 `json:"mb_per_s"`
	GCCycles              uint32  `json:"gc_cycles"`
}

// A pass repeats the same few messages: about 1 MiB of stream, which stays in the second-level
// cache or the third, as bytes do that came from a socket a moment ago.
const (
	passBytes       = 1 << 20
	passMessagesMin = 4
	passMessagesMax = 256
	// Bounds what a typing error can ask of the machine.
	messageBytesMax = 64 << 20
	entriesMax      = 1 << 16
	durationMSMax   = 600_000
	// At least so many messages are looked at to count allocations.
	countedMessages = 256
)

// pass is a run of messages that begins in step after each reset.
type pass struct {
	messages int
	reset    func() error
	run      func() error
}

func bench(c Codec, line []byte) (*Measured, error) {
	cmd := benchCommand{Entries: 64, Bytes: 1024, DurationMS: 200, Seed: 1, Term: 5, Index: 1_000_000}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return nil, err
	}
	if err := cmd.check(); err != nil {
		return nil, err
	}
	sync, messages := cmd.load()
	stream, err := writeStream(c, sync, messages)
	if err != nil {
		return nil, err
	}
	var p pass
	if cmd.What == "encode" {
		p = encodePass(c, sync, messages)
	} else {
		p, err = decodePass(c, stream.Bytes(), messages)
		if err != nil {
			return nil, err
		}
		// Only the stream: whatever else lives here makes the collector run less often.
		sync, messages = nil, nil
	}
	m, err := measure(p, time.Duration(cmd.DurationMS)*time.Millisecond)
	if err != nil {
		return nil, err
	}
	m.StreamBytesPerMessage = float64(stream.steady) / float64(p.messages)
	m.MBPerS = m.StreamBytesPerMessage / m.NsPerMessage * 1e3
	return m, nil
}

func (cmd *benchCommand) check() error {
	switch {
	case cmd.What != "encode" && cmd.What != "decode":
		return fmt.Errorf("no such thing to measure: %q", cmd.What)
	case cmd.Entries < 0 || cmd.Entries > entriesMax:
		return fmt.Errorf("entries must lie in 0..=%d", entriesMax)
	case cmd.Bytes < 0 || cmd.Bytes*max(cmd.Entries, 1) > messageBytesMax:
		return fmt.Errorf("a message is limited to %d bytes", messageBytesMax)
	case cmd.DurationMS < 1 || cmd.DurationMS > durationMSMax:
		return fmt.Errorf("duration_ms must lie in 1..=%d", durationMSMax)
	case cmd.Term == 0 || cmd.Index == 0:
		return errors.New("term and index begin at 1")
	}
	return nil
}

// load makes the messages: one without entries that brings both ends into step, and those of a
// pass. Each entry of a message has data of its own, which the next message uses again.
func (cmd *benchCommand) load() (*Message, []*Message) {
	random := splitmix(cmd.Seed)
	payloads := make([]Bytes, cmd.Entries)
	for i := range payloads {
		payloads[i] = random.bytes(cmd.Bytes)
	}
	count := passBytes / (cmd.Entries*(cmd.Bytes+24) + 17)
	count = min(max(count, passMessagesMin), passMessagesMax)

	index := cmd.Index - 1
	sync := cmd.msgApp(index)
	messages := make([]*Message, count)
	for i := range messages {
		m := cmd.msgApp(index)
		for _, data := range payloads {
			index++
			m.Entries = append(m.Entries, Entry{Term: cmd.Term, Index: index, Data: data})
		}
		messages[i] = m
	}
	return sync, messages
}

func (cmd *benchCommand) msgApp(index uint64) *Message {
	return &Message{Type: MsgApp, To: 2, From: 1, Term: cmd.Term, LogTerm: cmd.Term,
		Index: index, Commit: index, Entries: List[Entry]{}}
}

type stream struct {
	bytes.Buffer
	// steady counts the bytes behind the first message.
	steady int
}

// writeStream also makes sure that the stream is what is to be measured.
func writeStream(c Codec, sync *Message, messages []*Message) (*stream, error) {
	s := new(stream)
	enc := c.NewEncoder(MsgAppV2, s)
	if err := enc.Encode(c.Native(sync)); err != nil {
		return nil, err
	}
	synced := s.Len()
	for _, m := range messages {
		start := s.Len()
		if err := enc.Encode(c.Native(m)); err != nil {
			return nil, err
		}
		if kind := s.Bytes()[start]; kind != 1 {
			return nil, fmt.Errorf("a frame of kind %d in the midst of AppEntries", kind)
		}
	}
	s.steady = s.Len() - synced
	return s, nil
}

func encodePass(c Codec, sync *Message, messages []*Message) pass {
	first := c.Native(sync)
	ring := make([]Native, len(messages))
	for i, m := range messages {
		ring[i] = c.Native(m)
	}
	enc := c.NewEncoder(MsgAppV2, io.Discard)
	return pass{
		messages: len(ring),
		// A MsgApp sets the stream's index wherever it was.
		reset: func() error { return enc.Encode(first) },
		run: func() error {
			for _, m := range ring {
				if err := enc.Encode(m); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func decodePass(c Codec, stream []byte, want []*Message) (pass, error) {
	in := bytes.NewReader(stream)
	dec := c.NewDecoder(MsgAppV2, in, want[0].To, want[0].From)
	p := pass{
		messages: len(want),
		// The same decoder goes on: the MsgApp at the stream's start sets its index.
		reset: func() error {
			in.Reset(stream)
			return dec.Skip()
		},
	}
	count := len(want)
	p.run = func() error {
		for range count {
			if err := dec.Skip(); err != nil {
				return err
			}
		}
		return nil
	}
	if err := p.reset(); err != nil {
		return p, err
	}
	for i, m := range want {
		got, err := dec.Decode()
		if err != nil {
			return p, err
		}
		if !reflect.DeepEqual(got, m) {
			return p, fmt.Errorf("message %d was decoded to something else", i)
		}
	}
	if in.Len() != 0 {
		return p, errors.New("the decoder left bytes behind")
	}
	return p, nil
}

func measure(p pass, duration time.Duration) (*Measured, error) {
	m := new(Measured)
	// Warms caches and branch predictors, and finds errors before anything counts.
	if _, err := p.timed(duration / 10); err != nil {
		return nil, err
	}
	if err := p.count(m); err != nil {
		return nil, err
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	t, err := p.timed(duration)
	if err != nil {
		return nil, err
	}
	runtime.ReadMemStats(&after)
	m.Messages = t.messages
	m.NsPerMessage = float64(t.elapsed.Nanoseconds()) / float64(t.messages)
	m.GCCycles = after.NumGC - before.NumGC
	return m, nil
}

type timed struct {
	messages uint64
	elapsed  time.Duration
}

// timed runs whole passes and stops the clock between them.
func (p *pass) timed(duration time.Duration) (timed, error) {
	var t timed
	for t.elapsed < duration || t.messages == 0 {
		if err := p.reset(); err != nil {
			return t, err
		}
		start := time.Now()
		if err := p.run(); err != nil {
			return t, err
		}
		t.elapsed += time.Since(start)
		t.messages += uint64(p.messages)
	}
	return t, nil
}

// count looks at allocations apart from the time, as reading the statistics stops the world.
func (p *pass) count(m *Measured) error {
	var objects, size uint64
	messages := 0
	for messages < countedMessages && (messages == 0 || size < messageBytesMax) {
		if err := p.reset(); err != nil {
			return err
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := p.run(); err != nil {
			return err
		}
		runtime.ReadMemStats(&after)
		objects += after.Mallocs - before.Mallocs
		size += after.TotalAlloc - before.TotalAlloc
		messages += p.messages
	}
	m.AllocsPerMessage = float64(objects) / float64(messages)
	m.AllocBytesPerMessage = float64(size) / float64(messages)
	return nil
}

// splitmix is the generator SplitMix64: a few lines in any language give the same bytes.
type splitmix uint64

func (s *splitmix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// bytes takes the words' bytes lowest first and drops what is left of the last word.
func (s *splitmix) bytes(n int) Bytes {
	out := make(Bytes, 0, n+8)
	for len(out) < n {
		w := s.next()
		for range 8 {
			out = append(out, byte(w))
			w >>= 8
		}
	}
	return out[:n:n]
}
