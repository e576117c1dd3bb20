// The state machine of the commit program: a map of keys to values. Not here: requests, which are
// etcd's and each version's own.

package drivers

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
)

// State is used by one goroutine at a time, the one that applies.
type State struct {
	// A pointer for each key, so that overwriting one allocates no string to look it up with.
	values map[string]*[]byte
	// bytes are those of all keys and values.
	bytes int
}

func NewState() *State { return &State{values: make(map[string]*[]byte)} }

// Put keeps the value.
func (s *State) Put(key, value []byte) {
	if slot := s.values[string(key)]; slot != nil {
		s.bytes += len(value) - len(*slot)
		*slot = value
		return
	}
	slot := new([]byte)
	*slot = value
	s.values[string(key)] = slot
	s.bytes += len(key) + len(value)
}

func (s *State) Len() int { return len(s.values) }

// Hash is FNV-1a over the keys in their order, each before its value.
func (s *State) Hash() uint64 {
	h := fnv.New64a()
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		h.Write([]byte(key))
		h.Write(*s.values[key])
	}
	return h.Sum64()
}

// The lengths of a key and of its value stand before them in a snapshot.
const pairPrefixBytes = 8

// Snapshot is the state as the data of a snapshot, in no certain order.
func (s *State) Snapshot() []byte {
	data := make([]byte, 0, s.bytes+pairPrefixBytes*len(s.values))
	for key, value := range s.values {
		data = binary.LittleEndian.AppendUint32(data, uint32(len(key)))
		data = binary.LittleEndian.AppendUint32(data, uint32(len(*value)))
		data = append(data, key...)
		data = append(data, *value...)
	}
	return data
}

// Restore replaces the state by that of a snapshot.
func (s *State) Restore(data []byte) error {
	restored := NewState()
	for len(data) > 0 {
		if len(data) < pairPrefixBytes {
			return errors.New("a snapshot ends within the lengths of a pair")
		}
		key := uint64(binary.LittleEndian.Uint32(data))
		value := uint64(binary.LittleEndian.Uint32(data[4:]))
		data = data[pairPrefixBytes:]
		if uint64(len(data)) < key+value {
			return errors.New("a snapshot ends within a pair")
		}
		// Apart, so that one value does not hold all of the snapshot in memory.
		restored.Put(data[:key], slices.Clone(data[key:key+value]))
		data = data[key+value:]
	}
	*s = *restored
	return nil
}
