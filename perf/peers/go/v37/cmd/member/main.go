// member: a real etcd 3.7 member, and a client to put load on it.
// Not here: the codec and its benchmark, which are the program peer: all of etcd in that process
// would weigh on its garbage collector.
package main

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdmain"

	"raftwire/perf/peers/drivers"
)

func main() { drivers.MemberMain(etcdmain.Main, connect) }

func connect(endpoints []string) (drivers.Put, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, key, value string) error {
		_, err := client.Put(ctx, key, value)
		return err
	}, nil
}
