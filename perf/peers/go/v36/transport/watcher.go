// A log that is read instead of written: it is the only place where rafthttp says which of its
// streams are up. Not here: what follows from it.

package transport

import (
	"go.uber.org/zap/zapcore"

	"raftwire/perf/peers/drivers"
)

// Watcher is a log whose lines are told to whoever watches.
func Watcher(logged func(drivers.Log)) zapcore.Core { return &watcher{logged} }

type watcher struct{ logged func(drivers.Log) }

// Enabled is as in etcd, whose default is information and more.
func (w *watcher) Enabled(level zapcore.Level) bool { return level >= zapcore.InfoLevel }

func (w *watcher) With([]zapcore.Field) zapcore.Core { return w }

func (w *watcher) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if w.Enabled(e.Level) {
		return ce.AddCore(e, w)
	}
	return ce
}

func (w *watcher) Write(e zapcore.Entry, fields []zapcore.Field) error {
	line := drivers.Log{Message: e.Message, Warning: e.Level > zapcore.InfoLevel}
	for _, f := range fields {
		switch f.Key {
		case "stream-writer-type":
			line.Writer = f.String
		case "stream-reader-type":
			line.Reader = f.String
		case "remote-peer-id":
			line.Peer = f.String
		case "error":
			if err, ok := f.Interface.(error); ok {
				line.Error = err.Error()
			}
		}
	}
	w.logged(line)
	return nil
}

func (w *watcher) Sync() error { return nil }
