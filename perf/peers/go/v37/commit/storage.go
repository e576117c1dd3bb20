// The WAL and the snapshot files, in the order in which etcdserver's storage writes them. That one
// would bring bbolt and all that imports it into the process. Not here: reading them.

package commit

import (
	"errors"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/pkg/v3/pbutil"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"raftwire/perf/peers/drivers"
)

type storage struct {
	*wal.WAL
	snapshotter *snap.Snapshotter
	// For purging.
	walDir, snapDir string
}

// createStorage makes an empty one, in the layout of etcd's data directory.
func createStorage(logger *zap.Logger, config drivers.CommitConfig) (*storage, error) {
	s := &storage{walDir: filepath.Join(config.Dir, "member", "wal"),
		snapDir: filepath.Join(config.Dir, "member", "snap")}
	if wal.Exist(s.walDir) {
		return nil, errors.New("there is a WAL in " + s.walDir)
	}
	if err := os.MkdirAll(s.snapDir, fileutil.PrivateDirMode); err != nil {
		return nil, err
	}
	s.snapshotter = snap.New(logger, s.snapDir)
	metadata := pbutil.MustMarshalMessage(&etcdserverpb.Metadata{NodeID: &config.ID,
		ClusterID: &config.Cluster})
	var err error
	s.WAL, err = wal.Create(logger, s.walDir, metadata)
	return s, err
}

// saveSnap writes the file before the record, so that no record is without its file.
func (s *storage) saveSnap(snapshot *raftpb.Snapshot) error {
	if err := s.snapshotter.SaveSnap(snapshot); err != nil {
		return err
	}
	return s.SaveSnapshot(&walpb.Snapshot{Index: snapshot.Metadata.Index,
		Term: snapshot.Metadata.Term, ConfState: snapshot.Metadata.ConfState})
}

// release lets go of the segments that only hold what is older than the snapshot.
func (s *storage) release(snapshot *raftpb.Snapshot) error {
	return s.ReleaseLockTo(snapshot.Metadata.GetIndex())
}
