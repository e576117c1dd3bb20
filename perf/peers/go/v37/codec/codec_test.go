// etcd 3.7's codec against the golden vectors.

package codec

import (
	"testing"

	"raftwire/perf/peers/drivers/golden"
)

func TestGolden(t *testing.T)  { golden.Test(t, Codec{}, "golden-vectors-3.7.json") }
func TestHostile(t *testing.T) { golden.Hostile(t, Codec{}, "error", "recursion depth") }

func TestBenchAllocations(t *testing.T) { golden.Allocations(t, Codec{}, 39) }
