package modules

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestRequestsAreUnderstood(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want Request
	}{
		"the kernel's own":          {[]string{"-q", "--", "net-pf-10"}, Request{Names: []string{"net-pf-10"}, Quiet: true}},
		"K3s's":                     {[]string{"--", "br_netfilter"}, Request{Names: []string{"br_netfilter"}}},
		"several":                   {[]string{"-a", "overlay", "br_netfilter"}, Request{Names: []string{"overlay", "br_netfilter"}}},
		"several, short":            {[]string{"-qa", "a", "b"}, Request{Names: []string{"a", "b"}, Quiet: true}},
		"options":                   {[]string{"bonding", "max_bonds=0", "miimon=100"}, Request{Names: []string{"bonding"}, Options: "max_bonds=0 miimon=100"}},
		"a name that looks a flag":  {[]string{"--", "-odd"}, Request{Names: []string{"-odd"}}},
		"only asked":                {[]string{"-n", "vxlan"}, Request{Names: []string{"vxlan"}, Dry: true}},
		"flags that change nothing": {[]string{"-v", "-b", "--first-time", "vxlan"}, Request{Names: []string{"vxlan"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseModprobe(c.args)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q: %+v, %v; want %+v", c.args, got, err, c.want)
			}
		})
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nothing":       {nil, "usage"},
		"only flags":    {[]string{"-q", "--"}, "usage"},
		"removing":      {[]string{"-r", "vxlan"}, "not removed"},
		"unknown flag":  {[]string{"--force", "vxlan"}, "--force"},
		"an empty name": {[]string{""}, "usage"},
		"a long name":   {[]string{strings.Repeat("a", maxName+1)}, "usage"},
		"too many":      {append([]string{"-a"}, strings.Split(strings.Repeat("x,", maxNames)+"x", ",")...), "more than 64"},
	} {
		if _, err := ParseModprobe(c.args); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestRequestsAreServedByAlias(t *testing.T) {
	x, err := NewIndex(`kernel/drivers/net/vxlan/vxlan.ko: kernel/net/ipv4/udp_tunnel.ko
kernel/net/ipv4/udp_tunnel.ko:
kernel/net/netfilter/nft_nat.ko:
kernel/fs/fat/vfat.ko:
kernel/net/ipset/ip_set_hash_net.ko:
kernel/net/key/af_key.ko:
`, `alias rtnl-link-vxlan vxlan
alias nft-expr-nat nft_nat
alias fs-vfat vfat
alias ip_set_hash:net ip_set_hash_net
alias net-pf-15 af_key
`, "", "kernel/net/bridge/bridge.ko\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ ask, module string }{
		{"rtnl-link-vxlan", "vxlan"}, {"nft-expr-nat", "nft_nat"}, {"fs-vfat", "vfat"},
		{"ip_set_hash:net", "ip_set_hash_net"}, {"net-pf-15", "af_key"}, {"udp-tunnel", "udp_tunnel"},
		{"nft_expr_nat", "nft_nat"}, {"rtnl_link_vxlan", "vxlan"},
	} {
		k := &kernel{}
		l := NewLoader(x, k.insert, func(string) string { return "" }, k.clock, 1)
		r, err := ParseModprobe([]string{"-q", "--", c.ask})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Serve(l); err != nil || k.inserted[len(k.inserted)-1] != c.module {
			t.Errorf("%s: loaded %q, %v; want %s", c.ask, k.inserted, err, c.module)
		}
	}
}

func TestWhatIsBuiltInOrThereIsFineAndWhatNobodyKnowsIsNot(t *testing.T) {
	k := &kernel{there: map[string]bool{"udp_tunnel": true, "ip6_udp_tunnel": true, "vxlan": true}}
	l := k.loader(t)
	for name := range l.index.builtin {
		if err := (Request{Names: []string{name}}).Serve(l); err != nil {
			t.Errorf("built-in %s: %v", name, err)
		}
	}
	if err := (Request{Names: []string{"vxlan"}}).Serve(l); err != nil || len(k.inserted) > 0 {
		t.Errorf("what is there: %v, inserted %q", err, k.inserted)
	}
	for _, dry := range []bool{false, true} {
		err := (Request{Names: []string{"vxlan", "nosuch"}, Dry: dry}).Serve(l)
		if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "nosuch") {
			t.Errorf("dry %v: error %v", dry, err)
		}
	}
	if err := (Request{Names: []string{"vxlan"}, Dry: true}).Serve(l); err != nil || len(k.inserted) > 0 {
		t.Errorf("a dry run: %v, inserted %q", err, k.inserted)
	}
}

func TestOptionsOfAllSourcesCount(t *testing.T) {
	for entry, want := range map[string][2]string{
		"bonding":                             {"bonding", ""},
		" bonding  max_bonds=0   miimon=100 ": {"bonding", "max_bonds=0 miimon=100"},
	} {
		if name, options := SplitEntry(entry); name != want[0] || options != want[1] {
			t.Errorf("%q: %q, %q", entry, name, options)
		}
	}
	of := Options(OptionsOf([]string{"bonding max_bonds=0", "nf-conntrack hashsize=65536", "vxlan"}), func(m string) string {
		if m == "bonding" {
			return "max_bonds=2"
		}
		return ""
	})
	for module, want := range map[string]string{"bonding": "max_bonds=0 max_bonds=2", "nf_conntrack": "hashsize=65536", "vxlan": ""} {
		if got := of(module); got != want {
			t.Errorf("%s: %q, want %q", module, got, want)
		}
	}
}

func FuzzParseModprobe(f *testing.F) {
	for _, seed := range []string{"-q\x1f--\x1fnet-pf-10", "-a\x1fa\x1fb", "-r\x1fvxlan", "bonding\x1fmode=1", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := ParseModprobe(strings.Split(line, "\x1f"))
		if err == nil && (len(r.Names) == 0 || len(r.Names) > maxNames) {
			t.Errorf("%q gives %d names", line, len(r.Names))
		}
	})
}
