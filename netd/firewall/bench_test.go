package firewall

import (
	"testing"

	"weft/netd/nstest"
	"weft/profiles"
)

// BenchmarkNothingToChange is what a look at rules that are right costs.
func BenchmarkNothingToChange(b *testing.B) {
	for _, mode := range []string{profiles.FirewallNFTables, profiles.FirewallIPTables} {
		b.Run(mode, func(b *testing.B) {
			n := nstest.New(b, "node")
			want, f := dual(true), New()
			want.Mode = mode
			err := n.Do(func() error {
				if _, err := f.Ensure(b.Context(), want); err != nil {
					return err
				}
				for b.Loop() {
					if changed, err := f.Ensure(b.Context(), want); err != nil || changed {
						b.Errorf("changed %v, %v", changed, err)
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkLegacyLook is what a look at the numbers of the tables costs, all
// legacyEvery.
func BenchmarkLegacyLook(b *testing.B) {
	n := nstest.New(b, "node")
	err := n.Do(func() error {
		w, err := watchLegacy(withIPTables(dual(true)))
		if err != nil {
			return err
		}
		defer w.close()
		for b.Loop() {
			if w.changed() {
				b.Error("changed")
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
