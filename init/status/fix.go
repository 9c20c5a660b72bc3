package status

import (
	"encoding/json"
	"strings"

	"weft/event"
)

// fixes say what a person can do about a need that is not met, by the need
// and by a part of its reason; the first that fits counts. What a reason says
// itself is not repeated.
var fixes = []struct{ need, part, fix string }{
	{"profile", "", "write the image anew: a file of its root cannot be read"},
	{"node file", "", "put weft/node.yaml on the boot partition right, then reboot"},
	{"modules", "no module index", "write the image anew: its root lacks /usr/lib/modules"},
	{"modules", "signature", "turn kernel lockdown off (Secure Boot), or use an image with signed modules"},
	{"modules", "", "see the kernel's log for the module; if the kernel lacks it, take the feature out of the profile or another kernel"},
	{"sysctls", "no such setting", "load the module that brings it (profile key modules), or take the setting out of the profile"},
	{"sysctls", "", "correct the value in the profile"},
	{"data partition", "full", "remove what is largest, or give the node a larger disk: the partition grows by itself"},
	{"data partition", "damaged", "save what matters, check the partition with e2fsck on another machine, and replace the disk if it happens again"},
	{"data partition", "no partition has PARTUUID", "write the image anew: its table lacks the data partition"},
	{"data partition", "", "check the disk; without it the node forgets who it is at each boot"},
	{"hostname", "", "name the node in weft/node.yaml"},
	{"network", "no network device", "check that the board has the driver of the network card (board key drivers)"},
	{"network", "carrier", "check the cable and the switch"},
	{"network", "address", "check that a DHCP server or an IPv6 router answers there, or give the link an address in the profile or node file"},
	{"network", "route", "check that the DHCP server or the router gives a default route, or write one"},
	{"netd", "", "see what netd says of itself: its lines on the console, and its socket /run/weft/netd.sock"},
}

// Fix is what a person can do about a need that is not met; empty when there
// is nothing general to say.
func Fix(need, reason string) string {
	for _, f := range fixes {
		if f.need == need && strings.Contains(reason, f.part) {
			return f.fix
		}
	}
	return ""
}

// identify takes who the node is out of the event that told it.
func identify(n *Node, e event.Event) {
	var id event.Identified
	if len(e.Data) == 0 || json.Unmarshal(e.Data, &id) != nil {
		return
	}
	n.Hostname, n.HostnameSource, n.UUID, n.MachineID = id.Hostname, id.HostnameSource, id.UUID, id.MachineID
}
