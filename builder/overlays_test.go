package builder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"weft/boards"
	"weft/builder/image"
	"weft/builder/plan"
	"weft/document"
	"weft/profiles"
)

// overlayBoard names an overlay of the firmware package and one of a person's
// own.
const overlayBoard = `weft: board/v1
raspberryPi:
  package: raspi-firmware
  serial: true
  overlays:
    - name: spidev
    - {name: mine, file: mine.dtbo}
`

func TestOverlaysComeFromThePackageAndFromFiles(t *testing.T) {
	b, d, _ := boards.Read("board.yaml", []byte(overlayBoard))
	o := Options{Plan: plan.New("test", b, d, profiles.Profile{}, nil), BaseDir: t.TempDir()}
	own := filepath.Join(o.BaseDir, "mine.dtbo")
	if err := os.WriteFile(own, []byte("own"), 0o644); err != nil {
		t.Fatal(err)
	}
	firmware := fstest.MapFS{overlayDir + "spidev.dtbo": {Data: []byte("packaged")}}
	in := image.Input{Packages: map[string]fs.FS{"raspi-firmware": firmware}}
	if err := o.addOverlays(&in); err != nil {
		t.Fatal(err)
	}
	if string(in.Overlays["spidev"]) != "packaged" || string(in.Overlays["mine"]) != "own" || len(in.Digests) != 2 {
		t.Errorf("got %q, %q", in.Overlays, in.Digests)
	}

	// A file too large and one that is not there are told at once, each at its
	// line.
	if err := os.Truncate(own, maxOverlay+1); err != nil {
		t.Fatal(err)
	}
	delete(firmware, overlayDir+"spidev.dtbo")
	err := o.addOverlays(&in)
	var problems document.Problems
	if !errors.As(err, &problems) || len(problems) != 2 || problems[0].Line != 6 || problems[1].Line != 7 ||
		!strings.Contains(err.Error(), "overlay mine has more than 1048576 bytes") || !strings.Contains(err.Error(), "overlay spidev: ") {
		t.Errorf("got %v", err)
	}
}
