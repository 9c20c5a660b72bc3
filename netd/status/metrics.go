package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weft/netd/lease"
	"weft/netd/wanted"
)

// Metrics is a report in the Prometheus text format, version 0.0.4.
func Metrics(r Report) string {
	m := &metrics{}
	m.metric("netd_build_info", "gauge", "1; the label is netd's version.", sample{labels("version", r.Version), 1})
	m.one("netd_ready", "gauge", "1 when everything wanted is in the kernel.", number(r.Ready))
	m.one("netd_identity_alarm", "gauge", "1 when another node has this node's identity, name or subnet.", number(len(r.Alarms) > 0))
	m.one("netd_former_addresses", "gauge", "Addresses of this node in the network but in none of its subnets: pods there are cut off.", float64(len(r.Former)))
	m.store(r)
	m.files(r)
	m.peers(r)
	m.refusals(r.Refusals)
	m.mtus(r)
	m.work(r.Counters)
	m.tunnels(r)
	m.probes(r.Peers)
	return m.String()
}

// store adds what is known of the store.
func (m *metrics) store(r Report) {
	s := r.Store
	m.one("netd_store_answered", "gauge", "1 when the store has delivered its leases.", number(s.Answered))
	m.metric("netd_store_connected", "gauge", "1 when nothing is wrong with the store now.",
		sample{labels("type", s.Type), number(s.Answered && !s.Kept && s.Error == "")})
	if s.Revision > 0 {
		m.one("netd_store_revision", "gauge", "The store's number of what it last delivered.", float64(s.Revision))
	}
	m.one("netd_store_leases", "gauge", "Leases of other nodes in the store.", float64(s.Leases))
	m.one("netd_store_errors_total", "counter", "Times the store delivered an error.", float64(s.Errors))
	m.one("netd_store_problems", "gauge", "Entries of the store that are skipped.", float64(len(s.Problems)))
	m.age("netd_store_update_age_seconds", "Time since the store last delivered.", r.Time, s.Updated)
	m.age("netd_own_lease_age_seconds", "Time since this node's own lease was last confirmed.", r.Time, s.OwnRenewed)
}

// peers adds how many peers there are.
func (m *metrics) peers(r Report) {
	programmed := 0
	for _, p := range r.Peers {
		programmed += int(number(p.Programmed))
	}
	m.migration(r)
	m.one("netd_peers_wanted", "gauge", "Peers that should be reachable, each family counted.", float64(len(r.Peers)))
	m.one("netd_peers_programmed", "gauge", "Peers that are programmed in the kernel.", float64(programmed))
}

// migration adds the backends of the peers, each node counted once.
func (m *metrics) migration(r Report) {
	of := map[string]map[string]bool{}
	for _, p := range r.Peers {
		if of[p.Backend] == nil {
			of[p.Backend] = map[string]bool{}
		}
		of[p.Backend][p.Name] = true
	}
	var all []sample
	for _, backend := range []string{lease.VXLAN, lease.HostGW, lease.WireGuard, lease.IPsec, lease.None} {
		all = append(all, sample{labels("backend", backend), float64(len(of[backend]))})
	}
	m.one("netd_backend_migrating", "gauge", "1 while nodes have different backends.", number(r.Migration != nil))
	m.metric("netd_backend_peers", "gauge", "Nodes that are peers, by the backend of their lease.", all...)
}

// refusals adds the refusals, by kind; every kind is there, so that its
// appearance can be seen.
func (m *metrics) refusals(refusals []wanted.Refusal) {
	count := map[wanted.RefusalKind]int{}
	for _, r := range refusals {
		count[r.Kind]++
	}
	var all []sample
	for _, kind := range wanted.RefusalKinds {
		all = append(all, sample{labels("kind", string(kind)), float64(count[kind])})
	}
	m.metric("netd_leases_refused", "gauge", "Leases, or parts of them, that are not honoured.", all...)
}

// mtus adds what fits through the devices.
func (m *metrics) mtus(r Report) {
	m.one("netd_mtu_bytes", "gauge", "What pods may use.", float64(r.MTU))
	var devices, underlays []sample
	for _, device := range slices.Sorted(maps.Keys(r.MTUs)) {
		devices = append(devices, sample{labels("device", device), float64(r.MTUs[device])})
	}
	for _, u := range r.Underlay {
		underlays = append(underlays, sample{labels("family", u.Family, "device", u.Device), float64(u.MTU)})
	}
	m.metric("netd_device_mtu_bytes", "gauge", "MTU of netd's devices.", devices...)
	m.metric("netd_underlay_mtu_bytes", "gauge", "MTU of what carries a family; 0 without an underlay.", underlays...)
}

