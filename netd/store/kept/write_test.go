package kept

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft/netd/lease"
	"weft/netd/store"
)

// unwritable is a folder below a file, until free removes that.
func unwritable(t *testing.T) (dir string, free func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(file, "state"), func() {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// running is a keeper over a store that a test speaks for, watched until stop
// is called.
func running(t *testing.T, k *Keeper) (says chan<- any, stop func()) {
	t.Helper()
	inner := &script{says: make(chan any)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, err := range k.Over(inner).Watch(ctx) {
			if err != nil {
				t.Error(err)
			}
		}
	}()
	return inner.says, func() { cancel(); <-ended }
}

// keepError is what the keeper's store tells.
func keepError(k *Keeper) (int, error) { return k.Over(nil).(*over).KeepError() }

var given = lease.Lease{Node: "self", UUID: self, IPv4: lease.Half{Subnet: netip.MustParsePrefix("10.244.7.0/24")}}

func publish(t *testing.T, k *Keeper) {
	t.Helper()
	err := k.Over(&script{grants: []lease.Lease{given}}).Publish(context.Background(), lease.Lease{Node: "self", UUID: self}, func(lease.Lease, error) {})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatCouldNotBeWrittenIsWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, free := unwritable(t)
		c := config(dir)
		var log bytes.Buffer
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		k := Open(c)
		says, stop := running(t, k)
		says <- full(5, 1, 2)
		publish(t, k)
		time.Sleep(time.Hour)
		synctest.Wait()
		// Tried all the time, but more and more seldom, and told once.
		times, err := keepError(k)
		if err == nil || times < int(time.Hour/retryMax) || times > int(time.Hour/retryMax)+10 {
			t.Errorf("%d errors in an hour, the last %v", times, err)
		}
		free()
		time.Sleep(retryMax)
		synctest.Wait()
		if _, err := keepError(k); err != nil {
			t.Error(err)
		}
		again := Open(config(dir))
		if names(again.leases) != "[k1 k2]" || len(again.Subnets()) != 1 {
			t.Errorf("kept are %s and %v", names(again.leases), again.Subnets())
		}
		stop()
		if n := strings.Count(log.String(), "cannot be kept"); n > 2 {
			t.Errorf("%d lines of the log:\n%s", n, &log)
		}
	})
}

// What could not be written is written at the end, also the last word that was
// heard.
func TestTheEndWritesWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, free := unwritable(t)
		k := Open(config(dir))
		says, stop := running(t, k)
		says <- full(5, 1)
		publish(t, k)
		time.Sleep(10 * time.Minute)
		free()
		says <- store.Update{Set: set(2), Revision: 6}
		synctest.Wait() // it has been heard, and the pause before the next write is not over
		stop()
		again := Open(config(dir))
		if names(again.leases) != "[k1 k2]" || len(again.Subnets()) != 1 {
			t.Errorf("kept are %s and %v", names(again.leases), again.Subnets())
		}
	})
}

// The store confirms the same subnets again and again; that is tried again
// until it is on disk, and then no more.
func TestOwnSubnetsAreWrittenOnce(t *testing.T) {
	dir, free := unwritable(t)
	k := Open(config(dir))
	publish(t, k)
	if _, err := keepError(k); err == nil {
		t.Fatal("it was written")
	}
	free()
	publish(t, k)
	if _, err := keepError(k); err != nil || len(Open(config(dir)).Subnets()) != 1 {
		t.Errorf("%v; kept are %v", err, Open(config(dir)).Subnets())
	}
	path := filepath.Join(dir, ownName)
	before, err := os.Stat(path)
	publish(t, k)
	after, errAfter := os.Stat(path)
	if errors.Join(err, errAfter) != nil || !os.SameFile(before, after) {
		t.Error("the same was written again")
	}
}

// A power cut in the middle of a write leaves one file, and the next write
// clears it away.
func TestHalfWrittenFilesDoNotPileUp(t *testing.T) {
	dir := t.TempDir()
	k := Open(config(dir))
	if err := os.WriteFile(filepath.Join(dir, "."+ownName+".tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	publish(t, k)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != ownName {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}
