package flash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Darwin finds devices by diskutil, which every macOS has; the frameworks
// behind it need cgo.
type Darwin struct{}

var _ System = Darwin{}

// Host is the system this program runs on.
func Host() System { return Darwin{} }

func unmountCommand(d Device) string { return "diskutil unmountDisk " + d.Path }

// A plist is a property list as diskutil prints it: text, number, truth, list
// or dictionary.
type plist struct {
	text string
	list []plist
	dict map[string]plist
}

// diskutil runs a command of it that prints a property list.
func diskutil(ctx context.Context, args ...string) (plist, error) {
	out, err := exec.CommandContext(ctx, "/usr/sbin/diskutil", args...).Output()
	if err != nil {
		return plist{}, fmt.Errorf("diskutil %s: %w", strings.Join(args, " "), err)
	}
	dec := xml.NewDecoder(bytes.NewReader(out))
	for {
		tok, err := dec.Token()
		if err != nil {
			return plist{}, fmt.Errorf("diskutil %s: %w", strings.Join(args, " "), err)
		}
		if start, ok := tok.(xml.StartElement); ok && start.Name.Local != "plist" {
			return value(dec, start, 0)
		}
	}
}

// maxDepth bounds how deep a property list is nested; diskutil's go to 5.
const maxDepth = 20

func value(dec *xml.Decoder, start xml.StartElement, depth int) (plist, error) {
	p := plist{}
	kind := start.Name.Local
	if depth > maxDepth {
		return p, errors.New("a property list nested too deeply")
	}
	if kind != "dict" && kind != "array" {
		err := dec.DecodeElement(&p.text, &start)
		if kind == "true" {
			p.text = "true"
		}
		return p, err
	}
	p.dict = map[string]plist{}
	key := ""
	for {
		tok, err := dec.Token()
		if err != nil {
			return p, err
		}
		switch t := tok.(type) {
		case xml.EndElement:
			return p, nil
		case xml.StartElement:
			v, err := value(dec, t, depth+1)
			if err != nil {
				return p, err
			}
			switch {
			case kind == "array":
				p.list = append(p.list, v)
			case t.Name.Local == "key":
				key = v.text
			default:
				p.dict[key] = v
			}
		}
	}
}

// Devices lists the whole disks that are hardware.
func (Darwin) Devices(ctx context.Context) ([]Device, error) {
	all, err := diskutil(ctx, "list", "-plist", "physical")
	if err != nil {
		return nil, err
	}
	system, err := diskutil(ctx, "info", "-plist", "/")
	if err != nil {
		return nil, err
	}
	// With APFS, / is on a container whose stores are on real disks.
	boot := []string{system.dict["ParentWholeDisk"].text}
	for _, s := range system.dict["APFSPhysicalStores"].list {
		boot = append(boot, whole.FindString(s.dict["APFSPhysicalStore"].text))
	}
	var list []Device
	for _, disk := range all.dict["AllDisksAndPartitions"].list {
		d, err := describeDarwin(ctx, disk.dict["DeviceIdentifier"].text)
		if err != nil {
			continue // pulled out meanwhile
		}
		for _, p := range disk.dict["Partitions"].list {
			size, _ := strconv.ParseInt(p.dict["Size"].text, 10, 64)
			d.Partitions = append(d.Partitions, Partition{p.dict["DeviceIdentifier"].text, p.dict["VolumeName"].text, size})
			if m := p.dict["MountPoint"].text; m != "" {
				d.Mounts = append(d.Mounts, m)
			}
		}
		if m := disk.dict["MountPoint"].text; m != "" {
			d.Mounts = append(d.Mounts, m)
		}
		if contains(boot, d.Name) {
			d.System = "/ is on it"
		}
		list = append(list, d)
	}
	return list, nil
}

// whole is the disk in the name of a partition.
var whole = regexp.MustCompile(`^disk[0-9]+`)

func describeDarwin(ctx context.Context, name string) (Device, error) {
	info, err := diskutil(ctx, "info", "-plist", name)
	if err != nil {
		return Device{}, err
	}
	v := info.dict
	d := Device{Name: name, Path: "/dev/" + name, Model: v["MediaName"].text, Transport: strings.ToLower(v["BusProtocol"].text),
		Serial: v["DiskUUID"].text, Removable: v["RemovableMedia"].text == "true" || v["Ejectable"].text == "true" || v["Internal"].text != "true",
		ReadOnly: v["WritableMedia"].text != "true", Number: v["DeviceTreePath"].text}
	d.Size, _ = strconv.ParseInt(v["Size"].text, 10, 64)
	d.SectorSize, _ = strconv.Atoi(v["DeviceBlockSize"].text)
	return d, nil
}

// Open opens the raw device, which macOS does not cache.
func (Darwin) Open(ctx context.Context, d Device) (Disk, error) {
	f, err := os.OpenFile("/dev/r"+d.Name, os.O_RDWR|unix.O_EXLOCK|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EAGAIN):
		return nil, &Refusal{d.Name, ErrInUse, "", "unmount it: " + unmountCommand(d)}
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("%w\nfix: run it by sudo, and let the terminal use removable volumes (Privacy & Security)", err)
	case err != nil:
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_NOCACHE, 1); err != nil {
		f.Close()
		return nil, fmt.Errorf("device %s: F_NOCACHE: %w", d.Name, err)
	}
	now, err := describeDarwin(ctx, d.Name)
	if err != nil || !d.same(now) {
		f.Close()
		return nil, &Refusal{d.Name, ErrChanged, "", "see what is there now: weft flash"}
	}
	return &darwinDisk{f, d}, nil
}

// Changes reads what diskutil says of disks that come and go.
func (Darwin) Changes(ctx context.Context) iter.Seq[error] {
	return func(yield func(error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		cmd := exec.CommandContext(ctx, "/usr/sbin/diskutil", "activity")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			yield(fmt.Errorf("listen for devices: %w", err))
			return
		}
		defer func() { stop(); _ = cmd.Wait() }()
		if !yield(nil) {
			return
		}
		for lines := bufio.NewScanner(io.LimitReader(out, 1<<30)); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "***Disk") && !yield(nil) {
				return
			}
		}
		if ctx.Err() == nil {
			yield(errors.New("listen for devices: diskutil activity ended"))
		}
	}
}

// A darwinDisk is a raw device.
type darwinDisk struct {
	*os.File
	device Device
}

// Zero does nothing: macOS offers it to file systems alone.
func (d *darwinDisk) Zero(int64, int64) bool { return false }

// syncCache is DKIOCSYNCHRONIZECACHE, _IO('d', 22) [sys/disk.h]: fsync does
// not reach the device on a raw one.
const syncCache = 0x20006416

// Sync returns when the device has written what it was given.
func (d *darwinDisk) Sync() error { return unix.IoctlSetInt(int(d.Fd()), syncCache, 0) }

// Present looks whether there still is such a medium.
func (d *darwinDisk) Present() bool {
	now, err := describeDarwin(context.Background(), d.device.Name)
	return err == nil && now.Size == d.device.Size
}
