package firewall

import (
	"slices"
	"strings"
	"testing"
)

// forward is flannel's forward chain with two rules, or not wanted.
func forward(rules ...string) xchain {
	return xchain{table: "filter", name: xForward, base: "FORWARD", comment: "flanneld forward", rules: rules}
}

func TestOnlyWhatDiffersIsEdited(t *testing.T) {
	const jump = `-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD`
	two := forward("-s 10.244.0.0/16 -j ACCEPT", "-d 10.244.0.0/16 -j ACCEPT")
	right := []string{"-A FLANNEL-FWD -s 10.244.0.0/16 -j ACCEPT", "-A FLANNEL-FWD -d 10.244.0.0/16 -j ACCEPT"}
	rewritten := append([]string{":FLANNEL-FWD - [0:0]"}, right...)
	other := `-A FORWARD -j DOCKER-USER`
	for _, c := range []struct {
		name string
		want xchain
		have listing
		told []string
	}{
		{"nothing there", two, listing{}, append(slices.Clone(rewritten), jump)},
		{"all there", two, listing{exists: true, rules: right, base: []string{other, jump}}, nil},
		{"an empty chain", two, listing{exists: true, base: []string{jump}}, rewritten},
		{"the other order", two, listing{exists: true, rules: []string{right[1], right[0]}, base: []string{jump}}, rewritten},
		{"a foreign rule", two, listing{exists: true, rules: append([]string{"-A FLANNEL-FWD -j DROP"}, right...), base: []string{jump}}, rewritten},
		{"no jump", two, listing{exists: true, rules: right, base: []string{other}}, []string{jump}},
		{"three jumps", two, listing{exists: true, rules: right, base: []string{jump, other, jump, jump}},
			[]string{"-D" + jump[2:], "-D" + jump[2:]}},
		{"not wanted and not there", forward(), listing{base: []string{other}}, nil},
		{"not wanted", forward(), listing{exists: true, rules: right, base: []string{other, jump, "-A FORWARD -i eth0 -g FLANNEL-FWD"}},
			[]string{"-D" + jump[2:], "-D FORWARD -i eth0 -g FLANNEL-FWD", "-F FLANNEL-FWD", "-X FLANNEL-FWD"}},
		{"not wanted, beside a chain of a like name", forward(), listing{exists: true, base: []string{"-A FORWARD -j MY-FLANNEL-FWD"}},
			[]string{"-F FLANNEL-FWD", "-X FLANNEL-FWD"}},
	} {
		if told := c.want.edit(c.have); !slices.Equal(told, c.told) {
			t.Errorf("%s: told\n%s\nwant\n%s", c.name, strings.Join(told, "\n"), strings.Join(c.told, "\n"))
		}
	}
}

// Whatever is listed, what is said about it concerns netd's chain alone, and
// after it has been done nothing is left to say.
func FuzzEdit(f *testing.F) {
	f.Add("-A FLANNEL-FWD -j DROP", "-A FORWARD -j FLANNEL-FWD", true)
	f.Add("", `-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD`, false)
	f.Fuzz(func(t *testing.T, rules, base string, exists bool) {
		for _, c := range []xchain{forward("-s 10.244.0.0/16 -j ACCEPT"), forward()} {
			for _, have := range []listing{
				{exists: exists, rules: appended(strings.Split(rules, "\n")), base: appended(strings.Split(base, "\n"))},
				parseSaved("*filter\n" + rules + "\n" + base).of(c),
			} {
				for _, line := range c.edit(have) {
					if !strings.Contains(line, xForward) {
						t.Errorf("%q is about something else", line)
					}
				}
			}
		}
	})
}
