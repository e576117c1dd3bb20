// What is sent: a load's messages, made beforehand and used again, and any others one by one.
// Not here: when, which the drivers say.

package transport

import (
	"go.etcd.io/raft/v3/raftpb"

	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/v37/codec"
)

type rings struct {
	apps    []*raftpb.Message
	answers []*raftpb.Message
	// answered counts what SendAnswer sent.
	answered uint64
}

func (l *link) Prepare(r drivers.Rings) {
	l.rings = rings{}
	for range r.Apps {
		l.apps = append(l.apps, codec.ToRaft(l.end.App(r.Payloads)))
	}
	// rafthttp queues pointers.
	for range r.Answers {
		l.answers = append(l.answers, codec.ToRaft(l.end.Answer()))
	}
}

func (l *link) SendApp(n uint64) {
	at := n % uint64(len(l.apps))
	m := l.apps[at]
	index := drivers.AppIndex(n, len(m.Entries))
	*m.Index, *m.Commit = index, index
	for i, e := range m.Entries {
		*e.Index = index + 1 + uint64(i)
	}
	l.rafthttp.Send(l.apps[at : at+1])
}

func (l *link) SendAnswer(index uint64) {
	at := l.answered % uint64(len(l.answers))
	l.answered++
	*l.answers[at].Index = index
	l.rafthttp.Send(l.answers[at : at+1])
}

func (l *link) Send(m *drivers.Message) {
	l.rafthttp.Send([]*raftpb.Message{codec.ToRaft(m)})
}
