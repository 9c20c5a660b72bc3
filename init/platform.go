package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/keep"
	"weft/init/metadata"
)

// driveDir is where a configuration drive is mounted while it is read.
const driveDir = runDir + "/drive"

// askPlatform asks the cloud, or a drive that a hypervisor put in, what it
// calls the node; empty for nothing. It is bounded, and nothing but a node
// without a name waits for it.
func (s *system) askPlatform() metadata.Data {
	if drive, ok := metadata.FindDrive("/sys/class/block", "/dev"); ok {
		data, err := s.readDrive(drive)
		if err == nil {
			return data
		}
		s.log.Problem("configuration drive %s: %v", drive.Device, err)
	}
	if !s.cloud.known {
		return metadata.Data{}
	}
	ctx, cancel := context.WithTimeout(s.ctx, metadata.Within)
	defer cancel()
	step := s.log.Start("metadata of " + s.cloud.platform.Name)
	select {
	case <-s.addressed:
	case <-ctx.Done():
		step.Fail(errors.New("the node has no address"))
		return metadata.Data{}
	}
	client := metadata.Client{Dial: new(net.Dialer).DialContext, Zone: s.firstUplink(), Retry: 500 * time.Millisecond}
	data, err := client.Ask(ctx, s.cloud.platform)
	if err != nil {
		step.Fail(err)
		return metadata.Data{}
	}
	step.Done("hostname " + data.Hostname + " from " + data.From)
	return data
}

// readDrive reads the hostname off a configuration drive.
func (s *system) readDrive(drive metadata.Drive) (data metadata.Data, err error) {
	s.need(drive.Modules...)
	if err := os.MkdirAll(driveDir, 0o700); err != nil {
		return data, err
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount(drive.Device, driveDir, drive.Type, flags, ""); err != nil {
		return data, err
	}
	defer func() { err = errors.Join(err, unix.Unmount(driveDir, 0)) }()
	text, err := keep.Read(filepath.Join(driveDir, drive.File), metadata.MaxDrive)
	if err != nil {
		return data, err
	}
	if data, err = drive.Read(text); err == nil {
		data.From = drive.Device
	}
	return data, err
}

// firstUplink is the name of the first uplink.
func (s *system) firstUplink() string {
	s.state.Lock()
	defer s.state.Unlock()
	if len(s.uplinks) == 0 {
		return ""
	}
	return s.uplinks[0].Device.Name
}

// detectCloud finds the platform before anything is asked.
func (s *system) detectCloud() {
	s.cloud.platform, s.cloud.known = metadata.Detect("/")
	if s.cloud.known {
		s.log.Note("this is a machine of %s", s.cloud.platform.Name)
		s.cloud.platform.Hosts = slices.Clone(s.cloud.platform.Hosts)
	}
}
