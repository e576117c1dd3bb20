// Sleep that ends on time: Go's own has the resolution of epoll's timeout, a millisecond, which is
// more than a commit takes; a timer that is a file wakes epoll itself. Not here: other systems.

package drivers

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// alarm is used by one goroutine at a time.
type alarm struct {
	fd   uintptr
	file *os.File
}

const clockMonotonic = 1

func newAlarm() (*alarm, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic,
		syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("timerfd_create", errno)
	}
	return &alarm{fd: fd, file: os.NewFile(fd, "timer")}, nil
}

func (a *alarm) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	// An interval of zero: it goes off once.
	timer := [2]syscall.Timespec{{}, syscall.NsecToTimespec(d.Nanoseconds())}
	_, _, errno := syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, a.fd, 0,
		uintptr(unsafe.Pointer(&timer)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("timerfd_settime", errno)
	}
	var times [8]byte
	_, err := a.file.Read(times[:])
	return err
}

func (a *alarm) close() { a.file.Close() }
