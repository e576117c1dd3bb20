// wal: etcd 3.7's own writer and readers of the WAL and of snapshot files.
// Not here: a member that writes one, which is the program commit.
package main

import (
	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/v37/walfile"
)

func main() { drivers.WALMain(walfile.Files{}) }
