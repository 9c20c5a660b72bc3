package status

import (
	"fmt"
	"io"
	"time"
)

// FileFacts are what is known of the files by which others learn of the
// network: subnet.env and the CNI configuration.
type FileFacts struct {
	// Error is what keeps them from being as they should be.
	Error error
	// Repairs is how often somebody else changed or deleted one and it was
	// written again, LastRepair when that was last.
	Repairs    int
	LastRepair time.Time
}

// ReloadFacts are how the last reading of the configuration went, of a netd
// that had started.
type ReloadFacts struct {
	// Error is why the configuration was refused; the one before stays in
	// force. At is when it was read, zero when it never was again.
	Error error
	At    time.Time
}

// Files is [FileFacts].
type Files struct {
	Error      string     `json:"error,omitempty"`
	Repairs    int        `json:"repairs"`
	LastRepair *time.Time `json:"lastRepair,omitempty"`
}

// Reload is [ReloadFacts].
type Reload struct {
	Error string    `json:"error,omitempty"`
	Time  time.Time `json:"time"`
}

// fixFiles says what to do about files that cannot be written.
const fixFiles = "make room on the disk and let netd write to the folder, or name another in paths and restart netd; it tries again by itself"

func filesOf(f FileFacts) Files {
	return Files{Error: text(f.Error), Repairs: f.Repairs, LastRepair: moment(f.LastRepair)}
}

func reloadOf(f ReloadFacts) *Reload {
	if f.At.IsZero() {
		return nil
	}
	return &Reload{Error: text(f.Error), Time: f.At}
}

// files writes what is known of files for people: those by which others learn
// of the network, those netd keeps for itself, and its configuration.
func (s Style) files(w io.Writer, r Report) {
	if r.Files.LastRepair != nil {
		s.Field(w, "files", "", fmt.Sprintf("written again after others %s, the last %s",
			times(r.Files.Repairs), ago(r.Time, *r.Files.LastRepair)))
	}
	if r.Files.Error != "" && r.Reason != filesReason(r.Files.Error) {
		s.Field(w, "files", Red, r.Files.Error)
	}
	if r.Store.KeepError != "" {
		s.Field(w, "kept", Red, "the store's last word is not on disk, a node that boots now has an older one: "+r.Store.KeepError)
	}
	if r.Reload != nil && r.Reload.Error != "" {
		s.Field(w, "reload", Red, fmt.Sprintf("refused %s, the configuration of before stays: %s", ago(r.Time, r.Reload.Time), r.Reload.Error))
		s.Field(w, "fix", Yellow, "put the file right and reload netd again; netd check says what is wrong with it")
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func filesReason(problem string) string { return "files: " + problem }

// files adds what is known of files and the configuration.
func (m *metrics) files(r Report) {
	m.one("netd_files_written", "gauge", "1 when subnet.env and the CNI configuration are as they should be.", number(r.Files.Error == ""))
	m.one("netd_file_repairs_total", "counter", "Times a file was written again because somebody else had changed or deleted it.", float64(r.Files.Repairs))
	m.one("netd_kept_written", "gauge", "1 when what the store last said could be written to disk.", number(r.Store.KeepError == ""))
	m.one("netd_kept_errors_total", "counter", "Times what the store said could not be written to disk.", float64(r.Store.KeepErrors))
	m.one("netd_reload_refused", "gauge", "1 when the configuration that was read last was refused.", number(r.Reload != nil && r.Reload.Error != ""))
	if r.Reload != nil {
		m.age("netd_reload_age_seconds", "Time since the configuration was last read again.", r.Time, &r.Reload.Time)
	}
}
