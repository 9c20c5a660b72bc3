//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// checks lists everything, in the order in which K3s would meet it.
func checks() []check {
	return slices.Concat(kernelChecks(), cgroupChecks(), mountChecks(), pathChecks(), sysctlChecks(), fileChecks(), processChecks(), networkChecks())
}

// text reads a file without the space around its content.
func text(path string) (string, error) {
	data, err := os.ReadFile(path)
	return strings.TrimSpace(string(data)), err
}

// equals wants a file to hold a value.
func equals(path, want string) func() error {
	return func() error {
		got, err := text(path)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %q, want %q", path, got, want)
		}
		return err
	}
}

// atLeast wants a file to hold a number.
func atLeast(path string, want int64) func() error {
	return func() error {
		got, err := text(path)
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(got, 10, 64)
		if err == nil && n < want {
			err = fmt.Errorf("%s is %d, want %d or more", path, n, want)
		}
		return err
	}
}

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
	{"xt_MASQUERADE"}, {"ipt_REJECT", "nft_reject_ipv4"}, {"ip_set"}, {"xt_set"},
}

func kernelChecks() []check {
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
	for _, row := range features {
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

// sysctlChecks: k3s pkg/agent/syssetup; kubernetes
// pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables.
func sysctlChecks() []check {
	var list []check
	for _, s := range [][2]string{
		{"net/ipv4/conf/all/forwarding", "1"}, {"net/ipv4/conf/default/forwarding", "1"},
		{"net/bridge/bridge-nf-call-iptables", "1"}, {"vm/overcommit_memory", "1"}, {"vm/panic_on_oom", "0"},
		{"kernel/panic", "10"}, {"kernel/panic_on_oops", "1"},
	} {
		list = append(list, check{"sysctl " + s[0], equals("/proc/sys/"+s[0], s[1])})
	}
	for name, least := range map[string]int64{
		"kernel/keys/root_maxkeys": 1000000, "kernel/keys/root_maxbytes": 25000000,
		"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 524288, "vm/max_map_count": 262144,
	} {
		list = append(list, check{"sysctl " + name, atLeast("/proc/sys/"+name, least)})
	}
	for _, name := range []string{"all", "default"} {
		path := "/proc/sys/net/ipv4/conf/" + name + "/rp_filter"
		list = append(list, check{path + " lets packets take another way back", func() error {
			got, err := text(path)
			if err == nil && got == "1" {
				err = errors.New("it is 1, want 0 or 2")
			}
			return err
		}})
	}
	if _, err := os.Stat("/proc/sys/net/ipv6/conf/default/accept_ra"); err == nil {
		// Else a pod could announce itself as the node's router.
		list = append(list, check{"what is made later listens to no router", equals("/proc/sys/net/ipv6/conf/default/accept_ra", "0")})
	}
	slices.SortFunc(list, func(a, b check) int { return strings.Compare(a.name, b.name) })
	return append(list, check{"sysctls can be set", func() error {
		return os.WriteFile("/proc/sys/net/ipv4/conf/all/forwarding", []byte("1"), 0)
	}})
}

// fileChecks: what programs look up.
func fileChecks() []check {
	matches := func(path, pattern string) func() error {
		return func() error {
			got, err := text(path)
			if err == nil && !regexp.MustCompile(pattern).MatchString(got) {
				err = fmt.Errorf("%s is %q", path, got)
			}
			return err
		}
	}
	return []check{
		{"/etc/os-release names the system", matches("/etc/os-release", `(?m)^ID="?weft"?$`)},
		{"/etc/machine-id is 32 digits", matches("/etc/machine-id", `^[0-9a-f]{32}$`)},
		{"/etc/hosts has 127.0.0.1 localhost", matches("/etc/hosts", `(?m)^127\.0\.0\.1\s+.*\blocalhost\b`)},
		{"/etc/hosts has ::1 localhost", matches("/etc/hosts", `(?m)^::1\s+.*\blocalhost\b`)},
		{"/etc/hosts has the node's own name", func() error {
			name, err := os.Hostname()
			if err != nil {
				return err
			}
			return matches("/etc/hosts", `(?m)\s`+regexp.QuoteMeta(name)+`(\s|$)`)()
		}},
		{"/etc/hostname is the node's name, a sound one", func() error {
			name, err := os.Hostname()
			if err != nil {
				return err
			}
			if !regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`).MatchString(name) || strings.HasPrefix(name, "localhost") {
				return fmt.Errorf("it is %q", name)
			}
			return equals("/etc/hostname", name)()
		}},
		{"/etc/passwd has root", matches("/etc/passwd", `(?m)^root:x?:0:0:`)},
		{"/etc/resolv.conf has a server that pods reach", func() error {
			got, err := text("/etc/resolv.conf")
			if err != nil {
				return err
			}
			for line := range strings.Lines(got) {
				if f := strings.Fields(line); len(f) == 2 && f[0] == "nameserver" {
					if ip, err := netip.ParseAddr(f[1]); err == nil && ip.Zone() == "" && ip.IsGlobalUnicast() {
						return nil
					}
				}
			}
			return fmt.Errorf("it is %q", got)
		}},
		{"config.yaml is there", matches("/etc/rancher/k3s/config.yaml", `(?m)^cluster-cidr:`)},
		{"iptables is none, or works", func() error {
			path, err := exec.LookPath("iptables")
			if err != nil {
				return nil // K3s has its own
			}
			out, err := exec.Command(path, "--version").CombinedOutput()
			if err == nil && regexp.MustCompile(`v1\.8\.([0-4]|10) `).Match(out) {
				err = errors.New("this version loses rules")
			}
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", path, err, out)
			}
			return err
		}},
		{"images can be pulled: the authorities of their registries are known", func() error {
			data, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
			if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
				err = errors.New("there is no certificate in it")
			}
			return err
		}},
		{"/bin/sh leads to the one that K3s unpacks", func() error {
			target, err := os.Readlink("/bin/sh")
			if err == nil && !strings.HasPrefix(target, "/var/lib/rancher/") {
				err = fmt.Errorf("it leads to %s", target)
			}
			return err
		}},
	}
}

// processChecks: how the service was started.
func processChecks() []check {
	limit := func(which int, want uint64) func() error {
		return func() error {
			var l unix.Rlimit
			if err := unix.Getrlimit(which, &l); err != nil {
				return err
			}
			if l.Max < want {
				return fmt.Errorf("it is %d, want %d", l.Max, want)
			}
			return nil
		}
	}
	return []check{
		{"it is started as K3s", func() error {
			if len(os.Args) < 2 || os.Args[1] != "server" && os.Args[1] != "agent" {
				return fmt.Errorf("its arguments are %q", os.Args)
			}
			return nil
		}},
		{"INVOCATION_ID is not set", func() error {
			if id, set := os.LookupEnv("INVOCATION_ID"); set {
				return fmt.Errorf("it is %q", id)
			}
			return nil
		}},
		{"NOTIFY_SOCKET is a path", func() error {
			path := os.Getenv("NOTIFY_SOCKET")
			if !filepath.IsAbs(path) {
				return fmt.Errorf("it is %q", path)
			}
			_, err := os.Stat(path)
			return err
		}},
		{"PATH has the folders of the system", func() error {
			for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/bin"} {
				if !slices.Contains(strings.Split(os.Getenv("PATH"), ":"), dir) {
					return fmt.Errorf("it is %s", os.Getenv("PATH"))
				}
			}
			return nil
		}},
		{"HOME is root's", func() error {
			if os.Getenv("HOME") != "/root" {
				return fmt.Errorf("it is %q", os.Getenv("HOME"))
			}
			return nil
		}},
		{"a million files may be open", limit(unix.RLIMIT_NOFILE, 1<<20)},
		{"processes are not counted", limit(unix.RLIMIT_NPROC, unix.RLIM_INFINITY)},
		{"core files are not bounded", limit(unix.RLIMIT_CORE, unix.RLIM_INFINITY)},
		{"it has every capability", func() error {
			status, err := text("/proc/self/status")
			if err != nil {
				return err
			}
			last, err := text("/proc/sys/kernel/cap_last_cap")
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(last)
			if err != nil {
				return err
			}
			want := fmt.Sprintf("%016x", uint64(1)<<(n+1)-1)
			for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
				if !strings.Contains(status, set+":\t"+want) {
					return fmt.Errorf("%s is not %s", set, want)
				}
			}
			return nil
		}},
		{"its oom score may be lowered, as runc does", func() error {
			return os.WriteFile("/proc/self/oom_score_adj", []byte("-999"), 0)
		}},
		{"stdin is empty", func() error {
			_, err := os.Stdin.Read(make([]byte, 1))
			if err != io.EOF {
				return fmt.Errorf("reading it gives %v", err)
			}
			return nil
		}},
		{"it does not die with a thread of its parent", func() error {
			var sig int32
			if err := unix.Prctl(unix.PR_GET_PDEATHSIG, pointer(&sig), 0, 0, 0); err != nil {
				return err
			}
			if sig != 0 {
				return fmt.Errorf("it would get signal %d", sig)
			}
			return nil
		}},
		{"orphans are reaped", reaped},
		{"the clock is not before the image", func() error {
			info, err := os.Stat("/usr/sbin/init")
			if err == nil && time.Now().Before(info.ModTime()) {
				err = fmt.Errorf("it is %s", time.Now())
			}
			return err
		}},
	}
}

// networkChecks: what autodetection needs.
func networkChecks() []check {
	return []check{
		{"there is a default route", func() error {
			routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
			for _, r := range routes {
				if r.Dst == nil || r.Dst.IP.IsUnspecified() {
					return err
				}
			}
			return errors.Join(err, errors.New("no default routes found in /proc/net/route"))
		}},
		{"the loopback device is up", func() error {
			l, err := netlink.LinkByName("lo")
			if err == nil && l.Attrs().RawFlags&unix.IFF_UP == 0 {
				err = errors.New("it is down")
			}
			return err
		}},
	}
}
