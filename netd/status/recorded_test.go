package status

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// The status is one that a node of three said in a virtual machine, after it and
// another had replaced their keys and the third had moved (qemu-tests keeps
// it with WEFT_KEEP_STATUS=DIR).
func TestRecordedWireGuardStatusReadsWell(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "wireguard-node-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report Report
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := WriteStatus(&got, report, Style{}); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	if err := WritePeers(&got, report, Style{}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(got.String()) {
		if columns := utf8.RuneCountInString(strings.TrimRight(line, "\n")); columns > 80 {
			t.Errorf("%d columns: %s", columns, line)
		}
	}
	golden(t, "recorded-wireguard", got.Bytes())
}
