//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func ownCgroup() (string, error) {
	line, err := text("/proc/self/cgroup")
	_, path, _ := strings.Cut(line, "::")
	return "/sys/fs/cgroup" + path, err
}

// cgroupChecks: k3s pkg/cgroups/cgroups_linux.go, pkg/daemons/agent.
func cgroupChecks() []check {
	list := []check{
		{"cgroup v2 is at /sys/fs/cgroup", func() error {
			var st unix.Statfs_t
			if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil {
				return err
			}
			if st.Type != unix.CGROUP2_SUPER_MAGIC {
				return fmt.Errorf("its type is %#x", st.Type)
			}
			return nil
		}},
		{"PID 1 is in the root cgroup", equals("/proc/1/cgroup", "0::/")},
		{"the service is in a cgroup of its own", func() error {
			line, err := text("/proc/self/cgroup")
			if err == nil && line != "0::/services/k3s" {
				err = fmt.Errorf("it is in %s", line)
			}
			return err
		}},
		{"the number of processes is not bounded", func() error {
			own, err := ownCgroup()
			if err != nil {
				return err
			}
			return equals(own+"/pids.max", "max")()
		}},
		{"cgroups can be made beside the services", func() error {
			const dir = "/sys/fs/cgroup/kubepods"
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			for _, c := range []string{"cpu", "cpuset", "memory", "pids"} {
				if _, err := os.Stat(dir + "/cgroup.controllers"); err != nil {
					return err
				}
				have, err := text(dir + "/cgroup.controllers")
				if err != nil || !slices.Contains(strings.Fields(have), c) {
					return fmt.Errorf("%s is not among %s: %w", c, have, err)
				}
			}
			return os.Remove(dir)
		}},
	}
	for _, c := range []string{"cpu", "cpuset", "memory", "pids", "io"} {
		list = append(list, check{"the controller " + c + " is on in the root", func() error {
			on, err := text("/sys/fs/cgroup/cgroup.subtree_control")
			if err == nil && !slices.Contains(strings.Fields(on), c) {
				err = fmt.Errorf("on are %s", on)
			}
			return err
		}})
	}
	return list
}

// mountChecks: kubelet and containerd insist on shared mounts.
func mountChecks() []check {
	var list []check
	for _, m := range []struct {
		path, kind string
		shared     bool
	}{
		{"/", "", true}, {"/sys/fs/bpf", "bpf", true}, {"/proc", "proc", false}, {"/sys", "sysfs", false}, {"/dev", "devtmpfs", false},
		{"/dev/pts", "devpts", false}, {"/dev/shm", "tmpfs", false}, {"/dev/mqueue", "mqueue", false}, {"/run", "tmpfs", false}, {"/tmp", "tmpfs", false},
	} {
		name := m.path + " is mounted"
		if m.shared {
			name += ", and shared"
		}
		list = append(list, check{name, func() error {
			info, err := text("/proc/self/mountinfo")
			if err != nil {
				return err
			}
			for line := range strings.Lines(info) {
				f := strings.Fields(line)
				dash := slices.Index(f, "-")
				if dash < 6 || f[4] != m.path {
					continue
				}
				if m.kind != "" && f[dash+1] != m.kind {
					return fmt.Errorf("it is %s, want %s", f[dash+1], m.kind)
				}
				if m.shared && !strings.Contains(strings.Join(f[6:dash], " "), "shared:") {
					return errors.New("it is not a shared mount")
				}
				return nil
			}
			return errors.New("it is not a mount")
		}})
	}
	return append(list,
		check{"the root is no initramfs", func() error {
			var st unix.Statfs_t
			if err := unix.Statfs("/", &st); err != nil {
				return err
			}
			if st.Type == unix.RAMFS_MAGIC || st.Type == unix.TMPFS_MAGIC {
				return errors.New("pivot_root does not work here")
			}
			return nil
		}},
		check{"/dev/kmsg can be read", func() error {
			f, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.Read(make([]byte, 8192))
			return err
		}},
		check{"pseudo terminals open by /dev/pts/ptmx", func() error {
			f, err := os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err == nil && info.Mode().Perm() != 0o666 {
				err = fmt.Errorf("its mode is %s", info.Mode())
			}
			return err
		}},
		check{"an overlay can be mounted on the data", overlay},
	)
}

// overlay mounts one as containerd's snapshotter does.
func overlay() (err error) {
	base := "/var/lib/rancher/k3s-check"
	defer func() { err = errors.Join(err, os.RemoveAll(base)) }()
	for _, dir := range []string{"lower", "upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", base)
	if err := unix.Mount("overlay", base+"/merged", "overlay", 0, options); err != nil {
		return err
	}
	if err := os.WriteFile(base+"/merged/x", []byte("x"), 0o755); err != nil {
		return errors.Join(err, unix.Unmount(base+"/merged", 0))
	}
	return unix.Unmount(base+"/merged", 0)
}

// persistent are the folders that K3s, kubelet and CNI plugins write to.
var persistent = []string{
	"/var/lib/rancher", "/etc/rancher", "/var/lib/kubelet", "/var/lib/cni", "/etc/cni/net.d", "/opt/cni/bin",
	"/var/log/pods", "/var/log/containers",
}

func pathChecks() []check {
	var list []check
	for _, dir := range append(slices.Clone(persistent), "/run/k3s", "/run/flannel", "/tmp", "/etc/rancher/node") {
		list = append(list, check{dir + " can be written to", func() error { return writable(dir) }})
	}
	for _, dir := range persistent {
		if dir == "/etc/cni/net.d" {
			continue // netd writes there at each boot
		}
		list = append(list, check{dir + " outlives a boot", func() error {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			var here, data unix.Stat_t
			if err := errors.Join(unix.Stat(dir, &here), unix.Stat("/data", &data)); err != nil {
				return err
			}
			if here.Dev != data.Dev {
				return errors.New("it is not on the data partition")
			}
			return nil
		}})
	}
	return append(list, check{"programs on the data run", func() error {
		var st unix.Statfs_t
		if err := unix.Statfs("/var/lib/rancher", &st); err != nil {
			return err
		}
		if st.Flags&(unix.ST_NOEXEC|unix.ST_NOSUID|unix.ST_NODEV|unix.ST_RDONLY) != 0 {
			return fmt.Errorf("its flags are %#x", st.Flags)
		}
		return nil
	}})
}

func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "check")
	if err != nil {
		return err
	}
	_, err = f.WriteString("x")
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
