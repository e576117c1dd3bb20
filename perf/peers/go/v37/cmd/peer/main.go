// peer: etcd 3.7's rafthttp codec, driven by lines of JSON.
// Not here: a running etcd, which is the program member.
package main

import (
	"raftwire/perf/peers/drivers"
	"raftwire/perf/peers/v37/codec"
)

func main() { drivers.Main(codec.Codec{}) }
