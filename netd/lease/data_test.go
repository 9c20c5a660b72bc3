package lease

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func half(mac, key string) Half {
	return Half{Subnet: netip.MustParsePrefix("10.244.1.0/24"), Address: netip.MustParseAddr("10.0.0.1"),
		VNI: 1, MAC: mac, PublicKey: key, Port: 51820}
}

func TestDataIsFlannels(t *testing.T) {
	const key = "GnGZl2aPtvUs6R+Y1kJtW2Kd/Ae7Gd9xkg1q0FyhyXw="
	for _, c := range []struct{ backend, want string }{
		{VXLAN, `{"VNI":1,"VtepMAC":"9e:00:00:00:00:01"}`},
		{WireGuard, `{"PublicKey":"` + key + `","Port":51820}`},
		{HostGW, ""},
		{IPsec, ""},
		{None, ""},
	} {
		l := Lease{Backend: c.backend, IPv4: half("9e:00:00:00:00:01", key)}
		got, err := l.Data(false)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", c.backend, got, err, c.want)
		}
		var read Lease
		read.Backend = c.backend
		if err := read.SetData(false, got); err != nil {
			t.Errorf("%s: %v", c.backend, err)
		}
		if again, _ := (Lease{Backend: c.backend, IPv4: with(read.IPv4, l.IPv4)}).Data(false); string(again) != c.want {
			t.Errorf("%s: read and written again: %s", c.backend, again)
		}
		l.IPv6 = Half{MAC: "9e:00:00:00:00:01", VNI: 1}
		if six, err := l.Data(true); err != nil || six != nil {
			t.Errorf("%s: a family without subnet and address has data %s, %v", c.backend, six, err)
		}
	}
}

// with is h at the place of other.
func with(h, other Half) Half {
	h.Subnet, h.Address = other.Subnet, other.Address
	return h
}

func TestDataIsReadAsFlanneldReadsIt(t *testing.T) {
	for _, c := range []struct {
		name, backend, data string
		want                Half
		fails               bool
	}{
		{"any case, unknown fields", VXLAN, ` {"vni":7,"VTEPMAC":"x","New":{"a":[1]}}`, Half{VNI: 7, MAC: "x"}, false},
		{"none", VXLAN, "", Half{}, false},
		{"null", VXLAN, " null ", Half{}, false},
		{"no port", WireGuard, `{"PublicKey":"k"}`, Half{PublicKey: "k"}, false},
		{"of no interest", HostGW, `{"VNI":`, Half{}, false},
		{"a VNI below zero", VXLAN, `{"VNI":-1}`, Half{}, true},
		{"a port too high", WireGuard, `{"Port":65536}`, Half{}, true},
		{"a list", VXLAN, `[]`, Half{}, true},
		{"broken off", VXLAN, `{"VNI":1`, Half{}, true},
		{"two", VXLAN, `{"VNI":1}{"VNI":2}`, Half{}, true},
		{"too large", VXLAN, `{"VNI":1,"x":"` + strings.Repeat("x", MaxData) + `"}`, Half{}, true},
	} {
		l := Lease{Backend: c.backend}
		err := l.SetData(true, []byte(c.data))
		if (err != nil) != c.fails || l.IPv6 != c.want || !l.IPv4.IsZero() {
			t.Errorf("%s: %+v, %v", c.name, l, err)
		}
	}
}

func TestExtraComesBack(t *testing.T) {
	for _, l := range []Lease{
		{},
		{Node: "node-1", UUID: "u"},
		{Node: "node-1", UUID: "u", Lane: Lane{PublicKey: "k", Port: 1, PortV6: 2, Step: "s", On: []string{"a", "b"}},
			Learned: []Endpoint{{"p", netip.MustParseAddrPort("[fd00::1]:51821")}}},
	} {
		data, err := l.Extra()
		if err != nil {
			t.Fatal(err)
		}
		var got Lease
		if err := got.SetExtra(data); err != nil || !got.Equal(l) {
			t.Errorf("%+v came back as %+v, %v", l, got, err)
		}
	}
	l := Lease{Node: "10.0.0.1"}
	for _, none := range []string{"", " null", "{}"} {
		if err := l.SetExtra([]byte(none)); err != nil || l.Node != "10.0.0.1" {
			t.Errorf("%q: %+v, %v", none, l, err)
		}
	}
	for _, bad := range []string{`[]`, `{"learned":[{"address":"x"}]}`, strings.Repeat(" ", MaxExtra+1)} {
		before := l
		if err := l.SetExtra([]byte(bad)); err == nil || !l.Equal(before) {
			t.Errorf("%.20q: %+v, %v", bad, l, err)
		}
	}
}

