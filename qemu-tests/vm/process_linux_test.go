package vm

import (
	"testing"
	"time"
)

func TestCPUTimeIsReadWhateverTheProgramIsCalled(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 150 25 99 99 20 0 1 0"
	for _, name := range []string{"(qemu)", "(a b) (c)", "(x) S 1 2 3)"} {
		got, err := parseStat([]byte("42 " + name + rest))
		if err != nil || got != 1750*time.Millisecond {
			t.Errorf("%s: %v, %v; want 1.75s", name, got, err)
		}
	}
	for _, bad := range []string{"", "42", "42 (x) S 1", "42 (x) S 1 2 3 4 5 6 7 8 9 10 x 25 9"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (qemu) S 1 2 3 4 5 6 7 8 9 10 150 25 99 99 20 0 1 0"))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if got, err := parseStat(stat); err == nil && got < 0 {
			t.Errorf("%v of CPU time", got)
		}
	})
}
