// A histogram of latencies that many goroutines add to. Not here: percentiles, which the caller
// takes from it.

package drivers

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// So many most significant bits of a latency are kept: a value is exact to 1/256.
	latencyBits = 9
	// A bucket for each value below 1<<latencyBits, and half as many for each bit above.
	latencyBuckets = 1<<latencyBits + (64-latencyBits)<<(latencyBits-1)
)

type latencies struct {
	counts [latencyBuckets]atomic.Uint64
	max    atomic.Uint64
}

func (l *latencies) add(latency time.Duration) {
	ns := uint64(max(latency, 0))
	l.counts[latencyBucket(ns)].Add(1)
	for {
		most := l.max.Load()
		if ns <= most || l.max.CompareAndSwap(most, ns) {
			return
		}
	}
}

// histogram has the buckets that are not empty, by the least value each stands for.
func (l *latencies) histogram() (total uint64, buckets [][2]uint64) {
	buckets = [][2]uint64{}
	for i := range l.counts {
		if n := l.counts[i].Load(); n > 0 {
			total += n
			buckets = append(buckets, [2]uint64{latencyValue(i), n})
		}
	}
	return total, buckets
}

func latencyBucket(ns uint64) int {
	shift := max(bits.Len64(ns)-latencyBits, 0)
	return shift<<(latencyBits-1) + int(ns>>shift)
}

func latencyValue(bucket int) uint64 {
	if bucket < 1<<latencyBits {
		return uint64(bucket)
	}
	shift := bucket>>(latencyBits-1) - 1
	return uint64(bucket-shift<<(latencyBits-1)) << shift
}
