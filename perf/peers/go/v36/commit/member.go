// Package commit is a member on etcd 3.6's raft, WAL and rafthttp, put together as etcdserver does and
// without what a commit does not need: gRPC, the key-value store on disk, leases, authentication.
// Not here: restarting one; members that come and go.
package commit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/pkg/v3/idutil"
	"go.etcd.io/etcd/pkg/v3/schedule"
	"go.etcd.io/etcd/pkg/v3/wait"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/v36/transport"
)

// etcd's, where nothing is said.
const (
	electionTicks     = 10
	maxMessageBytes   = 1 << 20
	maxInflight       = 4096 / 8
	maxSnapshots      = 16
	keptFiles         = 5
	purgeFileInterval = 30 * time.Second
)

type member struct {
	config   drivers.CommitConfig
	logger   *zap.Logger
	streams  drivers.PeerStreams
	peers    []types.ID
	listener net.Listener
	server   *drivers.Server
	rafthttp *rafthttp.Transport
	raft     raft.Node
	log      *raft.MemoryStorage
	storage  *storage

	scheduler            schedule.Scheduler
	progress             progress
	applied, appliedTerm atomic.Uint64
	// Snapshots on their way, while which the log is not compacted, and all there were.
	sending atomic.Int64
	sent    atomic.Uint64

	ids          *idutil.Generator
	waits        wait.Wait
	appliedWaits wait.WaitTime
	reads        chan raft.ReadState
	snapshots    chan raftpb.Message

	stopping, looped chan struct{}
	purged           []<-chan struct{}
}

// Start opens the listener and creates the member's files.
func Start(config drivers.CommitConfig) (drivers.CommitMember, error) {
	m := &member{
		config:       config,
		log:          raft.NewMemoryStorage(),
		progress:     progress{state: drivers.NewState()},
		ids:          idutil.NewGenerator(uint16(config.ID), time.Now()),
		waits:        wait.New(),
		appliedWaits: wait.NewTimeList(),
		reads:        make(chan raft.ReadState, 1),
		snapshots:    make(chan raftpb.Message, maxSnapshots),
		stopping:     make(chan struct{}),
		looped:       make(chan struct{}),
	}
	warnings := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		zapcore.Lock(os.Stderr), zapcore.WarnLevel)
	m.logger = zap.New(zapcore.NewTee(warnings, transport.Watcher(m.streams.Logged))).
		With(zap.Uint64("member", config.ID))
	var err error
	if m.storage, err = createStorage(m.logger, config); err != nil {
		return nil, err
	}
	if m.listener, err = transport.Listener(); err != nil {
		return nil, errors.Join(err, m.storage.Close())
	}
	return m, nil
}

func (m *member) URL() string { return "http://" + m.listener.Addr().String() }

// Found does what etcd does for a new cluster: every member begins its log with the same changes, one
// for each voter, as if they had been committed.
func (m *member) Found(voters []drivers.Voter) error {
	voters = slices.SortedFunc(slices.Values(voters), func(a, b drivers.Voter) int {
		return cmp.Compare(a.ID, b.ID)
	})
	var founders []raft.Peer
	self := false
	for _, v := range voters {
		if _, err := types.NewURLs([]string{v.URL}); err != nil {
			return err
		}
		about, err := json.Marshal(map[string]any{"id": v.ID, "peerURLs": []string{v.URL}})
		if err != nil {
			return err
		}
		founders = append(founders, raft.Peer{ID: v.ID, Context: about})
		self = self || v.ID == m.config.ID
	}
	if !self {
		return fmt.Errorf("member %d is not among the voters", m.config.ID)
	}
	urls, err := types.NewURLs([]string{m.URL()})
	if err != nil {
		return err
	}
	id := types.ID(m.config.ID)
	critical := make(chan error, 1)
	m.rafthttp = &rafthttp.Transport{
		Logger:      m.logger,
		DialTimeout: transport.DialTimeout,
		ID:          id,
		URLs:        urls,
		ClusterID:   types.ID(m.config.Cluster),
		Raft:        m,
		Snapshotter: m.storage.snapshotter,
		ServerStats: stats.NewServerStats("raftwire", id.String()),
		LeaderStats: stats.NewLeaderStats(m.logger, id.String()),
		ErrorC:      critical,
	}
	if err := m.rafthttp.Start(); err != nil {
		return err
	}
	go func() { m.must("go on, as rafthttp says", <-critical) }()
	m.scheduler = schedule.NewFIFOScheduler(m.logger)
	m.raft = raft.StartNode(&raft.Config{
		ID:              m.config.ID,
		ElectionTick:    electionTicks,
		HeartbeatTick:   1,
		Storage:         m.log,
		MaxSizePerMsg:   maxMessageBytes,
		MaxInflightMsgs: maxInflight,
		CheckQuorum:     true,
		PreVote:         true,
		Logger:          raftLogger{m.logger.Sugar()},
	}, founders)
	for _, v := range voters {
		if v.ID != m.config.ID {
			m.peers = append(m.peers, types.ID(v.ID))
			m.rafthttp.AddPeer(types.ID(v.ID), []string{v.URL})
		}
	}
	m.purge()
	go m.loop()
	m.server = transport.Serve(m.listener, m.rafthttp.Handler())
	return nil
}

