package status

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestFilesKeptAndReloadAreTold(t *testing.T) {
	f := facts()
	ready, line := Line(f.Snapshot, f.Files, f.Reload)
	if !ready || line != "1 peer programmed" {
		t.Errorf("well: %t, %q", ready, line)
	}
	f.Files = FileFacts{Error: errors.New("write /run/flannel/subnet.env: no space left on device"), Repairs: 2, LastRepair: time.Unix(1990, 0)}
	f.Store.KeepError, f.Store.KeepErrors = errors.New("write /var/lib/weft/leases: read-only file system"), 3
	f.Reload = ReloadFacts{Error: errors.New("netd.yaml:3:1: nonsense"), At: time.Unix(1995, 0)}
	ready, line = Line(f.Snapshot, f.Files, f.Reload)
	if want := "files: write /run/flannel/subnet.env: no space left on device; configuration refused, the old one stays: netd.yaml:3:1: nonsense"; ready || line != want {
		t.Errorf("%t, %q; want %q", ready, line, want)
	}
	r := Build(f)
	if r.Ready || !strings.HasPrefix(r.Reason, "files: write /run/flannel/subnet.env") || r.Fix == "" {
		t.Errorf("ready %t, reason %q, fix %q", r.Ready, r.Reason, r.Fix)
	}
	values := parseMetrics(t, Metrics(r))
	for name, want := range map[string]float64{"netd_files_written": 0, "netd_file_repairs_total": 2, "netd_kept_written": 0,
		"netd_kept_errors_total": 3, "netd_reload_refused": 1, "netd_reload_age_seconds": 5, "netd_ready": 0} {
		if have, found := values[name]; !found || have != want {
			t.Errorf("%s is %g (there: %t), want %g", name, have, found, want)
		}
	}
	var b strings.Builder
	if err := WriteStatus(&b, r, Style{Width: 200}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"state     not ready: files: write /run/flannel/subnet.env: no space left on device\n",
		"files     written again after others 2 times, the last 10 s ago\n",
		"kept      the store's last word is not on disk, a node that boots now has an older one: write /var/lib/weft/leases: read-only file system\n",
		"reload    refused 5 s ago, the configuration of before stays: netd.yaml:3:1: nonsense\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	// What is kept for later and a refused file leave the node ready.
	f.Files.Error = nil
	r = Build(f)
	if ready, _ := Line(f.Snapshot, f.Files, f.Reload); !ready || !r.Ready {
		t.Errorf("not ready: %s", r.Reason)
	}
}
