package status

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"weft/init/sysctl"
)

// Text prints a document for a person: what is wrong first, then what there
// is, in tables that fit a console of 80 columns where the content lets them.
func Text(d Document) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s, up %s\n", orDash(d.Node.Hostname), d.State, duration(int64(d.Uptime)))
	if d.Reason != "" {
		fmt.Fprintf(&b, "  %s\n", d.Reason)
	}
	table(&b, "", [][]string{
		{"uuid", d.Node.UUID}, {"name from", d.Node.HostnameSource}, {"platform", d.Node.Platform},
		{"image", fmt.Sprintf("weft %s, %s on %s, %s", d.Image.Version, d.Image.Profile, d.Image.Board, d.Image.ID)},
		{"kernel", d.Image.Kernel}, {"slot", d.Image.Slot}, {"clock", clock(d)}, {"data", data(d.Data)},
		{"previous boot", previous(d)},
	})
	table(&b, "CONTRACT", needs(d))
	table(&b, "LINKS", links(d.Links))
	table(&b, "ROUTES", routes(d.Routes))
	table(&b, "NAME SERVERS", names(d))
	table(&b, "SERVICES", services(d))
	if wrong := sysctl.Wrong(d.Sysctls); len(wrong) > 0 {
		table(&b, "SYSCTLS THAT ARE NOT AS WANTED", Sysctls(wrong))
	} else if len(d.Sysctls) > 0 {
		fmt.Fprintf(&b, "\nSYSCTLS\n  all %d as wanted\n", len(d.Sysctls))
	}
	table(&b, "PROBLEMS", problems(d))
	table(&b, "BOOT", steps(d))
	return b.String()
}

// table prints rows under a title; nothing when there are none. Rows of a
// name and nothing else are left out.
func table(b *strings.Builder, title string, rows [][]string) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	begun := false
	for _, row := range rows {
		if len(row) == 2 && row[1] == "" {
			continue
		}
		if !begun && title != "" {
			fmt.Fprintf(b, "\n%s\n", title)
		}
		begun = true
		for i := range row {
			row[i] = oneLine(row[i])
		}
		// Lines end in no spaces: the last cell needs no column.
		fmt.Fprintln(w, "  "+strings.TrimRight(strings.Join(row, "\t"), "\t "))
	}
	_ = w.Flush() // a strings.Builder never fails
}

// oneLine makes a text fit a table: no line ends, and nothing that drives a
// terminal.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)), " ")
}

func needs(d Document) [][]string {
	var rows [][]string
	for _, n := range d.Contract {
		rows = append(rows, []string{n.State, n.Name, strings.TrimSuffix(n.Reason+"; "+n.Fix, "; ")})
	}
	for _, m := range d.Modules {
		if m.Error != "" {
			rows = append(rows, []string{m.State, "module " + m.Name, m.Error + ": " + m.For})
		}
	}
	return rows
}

func links(all []Link) [][]string {
	var rows [][]string
	for _, l := range all {
		state := "down"
		if l.Up && l.Carrier {
			state = "up"
		} else if l.Up {
			state = "no carrier"
		}
		kind := l.Kind
		if l.Uplink {
			kind = strings.TrimPrefix(kind+" uplink", " ")
		}
		rows = append(rows, []string{l.Name, state, fmt.Sprintf("mtu %d", l.MTU), orDash(kind), orDash(l.MAC)})
		for _, a := range l.Addresses {
			rows = append(rows, []string{"", "", a.Prefix, strings.TrimSpace(lifetime("", a.Valid) + " " + a.Note)})
		}
	}
	return rows
}

func routes(all []Route) [][]string {
	var rows [][]string
	for _, r := range all {
		via := r.Device
		if r.Via != "" {
			via = r.Via + " on " + r.Device
		}
		rows = append(rows, []string{r.To, via, r.Origin, fmt.Sprintf("metric %d", r.Metric), lifetime("expires in ", r.Expires)})
	}
	return rows
}

func names(d Document) [][]string {
	var rows [][]string
	for _, s := range d.Resolvers {
		rows = append(rows, []string{s, "", ""})
	}
	if len(d.SearchDomains) > 0 {
		rows = append(rows, []string{"search", strings.Join(d.SearchDomains, " "), ""})
	}
	return rows
}

