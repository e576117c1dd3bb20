// peer serve: one command a line. A command names what is measured; each has a file of its own.
// Not here: any measuring.

package drivers

import (
	"encoding/json"
	"fmt"
)

// Serve answers one command.
func Serve(c Codec, line []byte) any {
	var command struct {
		Op string `json:"op"`
	}
	if err := json.Unmarshal(line, &command); err != nil {
		return failure{err.Error()}
	}
	var answer any
	var err error
	switch command.Op {
	case "bench":
		answer, err = bench(c, line)
	default:
		err = fmt.Errorf("no such op: %q", command.Op)
	}
	if err != nil {
		return failure{err.Error()}
	}
	return answer
}
