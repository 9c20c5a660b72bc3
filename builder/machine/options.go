package machine

import (
	"fmt"
	"slices"

	"weft/boards"
	"weft/builder/devicetree"
)

// applied are the options of a board that a tree could take.
type applied struct{ fan, pcie bool }

// apply writes the options of a board into a tree.
func apply(r *boards.RaspberryPi, t *devicetree.Tree) applied {
	var a applied
	if r == nil {
		return a
	}
	if r.Fan != nil {
		a.fan = addFan(t, *r.Fan)
	}
	if r.PCIe != nil {
		for _, n := range t.Devices(boards.NVMe) {
			// Documentation/devicetree/bindings/pci/pci.txt
			n.Set("max-link-speed", devicetree.Cells(uint32(r.PCIe.Generation)))
			a.pcie = true
		}
	}
	return a
}

// headers are the controllers that the pins of the header belong to.
var headers = []string{"brcm,bcm2711-gpio", "brcm,bcm2835-gpio", "raspberrypi,rp1-gpio"}

// The fan is turned off again when it is this much colder, in degrees, so that
// it does not flutter.
const fanHysteresis = 10

// addFan adds a fan and has the zone of the processor's temperature switch it
// (Documentation/devicetree/bindings/hwmon/gpio-fan.yaml and
// thermal/thermal-zones.yaml). It reports false for a tree that has no such
// zone or no header.
func addFan(t *devicetree.Tree, fan boards.Fan) bool {
	zone := t.Find("/thermal-zones/cpu-thermal")
	var header *devicetree.Node
	for n := range t.Root.All() {
		if n.Enabled() && slices.ContainsFunc(headers, func(c string) bool { return slices.Contains(n.Compatible(), c) }) {
			header = n
			break
		}
	}
	if zone == nil || header == nil {
		return false
	}
	f := t.Root.Child("gpio-fan")
	f.Set("compatible", devicetree.Text("gpio-fan"))
	f.Set("gpios", devicetree.Cells(t.Phandle(header), uint32(fan.GPIO), 0))
	// Speeds in revolutions per minute, which nobody measures, and the pins
	// that make them.
	f.Set("gpio-fan,speed-map", devicetree.Cells(0, 0, 5000, 1))
	f.Set("#cooling-cells", devicetree.Cells(2))

	trip := zone.Child("trips").Child("fan-on")
	trip.Set("temperature", devicetree.Cells(uint32(fan.Temperature)*1000))
	trip.Set("hysteresis", devicetree.Cells(fanHysteresis*1000))
	trip.Set("type", devicetree.Text("active"))

	use := zone.Child("cooling-maps").Child("fan")
	use.Set("trip", devicetree.Cells(t.Phandle(trip)))
	use.Set("cooling-device", devicetree.Cells(t.Phandle(f), 1, 1))
	return true
}

// overlays reads the overlays of a board, in its order; data is by name.
func overlays(r *boards.RaspberryPi, data map[string][]byte) ([]*devicetree.Tree, map[int]error) {
	if r == nil {
		return nil, nil
	}
	var list []*devicetree.Tree
	faults := map[int]error{}
	for i, o := range r.Overlays {
		tree, err := devicetree.Parse(data[o.Name])
		if err != nil {
			faults[i] = fmt.Errorf("overlay %s: %w", o.Name, err)
			continue
		}
		list = append(list, tree)
	}
	return list, faults
}
