// Package codec is etcd 3.7's rafthttp codec behind the drivers' interface.
// Not here: the JSON form, the conversion to and from raftpb.
package codec

import (
	"io"
	"unsafe"

	"go.etcd.io/etcd/client/pkg/v3/types"
	stats "go.etcd.io/etcd/server/v3/etcdserver/api/v2stats"
	"go.etcd.io/raft/v3/raftpb"

	"raftwire/perf/peers/drivers"
)

// Codec implements drivers.Codec.
type Codec struct{}

func (Codec) Native(m *drivers.Message) drivers.Native {
	return ToRaft(m)
}

func (Codec) NewEncoder(s drivers.Stream, w io.Writer) drivers.Encoder {
	if s == drivers.MsgAppV2 {
		return msgAppV2Encoder{newMsgAppV2Encoder(w, new(stats.FollowerStats))}
	}
	return &messageStreamEncoder{messageEncoder{w}}
}

func (Codec) NewDecoder(s drivers.Stream, r io.Reader, local, remote uint64) drivers.Decoder {
	if s == drivers.MsgAppV2 {
		return msgAppV2Decoder{newMsgAppV2Decoder(r, types.ID(local), types.ID(remote))}
	}
	return &messageStreamDecoder{messageDecoder{r}}
}

// UnboundedRecursion: google.golang.org/protobuf answers 10 000 levels with an error.
func (Codec) UnboundedRecursion() bool { return false }

type msgAppV2Encoder struct{ enc unsafe.Pointer }

func (e msgAppV2Encoder) Encode(m drivers.Native) error {
	return encodeMsgAppV2(e.enc, m.(*raftpb.Message))
}

type msgAppV2Decoder struct{ dec unsafe.Pointer }

func (d msgAppV2Decoder) Decode() (*drivers.Message, error) {
	m, err := decodeMsgAppV2(d.dec)
	if err != nil {
		return nil, err
	}
	return FromRaft(m), nil
}

func (d msgAppV2Decoder) Skip() error {
	_, err := decodeMsgAppV2(d.dec)
	return err
}

type messageStreamEncoder struct{ enc messageEncoder }

func (e *messageStreamEncoder) Encode(m drivers.Native) error {
	return encodeMessage(&e.enc, m.(*raftpb.Message))
}

type messageStreamDecoder struct{ dec messageDecoder }

func (d *messageStreamDecoder) Decode() (*drivers.Message, error) {
	m, err := decodeMessage(&d.dec)
	if err != nil {
		return nil, err
	}
	return FromRaft(m), nil
}

func (d *messageStreamDecoder) Skip() error {
	_, err := decodeMessage(&d.dec)
	return err
}
