// Which fields raft 3.7 sets even where they are zero, and which therefore are on the wire: what
// the places that send in raft.go show, by type of message.
// Not here: fields that say something, which are always set; and what differs within a type: raft's
// answer to a leader of a stale term is a MsgAppResp without an index, and an entry in place of a
// configuration change that the leader refused has its type set, to EntryNormal.

package codec

import "raftwire/perf/peers/drivers"

type presence struct {
	to, from, term, logTerm, index, commit, rejectHint bool
	// Term and index of entries.
	entryPosition bool
}

func presenceOf(m *drivers.Message) presence {
	if m.IsLinkHeartbeat() {
		// rafthttp's own, which never was in raft's hands.
		return presence{entryPosition: true}
	}
	set := presence{to: true, from: true, term: true, entryPosition: true}
	switch m.Type {
	case drivers.MsgApp:
		set.logTerm, set.index, set.commit = true, true, true
	case drivers.MsgAppResp:
		set.index = true
		// A rejection hints at the start of the log as well, with zeros.
		set.logTerm, set.rejectHint = m.Reject, m.Reject
	case drivers.MsgVote, drivers.MsgPreVote:
		set.logTerm, set.index = true, true
	case drivers.MsgHeartbeat:
		set.commit = true
	case drivers.MsgProp, drivers.MsgReadIndex:
		// Forwarded as if they were local: without a term, their entries not yet in any log.
		set.term, set.entryPosition = false, false
	case drivers.MsgReadIndexResp:
		// Carries the entries of the MsgReadIndex.
		set.index, set.entryPosition = true, false
	}
	return set
}
