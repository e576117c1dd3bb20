// Applying what is committed, and the snapshots of it, as etcdserver does: in one goroutine, one Ready
// after the other. Not here: the requests' other kinds, as only puts are proposed.

package commit

import (
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/pkg/v3/pbutil"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"raftwire/perf/peers/drivers"
)

const (
	// So often etcd compacts the log in memory, without a snapshot on disk.
	memorySnapshotEntries = 100
	// How long the log is not compacted after a snapshot was sent, so that its receiver finds what
	// follows it.
	snapshotGrace = 30 * time.Second
)

// progress is how far this member has applied. Only what runs in the scheduler may use it.
type progress struct {
	state       *drivers.State
	members     *raftpb.ConfState
	index, term uint64
	// The indexes of the last snapshots.
	disk, memory uint64
}

func (m *member) apply(b *batch) {
	if !raft.IsEmptySnap(b.snapshot) {
		m.applySnapshot(b)
	}
	m.applyEntries(b.entries)
	m.applied.Store(m.progress.index)
	m.appliedTerm.Store(m.progress.term)
	m.appliedWaits.Trigger(m.progress.index)
	// A snapshot may not be ahead of the log on disk.
	<-b.notify
	m.snapshotIfNeeded()
	select {
	case message := <-m.snapshots:
		m.sendSnapshot(message)
	default:
	}
}

func (m *member) applyEntries(entries []*raftpb.Entry) {
	p := &m.progress
	for _, e := range entries {
		if e.GetIndex() <= p.index {
			continue
		}
		if e.GetIndex() != p.index+1 {
			m.logger.Panic("unexpected committed entry", zap.Uint64("applied", p.index),
				zap.Uint64("entry", e.GetIndex()))
		}
		switch {
		case e.GetType() == raftpb.EntryConfChange:
			var change raftpb.ConfChange
			pbutil.MustUnmarshalMessage(&change, e.Data)
			p.members = m.raft.ApplyConfChange(&change)
		case e.GetType() != raftpb.EntryNormal:
			m.logger.Panic("unknown entry type", zap.Stringer("type", e.GetType()))
		case len(e.Data) > 0:
			var request etcdserverpb.InternalRaftRequest
			pbutil.MustUnmarshalMessage(&request, e.Data)
			p.state.Put(request.Put.Key, request.Put.Value)
			m.waits.Trigger(request.Header.ID, nil)
		}
		p.index, p.term = e.GetIndex(), e.GetTerm()
	}
}

func (m *member) applySnapshot(b *batch) {
	p, at := &m.progress, b.snapshot.GetMetadata()
	if at.GetIndex() <= p.index {
		m.logger.Panic("a snapshot of the past", zap.Uint64("applied", p.index),
			zap.Uint64("snapshot", at.GetIndex()))
	}
	<-b.notify
	m.must("read a received snapshot", p.state.Restore(b.snapshot.Data))
	p.members, p.index, p.term = at.ConfState, at.GetIndex(), at.GetTerm()
	p.disk, p.memory = p.index, p.index
}

// snapshotIfNeeded makes snapshots that mark where the log may be cut: one that is sent gets the state
// then, and one on disk has it only where that is asked for, as etcd's state is in a database.
func (m *member) snapshotIfNeeded() {
	p := &m.progress
	toDisk := p.index-p.disk > m.config.SnapshotEntries
	if !toDisk && p.index <= p.memory+memorySnapshotEntries {
		return
	}
	var data []byte
	if toDisk && m.config.SnapshotState {
		data = p.state.Snapshot()
	}
	snapshot, err := m.log.CreateSnapshot(p.index, p.members, data)
	if err == raft.ErrSnapOutOfDate {
		// The leader has sent a newer one, which is yet to be applied.
		return
	}
	m.must("make a snapshot", err)
	p.memory = p.index
	if toDisk {
		m.must("save a snapshot", m.storage.saveSnap(snapshot))
		p.disk = p.index
		m.must("release segments", m.storage.release(snapshot))
	}
	m.compact()
}

func (m *member) compact() {
	if m.sending.Load() != 0 {
		return
	}
	to := uint64(1)
	if m.progress.index > m.config.CatchUpEntries {
		to = m.progress.index - m.config.CatchUpEntries
	}
	if err := m.log.Compact(to); err != raft.ErrCompacted {
		m.must("compact the log", err)
	}
}

// sendSnapshot puts what is applied now into the message.
func (m *member) sendSnapshot(message *raftpb.Message) {
	p := &m.progress
	message.Snapshot = &raftpb.Snapshot{Data: p.state.Snapshot(), Metadata: &raftpb.SnapshotMetadata{
		Index: new(p.index), Term: new(p.term), ConfState: p.members}}
	m.sending.Add(1)
	m.sent.Add(1)
	m.rafthttp.Send([]*raftpb.Message{message})
}

// snapshotSent is told when a snapshot has arrived, or will not.
func (m *member) snapshotSent(status raft.SnapshotStatus) {
	if status == raft.SnapshotFailure {
		m.sending.Add(-1)
		return
	}
	time.AfterFunc(snapshotGrace, func() { m.sending.Add(-1) })
}
