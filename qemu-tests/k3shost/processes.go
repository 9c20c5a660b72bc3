//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

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
