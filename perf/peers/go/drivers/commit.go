// The commit program: one member of a cluster on etcd's raft, WAL and rafthttp, driven by lines of
// JSON. Here are the commands and what a version supplies. Not here: the load (proposers.go) and the
// state machine (state.go).

package drivers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

// CommitConfig is what a member needs to know before it has a cluster.
type CommitConfig struct {
	ID, Cluster uint64
	// Dir gets the member's data, in etcd's layout.
	Dir string
	// A snapshot is taken when more than SnapshotEntries were applied since the last, and then
	// CatchUpEntries stay in memory behind it.
	SnapshotEntries, CatchUpEntries uint64
	// SnapshotState puts the state into the snapshots on disk, where etcd has none of it: its state
	// is in a database.
	SnapshotState bool
}

// Voter is a member of the cluster that is founded.
type Voter struct {
	ID  uint64 `json:"id"`
	URL string `json:"url"`
}

// CommitMember is one etcd version's member.
type CommitMember interface {
	// URL is where it listens.
	URL() string
	// Found starts raft and the transport in a new cluster of these voters.
	Found(voters []Voter) error
	// Campaign returns the term this member leads, once it can serve proposals.
	Campaign(ctx context.Context) (term uint64, err error)
	// Propose puts a key, and returns when this member has applied it. The slices may be used
	// again then.
	Propose(ctx context.Context, key, value []byte) error
	// Inspect waits until what is committed in the cluster is applied here, and looks at the state
	// while nothing is applied.
	Inspect(ctx context.Context, look func(s *State, applied uint64)) error
	Applied() uint64
	// Fsyncs counts those of the WAL, and those of snapshot files.
	Fsyncs() (wal, snap uint64, err error)
	// SnapshotsSent counts those to members that fell behind.
	SnapshotsSent() uint64
	Stop() error
}

const commitUsage = `usage: commit [version]

Answers lines of JSON on standard input, {"op":"start",...} first, until {"op":"stop"} or the end.
`

const (
	campaignTimeout = 30 * time.Second
	inspectTimeout  = 30 * time.Second
)

// CommitMain runs the commit program of one etcd version.
func CommitMain(start func(CommitConfig) (CommitMember, error)) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "version":
		err = PrintVersion(os.Stdout)
	case len(os.Args) != 1:
		fmt.Fprint(os.Stderr, commitUsage)
		os.Exit(2)
	default:
		c := NewCommit(start)
		err = lines(os.Stdin, os.Stdout, c.Answer)
		if err == errStop {
			err = nil
		}
		err = errors.Join(err, c.stop())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "commit:", err)
		os.Exit(1)
	}
}

// Commit answers the lines.
type Commit struct {
	startMember func(CommitConfig) (CommitMember, error)
	member      CommitMember
	founded     bool
}

func NewCommit(start func(CommitConfig) (CommitMember, error)) *Commit {
	return &Commit{startMember: start}
}

// Answer is called for one line after the other.
func (c *Commit) Answer(line []byte) any {
	var command struct {
		Op string `json:"op"`
	}
	if err := json.Unmarshal(line, &command); err != nil {
		return failure{err.Error()}
	}
	answer, err := c.do(command.Op, line)
	if err != nil {
		return failure{err.Error()}
	}
	return answer
}

func (c *Commit) do(op string, line []byte) (any, error) {
	switch {
	case op == "start":
		return c.start(line)
	case c.member == nil:
		return nil, errors.New(`the first op is "start"`)
	case op == "connect":
		return struct{}{}, c.connect(line)
	case op == "usage":
		return c.usage()
	case op == "stop":
		return stopped{}, c.stop()
	case op != "campaign" && op != "run" && op != "check":
		return nil, fmt.Errorf("no such op: %q", op)
	case !c.founded:
		return nil, errors.New(`the cluster is not founded: "connect" is missing`)
	case op == "campaign":
		return c.campaign()
	case op == "run":
		return runProposers(line, c.member.Propose)
	default:
		return c.check()
	}
}

