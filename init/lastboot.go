package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/keep"
	"weft/init/timeline"
	"weft/init/trace"
)

const (
	// bootFile says how far the boot has come, traceDir holds traces.
	bootFile = stateDir + "/boot.json"
	traceDir = stateDir + "/traces"
	// pstoreDir is where the kernel shows what it kept of its last words.
	pstoreDir = "/sys/fs/pstore"
	// firmwareDir is there when UEFI has started the kernel.
	firmwareDir = "/sys/firmware/efi"
)

// memory is what is kept for the boot after this one. system.state guards it.
type memory struct {
	traces *trace.Store
	// before is the record of the boot before and how that ended.
	before *trace.Record
	end    *trace.End
	record trace.Record
	// judged says that there was a first verdict of this boot, which is early
	// when it came before there was somewhere to write it down.
	judged bool
	early  *trace.Record
}

// recall tells how the boot before ended, and begins the record of this one.
func (s *system) recall() {
	<-s.dataDone
	if !s.lasting() {
		return
	}
	// The drivers of what keeps the kernel's last words, where there are any.
	keepers := []string{"ramoops"}
	if _, err := os.Stat(firmwareDir); err == nil {
		keepers = append(keepers, "efi_pstore")
	}
	s.need(keepers...)
	traces := trace.NewStore(traceDir, time.Now)
	before, err := trace.Load(bootFile)
	if err != nil {
		s.log.Problem("%v; how the last boot ended is not known", err)
	}
	dumps, files, err := trace.ReadPstore(pstoreDir)
	if err != nil {
		s.log.Problem("%v", err)
	}
	end := trace.Judge(before, dumps, false)
	for _, d := range dumps {
		path, err := traces.Add("kernel-"+d.Reason, "the kernel's last words: "+d.Cause(), d.Text)
		if err != nil {
			s.log.Problem("%v", err)
			files = nil // what could not be kept stays where it is
			continue
		}
		end.Trace = path
	}
	if err := trace.Forget(files); err != nil {
		s.log.Problem("%v", err)
	}
	boot, _ := keep.Read("/proc/sys/kernel/random/boot_id", 64)
	s.state.Lock()
	s.memory.traces, s.memory.before, s.memory.end = traces, before, &end
	s.memory.record = trace.Record{Boot: strings.TrimSpace(string(boot)), Image: s.image.ID}
	s.state.Unlock()
	s.tellEnd(end)
	s.phase(trace.Starting, "")
	s.state.Lock()
	early := s.memory.early
	s.state.Unlock()
	if early != nil {
		s.phase(early.Phase, early.Why)
	}
}

// lasting reports whether there is somewhere to keep things.
func (s *system) lasting() bool {
	s.state.Lock()
	defer s.state.Unlock()
	return s.stateDir != ""
}

// tellEnd says how the boot before ended, on the console and as an event.
func (s *system) tellEnd(end trace.End) {
	switch {
	case end.Kind == trace.First:
		return
	case end.Well():
		s.log.Note("the last boot %s", end.Text)
	default:
		text := "the last boot did not end in order: " + end.Text
		if end.Trace != "" {
			text += "; more is in " + end.Trace
		}
		s.log.Note("%s", text)
	}
	if data, err := json.Marshal(end); err == nil {
		s.log.Status("last boot", data)
	}
}

// hardwareBit takes note that the hardware's watchdog caused the last reset.
func (s *system) hardwareBit() {
	s.state.Lock()
	old := s.memory.end
	if old == nil || old.Kind != trace.Reset && old.Kind != trace.Unfinished {
		s.state.Unlock()
		return
	}
	end := trace.Judge(s.memory.before, nil, true)
	s.memory.end = &end
	s.state.Unlock()
	s.tellEnd(end)
}

// lastBoot says how the boot before ended, for the status; nil when that is
// not known.
func (s *system) lastBoot() *trace.End {
	s.state.Lock()
	defer s.state.Unlock()
	return s.memory.end
}

// phase writes down how far this boot has come.
func (s *system) phase(p trace.Phase, why string) {
	s.state.Lock()
	if s.memory.traces == nil {
		s.state.Unlock()
		return
	}
	r := &s.memory.record
	r.Phase, r.Why, r.At, r.Uptime = p, why, time.Now().UTC(), timeline.Uptime().Seconds()
	record := *r
	s.state.Unlock()
	s.recording.Lock()
	defer s.recording.Unlock()
	if err := record.Save(bootFile); err != nil {
		s.log.Problem("%v", err)
	}
}

// verdict writes down the first verdict of this boot.
func (s *system) verdict(p trace.Phase, why string) {
	s.state.Lock()
	first := !s.memory.judged
	s.memory.judged = true
	if first && s.memory.traces == nil {
		s.memory.early = &trace.Record{Phase: p, Why: why}
		first = false
	}
	s.state.Unlock()
	if first {
		s.phase(p, why)
	}
}

// keepTrace keeps a trace, where there is somewhere lasting.
func (s *system) keepTrace(about, title, text string) {
	s.state.Lock()
	traces := s.memory.traces
	s.state.Unlock()
	if traces == nil {
		return
	}
	if _, err := traces.Add(about, title, text); err != nil {
		s.log.Problem("%v", err)
	}
}

const (
	// syslogReadAll is SYSLOG_ACTION_READ_ALL of syslog(2).
	syslogReadAll = 3
	// kernelLines is how many of the kernel's last lines go into a trace.
	kernelLines = 60
)

// kernelTail is the end of the kernel's log.
func kernelTail() string {
	buf := make([]byte, 32<<10)
	n, err := unix.Klogctl(syslogReadAll, buf)
	if err != nil {
		return fmt.Sprintf("(its log cannot be read: %v)", err)
	}
	lines := strings.Split(strings.TrimRight(string(buf[:n]), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-kernelLines):], "\n")
}

// lastWords keeps why init itself ends.
func (s *system) lastWords(why string) {
	s.keepTrace("init", "init could not go on", why)
	s.phase(trace.GaveUp, why)
}
