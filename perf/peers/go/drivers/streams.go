// What rafthttp's log says about the streams of all peers of a member.
// Not here: the streams of one of them (end.go).

package drivers

import "sync"

type PeerStreams struct {
	mu sync.Mutex
	// By the peer's id as etcd prints it.
	peers map[string]*streams
}

// Logged is told what rafthttp logs.
func (p *PeerStreams) Logged(l Log) {
	if l.Peer == "" {
		return
	}
	p.of(l.Peer).logged(l)
}

// Missing names the streams with a peer, in both directions, that are not up.
func (p *PeerStreams) Missing(peer string) []string { return p.of(peer).missing(reads, writes) }

func (p *PeerStreams) of(peer string) *streams {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.peers[peer]
	if s == nil {
		s = &streams{}
		if p.peers == nil {
			p.peers = make(map[string]*streams)
		}
		p.peers[peer] = s
	}
	return s
}
