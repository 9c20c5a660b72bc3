package status

import (
	"fmt"
	"strings"
)

// Metrics is a report in the Prometheus text format, version 0.0.4.
func Metrics(r Report) string {
	m := &metrics{}
	m.metric("netd_ready", "gauge", "1 when everything wanted is in the kernel.", sample{value: number(r.Ready)})
	m.metric("netd_store_answered", "gauge", "1 when the store has delivered its leases.", sample{value: number(r.Store.Answered)})
	programmed := 0
	for _, p := range r.Peers {
		programmed += int(number(p.Programmed))
	}
	m.metric("netd_peers_wanted", "gauge", "Peers that should be reachable, each family counted.", sample{value: float64(len(r.Peers))})
	m.metric("netd_peers_programmed", "gauge", "Peers that are programmed in the kernel.", sample{value: float64(programmed)})
	m.metric("netd_leases_refused", "gauge", "Leases, or parts of them, that are not honoured.", sample{value: float64(len(r.Refusals))})
	m.metric("netd_mtu_bytes", "gauge", "What pods may use.", sample{value: float64(r.MTU)})
	m.metric("netd_passes_total", "counter", "Passes of the reconciler.", sample{value: float64(r.Counters.Passes)})
	m.metric("netd_reads_total", "counter", "Passes that read the kernel.", sample{value: float64(r.Counters.Reads)})
	m.metric("netd_changes_total", "counter", "Changes made to the kernel.", sample{value: float64(r.Counters.Changes)})
	m.metric("netd_repairs_total", "counter", "Changes that undid what somebody else had done.",
		sample{labels: `{what="kernel"}`, value: float64(r.Counters.Repairs)},
		sample{labels: `{what="firewall"}`, value: float64(r.Counters.FirewallRepairs)})
	m.metric("netd_lost_events_total", "counter", "Times the kernel had more to tell than netd could hear.", sample{value: float64(r.Counters.LostEvents)})
	m.probes(r.Peers)
	return m.String()
}

// probes adds what is known of the peers' probe pods.
func (m *metrics) probes(peers []Peer) {
	var answers, rtt, loss, sent, received []sample
	for _, p := range peers {
		if p.Probe == nil {
			continue
		}
		labels := fmt.Sprintf("{peer=%s,family=%s}", quote(p.Name), quote(p.Family))
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

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// quote is a label's value in quotes, escaped as the format asks.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
