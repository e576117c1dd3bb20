// The HTTP server in front of rafthttp, set up as etcd's embed sets up the one for peers.
// Not here: the listener and the handler, which are a version's own.

package drivers

import (
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server knows its connections, to close them all at once as a broken network would.
type Server struct {
	http.Server
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func NewServer(handler http.Handler) *Server {
	s := &Server{open: make(map[net.Conn]struct{})}
	s.Handler = handler
	s.ReadTimeout = 5 * time.Minute
	s.ErrorLog = log.New(io.Discard, "", 0)
	s.ConnState = s.track
	return s
}

func (s *Server) track(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.open[conn] = struct{}{}
	case http.StateClosed:
		delete(s.open, conn)
	}
}

// Drop closes the connections. The server goes on.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		conn.Close()
	}
}
