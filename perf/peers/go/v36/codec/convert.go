// Messages of raft 3.6 from and to their JSON form. All scalar fields are always on the wire, so
// only a snapshot is present or not. Not here: the codec.

package codec

import (
	"go.etcd.io/raft/v3/raftpb"

	"raftwire/perf/peers/drivers"
)

// ToRaft gives the message the fields that raft of this version sets.
func ToRaft(m *drivers.Message) raftpb.Message {
	p := raftpb.Message{
		Type:       raftpb.MessageType(m.Type),
		To:         m.To,
		From:       m.From,
		Term:       m.Term,
		LogTerm:    m.LogTerm,
		Index:      m.Index,
		Commit:     m.Commit,
		Vote:       m.Vote,
		Reject:     m.Reject,
		RejectHint: m.RejectHint,
		Context:    m.Context,
	}
	for _, e := range m.Entries {
		p.Entries = append(p.Entries, raftpb.Entry{
			Type: raftpb.EntryType(e.Type), Term: e.Term, Index: e.Index, Data: e.Data,
		})
	}
	if !m.Snapshot.Empty() {
		s := &m.Snapshot
		c := &s.Metadata.ConfState
		p.Snapshot = &raftpb.Snapshot{
			Data: s.Data,
			Metadata: raftpb.SnapshotMetadata{
				ConfState: raftpb.ConfState{
					Voters:         c.Voters,
					Learners:       c.Learners,
					VotersOutgoing: c.VotersOutgoing,
					LearnersNext:   c.LearnersNext,
					AutoLeave:      c.AutoLeave,
				},
				Index: s.Metadata.Index,
				Term:  s.Metadata.Term,
			},
		}
	}
	for _, r := range m.Responses {
		p.Responses = append(p.Responses, ToRaft(r))
	}
	return p
}

// FromRaft keeps the message's payloads, which it shares.
func FromRaft(p *raftpb.Message) *drivers.Message {
	m := &drivers.Message{
		Type:       drivers.MessageType(p.Type),
		To:         p.To,
		From:       p.From,
		Term:       p.Term,
		LogTerm:    p.LogTerm,
		Index:      p.Index,
		Entries:    make(drivers.List[drivers.Entry], len(p.Entries)),
		Commit:     p.Commit,
		Reject:     p.Reject,
		RejectHint: p.RejectHint,
		Context:    p.Context,
		Vote:       p.Vote,
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		m.Entries[i] = drivers.Entry{
			Type: drivers.EntryType(e.Type), Term: e.Term, Index: e.Index, Data: e.Data,
		}
	}
	if s := p.Snapshot; s != nil {
		c := &s.Metadata.ConfState
		m.Snapshot = drivers.Snapshot{
			Data: s.Data,
			Metadata: drivers.SnapshotMetadata{
				ConfState: drivers.ConfState{
					Voters:         c.Voters,
					Learners:       c.Learners,
					VotersOutgoing: c.VotersOutgoing,
					LearnersNext:   c.LearnersNext,
					AutoLeave:      c.AutoLeave,
				},
				Index: s.Metadata.Index,
				Term:  s.Metadata.Term,
			},
		}
	}
	for i := range p.Responses {
		m.Responses = append(m.Responses, FromRaft(&p.Responses[i]))
	}
	return m
}
