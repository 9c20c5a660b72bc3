package qemutests

import (
	"slices"
	"strings"
	"testing"
	"time"

	"weft/builder"
	"weft/event"
	"weft/qemu-tests/lab"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/hub"
)

// labProfile is a profile whose network is IPv6 or IPv4; more is added to it.
func labProfile(t *testing.T, name, pods, more string) string {
	return profileFile(t, name, "weft: profile/v1\nname: "+name+"\ndescription: for a test\n"+
		"network: {pods: ["+pods+"], backend: {type: vxlan}}\n"+more)
}

// inLab starts a node whose only card is in a lab.
func inLab(t *testing.T, profile string, conf lab.Config, edit func(*vm.Config)) (node, *lab.Lab) {
	t.Helper()
	segment := hub.New(t.Name())
	l := lab.New(t, segment, conf)
	o, err := options(board, profile)
	if err != nil {
		t.Fatal(err)
	}
	built, err := builder.Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	cfg := machine(t, built.Path, vm.BIOS)
	cfg.NICs = []vm.NIC{{Segment: segment}}
	if edit != nil {
		edit(&cfg)
	}
	return start(t, cfg), l
}

// heard reports whether a lab has heard a question at least n times.
func heard(l *lab.Lab, question string, n int) bool { return l.Heard(question) >= n }

// A network without any IPv4: the address comes by DHCPv6, the default route
// and a name server from the router, and the time from a server behind it. The
// node's own clock shows 1970.
func TestANodeLivesWithoutIPv4(t *testing.T) {
	t.Parallel()
	ahead := 1000 * time.Hour
	profile := labProfile(t, "six", `"fd42::/48"`, "time: {servers: [\"2001:db8:99::123\"]}\n")
	n, l := inLab(t, profile, lab.Config{
		Advert: &lab.Advert{Lifetime: 30 * time.Minute, Managed: true, DNS: true},
		DHCP6:  true, Clock: &ahead,
	}, func(cfg *vm.Config) { cfg.ExtraArgs = append(cfg.ExtraArgs, "-rtc", "base=1970-01-01T00:00:00") })
	if e := n.step("dhcpv6 eth0"); e.Text != lab.Node6.String() {
		t.Errorf("DHCPv6 gave %q, want %s", e.Text, lab.Node6)
	}
	n.ready()
	clock := n.step("clock")
	if !strings.Contains(clock.Text, "stepped") {
		t.Errorf("clock: %s", clock.Text)
	}
	if !heard(l, "SOLICIT", 1) || !heard(l, "NTP", 1) {
		t.Errorf("the lab heard %v", l.Seen())
	}
	n.powerOff()
	n.noProblems()
}

// A short lease is renewed; a server that takes it back is believed.
func TestALeaseIsRenewedAndTakenBack(t *testing.T) {
	t.Parallel()
	n, l := inLab(t, labProfile(t, "four", "10.244.0.0/16", ""), lab.Config{
		DHCP4: &lab.DHCP4{Lease: 30 * time.Second, Hostname: "localhost"},
	}, nil)
	if id := n.identity(); id.Hostname == "localhost" || id.Hostname == "" {
		t.Errorf("the node is called %q", id.Hostname)
	}
	n.ready()
	l.Set(lab.Config{DHCP4: &lab.DHCP4{Refuse: true}})
	n.problem("dhcp on eth0", "took "+lab.Node4.Addr().String()+" back")
	l.Set(lab.Config{DHCP4: &lab.DHCP4{}})
	n.Mark()
	n.wait("the address again", func(e event.Event) bool {
		return e.Kind == event.Step && e.Name == "dhcp eth0" && strings.Contains(e.Text, lab.Node4.String())
	})
	if !heard(l, "REQUEST", 3) {
		t.Errorf("the lease was not renewed; the lab heard %v", l.Seen())
	}
	n.powerOff()
}

// A VLAN on a bond on a card, all static, and a bridge for another card.
func TestVirtualLinksAreMadeFromTheProfile(t *testing.T) {
	t.Parallel()
	profile := labProfile(t, "virtual", "10.244.0.0/16", `links:
  - bond: {name: bond0, ports: [{driver: virtio_net, name: eth0}]}
    dhcp4: false
    routerAdvertisements: false
    wait: [carrier]
  - vlan: {name: lan.7, id: 7, on: {name: bond0}}
    addresses: [198.51.100.2/24]
    gateways: [198.51.100.1]
    routes: [{to: 203.0.113.0/24, via: 198.51.100.9}]
    mtu: 1400
    wait: [ipv4, route4]
  - bridge: {name: br0, ports: [{name: eth1}], stp: true}
    addresses: [192.0.2.77/24]
`)
	n, _ := inLab(t, profile, lab.Config{}, func(cfg *vm.Config) {
		cfg.NICs = append(cfg.NICs, vm.NIC{Segment: cfg.NICs[0].Segment})
	})
	n.ready()
	for _, want := range []struct{ step, text string }{
		{"link bond0", "on eth0"}, {"link lan.7", "on bond0"}, {"link br0", "on eth1"},
	} {
		n.wait(want.step, func(e event.Event) bool {
			return e.Kind == event.Step && e.Name == want.step && strings.Contains(e.Text, want.text)
		})
	}
	held := n.held()
	for _, m := range []string{"8021q", "bonding"} {
		if !slices.Contains(held.Modules, m) {
			t.Errorf("module %s is not loaded", m)
		}
	}
	n.powerOff()
	n.noProblems()
}
