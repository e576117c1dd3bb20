// The commands of the peer program and its lines of JSON.
// Not here: what each command does.

package drivers

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const usage = `usage: peer COMMAND

  version                             what this program is built from
  serve                               answers {"op":"bench",...} lines
  replay                              decodes {"id","stream","local","remote","hex"} lines
  encode --stream msgappv2|message    lines of messages to raw stream bytes

All but version read standard input to its end.
`

// Main runs the peer program of one etcd version.
func Main(c Codec) {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	args := os.Args[2:]
	var err error
	switch os.Args[1] {
	case "version":
		err = PrintVersion(os.Stdout)
	case "serve":
		err = lines(os.Stdin, os.Stdout, func(line []byte) any { return Serve(c, line) })
	case "replay":
		err = lines(os.Stdin, os.Stdout, func(line []byte) any { return Replay(c, line) })
	case "encode":
		flags := flag.NewFlagSet("peer encode", flag.ExitOnError)
		stream := flags.String("stream", "", "msgappv2 or message")
		flags.Parse(args)
		err = Encode(c, Stream(*stream), os.Stdin, os.Stdout)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// lines answers each line of r with one of w, at once: whoever drives this waits for it.
func lines(r io.Reader, w io.Writer, answer func([]byte) any) error {
	out := bufio.NewWriterSize(w, 1<<16)
	encode := json.NewEncoder(out)
	return eachLine(r, func(line []byte) error {
		answered := answer(line)
		if err := encode.Encode(answered); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
		return isLast(answered)
	})
}

// eachLine has no limit on a line's length, as a frame in hex has none. Empty lines are skipped.
func eachLine(r io.Reader, do func([]byte) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
			line = line[:len(line)-1]
		}
		if len(line) > 0 {
			if err := do(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

type failure struct {
	Error string `json:"error"`
}
