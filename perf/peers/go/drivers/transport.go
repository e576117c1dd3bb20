// The transport program: one end of a link between two members, driven by lines of JSON; its peer
// is another such process or any other transport of this format. Here are the commands and what a
// version supplies. Not here: what the end does with messages (end.go), the load (run.go), the
// exchange (exchange.go).

package drivers

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

// Config is what an end of the link needs to know before it has a peer.
type Config struct {
	ID, Peer, Cluster uint64
}

// Link is one etcd version's rafthttp.Transport with one peer, behind etcd's listener. The
// messages of a load are the version's own, made beforehand, so that sending them costs what
// rafthttp costs.
type Link interface {
	// URL is where it listens.
	URL() string
	// Connect adds the peer and begins to serve.
	Connect(url string) error
	// Prepare makes the messages that SendApp and SendAnswer send.
	Prepare(Rings)
	// SendApp sends the n-th MsgApp of the load.
	SendApp(n uint64)
	// SendAnswer accepts all up to index.
	SendAnswer(index uint64)
	Send(*Message)
	// Drop closes every connection that was accepted.
	Drop()
	Stop()
}

const transportUsage = `usage: transport [version]

Answers lines of JSON on standard input, {"op":"start",...} first, until {"op":"stop"} or the end.
`

// How long connect waits for the streams: the other end may be told of its peer later.
const connectTimeout = 30 * time.Second

// TransportMain runs the transport program of one etcd version.
func TransportMain(listen func(Config, *End) (Link, error)) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "version":
		err = PrintVersion(os.Stdout)
	case len(os.Args) != 1:
		fmt.Fprint(os.Stderr, transportUsage)
		os.Exit(2)
	default:
		t := NewTransport(listen)
		err = lines(os.Stdin, os.Stdout, t.Answer)
		if err == errStop {
			err = nil
		}
		t.stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "transport:", err)
		os.Exit(1)
	}
}

// Transport answers the lines.
type Transport struct {
	listen func(Config, *End) (Link, error)
	end    *End
}

func NewTransport(listen func(Config, *End) (Link, error)) *Transport {
	return &Transport{listen: listen}
}

// Answer is called for one line after the other.
func (t *Transport) Answer(line []byte) any {
	var command struct {
		Op string `json:"op"`
	}
	if err := json.Unmarshal(line, &command); err != nil {
		return failure{err.Error()}
	}
	answer, err := t.do(command.Op, line)
	if err != nil {
		return failure{err.Error()}
	}
	return answer
}

func (t *Transport) do(op string, line []byte) (any, error) {
	if op == "start" {
		return t.start(line)
	}
	if t.end == nil {
		return nil, errors.New(`the first op is "start"`)
	}
	switch op {
	case "connect":
		return struct{}{}, t.connect(line)
	case "answer":
		return struct{}{}, t.end.follow(line)
	case "run":
		return t.end.run(line)
	case "usage":
		return t.end.usage()
	case "exchange":
		return struct{}{}, t.end.exchange(line)
	case "received":
		return t.end.digested(line, &t.end.received)
	case "sent":
		return t.end.digested(line, &t.end.sent)
	case "kill_connections":
		t.end.streams.forgetWriters()
		t.end.link.Drop()
		return struct{}{}, nil
	case "stop":
		t.stop()
		return stopped{}, nil
	}
	return nil, fmt.Errorf("no such op: %q", op)
}

// Started is the answer to start.
type Started struct {
	URL     string `json:"url"`
	Version string `json:"version"`
	Go      string `json:"go"`
}

func (t *Transport) start(line []byte) (any, error) {
	if t.end != nil {
		return nil, errors.New("already started")
	}
	var cmd struct {
		ID      uint64 `json:"id"`
		Peer    uint64 `json:"peer"`
		Cluster string `json:"cluster"`
	}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return nil, err
	}
	cluster, err := strconv.ParseUint(cmd.Cluster, 16, 64)
	if err != nil {
		return nil, err
	}
	if cmd.ID == 0 || cmd.Peer == 0 || cmd.ID == cmd.Peer {
		return nil, errors.New("id and peer are two different numbers other than 0")
	}
	v, err := version()
	if err != nil {
		// A test has no build information of its modules, and needs none.
		v = Version{Go: runtime.Version()}
	}
	config := Config{ID: cmd.ID, Peer: cmd.Peer, Cluster: cluster}
	end := newEnd(config)
	if end.link, err = t.listen(config, end); err != nil {
		return nil, err
	}
	t.end = end
	return Started{URL: end.link.URL(), Version: v.Etcd, Go: v.Go}, nil
}

func (t *Transport) connect(line []byte) error {
	var cmd struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return err
	}
	if err := t.end.link.Connect(cmd.URL); err != nil {
		return err
	}
	return t.end.streams.wait(connectTimeout)
}

func (t *Transport) stop() {
	if t.end != nil {
		t.end.link.Stop()
		t.end = nil
	}
}

// stopped is {}, and the last answer.
type stopped struct{}

var errStop = errors.New("stop")

// isLast says that no line behind the one with this answer is to be read.
func isLast(answer any) error {
	if _, ok := answer.(stopped); ok {
		return errStop
	}
	return nil
}
