package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"sync"
	"time"

	"weft/netd/cni"
	"weft/netd/firewall"
	"weft/netd/pathwatch"
	"weft/netd/reconcile"
	"weft/netd/status"
	"weft/netd/wanted"
	"weft/profiles"
)

// How often the files are looked at.
const (
	// filesVerify is how often without a reason, against what inotify does not
	// tell of; filesPoll how often where there is no inotify at all.
	filesVerify = 30 * time.Second
	filesPoll   = time.Second
	// What could not be written is tried again after filesRetryMin, doubled up
	// to filesRetryMax, and at once when something happens to the files.
	filesRetryMin = 400 * time.Millisecond
	filesRetryMax = 10 * time.Second
	// A repair follows at once, but the next one no sooner than filesGap: each
	// goes to the disk, and another daemon may write the same files.
	filesGap = 400 * time.Millisecond
)

// files keeps the files by which others learn of the network: as they should
// be, whoever changes or deletes them.
type files struct {
	paths profiles.NetdPaths
	log   *slog.Logger
	now   func() time.Time
	// changed is called when what is wrong is another thing than before,
	// except for what [files.set] itself finds.
	changed func()
	wake    chan struct{}

	mu       sync.Mutex
	last     cni.Network
	want     []file
	facts    status.FileFacts
	notEarly time.Time // repairs before this time would be too soon
}

// A file is what one of the files should hold.
type file struct {
	path string
	data []byte
}

func newFiles(paths profiles.NetdPaths, log *slog.Logger, now func() time.Time, changed func()) *files {
	return &files{paths: paths, log: log, now: now, changed: changed, wake: make(chan struct{}, 1)}
}

// set makes the files tell of a snapshot. Until the tunnel devices are known
// there is nothing to tell. That the files stay so is for [files.run].
func (f *files) set(s reconcile.Snapshot) {
	if s.MTU() == 0 {
		return
	}
	n := networkOf(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	if reflect.DeepEqual(n, f.last) {
		return
	}
	conflist, err := cni.Conflist(n)
	if err != nil { // it holds strings and numbers: this cannot be
		f.note(err)
		return
	}
	f.last = n
	f.want = []file{{f.paths.SubnetEnv, cni.SubnetEnv(n)}, {f.paths.CNI, conflist}}
	f.write(false)
	if f.facts.Error != nil {
		f.poke()
	}
}

// write writes what is not as it should be. With repair, that is what somebody
// else has done. The lock is held.
func (f *files) write(repair bool) {
	var all []error
	for _, one := range f.want {
		written, err := cni.WriteFile(one.path, one.data)
		all = append(all, err)
		if !written || !repair {
			continue
		}
		f.facts.Repairs++
		f.facts.LastRepair = f.now()
		f.log.Info("file repaired", "file", one.path)
	}
	f.note(errors.Join(all...))
}

// note keeps what is wrong now, and logs what is news. The lock is held.
func (f *files) note(err error) {
	was := f.facts.Error
	f.facts.Error = err
	switch {
	case err != nil && (was == nil || was.Error() != err.Error()):
		f.log.Error("files", "error", err)
	case err == nil && was != nil:
		f.log.Info("the files are written")
	}
}

// run keeps the files until ctx ends, and leaves them.
func (f *files) run(ctx context.Context) {
	verify := filesVerify
	heard, err := f.listen(ctx)
	if err != nil {
		f.log.Error("files: changes are seen late", "error", err, "every", filesPoll)
		verify = filesPoll
	} else {
		defer func(listener <-chan struct{}) {
			for range listener { // until it has ended, too
			}
		}(heard)
	}
	timer := time.NewTimer(0) // what happened before it listened
	defer timer.Stop()
	retry := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-heard:
			if !open {
				heard, verify = nil, filesPoll
			}
		case <-f.wake:
		case <-timer.C:
		}
		wait, failed := f.keep()
		switch {
		case wait > 0: // too soon
		case failed:
			retry = min(max(2*retry, filesRetryMin), filesRetryMax)
			wait = retry
		default:
			retry, wait = 0, verify
		}
		timer.Reset(wait)
	}
}

// listen wakes run when something happens to the files. The channel is closed
// when nothing more will be heard.
func (f *files) listen(ctx context.Context) (<-chan struct{}, error) {
	changes, err := pathwatch.Changes(ctx, f.paths.SubnetEnv, f.paths.CNI)
	if err != nil {
		return nil, err
	}
	heard := make(chan struct{}, 1)
	go func() {
		defer close(heard)
		for _, err := range changes {
			if err != nil {
				f.log.Error("files: changes are seen late", "error", err, "every", filesPoll)
				return
			}
			select {
			case heard <- struct{}{}:
			default: // it will look anyway
			}
		}
	}()
	return heard, nil
}

// keep makes the files as they should be. A wait says that it would be too
// soon, failed that it did not work.
func (f *files) keep() (wait time.Duration, failed bool) {
	f.mu.Lock()
	if early := f.notEarly.Sub(f.now()); early > 0 {
		f.mu.Unlock()
		return early, false
	}
	was, repairs := f.facts.Error, f.facts.Repairs
	// What was never written is no repair when it succeeds at last.
	f.write(was == nil)
	is := f.facts.Error
	if is != nil || f.facts.Repairs != repairs {
		f.notEarly = f.now().Add(filesGap)
	}
	f.mu.Unlock()
	if (was == nil) != (is == nil) || was != nil && was.Error() != is.Error() {
		f.changed()
	}
	return 0, is != nil
}

func (f *files) poke() {
	select {
	case f.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// about is how the files stand. With look they are read; one that is not as
// it should be is put right soon after.
func (f *files) about(look bool) status.FileFacts {
	f.mu.Lock()
	defer f.mu.Unlock()
	facts := f.facts
	if !look || facts.Error != nil {
		return facts
	}
	for _, one := range f.want {
		have, err := os.ReadFile(one.path)
		if err == nil && !bytes.Equal(have, one.data) {
			err = fmt.Errorf("%s was changed and is being written again", one.path)
		}
		if err != nil {
			facts.Error = err
			f.poke()
			break
		}
	}
	return facts
}

// networkOf is what the files tell of.
func networkOf(s reconcile.Snapshot) cni.Network {
	n := cni.Network{MTU: s.MTU()}
	for _, family := range wanted.Families(s.Node, s.Config.Network) {
		n.Networks = append(n.Networks, family.Network)
		n.Subnets = append(n.Subnets, netip.PrefixFrom(family.Own.Addr(), family.Own.Bits()))
	}
	for _, table := range firewall.Wanted(s.Node, s.Config.Network).Tables {
		n.Masquerade = n.Masquerade || len(table.Postrouting) > 0
	}
	return n
}
