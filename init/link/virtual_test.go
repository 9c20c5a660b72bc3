package link

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"weft/profiles"
)

// shows is what ip(8) says of a device.
func shows(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("ip", "-d", "link", "show", name).CombinedOutput()
	if err != nil {
		t.Fatalf("ip (install iproute2: make deps): %v\n%s", err, out)
	}
	return string(out)
}

// A bridge stands for all kinds here; VLANs and bonds need modules, which the
// boot tests have.
func TestABridgeIsMadeOnItsPortAndGetsItBack(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	address := netip.MustParsePrefix("198.51.100.2/24")
	states, _ := follow(t, []profiles.Link{{
		Bridge:    &profiles.Bridge{Name: "br0", Ports: []profiles.Match{{Name: "up0"}}, STP: false},
		Addresses: []netip.Prefix{address}, MTU: 1400,
	}})
	for range 2 { // the adapter is pulled out and put in again
		cable(t)
		ups := until(t, states, "the address and a carrier", func(u []Uplink) bool {
			return has(address.Addr().String())(u) && u[0].Carrier
		})
		if ups[0].Device.Name != "br0" {
			t.Fatalf("the address is on %s", ups[0].Device.Name)
		}
		if text := shows(t, "up0"); !strings.Contains(text, "master br0") {
			t.Errorf("up0 is no port:\n%s", text)
		}
		if text := shows(t, "br0"); !strings.Contains(text, "mtu 1400") {
			t.Errorf("br0 has another MTU:\n%s", text)
		}
		far, err := netlink.LinkByName("isp0")
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkDel(far); err != nil {
			t.Fatal(err)
		}
		until(t, states, "no carrier", func(u []Uplink) bool { return len(u) == 1 && !u[0].Carrier })
	}
}

// advertise sends a router advertisement on isp0: no default route, DHCPv6
// for addresses, and a name server.
func advertise(t *testing.T) {
	t.Helper()
	conn, err := icmp.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	far, err := net.InterfaceByName("isp0")
	if err != nil {
		t.Fatal(err)
	}
	p := conn.IPv6PacketConn()
	// Routers send from their link-local address with the full hop limit
	// (RFC 4861 section 4.2).
	if err := p.SetMulticastHopLimit(255); err != nil {
		t.Fatal(err)
	}
	if err := p.SetMulticastInterface(far); err != nil {
		t.Fatal(err)
	}
	body := []byte{64, 0x80 /* managed */, 7, 8 /* lifetime 1800 s */, 0, 0, 0, 0, 0, 0, 0, 0}
	body = append(body, 25, 3, 0, 0)
	body = binary.BigEndian.AppendUint32(body, 600)
	body = append(body, netip.MustParseAddr("2001:db8::53").AsSlice()...)
	message := icmp.Message{Type: ipv6.ICMPTypeRouterAdvertisement, Body: &icmp.RawBody{Data: body}}
	packet, err := message.Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.WriteTo(packet, &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: "isp0"}); err != nil {
		t.Fatal(err)
	}
}

// serve6 is a DHCPv6 server on isp0 that gives 2001:db8::77 away.
func serve6(t *testing.T, ctx context.Context) {
	t.Helper()
	conn, err := net.ListenPacket("udp6", "[::]:547")
	if err != nil {
		t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	far, err := net.InterfaceByName("isp0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ipv6.NewPacketConn(conn).JoinGroup(far, &net.UDPAddr{IP: net.ParseIP("ff02::1:2")}); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			question, err := dhcpv6.MessageFromBytes(buf[:n])
			if err != nil {
				continue
			}
			answer := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply, TransactionID: question.TransactionID}
			if question.MessageType == dhcpv6.MessageTypeSolicit {
				answer.MessageType = dhcpv6.MessageTypeAdvertise
			}
			answer.AddOption(dhcpv6.OptClientID(question.Options.ClientID()))
			answer.AddOption(dhcpv6.OptServerID(&dhcpv6.DUIDUUID{UUID: [16]byte{9}}))
			if ia := question.Options.OneIANA(); ia != nil {
				given := &dhcpv6.OptIANA{IaId: ia.IaId}
				given.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("2001:db8::77"),
					PreferredLifetime: 1800e9, ValidLifetime: 3600e9})
				answer.AddOption(given)
			}
			answer.AddOption(dhcpv6.OptDNS(net.ParseIP("2001:db8::54")))
			if _, err := conn.WriteTo(answer.ToBytes(), from); err != nil {
				return
			}
		}
	}()
}

func TestARouterLeadsToDHCPv6AndNameServers(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	cable(t)
	serve6(t, t.Context())
	states, _ := follow(t, []profiles.Link{{Match: profiles.Match{Name: "up0"}, DHCP4: new(bool)}})
	until(t, states, "carrier", func(u []Uplink) bool { return len(u) == 1 && u[0].Carrier })
	// The kernel hears routers once its link-local address is usable.
	dev, err := netlink.LinkByName("isp0")
	if err != nil {
		t.Fatal(err)
	}
	waitForLinkLocal(t, dev)
	near, err := netlink.LinkByName("up0")
	if err != nil {
		t.Fatal(err)
	}
	waitForLinkLocal(t, near)
	advertise(t)
	ups := until(t, states, "an address and two name servers", func(u []Uplink) bool {
		return has("2001:db8::77")(u) && len(u[0].DNS) == 2
	})
	want := []netip.Addr{netip.MustParseAddr("2001:db8::54"), netip.MustParseAddr("2001:db8::53")}
	if !slices.Equal(ups[0].DNS, want) {
		t.Errorf("name servers %v, want the server's before the router's: %v", ups[0].DNS, want)
	}
	addresses, err := netlink.AddrList(near, unix.AF_INET6)
	if err != nil || !slices.ContainsFunc(addresses, func(a netlink.Addr) bool {
		bits, _ := a.Mask.Size()
		return a.IP.Equal(net.ParseIP("2001:db8::77")) && bits == 128 && a.ValidLft > 3000 && a.ValidLft <= 3600
	}) {
		t.Errorf("addresses %v, %v", addresses, err)
	}
}

// waitForLinkLocal waits until duplicate address detection of a device's
// link-local address is over.
func waitForLinkLocal(t *testing.T, dev netlink.Link) {
	t.Helper()
	updates, done := make(chan netlink.AddrUpdate), make(chan struct{})
	defer close(done)
	if err := netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{ListExisting: true}); err != nil {
		t.Fatal(err)
	}
	for u := range updates {
		if u.NewAddr && u.LinkIndex == dev.Attrs().Index && u.LinkAddress.IP.IsLinkLocalUnicast() && u.Flags&unix.IFA_F_TENTATIVE == 0 {
			return
		}
	}
}
