// The wal program: etcd's own writer and readers of the WAL and of snapshot files, one command a run
// and one line of JSON for it. Not here: what is written (wal_write.go).

package drivers

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WALFiles are one etcd version's readers and writer. A WAL and the snapshots that belong to it are
// in two directories.
type WALFiles interface {
	// Read verifies the WAL and reads it from its newest snapshot on, without locking or changing
	// it.
	Read(wal, snap string) (*WALContent, error)
	// Open reads it as a member that starts does, which locks it and makes room for appending.
	Open(wal, snap string) (*WALContent, error)
	// Repair cuts a torn tail off, and says whether all is well then.
	Repair(wal string) bool
	// Create begins a WAL with segments of so many bytes.
	Create(wal, snap string, segmentBytes int64, member, cluster uint64) (WALWriter, error)
	// NewestSnapshot is the newest file that can be read.
	NewestSnapshot(snap string) (*Snapshot, error)
}

// WALWriter is a WAL that is open for appending.
type WALWriter interface {
	// Save appends entries and behind them the hard state, which is left out where it is zero.
	Save(HardState, List[Entry]) error
	// Snapshot writes the file and then the record.
	Snapshot(Snapshot) error
	Close() error
}

type HardState struct {
	Term   uint64 `json:"term"`
	Vote   uint64 `json:"vote"`
	Commit uint64 `json:"commit"`
}

// WALContent is what etcd makes of a WAL.
type WALContent struct {
	Member, Cluster uint64
	HardState       HardState
	// Index and term of the snapshot from which it is read, or zeros.
	SnapshotIndex, SnapshotTerm uint64
	Entries                     List[Entry]
}

const walUsage = `usage: wal COMMAND

  version
  read DIR [--snap DIR]     verifies and reads a WAL, without changing it
  open DIR [--snap DIR]     opens it for appending, reads and closes it
  repair DIR                cuts a torn tail off
  write DIR [--snap DIR] [--entries N] [--bytes B] [--seed S] [--segment-bytes M]
            [--snapshot-at I] [--torn]
                            makes a WAL and reads it
  snap DIR                  reads the newest snapshot file in DIR

Snapshots of the WAL in DIR are in DIR/../snap where nothing is said.
`

// WALMain runs the wal program of one etcd version.
func WALMain(files WALFiles) {
	if len(os.Args) < 2 || len(os.Args) < 3 && os.Args[1] != "version" {
		fmt.Fprint(os.Stderr, walUsage)
		os.Exit(2)
	}
	if os.Args[1] == "version" {
		if err := PrintVersion(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "wal:", err)
			os.Exit(1)
		}
		return
	}
	answer := WALCommand(files, os.Args[1], os.Args[2], os.Args[3:])
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, "wal:", err)
		os.Exit(1)
	}
	switch answer := answer.(type) {
	case WALFailure:
		os.Exit(1)
	case Repaired:
		if !answer.Repaired {
			os.Exit(1)
		}
	}
}

// WALFailure is the answer to a command that failed. Kind is torn where the log ends within a record,
// which etcd repairs; panic where etcd panicked; error for all else.
type WALFailure struct {
	Error string `json:"error"`
	Kind  string `json:"kind"`
}

// WALCommand does one command.
func WALCommand(files WALFiles, command, dir string, args []string) (answer any) {
	defer func() {
		if reason := recover(); reason != nil {
			answer = WALFailure{fmt.Sprint(reason), "panic"}
		}
	}()
	answer, err := walCommand(files, command, dir, args)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return WALFailure{err.Error(), "torn"}
	case err != nil:
		return WALFailure{err.Error(), "error"}
	}
	return answer
}

func walCommand(files WALFiles, command, dir string, args []string) (any, error) {
	flags := flag.NewFlagSet("wal "+command, flag.ContinueOnError)
	snap := filepath.Join(dir, "..", "snap")
	var plan walPlan
	if command == "read" || command == "open" || command == "write" {
		flags.StringVar(&snap, "snap", snap, "where its snapshots are")
	}
	if command == "write" {
		plan.flags(flags)
	}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch command {
	case "read":
		return described(files.Read(dir, snap))
	case "open":
		return described(files.Open(dir, snap))
	case "write":
		if err := plan.write(files, dir, snap); err != nil {
			return nil, err
		}
		return described(files.Read(dir, snap))
	case "repair":
		return Repaired{files.Repair(dir)}, nil
	case "snap":
		s, err := files.NewestSnapshot(dir)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(s.Data)
		return SnapshotDescribed{s.Metadata.Index, s.Metadata.Term, s.Metadata.ConfState,
			len(s.Data), hex.EncodeToString(sum[:])}, nil
	}
	return nil, fmt.Errorf("no such command: %q", command)
}

// Repaired is the answer to repair.
type Repaired struct {
	Repaired bool `json:"repaired"`
}

// SnapshotDescribed is the answer to snap.
type SnapshotDescribed struct {
	Index     uint64    `json:"index"`
	Term      uint64    `json:"term"`
	ConfState ConfState `json:"conf_state"`
	DataBytes int       `json:"data_bytes"`
	SHA256    string    `json:"sha256"`
}

// WALDescribed is the answer to read, open and write.
type WALDescribed struct {
	Member    uint64      `json:"member"`
	Cluster   uint64      `json:"cluster"`
	HardState HardState   `json:"hard_state"`
	Snapshot  WALPosition `json:"snapshot"`
	// The indexes of the first and the last entry, zeros where there is none.
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Entries int    `json:"entries"`
	// SHA256 is over the entries: of each its term, index, type and the length of its data, in
	// eight bytes, big-endian, and its data.
	SHA256 string `json:"sha256"`
}

type WALPosition struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

func described(c *WALContent, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	d := WALDescribed{Member: c.Member, Cluster: c.Cluster, HardState: c.HardState,
		Snapshot: WALPosition{c.SnapshotIndex, c.SnapshotTerm}, Entries: len(c.Entries)}
	if n := len(c.Entries); n > 0 {
		d.First, d.Last = c.Entries[0].Index, c.Entries[n-1].Index
	}
	h := sha256.New()
	for _, e := range c.Entries {
		var prefix []byte
		for _, n := range []uint64{e.Term, e.Index, uint64(e.Type), uint64(len(e.Data))} {
			prefix = binary.BigEndian.AppendUint64(prefix, n)
		}
		h.Write(prefix)
		h.Write(e.Data)
	}
	d.SHA256 = hex.EncodeToString(h.Sum(nil))
	return d, nil
}
