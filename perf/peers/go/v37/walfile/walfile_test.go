// etcd 3.7's WAL, written and read.

package walfile

import (
	"testing"

	"raftwire/perf/peers/drivers/golden"
)

func TestWAL(t *testing.T) { golden.WAL(t, Files{}) }
