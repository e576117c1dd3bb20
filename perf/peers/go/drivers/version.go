// What the program is built from, as the linker recorded it.
// Not here: any version typed by hand.

package drivers

import (
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// Version is etcd's without the v, as etcd itself states it, and raft's as its module has it.
type Version struct {
	Etcd string `json:"etcd"`
	Raft string `json:"raft"`
	Go   string `json:"go"`
}

func PrintVersion(w io.Writer) error {
	v, err := version()
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(v)
}

func version() (Version, error) {
	v := Version{Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, errors.New("built without build information")
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "go.etcd.io/etcd/server/v3":
			v.Etcd = strings.TrimPrefix(dep.Version, "v")
		case "go.etcd.io/raft/v3":
			v.Raft = dep.Version
		}
	}
	if v.Etcd == "" || v.Raft == "" {
		return v, errors.New("etcd or raft is missing in the build information")
	}
	return v, nil
}