func services(d Document) [][]string {
	var rows [][]string
	for _, s := range d.Services {
		rows = append(rows, []string{s.Name, duration(int64(d.Uptime-s.Uptime)) + " ago", s.Text})
	}
	return rows
}

// Sysctls are the rows of settings, wanted against actual.
func Sysctls(all []sysctl.Finding) [][]string {
	var rows [][]string
	for _, f := range all {
		state := "ok"
		switch {
		case f.Waits:
			state = "waits"
		case !f.OK:
			state = "WRONG"
		}
		rows = append(rows, []string{state, f.Name, "want " + f.Want, "is " + orDash(f.Have), f.Why})
	}
	return rows
}

// SysctlText prints all settings, wanted against actual.
func SysctlText(all []sysctl.Finding) string {
	var b strings.Builder
	table(&b, "", Sysctls(all))
	return b.String()
}

func problems(d Document) [][]string {
	var rows [][]string
	for _, p := range d.Problems {
		text := p.Text
		if p.Name != "" {
			text = p.Name + ": " + text
		}
		if p.Times > 1 {
			text += fmt.Sprintf(" (%d times)", p.Times)
		}
		rows = append(rows, []string{fmt.Sprintf("[%8.2f]", p.Uptime), text, ""})
	}
	return rows
}

func steps(d Document) [][]string {
	var rows [][]string
	for _, s := range d.Boot {
		rows = append(rows, []string{fmt.Sprintf("[%8.2f]", s.Uptime), fmt.Sprintf("%.0f ms", s.Millis), s.Name, s.Text})
	}
	return rows
}

// previous says how the boot before ended.
func previous(d Document) string {
	if d.Previous == nil {
		return ""
	}
	if d.Previous.Trace != "" {
		return d.Previous.Text + "; more is in " + d.Previous.Trace
	}
	return d.Previous.Text
}

// clock says in one line how the clock stands.
func clock(d Document) string {
	text := d.At.UTC().Format(time.RFC3339)
	switch {
	case d.Clock.Synced:
		text += fmt.Sprintf(", right to %s by %s", d.Clock.Distance.Round(time.Millisecond), strings.Join(d.Clock.Followed, ", "))
	case d.Clock.Error != "":
		text += ", not set by a time server: " + d.Clock.Error
	default:
		text += ", not set by a time server"
	}
	return text
}

// data says in one line how the data partition stands.
func data(d Data) string {
	text := "in memory, lost at the next boot"
	if d.Device != "" {
		text = fmt.Sprintf("%s, %d of %d MiB free", d.Device, d.Free>>20, d.Size>>20)
	}
	if d.ReadOnly {
		text += ", READ-ONLY AFTER DAMAGE"
	}
	if d.Errors > 0 {
		text += fmt.Sprintf(", damage met %d times", d.Errors)
	}
	if d.Sync != nil {
		text += fmt.Sprintf(", fdatasync %.1f ms (worst %.1f)", d.Sync.Median, d.Sync.Worst)
	}
	if c := d.Card; c != nil {
		text += fmt.Sprintf(", on %s card %s", c.Type, c.Name)
		if c.Worn > 0 {
			text += fmt.Sprintf(", up to %d %% worn", c.Worn)
		}
		if why := c.Warning(); why != "" {
			text += ", WORN OUT: " + why
		}
	}
	return strings.Join(append([]string{text}, d.Notes...), "; ")
}

// lifetime is what is left of something; "for ever" is not worth saying.
func lifetime(before string, seconds *int64) string {
	if seconds == nil {
		return ""
	}
	return before + duration(*seconds)
}

// duration is a number of seconds as people say it.
func duration(seconds int64) string {
	switch {
	case seconds < 120:
		return fmt.Sprintf("%d s", seconds)
	case seconds < 2*3600:
		return fmt.Sprintf("%d min", seconds/60)
	case seconds < 2*86400:
		return fmt.Sprintf("%d h", seconds/3600)
	}
	return fmt.Sprintf("%d days", seconds/86400)
}
