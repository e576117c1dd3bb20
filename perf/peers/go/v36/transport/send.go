// What is sent: a load's messages, made beforehand and used again, and any others one by one.
// Not here: when, which the drivers say.

package transport

import (
	"go.etcd.io/raft/v3/raftpb"

	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/v36/codec"
)

type rings struct {
	apps   []raftpb.Message
	answer []raftpb.Message
}

func (l *link) Prepare(r drivers.Rings) {
	l.rings = rings{}
	for range r.Apps {
		l.apps = append(l.apps, codec.ToRaft(l.end.App(r.Payloads)))
	}
	if r.Answers > 0 {
		// rafthttp queues messages by value: one serves for all.
		l.answer = []raftpb.Message{codec.ToRaft(l.end.Answer())}
	}
}

func (l *link) SendApp(n uint64) {
	at := n % uint64(len(l.apps))
	m := &l.apps[at]
	m.Index = drivers.AppIndex(n, len(m.Entries))
	m.Commit = m.Index
	for i := range m.Entries {
		m.Entries[i].Index = m.Index + 1 + uint64(i)
	}
	l.rafthttp.Send(l.apps[at : at+1])
}

func (l *link) SendAnswer(index uint64) {
	l.answer[0].Index = index
	l.rafthttp.Send(l.answer)
}

func (l *link) Send(m *drivers.Message) {
	l.rafthttp.Send([]raftpb.Message{codec.ToRaft(m)})
}
