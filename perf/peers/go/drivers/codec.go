// Package drivers is what the peer programs of all etcd versions share: commands, JSON, the
// measuring loop. It imports no etcd, so that one text serves every version.
// Not here: the codecs, which each version's module supplies as a Codec.
package drivers

import "io"

// Stream names one of the two streams of etcd's peer transport.
type Stream string

const (
	MsgAppV2      Stream = "msgappv2"
	MessageStream Stream = "message"
)

func (s Stream) valid() bool { return s == MsgAppV2 || s == MessageStream }

// Native is a version's own *raftpb.Message. A pointer in an interface costs no allocation,
// so measuring through it adds none.
type Native any

// Codec is one etcd version's rafthttp codec.
type Codec interface {
	// Native gives the message the fields that raft of this version sets.
	Native(*Message) Native
	NewEncoder(Stream, io.Writer) Encoder
	NewDecoder(s Stream, r io.Reader, local, remote uint64) Decoder
	// UnboundedRecursion says that protobuf follows nested messages however deep they go.
	UnboundedRecursion() bool
}

// Encoder writes one stream and keeps its state.
type Encoder interface{ Encode(Native) error }

// Decoder reads one stream and keeps its state.
type Decoder interface {
	Decode() (*Message, error)
	// Skip decodes as Decode does, without the conversion, which is no part of what is measured.
	Skip() error
}