// purge deletes old files from time to time.
func (m *member) purge() {
	snaps, snapErrors := fileutil.PurgeFileWithoutFlock(m.logger, m.storage.snapDir, "snap",
		keptFiles, purgeFileInterval, m.stopping)
	segments, segmentErrors := fileutil.PurgeFileWithDoneNotify(m.logger, m.storage.walDir, "wal",
		keptFiles, purgeFileInterval, m.stopping)
	m.purged = append(m.purged, snaps, segments)
	go func() {
		select {
		case err := <-snapErrors:
			m.must("purge snapshots", err)
		case err := <-segmentErrors:
			m.must("purge segments", err)
		case <-m.stopping:
		}
	}()
}

func (m *member) Applied() uint64 { return m.applied.Load() }

// Fsyncs asks etcd's own metrics.
func (m *member) Fsyncs() (segments, snaps uint64, err error) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return 0, 0, err
	}
	found := 0
	for _, family := range families {
		count := &segments
		switch family.GetName() {
		case "etcd_disk_wal_fsync_duration_seconds":
		case "etcd_snap_fsync_duration_seconds":
			count = &snaps
		default:
			continue
		}
		found++
		for _, metric := range family.GetMetric() {
			*count += metric.GetHistogram().GetSampleCount()
		}
	}
	if found != 2 {
		return 0, 0, errors.New("etcd has no such metrics as those of its fsyncs")
	}
	return segments, snaps, nil
}

func (m *member) SnapshotsSent() uint64 { return m.sent.Load() }

func (m *member) Stop() error {
	close(m.stopping)
	m.listener.Close()
	if m.raft == nil {
		return m.storage.Close()
	}
	<-m.looped
	m.scheduler.Stop()
	for _, purged := range m.purged {
		<-purged
	}
	m.raft.Stop()
	m.rafthttp.Stop()
	m.server.Close()
	return m.storage.Close()
}

// What rafthttp asks of raft.

func (m *member) Process(ctx context.Context, message raftpb.Message) error {
	if message.To != m.config.ID {
		return fmt.Errorf("a message for member %x", message.To)
	}
	return m.raft.Step(ctx, message)
}

func (m *member) IsIDRemoved(uint64) bool { return false }

func (m *member) ReportUnreachable(id uint64) { m.raft.ReportUnreachable(id) }

func (m *member) ReportSnapshot(id uint64, status raft.SnapshotStatus) {
	m.raft.ReportSnapshot(id, status)
	m.snapshotSent(status)
}

// raftLogger has raft's names for what zap does.
type raftLogger struct{ *zap.SugaredLogger }

func (l raftLogger) Warning(v ...any) { l.Warn(v...) }

func (l raftLogger) Warningf(format string, v ...any) { l.Warnf(format, v...) }
