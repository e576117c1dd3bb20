// Guards this process from what etcd's decoders allocate on a stranger's word: a count or length
// is believed before a byte behind it is read, and the Go runtime cannot recover from running out
// of memory. The same holds for a stack that messages within messages fill. Not here: any judgement of the bytes; a frame that passes may still be malformed.

package drivers

import (
	"encoding/binary"
	"fmt"
)

const (
	// What may be announced beyond the input's end. A few such allocations fit any machine.
	refuseBytes = 64 << 20
	// No more than 64 bytes of memory for each entry announced, in any version.
	refuseEntries = refuseBytes / 64
	// From here on makeslice panics before it allocates, which is recoverable and etcd's true
	// answer: 48 bits are all the addresses there are. An entry takes 8 bytes at least.
	panicsBytes   = 1 << 50
	panicsEntries = 1 << 47
	// The message stream's own limit, over which its decoder answers with an error.
	messageLimit = 512 << 20
	// Only raft's messages to its own storage nest, once.
	refuseLevels = 10_000
)

// refuse says why the first frame of rest must not be decoded, or "".
func refuse(stream Stream, rest []byte, unboundedRecursion bool) string {
	s := scan{rest, unboundedRecursion}
	if stream == MessageStream {
		if n, ok := s.u64(); ok && n <= messageLimit {
			return s.message(n)
		}
		return ""
	}
	if len(rest) == 0 {
		return ""
	}
	kind := rest[0]
	s.rest = rest[1:]
	n, ok := s.u64()
	switch {
	case kind > 2 || !ok:
		return ""
	case kind == 2:
		return s.message(n)
	case kind == 0 || n >= panicsEntries:
		return ""
	case n > refuseEntries && n-refuseEntries > uint64(len(s.rest)/8):
		return fmt.Sprintf("%d entries announced, %d bytes left", n, len(s.rest))
	}
	for ; n > 0; n-- {
		size, ok := s.u64()
		if !ok {
			return ""
		}
		if why := s.length("entry", size); why != "" {
			return why
		}
		if size > uint64(len(s.rest)) {
			return ""
		}
		s.rest = s.rest[size:]
	}
	return ""
}

type scan struct {
	rest               []byte
	unboundedRecursion bool
}

func (s *scan) u64() (uint64, bool) {
	if len(s.rest) < 8 {
		return 0, false
	}
	n := binary.BigEndian.Uint64(s.rest)
	s.rest = s.rest[8:]
	return n, true
}

func (s *scan) message(n uint64) string {
	if why := s.length("message", n); why != "" {
		return why
	}
	if s.unboundedRecursion && n <= uint64(len(s.rest)) && nested(s.rest[:n], refuseLevels) {
		return fmt.Sprintf("messages nested more than %d deep", refuseLevels)
	}
	return ""
}

// nested says that responses, which are messages, hold responses for more than so many levels.
// It looks no further than the first malformed field, where the decoder stops as well.
func nested(message []byte, levels int) bool {
	for len(message) > 0 {
		key, n := binary.Uvarint(message)
		if n <= 0 {
			return false
		}
		message = message[n:]
		switch key & 7 {
		case 0:
			_, n = binary.Uvarint(message)
		case 1:
			n = 8
		case 2:
			size, m := binary.Uvarint(message)
			if m <= 0 || size > uint64(len(message)-m) {
				return false
			}
			n = m + int(size)
			const responses = 14
			if key>>3 == responses && (levels == 0 || nested(message[m:n], levels-1)) {
				return true
			}
		case 5:
			n = 4
		default:
			return false
		}
		if n <= 0 || n > len(message) {
			return false
		}
		message = message[n:]
	}
	return false
}

func (s *scan) length(what string, n uint64) string {
	if n >= panicsBytes || n <= refuseBytes || n-refuseBytes <= uint64(len(s.rest)) {
		return ""
	}
	return fmt.Sprintf("%s of %d bytes announced, %d bytes left", what, n, len(s.rest))
}
