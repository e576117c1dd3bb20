// What is asked of a running member: proposals, leadership, and to look at its state.
// Not here: what a proposal goes through.

package commit

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/pkg/v3/schedule"
	"go.etcd.io/raft/v3"

	"raftwire/perf/peers/drivers"
)

// Propose does what etcdserver does for a put, from the request's id to its result.
func (m *member) Propose(ctx context.Context, key, value []byte) error {
	id := m.ids.Next()
	request := etcdserverpb.InternalRaftRequest{
		Header: &etcdserverpb.RequestHeader{ID: id},
		Put:    &etcdserverpb.PutRequest{Key: key, Value: value},
	}
	data, err := request.Marshal()
	if err != nil {
		return err
	}
	applied := m.waits.Register(id)
	if err := m.raft.Propose(ctx, data); err != nil {
		m.waits.Trigger(id, nil)
		return err
	}
	select {
	case <-applied:
		return nil
	case <-ctx.Done():
		m.waits.Trigger(id, nil)
		return ctx.Err()
	}
}

const (
	campaignPoll = 5 * time.Millisecond
	// Within this time a campaign is won or lost.
	campaignRetry = 500 * time.Millisecond
	// As etcdserver asks again.
	readIndexRetry = 500 * time.Millisecond
)

// Campaign asks for votes, or another leader for its place.
func (m *member) Campaign(ctx context.Context) (uint64, error) {
	poll := time.NewTicker(campaignPoll)
	defer poll.Stop()
	var asked time.Time
	for {
		missing := m.missingStreams()
		status := m.raft.Status()
		switch {
		case len(missing) > 0:
		case status.RaftState == raft.StateLeader:
			if m.appliedTerm.Load() == status.Term {
				return status.Term, nil
			}
		case time.Since(asked) < campaignRetry:
		case status.Lead == raft.None:
			asked = time.Now()
			if err := m.raft.Campaign(ctx); err != nil {
				return 0, err
			}
		default:
			asked = time.Now()
			m.raft.TransferLeadership(ctx, status.Lead, m.config.ID)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: streams that are not up: %q; %v in term %d, whose leader is %x",
				ctx.Err(), missing, status.RaftState, status.Term, status.Lead)
		}
	}
}

func (m *member) missingStreams() []string {
	var names []string
	for _, peer := range m.peers {
		for _, stream := range m.streams.Missing(peer.String()) {
			names = append(names, peer.String()+" "+stream)
		}
	}
	return names
}

// readable gets the newest index that raft has confirmed for a read.
func (m *member) readable(read raft.ReadState) {
	select {
	case <-m.reads:
	default:
	}
	m.reads <- read
}

// Inspect reads as a linearizable read does.
func (m *member) Inspect(ctx context.Context, look func(*drivers.State, uint64)) error {
	index, err := m.readIndex(ctx)
	if err != nil {
		return err
	}
	select {
	case <-m.appliedWaits.Wait(index):
	case <-ctx.Done():
		return fmt.Errorf("%w: %d is applied, and %d committed", ctx.Err(), m.applied.Load(), index)
	}
	looked := make(chan struct{})
	m.scheduler.Schedule(schedule.NewJob("inspect", func(context.Context) {
		look(m.progress.state, m.progress.index)
		close(looked)
	}))
	<-looked
	return nil
}

func (m *member) readIndex(ctx context.Context) (uint64, error) {
	request := binary.BigEndian.AppendUint64(nil, m.ids.Next())
	for {
		if err := m.raft.ReadIndex(ctx, request); err != nil {
			return 0, err
		}
		retry := time.After(readIndexRetry)
		for waiting := true; waiting; {
			select {
			case read := <-m.reads:
				if string(read.RequestCtx) == string(request) {
					return read.Index, nil
				}
			case <-retry:
				waiting = false
			case <-ctx.Done():
				return 0, fmt.Errorf("%w: no leader has confirmed what is committed", ctx.Err())
			}
		}
	}
}
