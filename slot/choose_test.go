package slot

import (
	"slices"
	"testing"
)

func TestOrder(t *testing.T) {
	good := func(priority uint8) State { return State{Present: true, Good: true, Priority: priority} }
	tries := func(priority, left uint8) State {
		return State{Present: true, Priority: priority, TriesLeft: left}
	}
	for _, test := range []struct {
		name string
		a, b State
		want []Name
	}{
		{"fresh image: only a, untried", tries(15, 3), State{}, []Name{A}},
		{"both good: by priority", good(1), good(2), []Name{B, A}},
		{"both good and equal: a", good(1), good(1), []Name{A, B}},
		{"update in b: tried before the good a", good(14), tries(15, 3), []Name{B, A}},
		{"update in b used up its tries", good(14), tries(15, 0), []Name{A, B}},
		{"equal priority: the good one", tries(5, 3), good(5), []Name{B, A}},
		{"lower priority but tries left", tries(9, 0), tries(1, 1), []Name{B, A}},
		{"nobody has tries left: still by priority", tries(1, 0), tries(2, 0), []Name{B, A}},
		{"only slot has none left: still booted", State{}, tries(0, 0), []Name{B}},
		{"nothing there", State{}, State{}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Record{A: test.a, B: test.b}
			if got := r.Order(); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			n, ok := r.Choose()
			if ok != (len(test.want) > 0) || ok && n != test.want[0] {
				t.Errorf("chose %v, %v", n, ok)
			}
		})
	}
}

func TestTriesRunOutAndTheOldSlotReturns(t *testing.T) {
	r := Record{
		A: State{Present: true, Good: true, Priority: 14},
		B: State{Present: true, Priority: 15, TriesLeft: DefaultTries},
	}
	var booted []Name
	for range DefaultTries + 2 {
		n, _ := r.Choose()
		booted = append(booted, n)
		r, _ = r.Tried(n)
	}
	if want := []Name{B, B, B, A, A}; !slices.Equal(booted, want) {
		t.Errorf("booted %v, want %v", booted, want)
	}
	if r.B.TriesDone != DefaultTries || r.Sequence != DefaultTries {
		t.Errorf("counted %+v", r)
	}
}

func TestBlessedSlotIsNotCountedAgain(t *testing.T) {
	r := Record{A: State{Present: true, TriesLeft: 2, TriesDone: 1}}
	r, changed := r.Bless(A)
	if want := (State{Present: true, Good: true}); !changed || r.A != want {
		t.Errorf("blessed %+v, %v", r.A, changed)
	}
	if _, changed := r.Bless(A); changed {
		t.Error("blessed twice")
	}
	if _, changed := r.Tried(A); changed {
		t.Error("a good slot was counted")
	}
	if _, changed := r.Bless(B); changed {
		t.Error("a slot that is not there was blessed")
	}
}

func TestTriesDoneStopAtTheirLimit(t *testing.T) {
	r := Record{A: State{Present: true, TriesLeft: 1, TriesDone: 255}}
	if r, _ = r.Tried(A); r.A.TriesDone != 255 {
		t.Errorf("tries done: %d", r.A.TriesDone)
	}
}
