// Package transport is etcd 3.7's rafthttp.Transport behind the drivers' interface: with one peer,
// behind etcd's own listener, both configured as etcd does where nothing is said.
// Not here: raft, whose place the drivers take; snapshots; TLS; etcd's other handlers.
package transport

import (
	"context"
	"errors"
	"net"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/v37/codec"
)

type link struct {
	end      *drivers.End
	peer     types.ID
	url      string
	listener net.Listener
	server   *drivers.Server
	rafthttp *rafthttp.Transport
	rings
}

// Listen opens the listener. Whoever dials it waits until there is a peer, as in etcd, which adds
// its peers before it serves.
func Listen(config drivers.Config, end *drivers.End) (drivers.Link, error) {
	listener, err := Listener()
	if err != nil {
		return nil, err
	}
	l := &link{end: end, peer: types.ID(config.Peer), listener: listener,
		url: "http://" + listener.Addr().String()}
	urls, err := types.NewURLs([]string{l.url})
	if err != nil {
		return nil, err
	}
	logger := zap.New(Watcher(end.Logged))
	id := types.ID(config.ID)
	critical := make(chan error, 1)
	l.rafthttp = &rafthttp.Transport{
		Logger:      logger,
		DialTimeout: DialTimeout,
		ID:          id,
		URLs:        urls,
		ClusterID:   types.ID(config.Cluster),
		Raft:        end37{end},
		ServerStats: stats.NewServerStats("raftwire", id.String()),
		LeaderStats: stats.NewLeaderStats(logger, id.String()),
		ErrorC:      critical,
	}
	go func() {
		for err := range critical {
			end.Critical(err)
		}
	}()
	return l, l.rafthttp.Start()
}

func (l *link) URL() string { return l.url }

func (l *link) Connect(url string) error {
	// rafthttp would panic.
	if _, err := types.NewURLs([]string{url}); err != nil {
		return err
	}
	if l.server != nil {
		return nil
	}
	l.rafthttp.AddPeer(l.peer, []string{url})
	l.server = Serve(l.listener, l.rafthttp.Handler())
	return nil
}

func (l *link) Drop() {
	if l.server != nil {
		l.server.Drop()
	}
}

func (l *link) Stop() {
	l.listener.Close()
	l.rafthttp.Stop()
	if l.server != nil {
		l.server.Close()
	}
}

// end37 is what rafthttp takes for raft.
type end37 struct{ end *drivers.End }

func (e end37) Process(_ context.Context, m *raftpb.Message) error {
	a := drivers.Arrival{Type: drivers.MessageType(m.GetType()), From: m.GetFrom(), To: m.GetTo(),
		Term: m.GetTerm(), Index: m.GetIndex(), Entries: len(m.Entries), Regular: true}
	for i, entry := range m.Entries {
		a.PayloadBytes += len(entry.Data)
		a.Regular = a.Regular && entry.GetIndex() == a.Index+1+uint64(i) &&
			len(entry.Data) == len(m.Entries[0].Data)
	}
	if e.end.Arrived(a) {
		e.end.Record(codec.FromRaft(m))
	}
	return nil
}

func (e end37) IsIDRemoved(uint64) bool { return false }

func (e end37) ReportUnreachable(uint64) { e.end.Unreachable() }

func (e end37) ReportSnapshot(uint64, raft.SnapshotStatus) {
	e.end.Critical(errors.New("a snapshot was reported"))
}
