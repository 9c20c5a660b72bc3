package chaos

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/netd/netdtest"
)

// rubbish is a key that no node wrote.
type rubbish struct{ key, value string }

// junk are such keys; a node may have a subnet of some by chance (see given).
var junk = []rubbish{
	{"garbage", "x"},
	{"", "{}"},
	{"0.0.0.0-0", `{"PublicIP":"10.0.0.66","PublicIPv6":"fd00:10::42","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:66"}}`},
	{"10.0.0.0-8&fd00:0:0:0::-16", `{"PublicIP":"10.0.0.67","PublicIPv6":"fd00:10::43","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:67"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:67"}}`},
	{"192.168.7.0-24&fd42:0:0:7::-64", `{"PublicIP":"10.0.0.68","PublicIPv6":"fd00:10::44","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:68"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:68"}}`},
	{"10.244.0.0-16&fd42::-48", `{"PublicIP":"10.0.0.69","PublicIPv6":"fd00:10::45","BackendType":"host-gw"}`},
	{"10.244.200.0-24&fd42:0:0:c8::-64", `{"PublicIP":"10.0.0.70","PublicIPv6":null,"BackendType":"vxlan"`},
	{"10.244.201.0-24", `{"PublicIP":"999.0.0.1","BackendType":7}`},
	{"10.244.202.0-24&fd42:0:0:ca::-64", `{"PublicIP":"10.0.0.1","PublicIPv6":"fd00:10::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:70"}}`},
	{"10.244.203.0-24&fd42:0:0:cb::-64", strings.Repeat("[", 100_000)},
}

// given reports whether a key has the IPv4 subnet of a node. To write there and
// delete it later is to delete that node's lease, which is another fault.
func (r *run) given(key string) bool {
	for _, s := range r.subnets {
		if strings.HasPrefix(key, fmt.Sprintf("%s-", s[0].Addr())) {
			return true
		}
	}
	return false
}

// half is a key of another network but for the IPv6 subnet, which is a node's.
func (r *run) half(x *netdtest.Node) rubbish {
	return rubbish{fmt.Sprintf("192.168.8.0-24&%s-64", r.subnets[x.Number][1].Addr()),
		`{"PublicIP":"10.0.0.71","PublicIPv6":"fd00:10::47","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:71"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:71"}}`}
}

func (r *run) corrupt() bool {
	j := r.half(r.anyNode())
	if n := r.random.IntN(len(junk) + 1); n < len(junk) {
		j = junk[n]
	}
	return !r.given(j.key) && r.store(func() {
		r.say("etcd: %.40q = %.20q…", j.key, j.value)
		r.cluster.Etcd.Put(r.t, leasesDir+j.key, j.value)
		r.later(r.between(time.Second, 20*time.Second), func() {
			r.store(func() { r.cluster.Etcd.Delete(r.t, leasesDir+j.key) })
		})
	})
}

func TestWhatIsANodesIsNotCorrupted(t *testing.T) {
	r := &run{subnets: map[int][]netip.Prefix{3: {netip.MustParsePrefix("10.244.20.0/24"), netip.MustParsePrefix("fd42:0:0:7::/64")}}}
	for key, want := range map[string]bool{
		"10.244.20.0-24&fd42:0:0:14::-64":  true,
		"10.244.20.0-24":                   true,
		"10.244.200.0-24&fd42:0:0:c8::-64": false,
		"192.168.7.0-24&fd42:0:0:7::-64":   false, // it costs the node nothing
		"":                                 false,
	} {
		if got := r.given(key); got != want {
			t.Errorf("%q: given %t, want %t", key, got, want)
		}
	}
}
