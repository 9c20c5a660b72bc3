package etcd

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft/netd/lease"
	"weft/netd/store/etcd/client"
)

func mustPool(t testing.TB, network string, length int, bounds ...string) *pool {
	t.Helper()
	var at [2]netip.Addr
	for i, b := range bounds {
		at[i] = netip.MustParseAddr(b)
	}
	p, err := newPool(netip.MustParsePrefix(network), length, at[0], at[1])
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestFreeSubnets(t *testing.T) {
	for _, c := range []struct {
		name, network string
		length        int
		bounds        []string
		taken         []string
		want          string
	}{
		{"all but the first", "10.244.0.0/22", 24, nil, nil, "10.244.1.0/24-10.244.3.0/24"},
		{"bounds", "10.244.0.0/16", 24, []string{"10.244.7.0", "10.244.9.0"}, nil, "10.244.7.0/24-10.244.9.0/24"},
		{"around leases", "10.244.0.0/21", 24, nil, []string{"10.244.3.0/24", "10.244.5.0/24"}, "10.244.1.0/24-10.244.2.0/24 10.244.4.0/24-10.244.4.0/24 10.244.6.0/24-10.244.7.0/24"},
		{"longer and shorter leases", "10.244.0.0/21", 24, nil, []string{"10.244.1.128/25", "10.244.4.0/23"}, "10.244.2.0/24-10.244.3.0/24 10.244.6.0/24-10.244.7.0/24"},
		{"foreign leases", "10.244.0.0/22", 24, nil, []string{"192.168.7.0/24", "fd42::/64"}, "10.244.1.0/24-10.244.3.0/24"},
		{"one lease has all", "10.244.0.0/22", 24, nil, []string{"10.0.0.0/8"}, ""},
		{"full", "10.244.0.0/22", 24, nil, []string{"10.244.1.0/24", "10.244.2.0/23"}, ""},
		{"nested leases", "10.244.0.0/21", 24, nil, []string{"10.244.0.0/22", "10.244.1.0/24"}, "10.244.4.0/24-10.244.7.0/24"},
		{"IPv6", "fd42::/48", 64, []string{"fd42:0:0:10::", "fd42:0:0:20::"}, []string{"fd42:0:0:11::/64"}, "fd42:0:0:10::/64-fd42:0:0:10::/64 fd42:0:0:12::/64-fd42:0:0:20::/64"},
		{"IPv6 across the words of an address", "fd42::/60", 68, nil, []string{"fd42::/68", "fd42:0:0:0:f000::/68"}, "fd42:0:0:0:1000::/68-fd42::e000:0:0:0/68 fd42:0:0:1::/68-fd42:0:0:f:f000::/68"},
		{"IPv6 in the lower word", "fd42::/112", 120, nil, nil, "fd42::100/120-fd42::ff00/120"},
		{"more than are numbered", "fd00::/16", 64, nil, nil, "fd00:0:0:1::/64-fd00:0:ffff:ffff::/64"},
		{"a lease beyond the numbers", "fd00::/16", 64, nil, []string{"fd00:ffff::/64"}, "fd00:0:0:1::/64-fd00:0:ffff:ffff::/64"},
	} {
		p := mustPool(t, c.network, c.length, c.bounds...)
		var got []netip.Prefix
		for _, g := range p.free(prefixes(c.taken...)) {
			got = append(got, p.subnet(g.first), p.subnet(g.last))
		}
		want := prefixes(strings.FieldsFunc(c.want, func(r rune) bool { return r == ' ' || r == '-' })...)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%v\nwant\n%v", c.name, got, want)
		}
	}
}

func TestPoolsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		network string
		length  int
		bounds  [2]string
	}{
		{"10.244.0.0/16", 31, [2]string{}}, {"10.244.0.0/16", 16, [2]string{}}, {"10.244.0.0/16", 8, [2]string{}},
		{"fd42::/48", 127, [2]string{}}, {"10.244.0.0/16", -1, [2]string{}},
		{"10.244.0.0/16", 24, [2]string{"10.244.1.1", "10.244.2.0"}},
		{"10.244.0.0/16", 24, [2]string{"10.244.3.0", "10.244.2.0"}},
		{"10.244.0.0/16", 24, [2]string{"10.243.3.0", "10.244.2.0"}},
		{"10.244.0.0/16", 24, [2]string{"fd42::", "10.244.2.0"}},
	} {
		var low, high netip.Addr
		if c.bounds[0] != "" {
			low, high = netip.MustParseAddr(c.bounds[0]), netip.MustParseAddr(c.bounds[1])
		}
		if p, err := newPool(netip.MustParsePrefix(c.network), c.length, low, high); err == nil {
			t.Errorf("%+v: %+v", c, p)
		}
	}
}

