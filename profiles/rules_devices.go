package profiles

import (
	"fmt"
	"slices"
	"strings"

	"weft/document"
)

// Bounds of virtual devices.
const (
	maxVLAN    = 4094 // IEEE 802.1Q, 9.6: 0 and 4095 are reserved
	minMonitor = 10   // below it a bond spends its time looking
	maxMonitor = 10000
)

// bondModes are the kernel's names (Documentation/networking/bonding.rst).
var bondModes = []string{"active-backup", "802.3ad", "balance-rr", "balance-xor", "broadcast", "balance-tlb", "balance-alb"}

// waits are what a node can wait for on a link.
var waits = []string{WaitCarrier, WaitAddress, WaitIPv4, WaitIPv6, WaitRoute4, WaitRoute6}

// checkVirtual wants each VLAN, bond and bridge to be one that the kernel can
// make, with a name of its own and devices below it.
func checkVirtual(l linkList, d *document.Document) document.Problems {
	names := map[string]string{}
	return eachLink(l, func(at string, k Link) document.Problems {
		var (
			found document.Problems
			kinds []string
		)
		for _, kind := range []struct {
			key   string
			given bool
		}{{"vlan", k.VLAN != nil}, {"bond", k.Bond != nil}, {"bridge", k.Bridge != nil}} {
			if kind.given {
				kinds = append(kinds, kind.key)
			}
		}
		if len(kinds) == 0 {
			return nil
		}
		if len(kinds) > 1 {
			return document.Problems{d.KeyProblem(at+"."+kinds[1], "a link is one device, not "+strings.Join(kinds, " and ")).
				WithFix("make a link of each; a VLAN on a bond matches the bond by its name")}
		}
		here := at + "." + kinds[0]
		if k.Match != (Match{}) {
			found = append(found, d.KeyProblem(at+".match", "a "+kinds[0]+" is made, not matched").
				WithFix("remove match; the devices below are in "+kinds[0]))
		}
		name, ports := k.Virtual()
		switch {
		case name == "" || strings.ContainsAny(name, "*?[\\"):
			found = append(found, d.Problem(here+".name", fmt.Sprintf("%q is no name for a device to make", name)).
				WithFix("give it one, such as "+kinds[0]+"0"))
		case names[name] != "":
			found = append(found, d.Problem(here+".name", name+" is made twice").
				WithNote(inLine(d, names[name], "the first is")))
		default:
			found = append(found, deviceName(d, here+".name", name)...)
			names[name] = here + ".name"
		}
		return append(append(found, checkPorts(d, here, kinds[0], name, ports)...), checkKind(d, here, k)...)
	})
}

// checkPorts wants the devices below to be chosen.
func checkPorts(d *document.Document, here, kind, name string, ports []Match) document.Problems {
	var found document.Problems
	if len(ports) == 0 {
		return document.Problems{d.Problem(here, "no device is below the "+kind).WithFix("add ports, such as [{name: eth0}]")}
	}
	for i, m := range ports {
		at := document.Index(here+".ports", i)
		if kind == "vlan" {
			at = here + ".on"
		}
		switch {
		case m == (Match{}):
			found = append(found, d.Problem(at, "it chooses no device").WithFix("give a name, a mac or a driver"))
			continue
		case m.Name == name && name != "":
			found = append(found, d.Problem(at, name+" cannot lie on itself").WithFix("name the device below, such as eth0"))
		}
		found = append(found, macProblem(d, at+".mac", m.MAC)...)
		found = append(found, deviceName(d, at+".name", m.Name)...)
	}
	return found
}

// checkKind checks what only one kind has.
func checkKind(d *document.Document, here string, k Link) document.Problems {
	switch {
	case k.VLAN != nil && (k.VLAN.ID < 1 || k.VLAN.ID > maxVLAN):
		return document.Problems{d.Problem(here+".id", fmt.Sprintf("a VLAN's id is 1 to %d, not %d", maxVLAN, k.VLAN.ID)).
			WithFix("write the tag that the switch port has")}
	case k.Bond != nil:
		var found document.Problems
		if m := k.Bond.Mode; m != "" && !slices.Contains(bondModes, m) {
			found = append(found, d.Problem(here+".mode", fmt.Sprintf("there is no bond mode %q", m)).
				WithFix("use one of "+strings.Join(bondModes, ", ")))
		}
		return append(found, inRange(d, here+".monitor", k.Bond.Monitor, minMonitor, maxMonitor, "milliseconds")...)
	}
	return nil
}

// checkWaits wants needs that there are.
func checkWaits(l linkList, d *document.Document) document.Problems {
	return eachLink(l, func(at string, k Link) document.Problems {
		var found document.Problems
		for i, w := range k.Wait {
			if !slices.Contains(waits, w) {
				found = append(found, d.Problem(document.Index(at+".wait", i), fmt.Sprintf("a node cannot wait for %q", w)).
					WithFix("use one of "+strings.Join(waits, ", ")))
			}
		}
		return found
	})
}

// checkRoutes wants routes whose gateways are of their family.
func checkRoutes(l linkList, d *document.Document) document.Problems {
	return eachLink(l, func(at string, k Link) document.Problems {
		var found document.Problems
		for i, r := range k.Routes {
			here := document.Index(at+".routes", i)
			switch {
			case !r.To.IsValid():
				found = append(found, d.Problem(here, "a route needs a destination").WithFix("add to: 192.0.2.0/24"))
			case r.To != r.To.Masked():
				found = append(found, d.Problem(here+".to", fmt.Sprintf("%s has host bits set", r.To)).WithFix("write "+r.To.Masked().String()))
			case r.To.Bits() == 0:
				found = append(found, d.Problem(here+".to", "a default route is a gateway").WithFix("list it under gateways"))
			case r.Via.IsValid() && r.Via.Is4() != r.To.Addr().Is4():
				found = append(found, d.Problem(here+".via", fmt.Sprintf("%s is of another family than %s", r.Via, r.To)).
					WithFix("write a gateway of the family of the destination"))
			case r.Metric < 0:
				found = append(found, d.Problem(here+".metric", "a metric is 0 or more").WithFix("write a number from 1, or remove it to have the link's"))
			}
		}
		return found
	})
}
