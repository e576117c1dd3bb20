// The benchmark's own sanity: it measures etcd's allocations and adds none.

package golden

import (
	"encoding/json"
	"fmt"
	"testing"

	"raftwire/perf/peers/drivers"
)

// Allocations checks what one message of 8 entries costs to decode; encoding costs nothing.
func Allocations(t *testing.T, c drivers.Codec, decode float64) {
	for what, want := range map[string]float64{"encode": 0, "decode": decode} {
		line := fmt.Sprintf(`{"op":"bench","what":%q,"entries":8,"bytes":100,"duration_ms":5}`, what)
		answer, err := json.Marshal(drivers.Serve(c, []byte(line)))
		if err != nil {
			t.Fatal(err)
		}
		var got drivers.Measured
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatal(err)
		}
		// The runtime may allocate a little for itself meanwhile.
		if got.Messages == 0 || got.AllocsPerMessage < want || got.AllocsPerMessage > want+0.2 {
			t.Errorf("%s: %s", what, answer)
		}
	}
}
