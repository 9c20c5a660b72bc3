//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// needs are the options of the kernel that check-config.sh of K3s fails
// without; of those in one row, one is enough: newer kernels have the rules of
// nftables in the place of iptables' own.
var needs = [][]string{
	{"NAMESPACES"}, {"NET_NS"}, {"PID_NS"}, {"IPC_NS"}, {"UTS_NS"}, {"CGROUPS"}, {"CGROUP_PIDS"},
	{"CGROUP_CPUACCT", "CGROUP_SCHED"}, {"CGROUP_DEVICE", "CGROUP_BPF"}, {"CGROUP_FREEZER"}, {"CGROUP_SCHED"}, {"CPUSETS"},
	{"MEMCG"}, {"SECCOMP"}, {"KEYS"}, {"POSIX_MQUEUE"}, {"CFS_BANDWIDTH"}, {"BPF_SYSCALL"}, {"CGROUP_BPF"},
}

// features are modules, or what makes them needless, that must be there when
// the agent starts; of those in one row, one is enough.
var features = [][]string{
	{"overlay"}, {"veth"}, {"bridge"}, {"br_netfilter"}, {"nf_conntrack"}, {"vxlan"},
	{"iptable_nat", "nft_chain_nat"}, {"iptable_filter", "nf_tables"}, {"nf_nat"},
	{"xt_addrtype"}, {"xt_conntrack"}, {"xt_comment"}, {"xt_multiport"}, {"xt_statistic"}, {"xt_mark"}, {"xt_nat"},
	{"xt_MASQUERADE"}, {"ip_set"}, {"xt_set"},
}

// features4 are what they need beside for IPv4.
var features4 = [][]string{{"ipt_REJECT", "nft_reject_ipv4"}}

// features6 are what they need beside for IPv6 (k3s pkg/agent/syssetup).
var features6 = [][]string{
	{"ip6table_nat", "nft_chain_nat"}, {"ip6table_filter", "nf_tables"}, {"ip6t_REJECT", "nft_reject_ipv6"},
}

func kernelChecks(f families) []check {
	var list []check
	release := func() string {
		var uts unix.Utsname
		_ = unix.Uname(&uts) // never fails with a sound pointer
		return unix.ByteSliceToString(uts.Release[:])
	}
	config, configErr := kernelConfig()
	for _, row := range needs {
		list = append(list, check{"kernel has CONFIG_" + strings.Join(row, " or "), func() error {
			if configErr != nil {
				return configErr
			}
			for _, name := range row {
				if config == nil || config["CONFIG_"+name] {
					return nil
				}
			}
			return errors.New("not set")
		}})
	}
	builtin, _ := text("/usr/lib/modules/" + release() + "/modules.builtin")
	rows := slices.Clone(features)
	if f.ipv4 {
		rows = append(rows, features4...)
	}
	if f.ipv6 {
		rows = append(rows, features6...)
	}
	for _, row := range rows {
		list = append(list, check{"kernel can do " + strings.Join(row, " or "), func() error {
			for _, name := range row {
				if _, err := os.Stat("/sys/module/" + name); err == nil {
					return nil
				}
				if strings.Contains(strings.ReplaceAll(builtin, "-", "_"), "/"+name+".ko") {
					return nil
				}
			}
			return errors.New("neither loaded nor built in")
		}})
	}
	// What K3s loads when it starts, in its way (k3s pkg/agent/syssetup); less
	// nft-expr-counter, which nf_tables has itself since Linux 5.17.
	for _, name := range []string{"overlay", "nf_conntrack", "br_netfilter", "nfnetlink-subsys-11", "nft-chain-2-nat"} {
		list = append(list, check{"modprobe -- " + name, func() error {
			out, err := exec.Command("modprobe", "--", name).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			return err
		}})
	}
	return append(list, check{"the kernel's way to a module loader leads somewhere", func() error {
		path, err := text("/proc/sys/kernel/modprobe")
		if err == nil && path != "" {
			_, err = os.Stat(path)
		}
		return err
	}})
}

// kernelConfig reads /proc/config.gz; a kernel without it, as Debian's, is
// taken to have what its interfaces show.
func kernelConfig() (map[string]bool, error) {
	data, err := os.ReadFile("/proc/config.gz")
	if errors.Is(err, os.ErrNotExist) {
		return shown()
	}
	if err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(r)
	set := map[string]bool{}
	for line := range strings.Lines(string(all)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && (value == "y" || value == "m") {
			set[name] = true
		}
	}
	return set, err
}

// shown derives options from what the kernel offers.
func shown() (map[string]bool, error) {
	set := map[string]bool{}
	exists := func(path string, names ...string) {
		if _, err := os.Stat(path); err == nil {
			for _, name := range names {
				set["CONFIG_"+name] = true
			}
		}
	}
	exists("/proc/self/ns/net", "NAMESPACES", "NET_NS")
	exists("/proc/self/ns/pid", "PID_NS")
	exists("/proc/self/ns/ipc", "IPC_NS")
	exists("/proc/self/ns/uts", "UTS_NS")
	exists("/proc/keys", "KEYS")
	exists("/dev/mqueue", "POSIX_MQUEUE")
	exists("/proc/sys/kernel/seccomp/actions_avail", "SECCOMP")
	exists("/proc/sys/kernel/unprivileged_bpf_disabled", "BPF_SYSCALL")
	controllers, err := text("/sys/fs/cgroup/cgroup.controllers")
	for _, c := range strings.Fields(controllers) {
		switch c {
		case "pids":
			set["CONFIG_CGROUP_PIDS"] = true
		case "cpu":
			set["CONFIG_CGROUP_SCHED"] = true
		case "cpuset":
			set["CONFIG_CPUSETS"] = true
		case "memory":
			set["CONFIG_MEMCG"] = true
		}
	}
	exists("/sys/fs/cgroup/cgroup.procs", "CGROUPS")
	own, err2 := ownCgroup()
	exists(own+"/cgroup.freeze", "CGROUP_FREEZER")
	exists(own+"/cpu.max", "CFS_BANDWIDTH")
	if attachable() {
		set["CONFIG_CGROUP_BPF"] = true
	}
	return set, errors.Join(err, err2)
}

// attachable reports whether programs can be attached to cgroups: asking which
// there are is refused with EINVAL by a kernel without CONFIG_CGROUP_BPF.
func attachable() bool {
	fd, err := unix.Open("/sys/fs/cgroup", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// union bpf_attr, query (include/uapi/linux/bpf.h).
	attr := struct {
		target, attachType, query, flags uint32
		ids                              uint64
		count, pad                       uint32
		more                             [64]byte
	}{target: uint32(fd), attachType: 6 /* BPF_CGROUP_DEVICE */}
	const bpfProgQuery = 16
	_, _, errno := syscall.Syscall(unix.SYS_BPF, bpfProgQuery, pointer(&attr), 64)
	return errno == 0
}
