// transport: one end of etcd 3.7's rafthttp over sockets, driven by lines of JSON.
// Not here: the codec alone, which is the program peer, and a running etcd, which is member.
package main

import (
	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/v37/transport"
)

func main() { drivers.TransportMain(transport.Listen) }
