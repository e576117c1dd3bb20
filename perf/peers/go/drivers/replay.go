// peer replay: what etcd's decoder makes of given bytes, whatever they are.
// Not here: the rest of rafthttp's reader, such as dropping what is addressed to someone else.

package drivers

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

type replayLine struct {
	ID     json.RawMessage `json:"id"`
	Stream Stream          `json:"stream"`
	Local  uint64          `json:"local"`
	Remote uint64          `json:"remote"`
	Hex    Bytes           `json:"hex"`
}

// Replayed is the answer to one line.
type Replayed struct {
	ID     json.RawMessage `json:"id"`
	Frames []ReplayedFrame `json:"frames"`
	// Consumed is the offset behind the last good frame.
	Consumed int    `json:"consumed"`
	End      string `json:"end"`
	Error    string `json:"error"`
}

type ReplayedFrame struct {
	Kind    string   `json:"kind"`
	Message *Message `json:"message"`
}

// The ends of a replay. An io.EOF inside a frame is "eof" too, since etcd takes it for the
// end of the stream; then consumed is short of the input.
const (
	endEOF           = "eof"
	endUnexpectedEOF = "unexpected-eof"
	endError         = "error"
	endPanic         = "panic"
	endRefused       = "refused-to-allocate"
)

var frameKinds = []string{"linkHeartbeat", "AppEntries", "MsgApp"}

// Replay answers one line.
func Replay(c Codec, text []byte) any {
	var line replayLine
	if err := json.Unmarshal(text, &line); err != nil {
		return failure{err.Error()}
	}
	if !line.Stream.valid() {
		return failure{fmt.Sprintf("no such stream: %q", line.Stream)}
	}
	answer := &Replayed{ID: line.ID, Frames: []ReplayedFrame{}}
	in := &countingReader{data: line.Hex}
	dec := c.NewDecoder(line.Stream, in, line.Local, line.Remote)
	for {
		rest := line.Hex[answer.Consumed:]
		if why := refuse(line.Stream, rest, c.UnboundedRecursion()); why != "" {
			answer.End, answer.Error = endRefused, why
			return answer
		}
		m, err, panicked := decodeFrame(dec)
		switch {
		case panicked != nil:
			answer.End, answer.Error = endPanic, fmt.Sprint(panicked)
			return answer
		case err != nil:
			answer.End, answer.Error = endOf(err), err.Error()
			return answer
		}
		answer.Frames = append(answer.Frames, ReplayedFrame{frameKind(line.Stream, rest), m})
		answer.Consumed = in.offset
	}
}

func decodeFrame(dec Decoder) (m *Message, err error, panicked any) {
	defer func() { panicked = recover() }()
	m, err = dec.Decode()
	return m, err, nil
}

func endOf(err error) string {
	switch {
	case err == io.EOF:
		return endEOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return endUnexpectedEOF
	}
	return endError
}

// frameKind is called for a frame that decoded, whose first byte therefore is one of the three.
func frameKind(stream Stream, frame []byte) string {
	if stream == MessageStream {
		return "message"
	}
	return frameKinds[frame[0]]
}

// countingReader tells how far the decoder went; etcd's decoders read no further than they need.
type countingReader struct {
	data   []byte
	offset int
}

func (r *countingReader) Read(p []byte) (int, error) {
	if r.offset == len(r.data) {
		return 0, io.EOF
	}
	n := copy(p, r.data[r.offset:])
	r.offset += n
	return n, nil
}
