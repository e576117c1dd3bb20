// etcd 3.6's transport over sockets.

package transport

import (
	"testing"

	"raftwire/perf/peers/drivers/golden"
)

func TestTransport(t *testing.T) { golden.Transport(t, Listen) }
