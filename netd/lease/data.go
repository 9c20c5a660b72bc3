package lease

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// MaxData is the size limit of backend data in bytes, many times what an honest
// node writes, and MaxExtra that of what netd adds: while a key is replaced, 47
// bytes for each of some 10,000 peers. Hints are given no more than
// roomForLearned.
const (
	MaxData        = 64 << 10
	MaxExtra       = 512 << 10
	roomForLearned = 64 << 10
)

// vxlanData and wireguardData are flannel's backend data, its names in its
// order (pkg/backend/vxlan/vxlan.go, pkg/backend/wireguard/wireguard.go).
type vxlanData struct {
	VNI     uint32
	VtepMAC string
}

type wireguardData struct {
	PublicKey string
	Port      uint16
}

// Data is the backend data of one half in flannel's form: what the store's
// BackendData or BackendV6Data holds. It is nil for backends that have none
// and for a family the lease does not serve.
func (l Lease) Data(ipv6 bool) (json.RawMessage, error) {
	half := *l.Half(ipv6)
	if !half.Subnet.IsValid() && !half.Address.IsValid() {
		return nil, nil
	}
	switch l.Backend {
	case VXLAN:
		return json.Marshal(vxlanData{VNI: uint32(half.VNI), VtepMAC: half.MAC})
	case WireGuard:
		return json.Marshal(wireguardData{PublicKey: half.PublicKey, Port: half.Port})
	}
	return nil, nil
}

// SetData reads backend data in flannel's form into one half. Unknown fields
// are skipped, and names may be of any case, as flanneld reads them. Backend
// must have been set.
func (l *Lease) SetData(ipv6 bool, data []byte) error {
	if len(data) > MaxData {
		return fmt.Errorf("backend data has %d bytes, the limit is %d", len(data), MaxData)
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return nil
	}
	half := l.Half(ipv6)
	switch l.Backend {
	case VXLAN:
		var d vxlanData
		if err := json.Unmarshal(data, &d); err != nil {
			return fmt.Errorf("backend data of vxlan: %w", err)
		}
		half.VNI, half.MAC = int(d.VNI), d.VtepMAC
	case WireGuard:
		var d wireguardData
		if err := json.Unmarshal(data, &d); err != nil {
			return fmt.Errorf("backend data of wireguard: %w", err)
		}
		half.PublicKey, half.Port = d.PublicKey, d.Port
	}
	return nil
}

// extra is what netd writes beside flannel's fields, for other netds.
type extra struct {
	Node    string     `json:"node,omitempty"`
	UUID    string     `json:"uuid,omitempty"`
	Lane    *Lane      `json:"lane,omitempty"`
	Learned []Endpoint `json:"learned,omitempty"`
}

// Extra is what the lease says beyond flannel's fields, as JSON: the node's
// name and identity, and what WireGuard's rotation and roaming need. It fits
// in [MaxExtra], since peers would refuse the whole lease: of the learned
// endpoints, which only help, what makes it large is left out.
func (l Lease) Extra() (json.RawMessage, error) {
	e := extra{Node: l.Node, UUID: l.UUID, Learned: l.Learned}
	if !l.Lane.IsZero() {
		e.Lane = &l.Lane
	}
	for {
		data, err := json.Marshal(e)
		if err != nil || len(data) <= roomForLearned || len(e.Learned) == 0 && len(data) <= MaxExtra {
			return data, err
		}
		if len(e.Learned) == 0 {
			return nil, fmt.Errorf("what netd adds to a lease has %d bytes, the limit is %d", len(data), MaxExtra)
		}
		e.Learned = e.Learned[:len(e.Learned)*3/4]
	}
}

// SetExtra reads what [Lease.Extra] wrote. A lease without it, of flanneld,
// stays as it is.
func (l *Lease) SetExtra(data []byte) error {
	if len(data) > MaxExtra {
		return fmt.Errorf("what netd adds to a lease has %d bytes, the limit is %d", len(data), MaxExtra)
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil
	}
	var e extra
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("what netd adds to a lease: %w", err)
	}
	if e.Node != "" {
		l.Node = e.Node
	}
	l.UUID, l.Learned = e.UUID, e.Learned
	if e.Lane != nil {
		l.Lane = *e.Lane
	}
	return nil
}
