package etcd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"

	"weft/netd/lease"
	"weft/netd/store/etcd/client"
)

// maxValue limits a value: twice the backend data, what netd adds, and the rest.
// etcd takes 1.5 MiB (etcd's --max-request-bytes).
const maxValue = 3*lease.MaxData + lease.MaxExtra

// value is what a key holds: flannel's fields in flannel's order
// (pkg/lease/lease.go, LeaseAttrs) and netd's own after them, which flanneld
// skips.
type value struct {
	PublicIP      string
	PublicIPv6    *string
	BackendType   string
	BackendData   json.RawMessage `json:",omitempty"`
	BackendV6Data json.RawMessage `json:",omitempty"`
	Weft          json.RawMessage `json:",omitempty"`
}

// encode writes a lease as the value of its key.
func encode(l lease.Lease) (string, error) {
	// flannel writes the address of a family it does not use as 0.0.0.0; a
	// lease with an IPv6 subnet needs some PublicIPv6, which flanneld follows
	// without looking.
	v := value{PublicIP: netip.IPv4Unspecified().String(), BackendType: l.Backend}
	if l.IPv6.Subnet.IsValid() {
		none := netip.IPv6Unspecified().String()
		v.PublicIPv6 = &none
	}
	if a := l.IPv4.Address; a.IsValid() {
		v.PublicIP = a.String()
	}
	if a := l.IPv6.Address; a.IsValid() {
		text := a.String()
		v.PublicIPv6 = &text
	}
	var err error
	if v.BackendData, err = l.Data(false); err != nil {
		return "", fmt.Errorf("own lease: %w", err)
	}
	if v.BackendV6Data, err = l.Data(true); err != nil {
		return "", fmt.Errorf("own lease: %w", err)
	}
	if v.Weft, err = l.Extra(); err != nil {
		return "", fmt.Errorf("own lease: %w", err)
	}
	data, err := json.Marshal(v)
	if err == nil && len(data) > maxValue {
		err = fmt.Errorf("own lease: %d bytes, the limit is %d", len(data), maxValue)
	}
	return string(data), err
}

// decode reads the lease of a key and its value.
func decode(s subnets, text string) (lease.Lease, error) {
	var l lease.Lease
	if len(text) > maxValue {
		return l, fmt.Errorf("the value has %d bytes, the limit is %d", len(text), maxValue)
	}
	data := []byte(text)
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '{' {
		return l, fmt.Errorf("the value is no JSON object")
	}
	var v value
	if err := json.Unmarshal(data, &v); err != nil {
		return l, fmt.Errorf("the value is no lease: %w", err)
	}
	if v.BackendType == "" {
		return l, fmt.Errorf("the value names no BackendType")
	}
	l.Backend = v.BackendType
	var err error
	if s.v4.IsValid() {
		l.IPv4.Subnet = s.v4
		if l.IPv4.Address, err = address("PublicIP", v.PublicIP, netip.Addr.Is4); err != nil {
			return lease.Lease{}, err
		}
		if err := l.SetData(false, v.BackendData); err != nil {
			return lease.Lease{}, err
		}
	}
	if s.v6.IsValid() {
		l.IPv6.Subnet = s.v6
		if v.PublicIPv6 == nil {
			return lease.Lease{}, fmt.Errorf("PublicIPv6 is missing")
		}
		if l.IPv6.Address, err = address("PublicIPv6", *v.PublicIPv6, netip.Addr.Is6); err != nil {
			return lease.Lease{}, err
		}
		if err := l.SetData(true, v.BackendV6Data); err != nil {
			return lease.Lease{}, err
		}
	}
	// flanneld knows no names: the address is the name unless netd says more.
	l.Node = v.PublicIP
	if !s.v4.IsValid() {
		l.Node = *v.PublicIPv6
	}
	if err := l.SetExtra(v.Weft); err != nil {
		return lease.Lease{}, err
	}
	return l, nil
}

// address reads an address of a family; the unspecified one is none.
func address(field, text string, right func(netip.Addr) bool) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || !right(a) || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%s %q is no address of its family", field, text)
	}
	if a.IsUnspecified() {
		return netip.Addr{}, nil
	}
	return a, nil
}

// entry is a key below subnets/ with what could be read of it.
type entry struct {
	key      string
	created  int64 // the revision of the first write
	modified int64 // and of the last
	etcd     int64 // the etcd lease the key ends with; 0 is a reservation
	subnets  subnets
	text     string // the value as it is
	lease    lease.Lease
	bad      error // why lease could not be read
}

// parseEntry reads a key of dir and its value.
func parseEntry(dir string, kv client.KV) entry {
	e := entry{key: kv.Key, created: kv.Created, modified: kv.Modified, etcd: kv.Lease, text: kv.Value}
	name := kv.Key[len(dir):]
	if e.subnets, e.bad = parseName(name); e.bad != nil {
		e.subnets = leading(name)
		return e
	}
	e.lease, e.bad = decode(e.subnets, kv.Value)
	return e
}
