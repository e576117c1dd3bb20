// The listener and the server for peers, as etcd 3.7 sets them up where nothing is said.
// Not here: rafthttp, which serves them.

package transport

import (
	"net"
	"net/http"
	"time"

	"github.com/soheilhy/cmux"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"

	"raftwire/perf/peers/drivers"
)

// DialTimeout is etcd's for an election timeout of 1 s, which is its default.
const DialTimeout = 2 * time.Second

// Listener is open at once, and whoever dials it waits for Serve.
func Listener() (net.Listener, error) {
	return transport.NewListenerWithOpts("127.0.0.1:0", "http",
		transport.WithTLSInfo(&transport.TLSInfo{}),
		transport.WithSocketOpts(&transport.SocketOpts{}),
		transport.WithTimeout(rafthttp.ConnReadTimeout, rafthttp.ConnWriteTimeout))
}

// Serve begins to serve rafthttp's handler.
func Serve(listener net.Listener, handler http.Handler) *drivers.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/", http.NotFound)
	mux.Handle(rafthttp.RaftPrefix, handler)
	mux.Handle(rafthttp.RaftPrefix+"/", handler)
	server := drivers.NewServer(mux)
	// etcd still asks here what each connection speaks, though nothing but HTTP is left.
	m := cmux.New(listener)
	go server.Serve(m.Match(cmux.Any()))
	go m.Serve()
	return server
}