// CommitStarted is the answer to start.
type CommitStarted struct {
	URL     string `json:"url"`
	Version string `json:"version"`
	Go      string `json:"go"`
}

func (c *Commit) start(line []byte) (any, error) {
	if c.member != nil {
		return nil, errors.New("already started")
	}
	cmd := struct {
		ID              uint64 `json:"id"`
		Cluster         string `json:"cluster"`
		Dir             string `json:"dir"`
		SnapshotEntries uint64 `json:"snapshot_entries"`
		CatchUpEntries  uint64 `json:"catch_up_entries"`
		SnapshotState   bool   `json:"snapshot_state"`
	}{SnapshotEntries: 10_000, CatchUpEntries: 5000}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return nil, err
	}
	cluster, err := strconv.ParseUint(cmd.Cluster, 16, 64)
	switch {
	case err != nil:
		return nil, err
	case cmd.ID == 0:
		return nil, errors.New("id is a number other than 0")
	case cmd.Dir == "":
		return nil, errors.New("dir is missing")
	case cmd.SnapshotEntries == 0:
		return nil, errors.New("snapshot_entries is a number other than 0")
	}
	v, err := version()
	if err != nil {
		// A test has no build information of its modules, and needs none.
		v = Version{Go: runtime.Version()}
	}
	c.member, err = c.startMember(CommitConfig{ID: cmd.ID, Cluster: cluster, Dir: cmd.Dir,
		SnapshotEntries: cmd.SnapshotEntries, CatchUpEntries: cmd.CatchUpEntries,
		SnapshotState: cmd.SnapshotState})
	if err != nil {
		return nil, err
	}
	return CommitStarted{URL: c.member.URL(), Version: v.Etcd, Go: v.Go}, nil
}

func (c *Commit) connect(line []byte) error {
	if c.founded {
		return errors.New("already founded")
	}
	var cmd struct {
		Members []Voter `json:"members"`
	}
	if err := json.Unmarshal(line, &cmd); err != nil {
		return err
	}
	if err := c.member.Found(cmd.Members); err != nil {
		return err
	}
	c.founded = true
	return nil
}

// Campaigned is the answer to campaign.
type Campaigned struct {
	Term uint64 `json:"term"`
}

func (c *Commit) campaign() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), campaignTimeout)
	defer cancel()
	term, err := c.member.Campaign(ctx)
	if err != nil {
		return nil, err
	}
	return Campaigned{term}, nil
}

// CommitUsage is the answer to usage, since the process began.
type CommitUsage struct {
	RunUsage
	RSSPeakBytes uint64 `json:"rss_peak_bytes"`
	Fsyncs       uint64 `json:"fsyncs"`
	SnapFsyncs   uint64 `json:"snap_fsyncs"`
	// SnapshotsSent explains memory: for 30 s after one, the log in memory is not cut.
	SnapshotsSent uint64 `json:"snapshots_sent"`
	Applied       uint64 `json:"applied"`
}

func (c *Commit) usage() (any, error) {
	used, err := runUsage()
	if err != nil {
		return nil, err
	}
	peak, err := peakRSSKiB()
	if err != nil {
		return nil, err
	}
	answer := CommitUsage{RunUsage: used, RSSPeakBytes: peak << 10, Applied: c.member.Applied(),
		SnapshotsSent: c.member.SnapshotsSent()}
	answer.Fsyncs, answer.SnapFsyncs, err = c.member.Fsyncs()
	return answer, err
}

// Checked is the answer to check: equal on two members where their states are.
type Checked struct {
	Applied uint64 `json:"applied"`
	Keys    int    `json:"keys"`
	Hash    string `json:"hash"`
}

func (c *Commit) check() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), inspectTimeout)
	defer cancel()
	var answer Checked
	err := c.member.Inspect(ctx, func(s *State, applied uint64) {
		answer = Checked{Applied: applied, Keys: s.Len(), Hash: fmt.Sprintf("%016x", s.Hash())}
	})
	return answer, err
}

func (c *Commit) stop() error {
	if c.member == nil {
		return nil
	}
	err := c.member.Stop()
	c.member, c.founded = nil, false
	return err
}
