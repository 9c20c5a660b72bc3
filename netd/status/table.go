package status

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"weft/netd/reconcile"
	"weft/netd/wanted"
)

// WriteStatus writes a report for people: the node, what is wrong with it,
// and a line for each peer.
func WriteStatus(w io.Writer, r Report, s Style) error {
	out := &once{w: w}
	s.node(out, r)
	if len(r.Peers) > 0 {
		fmt.Fprintln(out)
		s.grid(out, []string{"PEER", "ENDPOINT", "SUBNET", "STATE", s.lastHead(r), "PING"}, s.rows(r, false))
		s.errors(out, r)
	}
	s.refused(out, r)
	return out.err
}

// WritePeers writes the peers of a report for people, with all that is known
// of them.
func WritePeers(w io.Writer, r Report, s Style) error {
	out := &once{w: w}
	if len(r.Peers) == 0 {
		fmt.Fprintln(out, "no peers: the store has no other node that can be honoured")
	} else {
		head := []string{"PEER", "ENDPOINT", "SUBNET", "DEVICE", "MTU", "STATE", s.lastHead(r), "PING", "LOSS", "REPAIRED"}
		if r.Migration != nil {
			head = append(head, "BACKEND")
		}
		s.grid(out, head, s.rows(r, true))
		s.errors(out, r)
	}
	s.refused(out, r)
	return out.err
}

// once is a writer that stays with its first error.
type once struct {
	w   io.Writer
	err error
}

func (o *once) Write(p []byte) (int, error) {
	if o.err == nil {
		_, o.err = o.w.Write(p)
	}
	return len(p), nil
}

// node writes what is known of the node itself.
func (s Style) node(w io.Writer, r Report) {
	s.Field(w, "node", "", r.Node.Name)
	if r.Ready {
		s.Field(w, "state", Green, "ready")
	} else {
		s.Field(w, "state", Red, "not ready: "+r.Reason)
	}
	if r.Fix != "" {
		s.Field(w, "fix", Yellow, r.Fix)
	}
	for _, alarm := range r.Alarms {
		if reason, _ := wayOut(alarm); !strings.Contains(r.Reason, reason) {
			s.Field(w, "ALARM", Red, alarm)
		}
	}
	for _, subnet := range r.Node.Subnets {
		s.Field(w, "subnet", "", subnet.String())
	}
	for _, u := range r.Underlay {
		if u.Device == "" {
			s.Field(w, "underlay", Yellow, u.Family+" none yet")
			continue
		}
		s.Field(w, "underlay", "", fmt.Sprintf("%s %s dev %s mtu %d", u.Family, u.Address, u.Device, u.MTU))
	}
	backend := r.Backend.Type
	for _, device := range r.Backend.Devices {
		backend += fmt.Sprintf(", %s mtu %d", device, r.MTUs[device])
	}
	s.Field(w, "backend", "", backend)
	if r.Migration != nil {
		s.Field(w, "migrating", Yellow, r.Migration.String())
	}
	s.Field(w, "pod mtu", "", fmt.Sprint(r.MTU))
	if r.PodsMTU > r.MTU {
		s.Field(w, "", Yellow, fmt.Sprintf("older pods have %d: large packets of theirs are lost; restart them, or set firewall.mssClamp", r.PodsMTU))
	}
	s.store(w, r)
	s.files(w, r)
	s.Field(w, "firewall", colourOf(r.Firewall.Error), join(r.Firewall.Mode, r.Firewall.Error))
	repairs := fmt.Sprintf("%d kernel, %d firewall", r.Counters.Repairs, r.Counters.FirewallRepairs)
	if r.Counters.LastRepair != nil {
		repairs += ", the last " + ago(r.Time, *r.Counters.LastRepair)
	}
	s.Field(w, "repairs", "", repairs)
	for _, problem := range []struct{ name, text string }{
		{"probe", r.ProbeError}, {"rotation", r.Rotation}, {"kernel", r.KernelError}} {
		if problem.text != "" {
			s.Field(w, problem.name, Yellow, problem.text)
		}
	}
	for _, part := range r.Parts {
		s.Field(w, "part", Red, part)
	}
}

// store writes what is known of the store.
func (s Style) store(w io.Writer, r Report) {
	text := r.Store.Type
	switch {
	case !r.Store.Answered:
		text += ", has not answered yet"
	case r.Store.Kept:
		text += ", has not answered yet; as last known, " + leases(r.Store.Leases)
	default:
		text += ", " + leases(r.Store.Leases)
	}
	if r.Store.Updated != nil {
		text += ", the last news " + ago(r.Time, *r.Store.Updated)
	}
	s.Field(w, "store", "", text)
	// What is the reason of the state is not said twice, nor is what keeps the
	// own lease away, which is an error of the store, too.
	said := func(problem string) bool {
		reason, _ := wayOut(problem)
		return problem == "" || strings.Contains(r.Reason, reason)
	}
	if !said(r.Store.Error) && (r.Store.OwnError == "" || !strings.Contains(r.Store.Error, r.Store.OwnError)) {
		s.Field(w, "", Red, r.Store.Error)
	}
	if !said(r.Store.OwnError) {
		s.Field(w, "", Red, "own lease: "+r.Store.OwnError)
	}
	for _, p := range r.Store.Problems {
		s.Field(w, "skipped", Yellow, fmt.Sprintf("%s: %s; fix: %s", p.Key, p.Reason, p.Fix))
	}
}

