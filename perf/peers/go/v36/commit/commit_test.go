// etcd 3.6's member, three of them in one process.

package commit

import (
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/types"

	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/drivers/golden"
	"raftwire/perf/peers/v36/walfile"
)

func TestCommit(t *testing.T) {
	golden.Commit(t, Start, func(m drivers.CommitMember, peer uint64, cut bool) {
		network := m.(*member).rafthttp
		if cut {
			network.CutPeer(types.ID(peer))
		} else {
			network.MendPeer(types.ID(peer))
		}
	}, walfile.Files{})
}
