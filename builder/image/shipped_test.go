package image_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"weft/builder/buildtest"
	"weft/profiles"
)

// TestEveryShippedProfileBuilds builds all of them from Debian's own packages,
// with a program that stands for K3s and RKE2.
func TestEveryShippedProfileBuilds(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"k3s", "rke2"} {
		compile(t, filepath.Join(dir, name), "amd64")
	}
	for _, offer := range profiles.Shipped() {
		t.Run(offer.Name, func(t *testing.T) {
			text := fmt.Sprintf("weft: profile/v1\nname: mine\ndescription: a test\nextends: %s\n", offer.Name)
			if offer.Distribution != profiles.NoKubernetes {
				text += fmt.Sprintf("kubernetes: {payload: [{path: %s}]}\n", offer.Distribution)
			}
			o := buildtest.Options(t, planOf(t, dir, text), buildtest.CacheDir(t), t.TempDir())
			o.BaseDir = dir
			result := buildtest.Build(t, o)
			if offer.Distribution != profiles.NoKubernetes && result.Payload == 0 {
				t.Errorf("no payload in %+v", result)
			}
		})
	}
}
