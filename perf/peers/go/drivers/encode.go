// peer encode: messages in JSON to the bytes etcd writes for them on one connection.
// Not here: pacing, link heartbeats of its own, HTTP.

package drivers

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Encode reads a message a line, bare or as a frame's "message".
func Encode(c Codec, stream Stream, r io.Reader, w io.Writer) error {
	if !stream.valid() {
		return fmt.Errorf("no such stream: %q", stream)
	}
	out := bufio.NewWriterSize(w, 1<<16)
	enc := c.NewEncoder(stream, out)
	number := 0
	err := eachLine(r, func(line []byte) error {
		number++
		m, err := parseMessage(line)
		if err == nil {
			err = enc.Encode(c.Native(m))
		}
		if err != nil {
			return fmt.Errorf("message %d: %w", number, err)
		}
		return nil
	})
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	return err
}

func parseMessage(line []byte) (*Message, error) {
	var frame struct{ Message json.RawMessage }
	if err := json.Unmarshal(line, &frame); err != nil {
		return nil, err
	}
	if frame.Message != nil {
		line = frame.Message
	}
	m := new(Message)
	return m, json.Unmarshal(line, m)
}
