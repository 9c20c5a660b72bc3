package ipsec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultDir holds what charon and netd share: charon's configuration, its
// control socket, its process id. Only root may look into it.
const DefaultDir = "/run/weft/charon"

// Places are where distributions have charon: Debian and Ubuntu; Alpine, Arch
// and SUSE; Fedora and RHEL; builds from source. PATH is searched after them.
var Places = []string{
	"/usr/lib/ipsec/charon",
	"/usr/lib/strongswan/charon",
	"/usr/libexec/strongswan/charon",
	"/usr/libexec/ipsec/charon",
	"/usr/local/libexec/ipsec/charon",
}

// ErrNoCharon says that there is no charon on the node.
var ErrNoCharon = errors.New("no charon: backend ipsec needs strongSwan's IKE daemon, which was looked for at " +
	strings.Join(Places, ", ") + " and in PATH; fix: install strongswan-charon and libstrongswan-standard-plugins " +
	"(images built by weft have them), or use backend wireguard")

// findCharon finds the program.
func findCharon(places []string) (string, error) {
	for _, p := range places {
		if unix.Access(p, unix.X_OK) == nil {
			return p, nil
		}
	}
	if p, err := exec.LookPath("charon"); err == nil {
		return p, nil
	}
	return "", ErrNoCharon
}

// The files in charon's directory.
const (
	configFile = "strongswan.conf"
	socketFile = "charon.vici"
	pidFile    = "pid"
	outputFile = "output" // of the last start
)

// config is charon's strongswan.conf(5). Only the plugins that are named are
// loaded; those that an installation lacks are passed over.
//
// A peer that does not answer for 2+3+4.5+... s, 41 s in all, is given up;
// charon's own timing takes 165 s.
func config(dir string) string {
	return `# Written by netd.
charon {
  load_modular = no
  load = random nonce openssl aes sha1 sha2 hmac kdf gcm gmp kernel-netlink socket-default vici
  install_routes = no
  install_virtual_ip = no
  retransmit_timeout = 2
  retransmit_base = 1.5
  retransmit_tries = 5
  filelog {
    stderr {
      default = -1
    }
  }
  plugins {
    vici {
      socket = unix://` + filepath.Join(dir, socketFile) + `
    }
  }
}
`
}

// How soon a charon that ended is started again: at once when it lived for
// calm, else after backoffMin, doubled up to backoffMax.
const (
	calm       = 10 * time.Second
	backoffMin = 500 * time.Millisecond
	backoffMax = 30 * time.Second
)

// A process starts charon. The one it starts outlives netd: it is in a session
// and a cgroup of its own, and nothing ties it to netd but a socket.
type process struct {
	dir    string
	places []string
	log    *slog.Logger
	now    func() time.Time

	started time.Time
	ended   chan error // tells the end of the one that was started; nil when none was
	backoff time.Duration
	next    time.Time
	waiting time.Time // since when one does not answer
}

// errStarting says that charon does not answer yet.
var errStarting = errors.New("charon is starting")

// start starts charon unless the one started before is still on its way. It
// never returns nil: charon is not there yet.
func (p *process) start() error {
	if p.ended != nil {
		select {
		case err := <-p.ended:
			p.ended = nil
			p.backoff = min(max(2*p.backoff, backoffMin), backoffMax)
			if p.now().Sub(p.started) > calm {
				p.backoff = 0
			}
			p.next = p.now().Add(p.backoff)
			p.log.Warn("charon ended", "error", err, "output", p.output())
		default:
			return errStarting
		}
	}
	if wait := p.next.Sub(p.now()); wait > 0 {
		return fmt.Errorf("charon ended and is started again in %v%s", wait.Round(time.Millisecond), p.output())
	}
	program, err := findCharon(p.places)
	if err != nil {
		return err
	}
	if err := p.deaf(); err != nil {
		return err
	}
	if err := p.prepare(); err != nil {
		return err
	}
	if err := p.run(program); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	return errStarting
}

// deafFor is how long a charon that an earlier netd started may not answer
// before it is taken for stuck.
const deafFor = 20 * time.Second

