// What this process has used so far. Not here: differences, which the caller makes.

package drivers

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
)

// Usage is the answer to usage. Reading it stops the program for some microseconds.
type Usage struct {
	CPUUS                int64  `json:"cpu_us"`
	Allocations          uint64 `json:"allocations"`
	AllocatedBytes       uint64 `json:"allocated_bytes"`
	PeakRSSKiB           uint64 `json:"peak_rss_kib"`
	Received             uint64 `json:"received"`
	Dropped              uint64 `json:"dropped"`
	ReceivedPayloadBytes uint64 `json:"received_payload_bytes"`
}

// usage is an error from the moment a load went wrong until the next one.
func (e *End) usage() (*Usage, error) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	cpu, err := cpuUS()
	if err != nil {
		return nil, err
	}
	peak, err := peakRSSKiB()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failure != nil {
		return nil, e.failure
	}
	return &Usage{CPUUS: cpu, Allocations: memory.Mallocs, AllocatedBytes: memory.TotalAlloc,
		PeakRSSKiB: peak, Received: e.messages, Dropped: e.dropped.Load(),
		ReceivedPayloadBytes: e.payload}, nil
}

func cpuUS() (int64, error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, err
	}
	return (used.Utime.Nano() + used.Stime.Nano()) / 1e3, nil
}

func peakRSSKiB() (uint64, error) {
	const file = "/proc/self/status"
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			number := bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))
			return strconv.ParseUint(string(number), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no VmHWM", file)
}
