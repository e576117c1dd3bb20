// etcd 3.6's codec against the golden vectors.

package codec

import (
	"testing"

	"raftwire/perf/peers/drivers/golden"
)

func TestGolden(t *testing.T) { golden.Test(t, Codec{}, "golden-vectors-3.6.json") }
func TestHostile(t *testing.T) {
	golden.Hostile(t, Codec{}, "refused-to-allocate", "nested more than 10000 deep")
}

func TestBenchAllocations(t *testing.T) { golden.Allocations(t, Codec{}, 10) }
