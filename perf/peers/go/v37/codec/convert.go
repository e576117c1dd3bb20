// Messages of raft 3.7 from and to their JSON form, in which a field that is zero and one that is
// absent look alike. Not here: the codec, and which zero fields are set (presence.go).

package codec

import (
	"go.etcd.io/raft/v3/raftpb"

	"raftwire/perf/peers/drivers"
)

// ToRaft gives the message the fields that raft of this version sets.
func ToRaft(m *drivers.Message) *raftpb.Message {
	set := presenceOf(m)
	p := &raftpb.Message{
		Type:       raftpb.MessageType(m.Type).Enum(),
		To:         field(m.To, set.to),
		From:       field(m.From, set.from),
		Term:       field(m.Term, set.term),
		LogTerm:    field(m.LogTerm, set.logTerm),
		Index:      field(m.Index, set.index),
		Commit:     field(m.Commit, set.commit),
		Vote:       field(m.Vote, false),
		Reject:     field(m.Reject, false),
		RejectHint: field(m.RejectHint, set.rejectHint),
		Context:    m.Context,
	}
	for _, e := range m.Entries {
		entry := &raftpb.Entry{
			Term:  field(e.Term, set.entryPosition),
			Index: field(e.Index, set.entryPosition),
			Data:  e.Data,
		}
		if e.Type != 0 {
			entry.Type = raftpb.EntryType(e.Type).Enum()
		}
		p.Entries = append(p.Entries, entry)
	}
	if !m.Snapshot.Empty() {
		s := &m.Snapshot
		c := &s.Metadata.ConfState
		p.Snapshot = &raftpb.Snapshot{
			Data: s.Data,
			Metadata: &raftpb.SnapshotMetadata{
				ConfState: &raftpb.ConfState{
					Voters:         c.Voters,
					Learners:       c.Learners,
					VotersOutgoing: c.VotersOutgoing,
					LearnersNext:   c.LearnersNext,
					AutoLeave:      new(c.AutoLeave),
				},
				Index: new(s.Metadata.Index),
				Term:  new(s.Metadata.Term),
			},
		}
	}
	for _, r := range m.Responses {
		p.Responses = append(p.Responses, ToRaft(r))
	}
	return p
}

// field is set where it says something, or where raft sets it whatever it says.
func field[T comparable](v T, always bool) *T {
	var zero T
	if v == zero && !always {
		return nil
	}
	return &v
}

// FromRaft keeps the message's payloads, which it shares.
func FromRaft(p *raftpb.Message) *drivers.Message {
	m := &drivers.Message{
		Type:       drivers.MessageType(p.GetType()),
		To:         p.GetTo(),
		From:       p.GetFrom(),
		Term:       p.GetTerm(),
		LogTerm:    p.GetLogTerm(),
		Index:      p.GetIndex(),
		Entries:    make(drivers.List[drivers.Entry], len(p.Entries)),
		Commit:     p.GetCommit(),
		Reject:     p.GetReject(),
		RejectHint: p.GetRejectHint(),
		Context:    p.Context,
		Vote:       p.GetVote(),
	}
	for i, e := range p.Entries {
		m.Entries[i] = drivers.Entry{
			Type: drivers.EntryType(e.GetType()), Term: e.GetTerm(), Index: e.GetIndex(), Data: e.Data,
		}
	}
	if s := p.Snapshot; s != nil {
		c := s.GetMetadata().GetConfState()
		m.Snapshot = drivers.Snapshot{
			Data: s.Data,
			Metadata: drivers.SnapshotMetadata{
				ConfState: drivers.ConfState{
					Voters:         c.GetVoters(),
					Learners:       c.GetLearners(),
					VotersOutgoing: c.GetVotersOutgoing(),
					LearnersNext:   c.GetLearnersNext(),
					AutoLeave:      c.GetAutoLeave(),
				},
				Index: s.GetMetadata().GetIndex(),
				Term:  s.GetMetadata().GetTerm(),
			},
		}
	}
	for _, r := range p.Responses {
		m.Responses = append(m.Responses, FromRaft(r))
	}
	return m
}
