// The messages of the exchange, each a function of the stream, the seed and its number alone: what
// raft sends between two members, in sizes and orders that make the codecs take every path.
// Not here: a log or a state of raft's; the numbers need not make sense from message to message
// but for the indexes of MsgApps, which decide how those are encoded.

package drivers

const (
	// So many MsgApps have one term.
	termApps = 64
	// The first of them carry entries of the term before, as to one that catches up.
	oldApps = 4
	// At most so many entries in a message.
	generatedEntries = 8
	// The one message with an entry that etcd's decoder has no room for beforehand.
	hugeApp   = 600
	hugeBytes = 2 << 20
	longBytes = 100 << 10
	mostBytes = 3000
)

func generate(class Class, seed, n, from, to uint64) *Message {
	if class == classMsgApp {
		return generateApp(seed, n, from, to)
	}
	return generateOther(seed, n, from, to)
}

// random is the generator of message n.
func random(seed, n uint64) *splitmix {
	start := splitmix(seed)
	s := splitmix(start.next() + n*0xd1342543de82ef95)
	return &s
}

// appShape says how many entries MsgApp n has, or that it is a probe, which has none and follows
// the index that the term began with.
func appShape(r *splitmix, n uint64) (entries uint64, probe bool) {
	entries, probe = r.next()%(generatedEntries+1), r.next()%16 == 0
	switch {
	case n == hugeApp:
		return 1, false
	case probe && n%termApps > oldApps:
		return 0, true
	}
	return entries, false
}

func generateApp(seed, n, from, to uint64) *Message {
	place := n % termApps
	term := 5 + n/termApps
	start := 1_000_000 + n/termApps*termApps*generatedEntries
	index := start
	for i := n - place; i < n; i++ {
		entries, _ := appShape(random(seed, i), i)
		index += entries
	}
	r := random(seed, n)
	entries, probe := appShape(r, n)
	logTerm, entryTerm := term, term
	if place < oldApps {
		entryTerm--
	}
	if place <= oldApps {
		logTerm--
	}
	if probe {
		index = start
	}
	m := &Message{Type: MsgApp, To: to, From: from, Term: term, LogTerm: logTerm, Index: index,
		Commit: index - r.next()%4}
	for i := range entries {
		e := Entry{Type: generatedType(r), Term: entryTerm, Index: index + 1 + i}
		if n == hugeApp {
			e.Data = r.bytes(hugeBytes)
		} else {
			e.Data = generatedData(r)
		}
		m.Entries = append(m.Entries, e)
	}
	return m
}

// generatedTypes are those that etcd sends on the message stream while there is one for MsgApps.
var generatedTypes = []MessageType{MsgHeartbeat, MsgHeartbeatResp, MsgAppResp, MsgVote, MsgVoteResp,
	MsgPreVote, MsgPreVoteResp, MsgProp, MsgReadIndex, MsgReadIndexResp, MsgTransferLeader,
	MsgTimeoutNow}

func generateOther(seed, n, from, to uint64) *Message {
	r := random(seed, n)
	m := &Message{Type: generatedTypes[r.next()%uint64(len(generatedTypes))], To: to, From: from}
	if m.Type != MsgProp && m.Type != MsgReadIndex {
		m.Term = 1 + generatedNumber(r)>>1
	}
	switch m.Type {
	case MsgHeartbeat:
		m.Commit = generatedNumber(r)
		m.Context = generatedContext(r)
	case MsgHeartbeatResp:
		m.Context = generatedContext(r)
	case MsgAppResp:
		m.Index = generatedNumber(r)
		if r.next()%4 == 0 {
			m.Reject, m.RejectHint, m.LogTerm = true, generatedNumber(r), generatedNumber(r)
		}
	case MsgVote, MsgPreVote:
		m.Index, m.LogTerm = generatedNumber(r), generatedNumber(r)
		if m.Type == MsgVote && r.next()%4 == 0 {
			m.Context = Bytes("CampaignTransfer")
		}
	case MsgVoteResp, MsgPreVoteResp:
		m.Reject = r.next()%2 == 0
	case MsgProp:
		for range 1 + r.next()%4 {
			m.Entries = append(m.Entries, Entry{Type: generatedType(r), Data: generatedData(r)})
		}
	case MsgReadIndex:
		m.Entries = List[Entry]{{Data: r.bytes(8)}}
	case MsgReadIndexResp:
		m.Index = generatedNumber(r)
		m.Entries = List[Entry]{{Data: r.bytes(8)}}
	}
	return m
}

// generatedNumber has any number of bits, so that every length of a varint occurs.
func generatedNumber(r *splitmix) uint64 { return r.next() >> (r.next() % 65) }

func generatedContext(r *splitmix) Bytes {
	if r.next()%2 == 0 {
		return nil
	}
	return r.bytes(8)
}

func generatedType(r *splitmix) EntryType {
	switch r.next() % 32 {
	case 0:
		return EntryConfChange
	case 1:
		return EntryConfChangeV2
	}
	return EntryNormal
}

// generatedData is absent where raft has an entry of its own to append.
func generatedData(r *splitmix) Bytes {
	switch r.next() % 256 {
	case 0:
		return r.bytes(longBytes)
	case 1, 2, 3, 4:
		return nil
	case 5, 6, 7, 8:
		return Bytes{}
	}
	return r.bytes(int(r.next() % (mostBytes + 1)))
}
