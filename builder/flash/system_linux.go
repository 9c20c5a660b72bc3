package flash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Linux finds devices in sysfs. Root is "/", or a folder with a copy of /sys
// and /proc.
type Linux struct{ Root string }

var _ System = Linux{}

// Host is the system this program runs on.
func Host() System { return Linux{"/"} }

func unmountCommand(d Device) string { return "umount " + strings.Join(d.Mounts, " ") }

// text reads a file of one line; "" if there is none.
func (l Linux) text(parts ...string) string {
	b, err := os.ReadFile(filepath.Join(append([]string{l.Root}, parts...)...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (l Linux) names(parts ...string) []string {
	entries, err := os.ReadDir(filepath.Join(append([]string{l.Root}, parts...)...))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Devices lists the disks of sysfs, and loop devices that have a file. What is
// made of other devices (LVM, RAID) or of memory is no place for an image.
func (l Linux) Devices(context.Context) ([]Device, error) {
	uses, err := l.uses()
	if err != nil {
		return nil, err
	}
	var list []Device
	for _, name := range l.names("sys/block") {
		if strings.HasPrefix(name, "dm-") || strings.HasPrefix(name, "md") || strings.HasPrefix(name, "zram") || strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "sr") {
			continue
		}
		if strings.HasPrefix(name, "mmcblk") && strings.Contains(name, "boot") {
			continue // the boot areas of an eMMC are no disks
		}
		d := l.device(name)
		if strings.HasPrefix(name, "loop") && d.Size == 0 {
			continue
		}
		l.occupy(&d, name, uses, map[string]bool{})
		sort.Strings(d.Mounts)
		d.Mounts = slices.Compact(d.Mounts)
		list = append(list, d)
	}
	return list, nil
}

// device reads what a device says of itself.
func (l Linux) device(name string) Device {
	dir := "sys/block/" + name
	d := Device{Name: name, Path: "/dev/" + name, Number: l.text(dir, "dev"), ReadOnly: l.text(dir, "ro") == "1", Removable: l.text(dir, "removable") == "1"}
	d.Size, _ = strconv.ParseInt(l.text(dir, "size"), 10, 54)
	d.Size *= sectorSize // sysfs counts in 512 bytes, whatever the sectors are
	d.SectorSize, _ = strconv.Atoi(l.text(dir, "queue/logical_block_size"))
	d.Sequence, _ = strconv.ParseUint(l.text(dir, "diskseq"), 10, 64)
	d.Vendor, d.Model = l.text(dir, "device/vendor"), l.text(dir, "device/model")
	if strings.HasPrefix(d.Vendor, "0x") {
		d.Vendor = "" // a PCI number says nothing to people
	}
	real, _ := filepath.EvalSymlinks(filepath.Join(l.Root, dir))
	switch {
	case strings.HasPrefix(name, "mmcblk"):
		d.Transport, d.Model, d.Serial = "mmc", l.text(dir, "device/name"), l.text(dir, "device/cid")
		// A card in a slot is not marked removable; an eMMC is soldered.
		d.Removable = l.text(dir, "device/type") == "SD"
	case strings.HasPrefix(name, "nvme"):
		d.Transport, d.Serial = "nvme", l.text(dir, "device/serial")
	case strings.HasPrefix(name, "loop"):
		d.Transport, d.Model = "loop", l.text(dir, "loop/backing_file")
	case strings.Contains(real, "/usb"):
		d.Transport, d.Removable = "usb", true
		// The serial is the USB device's, a few folders up.
		for up := real; d.Serial == "" && strings.Contains(up, "/usb"); up = filepath.Dir(up) {
			if b, err := os.ReadFile(filepath.Join(up, "serial")); err == nil {
				d.Serial = strings.TrimSpace(string(b))
			}
		}
	default:
		d.Serial = l.text(dir, "serial") // virtio
		if d.Serial == "" {
			d.Serial = strings.TrimSpace(strings.ToValidUTF8(l.page(dir), ""))
		}
	}
	for _, part := range l.partitions(name) {
		size, _ := strconv.ParseInt(l.text(dir, part, "size"), 10, 54)
		label := ""
		for line := range strings.Lines(l.text(dir, part, "uevent")) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PARTNAME="); ok {
				label = v
			}
		}
		d.Partitions = append(d.Partitions, Partition{Name: part, Label: label, Size: size * sectorSize})
	}
	return d
}

// page is the serial of a SCSI disk: page 0x80 of its vital product data
// [SPC-4, 7.8.12], four bytes of header before it.
func (l Linux) page(dir string) string {
	b := l.text(dir, "device/vpd_pg80")
	if len(b) < 4 {
		return ""
	}
	return strings.Trim(b[4:], "\x00 ")
}

func (l Linux) partitions(name string) []string {
	var parts []string
	for _, p := range l.names("sys/block", name) {
		if strings.HasPrefix(p, name) && l.text("sys/block", name, p, "partition") != "" {
			parts = append(parts, p)
		}
	}
	sort.Slice(parts, func(i, j int) bool {
		if len(parts[i]) != len(parts[j]) {
			return len(parts[i]) < len(parts[j])
		}
		return parts[i] < parts[j]
	})
	return parts
}

// A use is what a block device is for, by its number.
type use struct{ mount, swap string }

// uses reads what is mounted and swapped to. Btrfs has a number of its own in
// the list of mounts, so that the source is looked at too.
func (l Linux) uses() (map[string][]use, error) {
	uses := map[string][]use{}
	f, err := os.Open(filepath.Join(l.Root, "proc/self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("what is mounted: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields, source := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 {
			continue
		}
		u := use{mount: unescape.Replace(fields[4])}
		uses[fields[2]] = append(uses[fields[2]], u)
		if len(source) > 1 {
			if n := l.number(source[1]); n != "" && n != fields[2] {
				uses[n] = append(uses[n], u)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("what is mounted: %w", err)
	}
	for i, line := range strings.Split(l.text("proc/swaps"), "\n") {
		fields := strings.Fields(line)
		if i == 0 || len(fields) == 0 {
			continue
		}
		if n := l.number(fields[0]); n != "" {
			uses[n] = append(uses[n], use{swap: fields[0]})
		}
	}
	return uses, nil
}

// unescape undoes what the kernel does to spaces and the like in mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// number is that of a block device, or of the one a swap file lies on.
func (l Linux) number(path string) string {
	if !strings.HasPrefix(path, "/") {
		return ""
	}
	name := filepath.Base(path)
	if n := l.text("sys/class/block", name, "dev"); n != "" && strings.HasPrefix(path, "/dev/") {
		return n
	}
	var st unix.Stat_t
	if unix.Stat(filepath.Join(l.Root, path), &st) != nil {
		return ""
	}
	dev := st.Dev
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		dev = st.Rdev
	}
	return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
}

// systemFolders are those without which a system does not run or boot.
var systemFolders = []string{"/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/usr", "/var", "/etc", "/nix", "/sysroot"}

// occupy notes what uses a block device, its partitions and all that is made
// of them: volumes, arrays, and loop devices whose file lies there.
func (l Linux) occupy(d *Device, name string, uses map[string][]use, seen map[string]bool) {
	if seen[name] {
		return
	}
	seen[name] = true
	via := ""
	if name != d.Name {
		via = " (" + name + ")"
	}
	dir := "sys/class/block/" + name
	number := l.text(dir, "dev")
	for _, u := range uses[number] {
		switch {
		case u.swap != "":
			d.System = "the system swaps to " + u.swap + via
		case slices.Contains(systemFolders, u.mount):
			if d.System == "" || u.mount == "/" {
				d.System = u.mount + " is on it" + via
			}
			d.Mounts = append(d.Mounts, u.mount)
		default:
			d.Mounts = append(d.Mounts, u.mount)
		}
	}
	for _, part := range l.partitions(name) {
		l.occupy(d, part, uses, seen)
	}
	for _, holder := range l.names(dir, "holders") {
		if !seen[holder] {
			what := holder
			if v := l.text("sys/class/block", holder, "dm/name"); v != "" {
				what = v
			}
			d.Users = append(d.Users, what)
		}
		l.occupy(d, holder, uses, seen)
	}
	for _, loop := range l.names("sys/block") {
		backing := l.text("sys/block", loop, "loop/backing_file")
		if backing != "" && !seen[loop] && l.number(backing) == number && number != "" {
			l.occupy(d, loop, uses, seen)
		}
	}
}

// Open opens a device that nothing else has open exclusively, and looks
// whether it is still the one described.
func (l Linux) Open(ctx context.Context, d Device) (Disk, error) {
	// O_EXCL on a block device fails when it is mounted or held (open(2)).
	f, err := os.OpenFile(d.Path, os.O_RDWR|unix.O_EXCL|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, &Refusal{d.Name, ErrInUse, "the kernel says that something has it", "see: lsblk " + d.Path + "; fuser -v " + d.Path}
	case errors.Is(err, unix.EROFS):
		return nil, &Refusal{d.Name, ErrReadOnly, "", "move the lock on the side of the card"}
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOMEDIUM):
		return nil, &Refusal{d.Name, ErrChanged, "it is gone", "put it in again, and see: weft flash"}
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("%w\nfix: run it as root, or join the group that may write to it (disk)", err)
	case err != nil:
		return nil, err
	}
	disk := &linuxDisk{File: f, system: l, device: d}
	now := l.device(d.Name)
	if seq, err := disk.sequence(); err == nil && seq != 0 {
		now.Sequence = seq
	}
	if !d.same(now) {
		f.Close()
		return nil, &Refusal{d.Name, ErrChanged, fmt.Sprintf("it was %s with %d bytes, it is %s with %d", d.Proof(), d.Size, now.Proof(), now.Size), "see what is there now: weft flash"}
	}
	return disk, nil
}

// Changes listens for the kernel's messages about block devices.
func (l Linux) Changes(ctx context.Context) iter.Seq[error] {
	return func(yield func(error) bool) {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
		if err != nil {
			yield(fmt.Errorf("listen for devices: %w", err))
			return
		}
		socket := os.NewFile(uintptr(fd), "uevents")
		defer socket.Close()
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
			yield(fmt.Errorf("listen for devices: %w", err))
			return
		}
		stop := context.AfterFunc(ctx, func() { socket.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
		if !yield(nil) {
			return
		}
		buf := make([]byte, 16<<10)
		for {
			n, err := socket.Read(buf)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, unix.ENOBUFS): // some were lost: look again
			case err != nil:
				yield(fmt.Errorf("listen for devices: %w", err))
				return
			case !strings.Contains(string(buf[:n]), "\x00SUBSYSTEM=block\x00"):
				continue
			}
			if !yield(nil) {
				return
			}
		}
	}
}
