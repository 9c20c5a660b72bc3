package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"weft/ext4"
	"weft/init/storage"
)

// dataFS is the data partition's file system on the real disk.
type dataFS struct {
	s    *system
	part storage.Partition
}

var _ storage.Filesystem = dataFS{}

// Probe reads the superblock.
func (f dataFS) Probe(device string) error {
	dev, err := os.Open(device)
	if err != nil {
		return err
	}
	defer dev.Close()
	info, err := ext4.Probe(dev)
	switch {
	case err != nil:
		return err
	case !info.ChecksumValid:
		return errors.New("the superblock's checksum is wrong")
	case info.HasErrors || info.Errors > 0:
		text := "the kernel has met damage in the data partition before"
		if info.Errors > 0 {
			text += fmt.Sprintf(", %d times, the last in %.40q at %s", info.Errors, info.LastError.Function, info.LastError.Time.Format(time.RFC3339))
		}
		f.s.log.Problem("%s; it goes on, but save what matters and check the disk (e2fsck)", text)
		f.s.disk.damage(int64(info.Errors))
		f.s.disk.add("damage was met before this boot")
	case info.NeedsRecovery:
		f.s.disk.add("the last boot did not leave it in order; its journal was replayed")
	}
	return nil
}

// SetAside keeps the damaged content in a partition of its own, if there is
// room. One that holds nothing at all is not worth it.
func (f dataFS) SetAside(device string, size int64) int64 {
	if empty, err := startsEmpty(device); empty || err != nil {
		return size // nothing to keep, or nothing that could be read again
	}
	var unique [16]byte
	if _, err := io.ReadFull(rand.Reader, unique[:]); err != nil {
		f.s.log.Problem("set the damaged data partition aside: random bytes: %v", err)
		return size
	}
	unique[7], unique[8] = unique[7]&0x0f|0x40, unique[8]&0x3f|0x80 // RFC 9562, version 4, as stored in a GPT
	left, kept, err := storage.SetAside(f.part, unique)
	if err != nil {
		f.s.log.Note("the damaged content is not kept: %v", err)
		return size
	}
	text := fmt.Sprintf("the first three quarters of the damaged data partition are kept as they were in %s (%s)", kept, storage.AsideName)
	f.s.log.Problem("%s; save what matters with e2fsck and debugfs on another machine", text)
	f.s.disk.setAside(kept, text)
	return left
}

// startsEmpty reports whether the first MiB of a device is all zeros.
func startsEmpty(device string) (bool, error) {
	dev, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer dev.Close()
	block := make([]byte, 64<<10)
	for range 16 {
		if _, err := io.ReadFull(dev, block); err != nil {
			return false, err
		}
		for _, b := range block {
			if b != 0 {
				return false, nil
			}
		}
	}
	return true, nil
}

// Make makes an empty file system.
func (f dataFS) Make(device string, bytes int64) error {
	p := ext4.Params{Size: bytes / ext4.BlockSize * ext4.BlockSize, Label: "weft-data", Epoch: time.Now()}
	for _, id := range [][]byte{p.UUID[:], p.HashSeed[:]} {
		if _, err := io.ReadFull(rand.Reader, id); err != nil {
			return fmt.Errorf("random bytes: %w", err)
		}
	}
	dev, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(ext4.Make(dev, p), dev.Sync(), dev.Close())
}

// Mount mounts on dataDir. Once the kernel meets damage it stops writing,
// so that the damage does not grow. discard is left out: it is done when the
// disk has nothing else to do, by those who want it. Device files and
// set-user-id programs are allowed: container runtimes may run images from
// right here. What is not synced is written after 15 s instead of 5: logs
// grow all the time, and a card that writes a third as often lives longer.
// Whatever must not be lost is synced by those who write it.
func (f dataFS) Mount(device string) error {
	return unix.Mount(device, dataDir, "ext4", unix.MS_NOATIME, "errors=remount-ro,commit=15")
}