// A node that replaces its key names the lanes of all of its peers. A lease that
// could not be written is given up with the time, and the node with it.
func TestLanesOfALargeNetworkFit(t *testing.T) {
	for _, peers := range []int{1000, 5000, 10000} {
		l := Lease{Node: "node-1", UUID: "u", Lane: Lane{PublicKey: "k", Step: "lane"}}
		for i := range peers {
			l.Lane.On = append(l.Lane.On, fmt.Sprintf("%044d", i))
			l.Learned = append(l.Learned, Endpoint{l.Lane.On[i], netip.MustParseAddrPort("203.0.113.1:51820")})
		}
		data, err := l.Extra()
		if err != nil {
			t.Errorf("%d peers: %v", peers, err)
			continue
		}
		var got Lease
		if err := got.SetExtra(data); err != nil || len(got.Lane.On) != peers {
			t.Errorf("%d peers: %d lanes came back, %v", peers, len(got.Lane.On), err)
		}
	}
}

// A lease that peers would refuse for its size loses its hints first.
func TestExtraFits(t *testing.T) {
	l := Lease{Node: "node-1", UUID: "u", Lane: Lane{PublicKey: "k", Step: "s"}}
	for i := range 5000 {
		l.Learned = append(l.Learned, Endpoint{fmt.Sprintf("%044d", i), netip.MustParseAddrPort("203.0.113.1:51820")})
	}
	data, err := l.Extra()
	if err != nil || len(data) > roomForLearned {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	var got Lease
	if err := got.SetExtra(data); err != nil || got.UUID != "u" || len(got.Learned) < 100 || len(l.Learned) != 5000 {
		t.Errorf("%d hints, %v", len(got.Learned), err)
	}
	l.Lane.Step = strings.Repeat("x", MaxExtra)
	if _, err := l.Extra(); err == nil {
		t.Error("what cannot fit is written")
	}
}

func FuzzLease(f *testing.F) {
	f.Add(VXLAN, []byte(`{"VNI":1,"VtepMAC":"9e:00:00:00:00:01"}`), []byte(`{"node":"a","uuid":"b","lane":{"publicKey":"k","on":["x"]},"learned":[{"publicKey":"k","address":"10.0.0.1:1"}]}`))
	f.Add(WireGuard, []byte(`{"PublicKey":"k","Port":51820}`), []byte(`null`))
	f.Add(HostGW, []byte(``), []byte(`{"lane":null}`))
	f.Fuzz(func(t *testing.T, backend string, data, extra []byte) {
		l := Lease{Backend: backend}
		l.IPv4.Subnet = netip.MustParsePrefix("10.244.1.0/24")
		if l.SetData(false, data) != nil || l.SetExtra(extra) != nil {
			return
		}
		// What was read can be written, and reads the same.
		written, err := l.Data(false)
		if err != nil {
			t.Fatal(err)
		}
		more, err := l.Extra()
		if err != nil {
			return // it is larger written than read
		}
		again := Lease{Backend: backend, IPv4: Half{Subnet: l.IPv4.Subnet}, Node: l.Node}
		if err := again.SetData(false, written); err != nil {
			t.Fatal(err)
		}
		if err := again.SetExtra(more); err != nil {
			t.Fatal(err)
		}
		if again.IPv4 != l.IPv4 || again.UUID != l.UUID || again.Node != l.Node {
			t.Fatalf("%+v\n%+v", l, again)
		}
	})
}
