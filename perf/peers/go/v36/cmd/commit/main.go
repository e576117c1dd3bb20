// commit: a member of a cluster on etcd 3.6's raft, WAL and rafthttp, driven by lines of JSON.
// Not here: a running etcd, which is the program member.
package main

import (
	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/v36/commit"
)

func main() { drivers.CommitMain(commit.Start) }