// entryOf is an entry of a node.
func entryOf(key, uuid, address string) entry {
	s, err := parseName(key)
	return entry{key: "/p/subnets/" + key, subnets: s, bad: err, modified: 5, etcd: 7, lease: lease.Lease{Node: "n" + uuid, UUID: uuid,
		IPv4: lease.Half{Subnet: s.v4, Address: netip.MustParseAddr(address)}, IPv6: lease.Half{Subnet: s.v6}}}
}

func TestChoose(t *testing.T) {
	own := lease.Lease{Node: "me", UUID: "me", IPv4: lease.Half{Address: netip.MustParseAddr("10.0.0.1")}}
	fixed := own
	fixed.IPv4.Subnet = netip.MustParsePrefix("10.244.1.0/24")
	both := subnets{v4: netip.MustParsePrefix("10.244.2.0/24"), v6: netip.MustParsePrefix("fd42:0:0:2::/64")}
	fixedBoth := own
	fixedBoth.IPv4.Subnet, fixedBoth.IPv6.Subnet = both.v4, both.v6
	unread := entryOf("10.244.2.0-24", "", "10.0.0.8")
	unread.bad, unread.lease = errors.New("nonsense"), lease.Lease{}
	small := func(t *testing.T) pools { return pools{v4: mustPool(t, "10.244.0.0/22", 24)} }
	dual := func(t *testing.T) pools {
		return pools{v4: mustPool(t, "10.244.0.0/22", 24), v6: mustPool(t, "fd42::/62", 64)}
	}
	for _, c := range []struct {
		name    string
		entries []entry
		pools   func(*testing.T) pools
		wish    wish
		want    string // the name of the key, then what else is so
		err     error
	}{
		{"the one that is free", []entry{entryOf("10.244.1.0-24", "a", "10.0.0.7"), entryOf("10.244.3.0-24", "", "10.0.0.8")}, small, wish{lease: own}, "10.244.2.0-24", nil},
		{"by identity", []entry{entryOf("10.244.1.0-24", "me", "10.0.0.99")}, small, wish{lease: own}, "10.244.1.0-24 prior", nil},
		{"by flanneld's address", []entry{entryOf("10.244.1.0-24", "", "10.0.0.1")}, small, wish{lease: own}, "10.244.1.0-24 prior", nil},
		{"identity before address", []entry{entryOf("10.244.1.0-24", "", "10.0.0.1"), entryOf("10.244.2.0-24", "me", "10.0.0.9")}, small, wish{lease: own}, "10.244.2.0-24 prior old /p/subnets/10.244.1.0-24", nil},
		{"out of the network", []entry{entryOf("10.42.1.0-24", "me", "10.0.0.1"), entryOf("10.244.1.0-24", "a", "10.0.0.7"), entryOf("10.244.2.0-24", "b", "10.0.0.8")}, small, wish{lease: own}, "10.244.3.0-24 old /p/subnets/10.42.1.0-24", nil},
		{"asked for again", nil, small, wish{lease: own, last: subnets{v4: netip.MustParsePrefix("10.244.3.0/24")}}, "10.244.3.0-24", nil},
		{"asked for again and taken", []entry{entryOf("10.244.3.0-24", "a", "10.0.0.7"), entryOf("10.244.2.0-24", "b", "10.0.0.8")}, small, wish{lease: own, last: subnets{v4: netip.MustParsePrefix("10.244.3.0/24")}}, "10.244.1.0-24", nil},
		{"its own that cannot be read", []entry{unread}, small, wish{lease: own, last: unread.subnets}, "10.244.2.0-24 prior", nil},
		{"another's that cannot be read", []entry{unread, entryOf("10.244.1.0-24", "a", "10.0.0.7")}, small, wish{lease: own}, "10.244.3.0-24", nil},
		{"a key that begins as one", []entry{parseEntry("/p/subnets/", client.KV{Key: "/p/subnets/10.244.1.0-24x", Modified: 1}), entryOf("10.244.2.0-24", "a", "10.0.0.7")}, small, wish{lease: own}, "10.244.3.0-24", nil},
		{"fixed", []entry{entryOf("10.244.2.0-24", "me", "10.0.0.1")}, small, wish{lease: fixed}, "10.244.1.0-24 old /p/subnets/10.244.2.0-24", nil},
		{"fixed and taken", []entry{entryOf("10.244.0.0-23", "a", "10.0.0.7")}, small, wish{lease: fixed}, "", &TakenError{}},
		{"a twin", []entry{entryOf("10.244.1.0-24", "a", "10.0.0.1")}, small, wish{lease: own}, "", &DuplicateError{}},
		{"a twin of a node that has a lease", []entry{entryOf("10.244.1.0-24", "a", "10.0.0.1"), entryOf("10.244.2.0-24", "me", "10.0.0.9")}, small, wish{lease: own}, "", &DuplicateError{}},
		{"full", []entry{entryOf("10.244.0.0-23", "a", "10.0.0.7"), entryOf("10.244.2.0-23", "b", "10.0.0.8")}, small, wish{lease: own}, "", &FullError{}},
		{"a lease of everything", []entry{entryOf("10.244.0.0-22", "a", "10.0.0.7")}, small, wish{lease: own}, "10.244.1.0-24", nil},
		{"paired", nil, dual, wish{lease: own, seed: 1}, "10.244.2.0-24&fd42:0:0:2::-64", nil},
		{"asked for again, and in one family taken by a key of another network", []entry{entryOf("192.168.7.0-24&fd42:0:0:2::-64", "", "10.0.0.68")}, dual, wish{lease: own, last: both}, "10.244.2.0-24&fd42:0:0:2::-64", nil},
		{"fixed, and in one family taken by a key of another network", []entry{entryOf("192.168.7.0-24&fd42:0:0:2::-64", "", "10.0.0.68")}, dual, wish{lease: fixedBoth}, "10.244.2.0-24&fd42:0:0:2::-64", nil},
		{"free, but in one family of a key of another network", []entry{entryOf("192.168.7.0-24&fd42:0:0:2::-64", "", "10.0.0.68")}, dual, wish{lease: own, seed: 1}, "10.244.2.0-24&fd42:0:0:3::-64 careful", nil},
		{"not paired", []entry{entryOf("10.244.1.0-24&fd42:0:0:2::-64", "a", "10.0.0.7")}, dual, wish{lease: own}, "10.244.2.0-24&fd42:0:0:1::-64 careful", nil},
		{"from one family to both", []entry{entryOf("10.244.3.0-24", "me", "10.0.0.1")}, dual, wish{lease: own}, "10.244.3.0-24&fd42:0:0:1::-64 old /p/subnets/10.244.3.0-24", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := choose(c.entries, c.pools(t), c.wish)
			if c.err != nil {
				if fmt.Sprintf("%T", err) != fmt.Sprintf("%T", c.err) {
					t.Fatalf("%v, want %T", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text := got.subnets.name()
			if got.prior != nil {
				text += " prior"
			}
			for _, o := range got.old {
				text += " old " + o.key
			}
			if got.careful {
				text += " careful"
			}
			if text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
		})
	}
}

func TestKeysAreFlannels(t *testing.T) {
	for _, name := range []string{"10.244.22.0-24", "10.244.22.0-24&fd42:0:0:21::-64", "fd42:0:0:21::-64", "0.0.0.0-0"} {
		s, err := parseName(name)
		if err != nil || s.name() != name {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	for _, name := range []string{"", "garbage", "10.244.1.0", "10.244.1.0-", "10.244.1.0-33", "10.244.1.0-x", "10.244.1.5-24", "10.244.01.0-24",
		"fd42::-64&10.244.1.0-24", "10.244.1.0-24&10.244.2.0-24", "10.244.1.0-24&", "10.244.1.0-24&fd42::-64&fd43::-64", "10.244.1.0-24/x",
		"::ffff:10.0.0.0-120", "fd42::%eth0-64", "10.244.1.0-24 ", "10.244.1.0-+24"} {
		if s, err := parseName(name); err == nil {
			t.Errorf("%q is taken for %+v", name, s)
		}
	}
	if got := client.Prefix("/p/subnets/"); got.End != "/p/subnets0" {
		t.Errorf("%+v", got)
	}
}

func TestNetworkConfiguration(t *testing.T) {
	mine := pools{v4: mustPool(t, "10.244.0.0/16", 24)}
	both := pools{v4: mine.v4, v6: mustPool(t, "fd42::/48", 64)}
	for _, c := range []struct {
		name, text string
		mine       pools
		ok         bool
	}{
		{"flannel's", `{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}`, mine, true},
		{"any case", `{"nETWORK":"10.244.0.0/16","subnetlen":25}`, mine, true},
		{"host bits, which flannel masks", `{"Network":"10.244.3.4/16"}`, mine, true},
		{"K3s, without IPv6", `{"Network":"10.244.0.0/16","EnableIPv6":false,"EnableIPv4":true,"IPv6Network":"::/0"}`, mine, true},
		{"both", `{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd42::/48"}`, both, true},
		{"another network", `{"Network":"10.42.0.0/16"}`, mine, false},
		{"another length of network", `{"Network":"10.244.0.0/17"}`, mine, false},
		{"a family more", `{"Network":"10.244.0.0/16","EnableIPv6":true,"IPv6Network":"fd42::/48"}`, mine, false},
		{"a family less", `{"Network":"10.244.0.0/16"}`, both, false},
		{"IPv4 off", `{"Network":"10.244.0.0/16","EnableIPv4":false}`, mine, false},
		{"no network", `{}`, mine, false},
		{"no JSON", `network: x`, mine, false},
		{"a length that does not fit", `{"Network":"10.244.0.0/16","SubnetLen":31}`, mine, false},
		{"a bound outside", `{"Network":"10.244.0.0/16","SubnetMin":"10.42.0.0"}`, mine, false},
		{"a bound that is none", `{"Network":"10.244.0.0/16","SubnetMax":"x"}`, mine, false},
	} {
		if _, err := parseNetwork(c.text, c.mine); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add("10.244.22.0-24", `{"PublicIP":"10.0.0.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"9e:00:00:00:00:01"}}`)
	f.Add("10.244.22.0-24&fd42:0:0:21::-64", `{"PublicIP":"10.0.0.1","PublicIPv6":"fd00::1","BackendType":"wireguard","BackendData":{"PublicKey":"k","Port":1},"Weft":{"uuid":"u"}}`)
	f.Add("fd42::-64", `{"PublicIP":"0.0.0.0","PublicIPv6":"fd00::1","BackendType":"host-gw"}`)
	f.Add("garbage", "garbage")
	f.Fuzz(func(t *testing.T, name, text string) {
		e := parseEntry("/p/", client.KV{Key: "/p/" + name, Value: text, Modified: 1, Lease: 1})
		if e.bad != nil {
			return
		}
		// What was read is written so that it reads the same.
		again, err := encode(e.lease)
		if err != nil {
			return // it is larger written than read
		}
		back := parseEntry("/p/", client.KV{Key: "/p/" + e.subnets.name(), Value: again, Modified: 1, Lease: 1})
		if back.bad != nil {
			t.Fatalf("%s %s: %v", e.subnets.name(), again, back.bad)
		}
		if back.subnets != e.subnets || back.lease.IPv4 != e.lease.IPv4 || back.lease.IPv6 != e.lease.IPv6 || back.lease.UUID != e.lease.UUID {
			t.Fatalf("%+v\n%+v", e.lease, back.lease)
		}
	})
}

func FuzzNetwork(f *testing.F) {
	f.Add(`{"Network":"10.244.0.0/16","SubnetLen":25,"SubnetMin":"10.244.1.0","SubnetMax":"10.244.2.0","Backend":{"Type":"vxlan"}}`)
	f.Add(`{"Network":"10.244.0.0/16","SubnetLen":30}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseNetwork(text, pools{v4: mustPool(t, "10.244.0.0/16", 24)})
		if err != nil {
			return
		}
		subnet, _, found := p.v4.pick(p.v4.free(nil), uint64(len(text)))
		if !found || !p.v4.holds(subnet) {
			t.Fatalf("%q gives %v", text, subnet)
		}
	})
}

func FuzzFree(f *testing.F) {
	f.Add("fd42::/60", 68, "fd42:0:0:0:f000::/68", uint64(7))
	f.Add("10.244.0.0/21", 24, "10.244.4.0/23", uint64(1))
	f.Fuzz(func(t *testing.T, network string, length int, taken string, seed uint64) {
		n, err := netip.ParsePrefix(network)
		if err != nil || n != n.Masked() {
			return
		}
		x, err := netip.ParsePrefix(taken)
		if err != nil || x != x.Masked() {
			return
		}
		p, err := newPool(n, length, netip.Addr{}, netip.Addr{})
		if err != nil {
			return
		}
		s, number, found := p.pick(p.free([]netip.Prefix{x}), seed)
		if found && (!p.holds(s) || s.Overlaps(x) || s.Masked() != s || p.number(s.Addr()) != number) {
			t.Fatalf("%v of %v beside %v", s, n, x)
		}
	})
}
