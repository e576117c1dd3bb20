// Package walfile is etcd 3.7's wal and snap packages behind the drivers' interface.
// Not here: a format of records or files.
package walfile

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/pkg/v3/pbutil"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/v37/codec"
)

// Files are those of etcd 3.7.
type Files struct{}

func (Files) Read(walDir, snapDir string) (*drivers.WALContent, error) {
	// Reading to the end closes the files, and no others are open.
	content, _, err := read(walDir, snapDir, wal.OpenForRead)
	return content, err
}

func (Files) Open(walDir, snapDir string) (*drivers.WALContent, error) {
	content, w, err := read(walDir, snapDir, wal.Open)
	if w != nil {
		err = errors.Join(err, w.Close())
	}
	return content, err
}

type open func(*zap.Logger, string, *walpb.Snapshot) (*wal.WAL, error)

// read goes the way of a member that starts: the newest snapshot file of which there is a valid record,
// and the log behind it.
func read(walDir, snapDir string, open open) (*drivers.WALContent, *wal.WAL, error) {
	logger := zap.NewNop()
	at, err := start(logger, walDir, snapDir)
	if err != nil {
		return nil, nil, err
	}
	verified, err := wal.Verify(logger, walDir, at)
	if err != nil {
		return nil, nil, fmt.Errorf("verify: %w", err)
	}
	w, err := open(logger, walDir, at)
	if err != nil {
		return nil, nil, fmt.Errorf("open: %w", err)
	}
	metadata, state, entries, err := w.ReadAll()
	if err != nil {
		return nil, w, fmt.Errorf("read: %w", err)
	}
	if !proto.Equal(state, verified) {
		return nil, w, fmt.Errorf("verified %v, and read %v", verified, state)
	}
	var of etcdserverpb.Metadata
	pbutil.MustUnmarshalMessage(&of, metadata)
	return &drivers.WALContent{
		Member:        of.GetNodeID(),
		Cluster:       of.GetClusterID(),
		HardState:     drivers.HardState{Term: state.GetTerm(), Vote: state.GetVote(), Commit: state.GetCommit()},
		SnapshotIndex: at.GetIndex(),
		SnapshotTerm:  at.GetTerm(),
		Entries:       codec.FromRaft(&raftpb.Message{Entries: entries}).Entries,
	}, w, nil
}

func start(logger *zap.Logger, walDir, snapDir string) (*walpb.Snapshot, error) {
	records, err := wal.ValidSnapshotEntries(logger, walDir)
	if err != nil {
		return &walpb.Snapshot{}, fmt.Errorf("snapshot records: %w", err)
	}
	if _, err := os.Stat(snapDir); errors.Is(err, os.ErrNotExist) {
		return &walpb.Snapshot{}, nil
	}
	newest, err := snap.New(logger, snapDir).LoadNewestAvailable(records)
	if errors.Is(err, snap.ErrNoSnapshot) {
		return &walpb.Snapshot{}, nil
	}
	if err != nil {
		return &walpb.Snapshot{}, fmt.Errorf("snapshot files: %w", err)
	}
	return &walpb.Snapshot{Index: newest.Metadata.Index, Term: newest.Metadata.Term,
		ConfState: newest.Metadata.ConfState}, nil
}

func (Files) Repair(walDir string) bool { return wal.Repair(zap.NewNop(), walDir) }

func (Files) NewestSnapshot(snapDir string) (*drivers.Snapshot, error) {
	newest, err := snap.New(zap.NewNop(), snapDir).Load()
	if err != nil {
		return nil, err
	}
	return &codec.FromRaft(&raftpb.Message{Snapshot: newest}).Snapshot, nil
}

func (Files) Create(walDir, snapDir string, segmentBytes int64, member, cluster uint64) (drivers.WALWriter, error) {
	wal.SegmentSizeBytes = segmentBytes
	logger := zap.NewNop()
	w, err := wal.Create(logger, walDir, pbutil.MustMarshalMessage(&etcdserverpb.Metadata{
		NodeID: &member, ClusterID: &cluster}))
	if err != nil {
		return nil, err
	}
	return &writer{w, snap.New(logger, snapDir)}, nil
}

type writer struct {
	wal         *wal.WAL
	snapshotter *snap.Snapshotter
}

func (w *writer) Save(state drivers.HardState, entries drivers.List[drivers.Entry]) error {
	saved := &raftpb.HardState{}
	if state != (drivers.HardState{}) {
		// raft sets all or none.
		saved.Term, saved.Vote, saved.Commit = &state.Term, &state.Vote, &state.Commit
	}
	return w.wal.Save(saved, codec.ToRaft(&drivers.Message{Entries: entries}).Entries)
}

func (w *writer) Snapshot(s drivers.Snapshot) error {
	snapshot := codec.ToRaft(&drivers.Message{Snapshot: s}).Snapshot
	if err := w.snapshotter.SaveSnap(snapshot); err != nil {
		return err
	}
	return w.wal.SaveSnapshot(&walpb.Snapshot{Index: snapshot.Metadata.Index,
		Term: snapshot.Metadata.Term, ConfState: snapshot.Metadata.ConfState})
}

func (w *writer) Close() error { return w.wal.Close() }
