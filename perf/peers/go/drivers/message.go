// The JSON form of a message, the one of the golden vectors: every key present, bytes as
// lower-case hex, null for nil, "" for present and empty, integers up to 2^64-1.
// Not here: which zero fields are present on the wire, which JSON does not carry.

package drivers

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
)

type Message struct {
	Type       MessageType `json:"type"`
	To         uint64      `json:"to"`
	From       uint64      `json:"from"`
	Term       uint64      `json:"term"`
	LogTerm    uint64      `json:"logTerm"`
	Index      uint64      `json:"index"`
	Entries    List[Entry] `json:"entries"`
	Commit     uint64      `json:"commit"`
	Snapshot   Snapshot    `json:"snapshot"`
	Reject     bool        `json:"reject"`
	RejectHint uint64      `json:"rejectHint"`
	Context    Bytes       `json:"context"`
	// Fields of raft 3.6 and later, left out where they say nothing.
	Vote      uint64     `json:"vote,omitempty"`
	Responses []*Message `json:"responses,omitempty"`
}

type Entry struct {
	Type  EntryType `json:"type"`
	Term  uint64    `json:"term"`
	Index uint64    `json:"index"`
	Data  Bytes     `json:"data"`
}

type Snapshot struct {
	Data     Bytes            `json:"data"`
	Metadata SnapshotMetadata `json:"metadata"`
}

type SnapshotMetadata struct {
	ConfState ConfState `json:"conf_state"`
	Index     uint64    `json:"index"`
	Term      uint64    `json:"term"`
}

type ConfState struct {
	Voters         List[uint64] `json:"voters"`
	Learners       List[uint64] `json:"learners"`
	VotersOutgoing List[uint64] `json:"voters_outgoing"`
	LearnersNext   List[uint64] `json:"learners_next"`
	AutoLeave      bool         `json:"auto_leave"`
}

// Empty tells a snapshot that stands for none: etcd up to 3.5 writes one into every message.
func (s *Snapshot) Empty() bool {
	m := &s.Metadata
	c := &m.ConfState
	return s.Data == nil && m.Index == 0 && m.Term == 0 && !c.AutoLeave &&
		len(c.Voters)+len(c.Learners)+len(c.VotersOutgoing)+len(c.LearnersNext) == 0
}

// IsLinkHeartbeat tells rafthttp's own keep-alive, which never comes from raft.
func (m *Message) IsLinkHeartbeat() bool {
	return m.Type == MsgHeartbeat && m.From == 0 && m.To == 0
}

// List is a slice whose nil is the JSON [] and not null.
type List[T any] []T

func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]T(l))
}

// Bytes are hex in JSON; nil is null, empty is "".
type Bytes []byte

func (b Bytes) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	out := make([]byte, 0, 2+2*len(b))
	out = append(out, '"')
	out = hex.AppendEncode(out, b)
	return append(out, '"'), nil
}

func (b *Bytes) UnmarshalJSON(text []byte) error {
	var s *string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s == nil {
		*b = nil
		return nil
	}
	raw, err := hex.DecodeString(*s)
	if err != nil {
		return err
	}
	*b = append(make(Bytes, 0, len(raw)), raw...)
	return nil
}

type (
	MessageType int32
	EntryType   int32
)

const (
	MsgProp           MessageType = 2
	MsgApp            MessageType = 3
	MsgAppResp        MessageType = 4
	MsgVote           MessageType = 5
	MsgVoteResp       MessageType = 6
	MsgHeartbeat      MessageType = 8
	MsgHeartbeatResp  MessageType = 9
	MsgTransferLeader MessageType = 13
	MsgTimeoutNow     MessageType = 14
	MsgReadIndex      MessageType = 15
	MsgReadIndexResp  MessageType = 16
	MsgPreVote        MessageType = 17
	MsgPreVoteResp    MessageType = 18
)

const (
	EntryNormal       EntryType = 0
	EntryConfChange   EntryType = 1
	EntryConfChangeV2 EntryType = 2
)

// The names of raft.proto, whose numbers never changed.
var (
	messageNames = []string{"MsgHup", "MsgBeat", "MsgProp", "MsgApp", "MsgAppResp", "MsgVote",
		"MsgVoteResp", "MsgSnap", "MsgHeartbeat", "MsgHeartbeatResp", "MsgUnreachable",
		"MsgSnapStatus", "MsgCheckQuorum", "MsgTransferLeader", "MsgTimeoutNow", "MsgReadIndex",
		"MsgReadIndexResp", "MsgPreVote", "MsgPreVoteResp", "MsgStorageAppend",
		"MsgStorageAppendResp", "MsgStorageApply", "MsgStorageApplyResp", "MsgForgetLeader"}
	entryNames = []string{"EntryNormal", "EntryConfChange", "EntryConfChangeV2"}
)

func (t MessageType) MarshalJSON() ([]byte, error) { return marshalEnum(int32(t), messageNames) }
func (t EntryType) MarshalJSON() ([]byte, error)   { return marshalEnum(int32(t), entryNames) }

func (t *MessageType) UnmarshalJSON(text []byte) error {
	return unmarshalEnum((*int32)(t), text, messageNames)
}

func (t *EntryType) UnmarshalJSON(text []byte) error {
	return unmarshalEnum((*int32)(t), text, entryNames)
}

func marshalEnum(v int32, names []string) ([]byte, error) {
	if v >= 0 && int(v) < len(names) {
		return strconv.AppendQuote(nil, names[v]), nil
	}
	return strconv.AppendInt(nil, int64(v), 10), nil
}

func unmarshalEnum(v *int32, text []byte, names []string) error {
	if len(text) > 0 && text[0] != '"' {
		return json.Unmarshal(text, v)
	}
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return err
	}
	for i, n := range names {
		if n == name {
			*v = int32(i)
			return nil
		}
	}
	return fmt.Errorf("unknown enum name %q", name)
}
