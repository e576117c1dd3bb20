//go:build !linux

// Sleep where there is no timer that is a file: with the resolution of Go's own.
// Not here: Linux, where every figure is taken.

package drivers

import "time"

type alarm struct{}

func newAlarm() (*alarm, error) { return &alarm{}, nil }

func (*alarm) wait(d time.Duration) error {
	time.Sleep(d)
	return nil
}

func (*alarm) close() {}