func leases(n int) string {
	if n == 1 {
		return "1 lease"
	}
	return fmt.Sprintf("%d leases", n)
}

// join is two texts with a colon, or the one there is.
func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + ": " + b
}

func colourOf(problem string) string {
	if problem == "" {
		return ""
	}
	return Red
}

// rows are the peers' cells; those of all say everything.
func (s Style) rows(r Report, all bool) [][]cell {
	var rows [][]cell
	peers := slices.Clone(r.Peers)
	slices.SortStableFunc(peers, func(a, b Peer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Family, b.Family)) })
	for _, p := range peers {
		endpoint := p.Address.String()
		if p.Tunnel != nil && p.Tunnel.Endpoint.IsValid() {
			endpoint = p.Tunnel.Endpoint.String()
		}
		last, rtt, loss := lastSeen(r, p), "-", "-"
		if p.Probe != nil {
			rtt, loss = ping(*p.Probe)
		}
		state := cell{p.State, Green}
		if p.State != StateReady {
			state.colour = Red
		}
		row := []cell{plain(p.Name), plain(endpoint), plain(p.Subnet.String())}
		if all {
			row = append(row, plain(p.Device), plain(fmt.Sprint(p.MTU)), state, plain(last), plain(rtt), plain(loss), plain(fmt.Sprint(p.Repaired)))
			if r.Migration != nil {
				row = append(row, plain(p.Backend))
			}
		} else {
			row = append(row, state, plain(last), plain(rtt))
		}
		rows = append(rows, row)
	}
	return rows
}

// lastHead is the head of the column that says how the tunnel stands.
func (s Style) lastHead(r Report) string {
	switch r.Backend.Type {
	case "wireguard":
		return "HANDSHAKE"
	case "vxlan":
		return "FDB"
	}
	return "ROUTE"
}

// lastSeen says how the tunnel to a peer stands: the last handshake, or
// whether the kernel has what it takes.
func lastSeen(r Report, p Peer) string {
	switch {
	case p.PublicKey == nil && p.Programmed:
		return "ok"
	case p.PublicKey == nil:
		return "-"
	case p.Tunnel == nil:
		return "-"
	case p.Tunnel.Handshake.IsZero():
		return "never"
	}
	return ago(r.Time, p.Tunnel.Handshake)
}

// errors writes what is wrong with peers, each thing once.
func (s Style) errors(w io.Writer, r Report) {
	said := map[string]bool{}
	for _, p := range r.Peers {
		if p.Error == "" || said[p.Name+p.Error] {
			continue
		}
		if len(said) == 0 {
			fmt.Fprintln(w)
		}
		said[p.Name+p.Error] = true
		s.Field(w, "problem", Red, p.Name+" ("+p.Family+"): "+p.Error)
		s.Field(w, "fix", Yellow, p.Fix)
	}
}

// refused writes the leases that are not honoured. What is wrong with a node
// in both families is said once, and so is the way out of several.
func (s Style) refused(w io.Writer, r Report) {
	type subject struct {
		node string
		kind wanted.RefusalKind
	}
	families := map[subject]string{}
	for _, x := range r.Refusals {
		who := subject{x.Node, x.Kind}
		if families[who] != "" {
			families[who] += ", "
		}
		families[who] += x.Family
	}
	said, fix := map[subject]bool{}, ""
	for _, x := range r.Refusals {
		who := subject{x.Node, x.Kind}
		if said[who] || x.Kind == wanted.RefusedDevice {
			continue
		}
		if fix != "" && fix != x.Fix && fix != r.Fix { // that stands above
			s.Field(w, "fix", Yellow, fix)
		}
		if len(said) == 0 {
			fmt.Fprintln(w)
		}
		said[who], fix = true, x.Fix
		s.Field(w, "refused", Red, fmt.Sprintf("%s (%s): %s", x.Node, families[who], x.Reason))
	}
	if fix != "" && fix != r.Fix {
		s.Field(w, "fix", Yellow, fix)
	}
}

// ping are the cells of a probe's round trip time and loss.
func ping(p Probe) (rtt, loss string) {
	loss = fmt.Sprintf("%.0f %%", 100*p.Loss)
	switch {
	case p.Received == 0:
		return "no answer", loss
	case !p.Answers:
		return "lost", loss
	}
	return fmt.Sprintf("%.2f ms", p.RTT), loss
}

// ago says in short how long ago something was.
func ago(now, then time.Time) string {
	d := now.Sub(then)
	switch {
	case d < time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// Line is how things stand in one line, for the service manager, and whether
// all is as it should be.
func Line(s reconcile.Snapshot, files FileFacts, reload ReloadFacts) (ready bool, line string) {
	ready, line = s.Ready()
	switch {
	case !ready:
	case files.Error != nil:
		ready, line = false, filesReason(files.Error.Error())
	default:
		line = programmed(s)
	}
	if reload.Error != nil {
		line += "; configuration refused, the old one stays: " + reload.Error.Error()
	}
	return ready, line
}

// programmed says in one line how a node that is ready stands.
func programmed(s reconcile.Snapshot) string {
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
	if all := alarms(s.Refusals); len(all) > 0 {
		line += "; ALARM: " + strings.Join(all, "; ")
	}
	return line
}
