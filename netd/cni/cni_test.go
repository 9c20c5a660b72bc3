package cni

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func dual() Network {
	return Network{Networks: prefixes("10.244.0.0/16", "fd42::/48"), Subnets: prefixes("10.244.1.0/24", "fd42:0:0:1::/64"),
		MTU: 1430, Masquerade: true}
}

func TestSubnetEnvIsFlannels(t *testing.T) {
	want := "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n" +
		"FLANNEL_IPV6_NETWORK=fd42::/48\nFLANNEL_IPV6_SUBNET=fd42:0:0:1::1/64\n" +
		"FLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n"
	if got := string(SubnetEnv(dual())); got != want {
		t.Errorf("subnet.env is\n%swant\n%s", got, want)
	}
	four := Network{Networks: prefixes("10.244.0.0/16"), Subnets: prefixes("10.244.1.0/24"), MTU: 1450}
	want = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"
	if got := string(SubnetEnv(four)); got != want {
		t.Errorf("subnet.env is\n%swant\n%s", got, want)
	}
}

func TestConflistHasARangeAndARouteOfEachFamily(t *testing.T) {
	data, err := Conflist(dual())
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		CNIVersion string
		Plugins    []struct {
			Type, Bridge           string
			IsGateway, HairpinMode bool
			MTU                    int
			IPAM                   struct {
				Type   string
				Ranges [][]struct{ Subnet, RangeEnd, Gateway string }
				Routes []struct{ Dst string }
			}
		}
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if list.CNIVersion != "1.0.0" || len(list.Plugins) != 2 || list.Plugins[1].Type != "portmap" {
		t.Fatalf("conflist is\n%s", data)
	}
	b := list.Plugins[0]
	if b.Type != "bridge" || b.Bridge != "cni0" || !b.IsGateway || !b.HairpinMode || b.MTU != 1430 || b.IPAM.Type != "host-local" {
		t.Errorf("bridge plugin is %+v", b)
	}
	if len(b.IPAM.Ranges) != 2 || len(b.IPAM.Routes) != 2 || b.IPAM.Routes[1].Dst != "::/0" {
		t.Fatalf("ranges and routes are %+v", b.IPAM)
	}
	// The probe pod's address is not handed out.
	if r := b.IPAM.Ranges[0][0]; r.Subnet != "10.244.1.0/24" || r.Gateway != "10.244.1.1" || r.RangeEnd != "10.244.1.253" {
		t.Errorf("IPv4 range is %+v", r)
	}
	if r := b.IPAM.Ranges[1][0]; r.Gateway != "fd42:0:0:1::1" || r.RangeEnd != "fd42::1:ffff:ffff:ffff:fffe" {
		t.Errorf("IPv6 range is %+v", r)
	}
}

func TestProbeAddressIsTheLastUsable(t *testing.T) {
	for subnet, want := range map[string]string{
		"10.244.1.0/24":   "10.244.1.254",
		"10.244.1.64/26":  "10.244.1.126",
		"10.244.1.4/30":   "10.244.1.6",
		"fd42:0:0:1::/64": "fd42:0:0:1:ffff:ffff:ffff:ffff",
	} {
		if got := ProbeAddress(netip.MustParsePrefix(subnet)); got != netip.MustParseAddr(want) {
			t.Errorf("of %s it is %s, want %s", subnet, got, want)
		}
	}
}

func TestFileIsWrittenOnceAndWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "net.d", "file")
	// What a power cut has left is cleared away.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".file.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		data    string
		written bool
	}{{"one", true}, {"one", false}, {"two", true}} {
		written, err := WriteFile(path, []byte(step.data))
		if err != nil || written != step.written {
			t.Fatalf("%s: written is %t, %v; want %t", step.data, written, err, step.written)
		}
		have, err := os.ReadFile(path)
		if err != nil || string(have) != step.data {
			t.Fatalf("file holds %q, %v; want %q", have, err, step.data)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v; want the file alone", left, err)
	}
}
