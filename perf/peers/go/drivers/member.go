// The commands of the member program. Not here: etcd itself or its client.

package drivers

import (
	"fmt"
	"os"
)

const memberUsage = `usage: member COMMAND

  version         what this program is built from
  etcd ARGS...    runs etcd with these arguments
  load FLAGS...   puts until all are acknowledged; see load --help
`

// MemberMain runs the member program of one etcd version. What etcd reads of os.Args it shall
// find as if it had been started alone.
func MemberMain(etcd func(args []string), connect func(endpoints []string) (Put, error)) {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, memberUsage)
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "version":
		err = PrintVersion(os.Stdout)
	case "etcd":
		os.Args = append([]string{"etcd"}, os.Args[2:]...)
		etcd(os.Args)
	case "load":
		err = Load(os.Args[2:], os.Stdout, connect)
	default:
		fmt.Fprint(os.Stderr, memberUsage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "member:", err)
		os.Exit(1)
	}
}
