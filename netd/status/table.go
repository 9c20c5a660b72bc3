package status

import (
	"fmt"
	"io"
	"text/tabwriter"

	"weft/netd/reconcile"
)

// WriteTable writes a report for people.
func WriteTable(w io.Writer, r Report) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	state := "ready"
	if !r.Ready {
		state = "not ready: " + r.Reason
	}
	fmt.Fprintf(out, "node\t%s\n", r.Node.Name)
	fmt.Fprintf(out, "state\t%s\n", state)
	if r.Fix != "" {
		fmt.Fprintf(out, "fix\t%s\n", r.Fix)
	}
	for _, subnet := range r.Node.Subnets {
		fmt.Fprintf(out, "subnet\t%s\n", subnet)
	}
	for _, u := range r.Underlay {
		fmt.Fprintf(out, "underlay\t%s %s dev %s mtu %d\n", u.Family, u.Address, u.Device, u.MTU)
	}
	fmt.Fprintf(out, "pod mtu\t%d\n", r.MTU)
	fmt.Fprintf(out, "repairs\t%d kernel, %d firewall\n", r.Counters.Repairs, r.Counters.FirewallRepairs)
	if r.ProbeError != "" {
		fmt.Fprintf(out, "probe\t%s\n", r.ProbeError)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)

	out = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "PEER\tADDRESS\tSUBNET\tMAC\tPROGRAMMED\tPING\tLOSS")
	for _, p := range r.Peers {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, p.Address, p.Subnet, p.MAC, yesNo(p.Programmed), ping(p.Probe))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, refusal := range r.Refusals {
		if _, err := fmt.Fprintf(w, "refused: %s\n", refusal); err != nil {
			return err
		}
	}
	return nil
}

// ping is the cells of a probe's round trip time and loss.
func ping(p *Probe) string {
	switch {
	case p == nil:
		return "-\t-"
	case p.Received == 0:
		return fmt.Sprintf("no answer\t%.0f %%", 100*p.Loss)
	case !p.Answers:
		return fmt.Sprintf("lost\t%.0f %%", 100*p.Loss)
	}
	return fmt.Sprintf("%.2f ms\t%.0f %%", p.RTT, 100*p.Loss)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Line is how things stand in one line, for the service manager.
func Line(s reconcile.Snapshot) string {
	if ready, reason := s.Ready(); !ready {
		return reason
	}
	programmed := make(map[string]bool, len(s.Peers))
	for _, p := range s.Peers {
		if !s.Failed[p.Subnet] {
			programmed[p.Node] = true
		}
	}
	line := fmt.Sprintf("%d peers programmed", len(programmed))
	if len(programmed) == 1 {
		line = "1 peer programmed"
	}
	if n := len(s.Refusals); n > 0 {
		line += fmt.Sprintf(", %d refused", n)
	}
	return line
}