// deaf waits for a charon that an earlier netd has started and that does not
// answer yet, and kills it when it never does.
func (p *process) deaf() error {
	pid, alive := readPID(filepath.Join(p.dir, pidFile))
	if !alive {
		p.waiting = time.Time{}
		return nil
	}
	if p.waiting.IsZero() {
		p.waiting = p.now()
	}
	if p.now().Sub(p.waiting) < deafFor {
		return errStarting
	}
	p.log.Warn("charon does not answer and is killed", "pid", pid)
	_ = unix.Kill(pid, unix.SIGKILL)
	return errStarting
}

// prepare makes the directory and removes what an earlier charon left.
func (p *process) prepare() error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("charon: %w", err)
	}
	if err := os.Chmod(p.dir, 0o700); err != nil {
		return fmt.Errorf("charon: %w", err)
	}
	if err := os.Remove(filepath.Join(p.dir, socketFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("charon: %w", err)
	}
	if err := foreign(charonPID); err != nil {
		return err
	}
	return writeFile(filepath.Join(p.dir, configFile), config(p.dir))
}

// charonPID is where charon notes its process id, whatever its configuration
// says (IPSEC_PIDDIR of Debian's build).
const charonPID = "/run/charon.pid"

// foreign tells of a charon that is not netd's. A number that is left over
// from one that was killed would keep charon from starting when another
// process has it now, and is removed.
func foreign(file string) error {
	pid, alive := readPID(file)
	if alive {
		return fmt.Errorf("another charon runs here (process %d) and has the ports of IKE; fix: stop it, as by systemctl stop strongswan-starter", pid)
	}
	_ = os.Remove(file)
	return nil
}

// readPID reads a process id and tells whether that process is a charon.
func readPID(file string) (pid int, alive bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(data))); err != nil || pid <= 1 {
		return 0, false
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return pid, err == nil && strings.TrimSpace(string(comm)) == "charon"
}

// run starts the program.
func (p *process) run(program string) error {
	output, err := os.Create(filepath.Join(p.dir, outputFile))
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(program)
	cmd.Dir = "/"
	cmd.Env = []string{"STRONGSWAN_CONF=" + filepath.Join(p.dir, configFile), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if group, err := ownGroup(); err != nil {
		p.log.Warn("charon shares netd's cgroup and ends with it", "error", err)
	} else if group != nil {
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.log.Info("charon started", "program", program, "pid", cmd.Process.Pid)
	p.started = p.now()
	ended := make(chan error, 1)
	p.ended = ended
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		ended <- err
	}()
	return writeFile(filepath.Join(p.dir, pidFile), fmt.Sprintln(cmd.Process.Pid))
}

// stop ends charon, which ends its security associations.
func (p *process) stop() {
	if pid, alive := readPID(filepath.Join(p.dir, pidFile)); alive {
		_ = unix.Kill(pid, unix.SIGTERM)
		p.log.Info("charon stopped", "pid", pid)
	}
	_ = os.Remove(filepath.Join(p.dir, pidFile))
}

// output is the end of what charon printed when it was last started.
func (p *process) output() string {
	const most = 300
	f, err := os.Open(filepath.Join(p.dir, outputFile))
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	data, _ := io.ReadAll(io.LimitReader(f, most))
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return ""
	}
	return fmt.Sprintf("; it said %q", data)
}

// cgroups is where the cgroup2 hierarchy is mounted.
const cgroups = "/sys/fs/cgroup"

// ownGroup makes a cgroup for charon beside netd's, because what supervises
// netd kills all that is in netd's. It is nil when netd is in none.
func ownGroup() (*os.File, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, nil // no cgroups in this kernel
	}
	for line := range strings.Lines(string(data)) {
		path, unified := strings.CutPrefix(strings.TrimSpace(line), "0::") // cgroups(7), /proc/pid/cgroup
		if !unified || path == "/" {
			continue
		}
		dir := filepath.Join(cgroups, filepath.Dir(filepath.Clean(path)), "charon")
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("cgroup: %w", err)
		}
		f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("cgroup: %w", err)
		}
		return f, nil
	}
	return nil, nil
}

// writeFile writes a file whole, readable by its owner.
func writeFile(name, text string) error {
	tmp := name + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return fmt.Errorf("charon: %w", err)
	}
	if err := os.Rename(tmp, name); err != nil {
		return fmt.Errorf("charon: %w", err)
	}
	return nil
}
