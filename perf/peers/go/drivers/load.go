// member load: a closed loop of puts, each repeated until a member acknowledged it.
// Not here: a benchmark; the times serve to see that a cluster is alive.

package drivers

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Put writes one key and returns when it is acknowledged.
type Put func(ctx context.Context, key, value string) error

// Loaded is what member load prints.
type Loaded struct {
	Puts    int     `json:"puts"`
	Retries int64   `json:"retries"`
	Seconds float64 `json:"seconds"`
	PerS    float64 `json:"puts_per_s"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
}

// Load puts until everything is acknowledged or the time is up.
func Load(args []string, w io.Writer, connect func(endpoints []string) (Put, error)) error {
	flags := flag.NewFlagSet("member load", flag.ExitOnError)
	endpoints := flags.String("endpoints", "http://127.0.0.1:2379", "client URLs, comma-separated")
	puts := flags.Int("puts", 1000, "how many")
	size := flags.Int("value-bytes", 256, "of each value")
	clients := flags.Int("clients", 16, "puts under way at a time, over one connection an endpoint")
	timeout := flags.Duration("timeout", time.Minute, "for all of it")
	flags.Parse(args)
	if *puts < 1 || *clients < 1 || *size < 0 {
		return errors.New("puts and clients begin at 1, value-bytes at 0")
	}
	put, err := connect(strings.Split(*endpoints, ","))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()

	random := splitmix(1)
	value := string(random.bytes(*size))
	took := make([]time.Duration, *puts)
	var next, retries atomic.Int64
	var wait sync.WaitGroup
	failed := make(chan error, *clients)
	start := time.Now()
	for range *clients {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(*puts); i = next.Add(1) - 1 {
				begin := time.Now()
				n, err := untilAcknowledged(ctx, put, fmt.Sprintf("raftwire/%08d", i), value)
				retries.Add(n)
				if err != nil {
					failed <- err
					return
				}
				took[i] = time.Since(begin)
			}
		})
	}
	wait.Wait()
	seconds := time.Since(start).Seconds()
	select {
	case err := <-failed:
		return err
	default:
	}
	slices.Sort(took)
	us := func(percent int) float64 {
		return float64(took[(len(took)-1)*percent/100].Nanoseconds()) / 1e3
	}
	return json.NewEncoder(w).Encode(Loaded{Puts: *puts, Retries: retries.Load(),
		Seconds: seconds, PerS: float64(*puts) / seconds, P50: us(50), P99: us(99)})
}

// untilAcknowledged gives each try a bound of its own, so that one member that hangs does not
// use up the whole time.
func untilAcknowledged(ctx context.Context, put Put, key, value string) (retries int64, err error) {
	for ; ; retries++ {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err = put(try, key, value)
		cancel()
		if err == nil {
			return retries, nil
		}
		select {
		case <-ctx.Done():
			return retries, fmt.Errorf("not acknowledged in time: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
