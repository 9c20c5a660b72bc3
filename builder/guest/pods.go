package guest

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"weft/event"
)

// NetdService is the name under which netd's events arrive.
const NetdService = "netd"

// A Ping is what netd's probe measured between two pods.
type Ping struct {
	// Peer is the name of the other node.
	Peer string
	// From and To are the pods' addresses.
	From, To netip.Addr
	// Answers says that the other pod answers; Millis is the last round trip.
	Answers bool
	Millis  float64
}

// String is one line for people.
func (p Ping) String() string {
	if !p.Answers {
		return fmt.Sprintf("pod %s -> pod %s on %s: no answer", p.From, p.To, p.Peer)
	}
	return fmt.Sprintf("pod %s -> pod %s on %s: %.2f ms", p.From, p.To, p.Peer, p.Millis)
}

// Pings reads a status event of netd: one ping for each peer and family that
// is probed. complete says that every peer is probed and answers, and that
// there is one.
func Pings(e event.Event) (pings []Ping, complete bool, err error) {
	// The part of netd's status that matters here; see netd's documentation
	// of /status.
	var status struct {
		Peers []struct {
			Name  string `json:"name"`
			Probe *struct {
				From      netip.Addr `json:"from"`
				To        netip.Addr `json:"to"`
				Answers   bool       `json:"answers"`
				RTTMillis float64    `json:"rttMillis"`
			} `json:"probe"`
		} `json:"peers"`
	}
	if err := json.Unmarshal(e.Data, &status); err != nil {
		return nil, false, fmt.Errorf("status of netd: %w", err)
	}
	complete = len(status.Peers) > 0
	for _, peer := range status.Peers {
		if peer.Probe == nil {
			complete = false
			continue
		}
		ping := Ping{peer.Name, peer.Probe.From, peer.Probe.To, peer.Probe.Answers, peer.Probe.RTTMillis}
		complete = complete && ping.Answers
		pings = append(pings, ping)
	}
	return pings, complete, nil
}
