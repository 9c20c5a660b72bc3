package kept

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	// writeEvery is the shortest time between two writes of the leases: the
	// life of a memory card is counted in writes.
	writeEvery = 3 * time.Second
	// What could not be written is tried again after twice that time, doubled
	// up to retryMax.
	retryMax = 30 * time.Second
)

// dirty is what is to be written.
type dirty struct {
	own, leases bool
	wake        chan struct{} // of size 1
}

func newDirty() dirty { return dirty{wake: make(chan struct{}, 1)} }

// mark notes that one of the two is to be written.
func (d *dirty) mark(which *bool) {
	*which = true
	select {
	case d.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// disk is how writing goes.
type disk struct {
	writing sync.Mutex // one writes at a time
	err     error
	errors  int
}

// KeepError is how often what the store last said could not be written to
// disk, and why it is not there now.
func (o *over) KeepError() (times int, problem error) {
	k := o.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.disk.errors, k.disk.err
}

// keepWriting writes what has changed, not too often, again when it could not
// be written, and once more at the end.
func (k *Keeper) keepWriting(ended <-chan struct{}) {
	pause := writeEvery
	for {
		select {
		case <-ended:
			_ = k.write() // it tells of an error itself
			return
		case <-k.dirty.wake:
		}
		if !k.isDirty() {
			continue
		}
		if k.write() == nil {
			pause = writeEvery
		} else {
			pause = min(2*pause, retryMax)
		}
		calm := time.NewTimer(pause)
		select {
		case <-ended:
		case <-calm.C:
		}
		calm.Stop()
	}
}

func (k *Keeper) isDirty() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dirty.own || k.dirty.leases
}

// write writes what is to be written. What fails stays to be written; the
// error is told once, and when it is over.
func (k *Keeper) write() error {
	k.disk.writing.Lock()
	defer k.disk.writing.Unlock()
	k.mu.Lock()
	own, leases := k.dirty.own, k.dirty.leases
	if !own && !leases {
		k.mu.Unlock()
		return nil
	}
	k.dirty.own, k.dirty.leases = false, false
	subnets := ownFile{Owner: k.owner(), Subnets: slices.Clone(k.subnets)}
	last := leasesFile{Owner: k.owner(), Revision: k.revision, Leases: maps.Clone(k.leases),
		Held: slices.Sorted(maps.Keys(k.held)), HeldUntil: k.until.Unix()}
	k.mu.Unlock()
	if len(last.Held) == 0 {
		last.HeldUntil = 0
	}
	var ownErr, leasesErr error
	if own {
		ownErr = writeFile(filepath.Join(k.config.Dir, ownName), subnets)
	}
	if leases {
		leasesErr = writeFile(filepath.Join(k.config.Dir, leasesName), last)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if ownErr != nil {
		k.dirty.mark(&k.dirty.own)
	}
	if leasesErr != nil {
		k.dirty.mark(&k.dirty.leases)
	}
	err, was := errors.Join(ownErr, leasesErr), k.disk.err
	k.disk.err = err
	switch {
	case err != nil:
		k.disk.errors++
		if was == nil || was.Error() != err.Error() {
			k.config.Log.Warn("what the store said cannot be kept; it is tried again", "error", err)
		}
	case was != nil:
		k.config.Log.Info("what the store said is kept again")
	}
	return err
}
