package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/clock"
	"weft/init/modules"
	"weft/init/ready"
	"weft/init/storage"
	"weft/profiles"
)

const (
	// dataDir is where the data partition is mounted; /var and /opt of the
	// root lead into it.
	dataDir = "/data"
	// stateDir holds weft's own state.
	stateDir = dataDir + "/weft"
	// clockFile keeps the last known time.
	clockFile = stateDir + "/clock"
	// dataWithin is how long the data partition may take to appear. It is on
	// the root's disk, whose partitions come all at once.
	dataWithin = 10 * time.Second
)

// dataDirs are the directories that programs expect below the data partition,
// with their modes.
var dataDirs = []struct {
	path string
	mode os.FileMode
}{
	{"var", 0o755}, {"var/lib", 0o755}, {"var/lib/cni", 0o755}, {"var/log", 0o755},
	{"var/cache", 0o755}, {"var/spool", 0o755}, {"var/tmp", 0o777 | os.ModeSticky},
	{"opt", 0o755}, {"opt/cni", 0o755}, {"opt/cni/bin", 0o755},
	{"etc", 0o755}, {"etc/rancher", 0o755}, {"var/lib/rancher", 0o755}, {"var/lib/kubelet", 0o755},
	{"var/log/pods", 0o755}, {"var/log/containers", 0o755},
	{"weft", 0o700},
}

// openData mounts the data partition, or memory in its place, and then lets
// it grow.
func (s *system) openData() {
	part, err := s.mountData()
	if err != nil {
		s.log.Problem("data partition: %v; /data is in memory and lost at the next boot", err)
		if merr := unix.Mount("data", dataDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=50%"); merr != nil {
			s.log.Problem("tmpfs on %s: %v", dataDir, merr)
		}
	} else {
		s.state.Lock()
		s.stateDir = stateDir
		s.state.Unlock()
		s.disk.mounted(part)
		if why := s.disk.worn(); why != "" {
			s.log.Problem("the card %s is worn out: %s; save what matters and replace it", part.Disk, why)
		}
	}
	damage := makeDataDirs()
	if damage != nil {
		s.log.Problem("%v", damage)
	}
	if err == nil {
		s.sweepState()
		s.keepTime()
	}
	close(s.dataDone)
	if err != nil {
		s.board.Set(itemData, ready.Failed, err.Error())
		return
	}
	if damage != nil {
		// It could be mounted, so what it holds is not thrown away; but
		// nothing can be kept there, and a node that forgets is not ready.
		s.board.Set(itemData, ready.Failed, fmt.Sprintf("%s is damaged, check it with e2fsck: %v", part.Name, damage))
		return
	}
	// Growing goes on beside the rest of the boot: the file system is in use
	// meanwhile, and a power cut at any moment leaves it sound.
	s.grow(part)
	s.board.Set(itemData, ready.Good, "")
	s.watchDisk()
}

// mountData finds, checks and mounts the data partition.
func (s *system) mountData() (storage.Partition, error) {
	id, ok := s.args.PartUUID(profiles.ArgData)
	if !ok {
		return storage.Partition{}, fmt.Errorf("the kernel argument %s=PARTUUID=… is missing", profiles.ArgData)
	}
	part, err := s.devices.partition(s.ctx, id, dataWithin)
	if err != nil {
		return part, err
	}
	s.need("ext4")
	step := s.log.Start("data partition")
	remade, err := storage.Open(dataFS{s, part}, part.Device(), int64(part.Size)*storage.Sector)
	if remade != nil && err == nil {
		s.log.Problem("THE DATA PARTITION %s WAS NOT SOUND AND HAS BEEN MADE NEW: %v. "+
			"What it held is %s: this node has a new identity and, unless the node file names it, may have a new name. "+
			"If this happens again, replace the disk.", part.Name, remade, s.disk.where())
		s.disk.add("it was not sound and has been made new at this boot")
	}
	if err != nil {
		step.Fail(err)
		return part, err
	}
	step.Done(part.Name)
	return part, nil
}

// need loads modules that init itself needs. One that the root does not carry
// is built in, or was loaded in the initramfs, or is missed by what comes
// next, which then says so.
func (s *system) need(names ...string) {
	loader := s.theLoader()
	if loader == nil {
		return
	}
	loader.LoadAll(names, modules.Urgent, func(r modules.Result) {
		if !errors.Is(r.Err, modules.ErrUnknown) {
			s.driverLoaded(r)
		}
	})
}

// makeDataDirs makes the directories programs expect.
func makeDataDirs() error {
	var errs []error
	for _, d := range dataDirs {
		path := filepath.Join(dataDir, d.path)
		if err := os.Mkdir(path, d.mode); err != nil && !os.IsExist(err) {
			errs = append(errs, err)
			continue
		}
		// Mkdir knows no sticky bit and obeys the umask.
		if err := os.Chmod(path, d.mode); err != nil {
			errs = append(errs, err)
		}
	}
	for name, target := range map[string]string{"var/run": "/run", "var/lock": "/run/lock"} {
		if err := os.Symlink(target, filepath.Join(dataDir, name)); err != nil && !os.IsExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// keepTime sets the clock by the kept time and keeps it from now on.
func (s *system) keepTime() {
	kept, err := clock.Load(clockFile)
	if err != nil {
		s.log.Problem("%s: %v; it is written anew", clockFile, err)
	}
	s.setClock(kept)
	ticker := time.NewTicker(clock.SaveEvery)
	s.goes(func() {
		defer ticker.Stop()
		clock.Keep(s.ctx, ticker.C, s.saveTime)
	})
}

// saveTime keeps the present time.
func (s *system) saveTime() {
	if err := s.keepState(func() error { return clock.Save(clockFile, time.Now()) }); err != nil {
		s.log.Problem("%v", err)
	}
}

// grow lets the data partition fill its disk. A failure costs room, nothing
// else.
func (s *system) grow(part storage.Partition) {
	step := s.log.Start("grow data")
	g, err := storage.GrowPartition(part)
	if err != nil {
		step.Fail(err)
	} else if g.Grown > 0 {
		step.Done(fmt.Sprintf("%s is now %d MiB", part.Name, (g.Last-g.First+1)*uint64(sectorSize(part))>>20))
	} else if g.Why != "" {
		step.Done("partition table repaired: " + g.Why)
	}
	size, err := deviceSize(part.Device())
	if err != nil {
		s.log.Problem("%v", err)
		return
	}
	step = s.log.Start("grow file system")
	switch gained, err := storage.GrowFilesystem(dataDir, size); {
	case err != nil:
		step.Fail(err)
	case gained > 0:
		step.Done(fmt.Sprintf("%d MiB more", gained>>20))
	}
}

// deviceSize is the size of a block device, in bytes.
func deviceSize(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return storage.Bytes(f)
}

// sectorSize is the sector size of a partition's disk; 512 when it cannot be
// asked.
func sectorSize(p storage.Partition) int {
	f, err := os.Open(p.DiskDevice())
	if err != nil {
		return storage.Sector
	}
	defer f.Close()
	d, err := storage.Geometry(f)
	if err != nil {
		return storage.Sector
	}
	return d.SectorSize
}
