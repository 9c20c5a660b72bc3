package builder

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"weft/boards"
	"weft/builder/image"
	"weft/document"
)

// overlayDir is where the firmware package of the Raspberry Pi has overlays.
const overlayDir = "usr/lib/raspi-firmware/overlays/"

// maxOverlay bounds an overlay, in bytes; the largest known has 30,000.
const maxOverlay = 1 << 20

// addOverlays reads the overlays that the board names into in.
func (o Options) addOverlays(in *image.Input) (err error) {
	if in.Overlays, err = o.overlays(in.Packages); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(in.Overlays)) {
		in.Digests = append(in.Digests, fmt.Sprintf("overlay %s %x", name, sha256.Sum256(in.Overlays[name])))
	}
	return nil
}

// Overlays reads the overlays that the board of a plan names, by name; for
// looking at them without building anything.
func Overlays(ctx context.Context, o Options) (map[string][]byte, error) {
	r := o.Plan.Board.RaspberryPi
	if r == nil || len(r.Overlays) == 0 {
		return nil, nil
	}
	lock, err := o.readLock(ctx)
	if err != nil {
		return nil, err
	}
	request := Request(o.Plan)
	request.Kernel, request.Packages = "", []string{r.Package}
	_, entries, err := lock.Select(request)
	if err != nil {
		return nil, err
	}
	pkg, err := o.Source.Fetch(ctx, entries[0])
	if err != nil {
		return nil, err
	}
	defer pkg.Close()
	return o.overlays(map[string]fs.FS{r.Package: pkg})
}

// overlays reads the overlays that the board names from files and from the
// firmware package.
func (o Options) overlays(packages map[string]fs.FS) (map[string][]byte, error) {
	r := o.Plan.Board.RaspberryPi
	if r == nil || len(r.Overlays) == 0 {
		return nil, nil
	}
	list := map[string][]byte{}
	var problems document.Problems
	for i, overlay := range r.Overlays {
		data, err := o.overlay(overlay, packages[r.Package])
		if err != nil {
			problems = append(problems, o.Plan.BoardProblem(document.Index("raspberryPi.overlays", i), err.Error()).
				WithFix("give the path of the .dtbo file as file; package "+r.Package+" has few"))
			continue
		}
		list[overlay.Name] = data
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return list, nil
}

// overlay reads one overlay, from its file or from the firmware package.
func (o Options) overlay(overlay boards.Overlay, firmware fs.FS) ([]byte, error) {
	open := func() (fs.File, error) { return firmware.Open(overlayDir + overlay.Name + ".dtbo") }
	if overlay.File != "" {
		open = func() (fs.File, error) { return os.Open(o.path(overlay.File)) }
	}
	f, err := open()
	if err != nil {
		return nil, fmt.Errorf("overlay %s: %w", overlay.Name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxOverlay+1))
	if err != nil {
		return nil, fmt.Errorf("overlay %s: %w", overlay.Name, err)
	}
	if len(data) > maxOverlay {
		return nil, fmt.Errorf("overlay %s has more than %d bytes", overlay.Name, maxOverlay)
	}
	return data, nil
}
