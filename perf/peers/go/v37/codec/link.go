// The way into rafthttp's codec, which is not exported: its functions under names of ours, with
// their receivers as bare pointers. None of the code is copied.
// Not here: any use of them. A version with other signatures would still link and then misbehave,
// which is why the tests hold every stream against the golden vectors.

package codec

import (
	"io"
	"unsafe"

	"go.etcd.io/etcd/client/pkg/v3/types"
	_ "go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/raft/v3/raftpb"
)

//go:linkname newMsgAppV2Encoder go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp.newMsgAppV2Encoder
func newMsgAppV2Encoder(w io.Writer, fs *stats.FollowerStats) unsafe.Pointer

//go:linkname encodeMsgAppV2 go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp.(*msgAppV2Encoder).encode
func encodeMsgAppV2(enc unsafe.Pointer, m *raftpb.Message) error

//go:linkname newMsgAppV2Decoder go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp.newMsgAppV2Decoder
func newMsgAppV2Decoder(r io.Reader, local, remote types.ID) unsafe.Pointer

//go:linkname decodeMsgAppV2 go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp.(*msgAppV2Decoder).decode
func decodeMsgAppV2(dec unsafe.Pointer) (*raftpb.Message, error)

// The two types of the message stream have one field each and no constructor.
type (
	messageEncoder struct{ w io.Writer }
	messageDecoder struct{ r io.Reader }
)

//go:linkname encodeMessage go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp.(*messageEncoder).encode
func encodeMessage(enc *messageEncoder, m *raftpb.Message) error

//go:linkname decodeMessage go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp.(*messageDecoder).decode
func decodeMessage(dec *messageDecoder) (*raftpb.Message, error)