// work adds what the reconciler did.
func (m *metrics) work(c Counters) {
	m.one("netd_passes_total", "counter", "Passes of the reconciler.", float64(c.Passes))
	fmt.Fprintf(m, "# HELP netd_pass_duration_seconds How long passes of the reconciler were.\n"+
		"# TYPE netd_pass_duration_seconds summary\nnetd_pass_duration_seconds_sum %g\nnetd_pass_duration_seconds_count %d\n",
		c.PassSeconds, c.Passes)
	m.one("netd_reads_total", "counter", "Passes that read the kernel.", float64(c.Reads))
	m.one("netd_changes_total", "counter", "Changes made to the kernel.", float64(c.Changes))
	m.metric("netd_repairs_total", "counter", "Changes that undid what somebody else had done.",
		sample{`{what="kernel"}`, float64(c.Repairs)}, sample{`{what="firewall"}`, float64(c.FirewallRepairs)})
	var objects []sample
	for _, name := range slices.Sorted(maps.Keys(c.RepairsOf)) {
		objects = append(objects, sample{labels("object", name), float64(c.RepairsOf[name])})
	}
	m.metric("netd_repaired_objects_total", "counter", "Repairs of the kernel, by the kind of object.", objects...)
	m.one("netd_lost_events_total", "counter", "Times the kernel had more to tell than netd could hear.", float64(c.LostEvents))
}

// tunnels adds what WireGuard knows of the peers, each once a device.
func (m *metrics) tunnels(r Report) {
	var ages, sent, received []sample
	seen := map[tunnelKey]bool{}
	for _, p := range r.Peers {
		if p.Tunnel == nil || seen[tunnelKey{p.Device, *p.PublicKey}] {
			continue
		}
		seen[tunnelKey{p.Device, *p.PublicKey}] = true
		peer := labels("peer", p.Name, "device", p.Device, "public_key", p.PublicKey.String())
		if !p.Tunnel.Handshake.IsZero() {
			ages = append(ages, sample{peer, r.Time.Sub(p.Tunnel.Handshake).Seconds()})
		}
		sent = append(sent, sample{peer, float64(p.Tunnel.Sent)})
		received = append(received, sample{peer, float64(p.Tunnel.Received)})
	}
	m.metric("netd_wireguard_handshake_age_seconds", "gauge", "Time since the last handshake; absent when there was none.", ages...)
	m.metric("netd_wireguard_sent_bytes_total", "counter", "Bytes sent to the peer.", sent...)
	m.metric("netd_wireguard_received_bytes_total", "counter", "Bytes received from the peer.", received...)
}

// probes adds what is known of the peers' probe pods.
func (m *metrics) probes(peers []Peer) {
	var answers, rtt, loss, sent, received []sample
	for _, p := range peers {
		if p.Probe == nil {
			continue
		}
		labels := labels("peer", p.Name, "family", p.Family)
		answers = append(answers, sample{labels, number(p.Probe.Answers)})
		loss = append(loss, sample{labels, p.Probe.Loss})
		sent = append(sent, sample{labels, float64(p.Probe.Sent)})
		received = append(received, sample{labels, float64(p.Probe.Received)})
		if p.Probe.Received > 0 {
			rtt = append(rtt, sample{labels, p.Probe.RTT / 1000})
		}
	}
	m.metric("netd_probe_answers", "gauge", "1 when the peer's probe pod answers.", answers...)
	m.metric("netd_probe_rtt_seconds", "gauge", "Round trip time of the last answer.", rtt...)
	m.metric("netd_probe_loss_ratio", "gauge", "Share of the last requests that were not answered.", loss...)
	m.metric("netd_probe_sent_total", "counter", "Echo requests sent.", sent...)
	m.metric("netd_probe_received_total", "counter", "Echo replies received.", received...)
}

// metrics collects the text.
type metrics struct{ strings.Builder }

// sample is one value of a metric.
type sample struct {
	labels string
	value  float64
}

// metric adds a metric; one without samples is left out.
func (m *metrics) metric(name, kind, help string, samples ...sample) {
	if len(samples) == 0 {
		return
	}
	fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	for _, s := range samples {
		fmt.Fprintf(m, "%s%s %g\n", name, s.labels, s.value)
	}
}

// one adds a metric of one value.
func (m *metrics) one(name, kind, help string, value float64) {
	m.metric(name, kind, help, sample{value: value})
}

// age adds the time since a moment; nothing when it never was.
func (m *metrics) age(name, help string, now time.Time, since *time.Time) {
	if since != nil {
		m.one(name, "gauge", help, now.Sub(*since).Seconds())
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// labels are pairs of a label's name and value, as the format spells them.
func labels(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%s", pairs[i], quote(pairs[i+1]))
	}
	return "{" + b.String() + "}"
}

// quote is a label's value in quotes, escaped as the format asks. What is no
// UTF-8 is replaced: names come from stores that anybody may write to.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "\uFFFD")) + `"`
}
