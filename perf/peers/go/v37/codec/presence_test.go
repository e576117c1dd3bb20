// Real raft 3.7 nodes, whose outgoing messages must survive the JSON form with every field they
// set and no other. Not here: etcd, which changes none of them but MsgSnap's snapshot.

package codec

import (
	"encoding/hex"
	"io"
	"log"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

type cluster struct {
	t     *testing.T
	nodes map[uint64]*raft.RawNode
	logs  map[uint64]*raft.MemoryStorage
	// cut takes no messages.
	cut  uint64
	seen map[raftpb.MessageType]int
}

func newCluster(t *testing.T) *cluster {
	quiet := &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}
	c := &cluster{t: t, nodes: map[uint64]*raft.RawNode{}, logs: map[uint64]*raft.MemoryStorage{},
		seen: map[raftpb.MessageType]int{}}
	for id := uint64(1); id <= 3; id++ {
		c.logs[id] = raft.NewMemoryStorage()
		voters := &raftpb.ConfState{Voters: []uint64{1, 2, 3}, AutoLeave: new(false)}
		// As after a bootstrap, so that a snapshot has a configuration.
		if err := c.logs[id].ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
			ConfState: voters, Index: new(uint64(1)), Term: new(uint64(1))}}); err != nil {
			t.Fatal(err)
		}
		node, err := raft.NewRawNode(&raft.Config{ID: id, ElectionTick: 10, HeartbeatTick: 1,
			Storage: c.logs[id], MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256, PreVote: true,
			Applied: 1, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		c.nodes[id] = node
	}
	return c
}

// settle delivers until nobody has anything to say.
func (c *cluster) settle() {
	for busy := true; busy; {
		busy = false
		for id := uint64(1); id <= 3; id++ {
			node := c.nodes[id]
			if !node.HasReady() {
				continue
			}
			busy = true
			ready := node.Ready()
			if !raft.IsEmptySnap(ready.Snapshot) {
				c.logs[id].ApplySnapshot(ready.Snapshot)
			}
			c.logs[id].Append(ready.Entries)
			if !raft.IsEmptyHardState(ready.HardState) {
				c.logs[id].SetHardState(ready.HardState)
			}
			for _, m := range ready.Messages {
				c.check(m)
				if m.GetTo() != c.cut && id != c.cut {
					// As over a wire, where both ends cannot share memory.
					c.nodes[m.GetTo()].Step(proto.Clone(m).(*raftpb.Message))
				}
			}
			node.Advance(ready)
		}
	}
}

func (c *cluster) check(m *raftpb.Message) {
	c.seen[m.GetType()]++
	if got := ToRaft(FromRaft(m)); !proto.Equal(got, m) {
		c.t.Errorf("raft sends %v\nand this is   %v", m, got)
	}
}

func TestPresenceIsRafts(t *testing.T) {
	c := newCluster(t)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		c.settle()
	}
	do(c.nodes[1].Campaign())
	do(c.nodes[1].Propose([]byte("a")))
	do(c.nodes[2].Propose([]byte{}))
	do(c.nodes[2].ProposeConfChange(&raftpb.ConfChange{
		Type: raftpb.ConfChangeUpdateNode.Enum(), NodeId: new(uint64(1))}))
	c.nodes[2].ReadIndex([]byte("read"))
	c.settle()
	c.nodes[1].Tick()
	c.settle()
	c.nodes[2].TransferLeader(2)
	c.settle()

	// One that missed entries asks for votes in vain, rejects and gets a snapshot.
	c.cut = 3
	do(c.nodes[2].Propose([]byte("b")))
	last, _ := c.logs[2].LastIndex()
	if _, err := c.logs[2].CreateSnapshot(last, nil, []byte("data")); err != nil {
		t.Fatal(err)
	}
	if err := c.logs[2].Compact(last); err != nil {
		t.Fatal(err)
	}
	c.cut = 0
	do(c.nodes[3].Campaign())
	c.nodes[2].Tick()
	c.settle()
	c.nodes[2].ReportUnreachable(3)
	do(c.nodes[2].Propose([]byte("c")))

	for _, want := range []raftpb.MessageType{raftpb.MsgProp, raftpb.MsgApp, raftpb.MsgAppResp,
		raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgSnap, raftpb.MsgHeartbeat,
		raftpb.MsgHeartbeatResp, raftpb.MsgTransferLeader, raftpb.MsgTimeoutNow,
		raftpb.MsgReadIndex, raftpb.MsgReadIndexResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp} {
		if c.seen[want] == 0 {
			t.Errorf("no %v was sent", want)
		}
	}
}

func TestRejectionOfAnEmptyLogHintsWithZeros(t *testing.T) {
	quiet := &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}
	storage := raft.NewMemoryStorage()
	node, err := raft.NewRawNode(&raft.Config{ID: 2, ElectionTick: 10, HeartbeatTick: 1,
		Storage: storage, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Step(&raftpb.Message{Type: raftpb.MsgApp.Enum(), From: new(uint64(1)),
		To: new(uint64(2)), Term: new(uint64(3)), LogTerm: new(uint64(3)), Index: new(uint64(9))}); err != nil {
		t.Fatal(err)
	}
	sent := node.Ready().Messages
	if len(sent) != 1 {
		t.Fatalf("%d messages", len(sent))
	}
	for _, m := range []*raftpb.Message{sent[0], ToRaft(FromRaft(sent[0]))} {
		wire, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(wire); got != "080410011802200328003009"+"50015800" {
			t.Errorf("%s", got)
		}
	}
}
