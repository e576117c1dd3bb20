// The log that wal write makes: a function of its seed, with what a reader has to cope with. Not here:
// records, which are etcd's doing; but for tearing, where their frames are read.

package drivers

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Those of the examples in etcd's documentation.
const (
	walMember  = 0x8e9e05c52164694d
	walCluster = 0xcdf818194e3a8c32
)

const (
	walEntriesMax = 10_000_000
	walBatchMax   = 8
	// So many entries at the end are not committed, and may be overwritten.
	walUncommitted = 6
	// On average a term lasts so many batches.
	walTermBatches    = 12
	walSnapshotBytes  = 3000
	walTornBytes      = 4096
	walSectorBytes    = 512
	walSegmentBytes   = 64 * 1000 * 1000
	walSegmentMinimum = 4096
)

type walPlan struct {
	entries, snapshotAt, seed uint64
	bytes                     int
	segmentBytes              int64
	torn                      bool
}

func (p *walPlan) flags(f *flag.FlagSet) {
	f.Uint64Var(&p.entries, "entries", 100, "the last entry's index")
	f.IntVar(&p.bytes, "bytes", 256, "the mean length of their data")
	f.Uint64Var(&p.seed, "seed", 1, "")
	f.Int64Var(&p.segmentBytes, "segment-bytes", walSegmentBytes, "")
	f.Uint64Var(&p.snapshotAt, "snapshot-at", 0, "an index, or 0 for none")
	f.BoolVar(&p.torn, "torn", false, "adds an entry whose second half is not on disk")
}

func (p *walPlan) check() error {
	switch {
	case p.entries > walEntriesMax:
		return fmt.Errorf("entries must lie in 0..=%d", walEntriesMax)
	case p.bytes < 0 || p.bytes > valueBytesMax:
		return fmt.Errorf("bytes must lie in 0..=%d", valueBytesMax)
	case p.segmentBytes < walSegmentMinimum || p.segmentBytes > walSegmentBytes:
		return fmt.Errorf("segment-bytes must lie in %d..=%d", walSegmentMinimum, walSegmentBytes)
	case p.snapshotAt > 0 && p.snapshotAt+walUncommitted > p.entries:
		return fmt.Errorf("the last %d entries are not committed: snapshot-at must lie before them",
			walUncommitted)
	}
	return nil
}

func (p *walPlan) write(files WALFiles, wal, snap string) error {
	if err := p.check(); err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(filepath.Clean(wal)), snap} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	w, err := files.Create(wal, snap, p.segmentBytes, walMember, walCluster)
	if err != nil {
		return err
	}
	last, err := p.fill(w)
	if err == nil && p.torn {
		last.Index++
		last.Data = random(p.seed, 1).bytes(walTornBytes)
		err = w.Save(HardState{}, List[Entry]{last})
	}
	if err := errors.Join(err, w.Close()); err != nil || !p.torn {
		return err
	}
	return tear(wal)
}

// fill appends all but the torn entry, and returns one in the last place.
func (p *walPlan) fill(w WALWriter) (Entry, error) {
	r := random(p.seed, 0)
	state := HardState{Term: 1, Vote: 1}
	// The terms of all entries, for that of the snapshot; there is none at index 0.
	terms := []uint64{0}
	snapshotDue := p.snapshotAt > 0
	for uint64(len(terms)) <= p.entries {
		if r.next()%walTermBatches == 0 {
			// A new leader may replace what is not committed.
			state.Term, state.Vote = state.Term+1+r.next()%2, 1+r.next()%3
			keep := max(state.Commit, uint64(len(terms)-1)-min(uint64(len(terms)-1), r.next()%walUncommitted))
			terms = terms[:keep+1]
		}
		var batch List[Entry]
		for range min(1+r.next()%walBatchMax, p.entries+1-uint64(len(terms))) {
			e := p.entry(r)
			e.Term, e.Index = state.Term, uint64(len(terms))
			batch = append(batch, e)
			terms = append(terms, state.Term)
		}
		// Sometimes the commit comes with the next entries, and sometimes alone.
		commit := uint64(len(terms)-1) - min(uint64(len(terms)-1), walUncommitted)
		together := r.next()%2 == 0
		if together {
			state.Commit = max(state.Commit, commit)
		}
		if err := w.Save(state, batch); err != nil {
			return Entry{}, err
		}
		if !together {
			state.Commit = max(state.Commit, commit)
			if err := w.Save(state, nil); err != nil {
				return Entry{}, err
			}
		}
		if snapshotDue && state.Commit >= p.snapshotAt {
			snapshotDue = false
			err := w.Snapshot(Snapshot{Data: r.bytes(walSnapshotBytes), Metadata: SnapshotMetadata{
				ConfState: ConfState{Voters: List[uint64]{1, 2, walMember}, Learners: List[uint64]{4}},
				Index:     p.snapshotAt, Term: terms[p.snapshotAt]}})
			if err != nil {
				return Entry{}, err
			}
		}
	}
	return Entry{Term: state.Term, Index: uint64(len(terms) - 1)}, nil
}

// entry has data of any length around the mean, or none, or is a change of members.
func (p *walPlan) entry(r *splitmix) Entry {
	switch r.next() % 16 {
	case 0:
		return Entry{}
	case 1:
		return Entry{Data: Bytes{}}
	case 2:
		// raftpb.ConfChange{ID: 9, Type: AddLearnerNode, NodeID: 4}
		return Entry{Type: EntryConfChange, Data: Bytes{0x08, 9, 0x10, 3, 0x18, 4}}
	}
	return Entry{Data: r.bytes(int(r.next() % uint64(2*p.bytes+1)))}
}

// tear takes the end of the last record back to what it was before it was written: zeros.
func tear(wal string) error {
	names, err := filepath.Glob(filepath.Join(wal, "*.wal"))
	if err != nil || len(names) == 0 {
		return errors.Join(err, errors.New("no segment in "+wal))
	}
	// Their names are in the order of the log.
	name := slices.Max(names)
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	// A frame is its length in the lower 56 bits, the padding in three bits of the highest byte where
	// that is negative, and the record with its padding.
	start, end := 0, 0
	for at := 0; at+8 <= len(text); {
		field := int64(binary.LittleEndian.Uint64(text[at:]))
		if field == 0 {
			break
		}
		length := field & (1<<56 - 1)
		if field < 0 {
			length += field >> 56 & 7
		}
		if length > int64(len(text)-at-8) {
			return fmt.Errorf("%s: the record at %d is longer than the file", name, at)
		}
		start, end = at, at+8+int(length)
		at = end
	}
	// The first sector that is all within the record's second half.
	from := ((start+end)/2 + walSectorBytes - 1) / walSectorBytes * walSectorBytes
	if end-from < walSectorBytes {
		return fmt.Errorf("%s: the last record is too short to be torn", name)
	}
	clear(text[from:end])
	return os.WriteFile(name, text, 0o600)
}
