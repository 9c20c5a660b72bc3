package link

import (
	"net/netip"
	"testing"
)

func TestMetricsFollowTheProfileAndStayBelowTheKernels(t *testing.T) {
	up := func(place, index int) int { return metric(Uplink{Place: place, Device: Device{Index: index}}) }
	if up(0, 2) >= up(0, 3) || up(0, 2) >= up(1, 2) {
		t.Error("the order is not that of the profile, then of the devices")
	}
	// 1024 is what the kernel gives routes of IPv6 routers (IP6_RT_PRIO_USER).
	if m := up(1000, 100000); m >= 1024 {
		t.Errorf("metric %d", m)
	}
}

func TestOnLink(t *testing.T) {
	nets := []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("fd00::2/64")}
	for gateway, want := range map[string]bool{
		"10.0.0.1": true, "10.0.1.1": false, "fd00::1": true, "fd01::1": false, "fe80::1": true, "169.254.1.1": true,
	} {
		if got := onLink(netip.MustParseAddr(gateway), nets); got != want {
			t.Errorf("%s: %v", gateway, got)
		}
	}
}

func TestIPNetKeepsTheHostPart(t *testing.T) {
	for _, p := range []string{"10.0.0.2/24", "fd00::2/64", "0.0.0.0/0"} {
		if got := ipNet(netip.MustParsePrefix(p)).String(); got != p {
			t.Errorf("%s became %s", p, got)
		}
	}
}
