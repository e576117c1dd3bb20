// The loop between raft, the disk and the network: what etcdserver's raft.go does with each Ready, in
// its order. Not here: applying (apply.go); leases and metrics, which a commit does not wait for.

package commit

import (
	"context"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

const tickInterval = 100 * time.Millisecond

// batch is what one Ready has to apply. It may be applied before the same Ready's entries are on
// disk, and notify says when they are.
type batch struct {
	member   *member
	entries  []*raftpb.Entry
	snapshot *raftpb.Snapshot
	notify   chan struct{}
}

// A batch is a job of its own, which spares a closure.

func (b *batch) Name() string { return "apply" }

func (b *batch) Do(context.Context) { b.member.apply(b) }

func (m *member) loop() {
	defer close(m.looped)
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	leads := false
	for {
		select {
		case <-ticker.C:
			m.raft.Tick()
		case rd := <-m.raft.Ready():
			if rd.SoftState != nil {
				leads = rd.RaftState == raft.StateLeader
			}
			if n := len(rd.ReadStates); n > 0 {
				m.readable(rd.ReadStates[n-1])
			}
			b := &batch{m, rd.CommittedEntries, rd.Snapshot, make(chan struct{}, 1)}
			m.scheduler.Schedule(b)
			// A leader writes to its disk while the followers write to theirs.
			if leads {
				m.rafthttp.Send(m.outgoing(rd.Messages))
			}
			hasSnapshot := !raft.IsEmptySnap(rd.Snapshot)
			if hasSnapshot {
				m.must("save a received snapshot", m.storage.saveSnap(rd.Snapshot))
			}
			m.must("save entries", m.storage.Save(rd.HardState, rd.Entries))
			if hasSnapshot {
				// The hard state must be on disk before older segments may go.
				m.must("sync a received snapshot", m.storage.Sync())
				b.notify <- struct{}{}
				m.must("append a snapshot", m.log.ApplySnapshot(rd.Snapshot))
				m.must("release segments", m.storage.release(rd.Snapshot))
			}
			m.must("append entries", m.log.Append(rd.Entries))
			if leads {
				b.notify <- struct{}{}
			} else {
				messages := m.outgoing(rd.Messages)
				b.notify <- struct{}{}
				if changesMembers(rd.CommittedEntries) {
					// Votes must not be counted before the members they come from are known: there
					// is room in notify again when all is applied.
					select {
					case b.notify <- struct{}{}:
					case <-m.stopping:
						return
					}
				}
				m.rafthttp.Send(messages)
			}
			m.raft.Advance()
		case <-m.stopping:
			return
		}
	}
}

// must ends the process, as etcd does, when the disk fails: nothing may be acknowledged after it.
func (m *member) must(what string, err error) {
	if err != nil {
		m.logger.Fatal("failed to "+what, zap.Error(err))
	}
}

func changesMembers(entries []*raftpb.Entry) bool {
	for _, e := range entries {
		if e.GetType() == raftpb.EntryConfChange {
			return true
		}
	}
	return false
}

// outgoing drops all but the last answer to the leader, and takes out snapshots, whose state is
// added where it is applied.
func (m *member) outgoing(messages []*raftpb.Message) []*raftpb.Message {
	answered := false
	for i, message := range slices.Backward(messages) {
		switch message.GetType() {
		case raftpb.MsgAppResp:
			if answered {
				messages[i] = nil
			}
			answered = true
		case raftpb.MsgSnap:
			select {
			case m.snapshots <- message:
			default:
				// Enough are on their way, and raft will ask again.
			}
			messages[i] = nil
		}
	}
	// What has no addressee is not sent, and nil has none.
	return messages
}
