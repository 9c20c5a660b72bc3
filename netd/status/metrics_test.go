package status

import (
	"bufio"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/netd/diff"
	"weft/netd/wanted"
	"weft/netd/wireguard"
)

// The grammar of the text format, version 0.0.4 (prometheus.io, "Exposition
// formats").
var (
	metricName  = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	sampleLine  = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	labelPair   = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)`)
	metricKinds = map[string]bool{"counter": true, "gauge": true, "summary": true}
)

// parseMetrics reads the text format strictly and returns the values by name
// and labels.
func parseMetrics(t *testing.T, text string) map[string]float64 {
	t.Helper()
	values, kinds, done := map[string]float64{}, map[string]string{}, map[string]bool{}
	current, helped := "", ""
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line does not end")
	}
	for scan := bufio.NewScanner(strings.NewReader(text)); scan.Scan(); {
		line := scan.Text()
		if rest, is := strings.CutPrefix(line, "# HELP "); is {
			helped, _, _ = strings.Cut(rest, " ")
			continue
		}
		if rest, is := strings.CutPrefix(line, "# TYPE "); is {
			name, kind, _ := strings.Cut(rest, " ")
			if done[name] || !metricName.MatchString(name) || !metricKinds[kind] || helped != name {
				t.Errorf("bad or repeated: %s", line)
			}
			if (kind == "counter") != strings.HasSuffix(name, "_total") {
				t.Errorf("counters, and only they, end in _total: %s", line)
			}
			current, kinds[name], done[name] = name, kind, true
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no sample: %q", line)
			continue
		}
		base := m[1]
		if kinds[current] == "summary" {
			base = strings.TrimSuffix(strings.TrimSuffix(base, "_sum"), "_count")
		}
		if base != current {
			t.Errorf("%q is not below its TYPE", line)
		}
		for rest := m[2]; rest != ""; {
			pair := labelPair.FindStringSubmatch(rest)
			if pair == nil {
				t.Errorf("bad labels: %q", line)
				break
			}
			rest = rest[len(pair[0]):]
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		key := m[1]
		if m[2] != "" {
			key += "{" + m[2] + "}"
		}
		if _, twice := values[key]; twice {
			t.Errorf("twice: %s", key)
		}
		values[key] = value
	}
	return values
}

func TestMetricsAreWhatTheReportSays(t *testing.T) {
	f := facts()
	f.Snapshot.Refusals = []wanted.Refusal{{Kind: wanted.RefusedClone, Node: "one", Reason: "a clone"}, {Kind: wanted.RefusedOverlap, Node: "x"}}
	f.Snapshot.Counters.Repairs, f.Snapshot.Counters.Passes = 3, 7
	f.Snapshot.Took, f.Snapshot.Repaired = 2*time.Second, []diff.Change{{Object: wanted.Route{Dst: f.Snapshot.Peers[0].Subnet}}}
	f.Tally = Tally{}.Add(f.Snapshot).Add(f.Snapshot)
	key := wanted.Key{1}
	f.Snapshot.Peers[0].PublicKey = key
	f.Snapshot.Wanted.Routes = []wanted.Route{{Dst: f.Snapshot.Peers[0].Subnet, Link: "flannel-wg"}}
	f.Snapshot.Tunnels = []wireguard.Health{{Device: "flannel-wg", PublicKey: key, Handshake: time.Unix(1960, 0), Sent: 5}}
	f.Store.Errors, f.Store.Problems = 4, []Problem{{Key: "k"}}
	got := parseMetrics(t, Metrics(Build(f)))
	for name, want := range map[string]float64{
		`netd_build_info{version="test"}`:                      1,
		`netd_ready`:                                           0,
		`netd_identity_alarm`:                                  1,
		`netd_store_connected{type="static"}`:                  1,
		`netd_store_leases`:                                    1,
		`netd_store_errors_total`:                              4,
		`netd_store_problems`:                                  1,
		`netd_store_update_age_seconds`:                        10,
		`netd_own_lease_age_seconds`:                           5,
		`netd_leases_refused{kind="clone"}`:                    1,
		`netd_leases_refused{kind="overlap"}`:                  1,
		`netd_leases_refused{kind="vni"}`:                      0,
		`netd_peers_wanted`:                                    1,
		`netd_peers_programmed`:                                1,
		`netd_device_mtu_bytes{device="flannel.1"}`:            1450,
		`netd_underlay_mtu_bytes{family="IPv4",device="eth0"}`: 1500,
		`netd_pass_duration_seconds_sum`:                       2,
		`netd_pass_duration_seconds_count`:                     7,
		`netd_repairs_total{what="kernel"}`:                    3,
		`netd_repaired_objects_total{object="route"}`:          1,
		`netd_repaired_objects_total{object="fdb"}`:            0,
		`netd_probe_rtt_seconds{peer="t\"wo",family="IPv4"}`:   0.00083,
		`netd_wireguard_handshake_age_seconds{peer="t\"wo",device="flannel-wg",public_key="` + key.String() + `"}`: 40,
	} {
		if have, found := got[name]; !found || have != want {
			t.Errorf("%s is %g (there: %t), want %g", name, have, found, want)
		}
	}
}

func TestMetricsStandHostileNames(t *testing.T) {
	for _, name := range []string{"a\nb", `\`, `"`, "\xff\xfe", "}", "x{y=\"z\"} 1", strings.Repeat("é", 300)} {
		f := facts()
		f.Snapshot.Peers[0].Node = name
		parseMetrics(t, Metrics(Build(f)))
	}
}

func FuzzMetricsLabels(f *testing.F) {
	f.Add("node-1")
	f.Add("a\"b\\c\nd\xff")
	f.Fuzz(func(t *testing.T, name string) {
		m := &metrics{}
		m.metric("x", "gauge", "help.", sample{labels("peer", name, "n", fmt.Sprint(1)), 1})
		parseMetrics(t, m.String())
	})
}

// F19: how far a change of the backend is can be seen.
func TestMigrationIsCounted(t *testing.T) {
	f := facts()
	migrating(&f)
	r := Build(f)
	if r.Migration == nil || r.Migration.Backend != "host-gw" || r.Migration.Peers != 3 || r.Migration.Others["vxlan"] != 1 || r.Migration.Refused != 1 {
		t.Errorf("%+v", r.Migration)
	}
	text := Metrics(r)
	for _, line := range []string{"netd_backend_migrating 1", `netd_backend_peers{backend="host-gw"} 1`, `netd_backend_peers{backend="vxlan"} 1`, `netd_backend_peers{backend="ipsec"} 0`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is not in\n%s", line, text)
		}
	}
	f = facts()
	if r := Build(f); r.Migration != nil || !strings.Contains(Metrics(r), "netd_backend_migrating 0\n") {
		t.Errorf("a network of one backend: %+v", r.Migration)
	}
}
