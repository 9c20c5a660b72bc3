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
type dataFS struct{ s *system }

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
	case info.HasErrors:
		f.s.log.Problem("the kernel has met damage in the data partition before; it goes on, but save what matters and check the disk (e2fsck)")
	}
	return nil
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
// right here.
func (f dataFS) Mount(device string) error {
	return unix.Mount(device, dataDir, "ext4", unix.MS_NOATIME, "errors=remount-ro")
}
