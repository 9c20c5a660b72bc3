package slot

import "math"

// Order returns the slots in the order in which the loader tries them: first
// those that are good or have tries left, by priority, a good one before an
// untried one of the same priority; then those that used up their tries. A
// slot is left to the last, never given up: three power cuts during the first
// boot must not turn a sound machine into a dead one. systemd-boot sorts its
// entries the same way.
//
// The loader in builder/bios takes the same decision from the same number.
func (r Record) Order() []Name {
	a, b := r.A.rank(), r.B.rank()
	switch {
	case a == 0 && b == 0:
		return nil
	case b == 0:
		return []Name{A}
	case a == 0:
		return []Name{B}
	case a >= b:
		return []Name{A, B}
	default:
		return []Name{B, A}
	}
}

// NewRecord returns the record of slots whose files are found by name, and of
// which nothing is known: each has all its tries.
func NewRecord(present ...Name) Record {
	var r Record
	for _, n := range present {
		*r.Slot(n) = State{Present: true, Priority: MaxPriority, TriesLeft: DefaultTries}
	}
	return r
}

// Choose returns the slot that the loader boots, when the files of every slot
// can be read. It reports false when the disk holds no system.
func (r Record) Choose() (Name, bool) {
	order := r.Order()
	if len(order) == 0 {
		return "", false
	}
	return order[0], true
}

// rank says how much the loader prefers a slot; 0 is a slot that is not there.
func (s State) rank() int {
	if !s.Present {
		return 0
	}
	rank := 0x400 | int(s.Priority)<<1
	if s.Good {
		rank |= 1
	}
	if s.Good || s.TriesLeft > 0 {
		rank |= 0x200
	}
	return rank
}

// Tried returns the record as the loader writes it before it boots slot n,
// and whether it writes at all: a good slot and one without tries left boot
// without a write.
func (r Record) Tried(n Name) (Record, bool) {
	s := r.Slot(n)
	if !s.Present || s.Good || s.TriesLeft == 0 {
		return r, false
	}
	s.TriesLeft--
	if s.TriesDone < math.MaxUint8 {
		s.TriesDone++
	}
	r.Sequence++
	return r, true
}

// Bless returns the record with slot n known to be good, and whether that
// changed anything, that is, whether it needs [Save]. A slot that is not there
// cannot be good.
func (r Record) Bless(n Name) (Record, bool) {
	s := r.Slot(n)
	if !s.Present || s.Good {
		return r, false
	}
	s.Good, s.TriesLeft, s.TriesDone = true, 0, 0
	return r, true
}
