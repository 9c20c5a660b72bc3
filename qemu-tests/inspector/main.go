//go:build linux

// Command inspector is in the place of netd on the node of a test: it starts
// the netd that is appended to it, and beside it looks at what init shows of
// the node, asks the kernel for modules, changes settings that init keeps, and
// fills the data partition.
//
// It is only for tests. What it does and finds out is on the console, in lines
// that begin with "inspector:"; the last one says done or FAIL.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weft/init/identity"
	"weft/init/status"
	"weft/qemu-tests/standin"
)

const (
	name   = "inspector"
	socket = "/run/weft/init.sock"
	// patience bounds each thing that is waited for, in an emulated machine.
	patience = 4 * time.Minute
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "inspect" {
		for _, step := range []struct {
			name string
			do   func() error
		}{
			{"status", showsItself}, {"commands", commands}, {"modules", modules}, {"settings", settings}, {"full", full},
		} {
			if err := step.do(); err != nil {
				say("FAIL: %s: %v", step.name, err)
				os.Exit(1)
			}
			say("%s: good", step.name)
		}
		say("done")
		return
	}
	if err := standin.BecomeNetd(name, "inspect"); err != nil {
		fmt.Fprintln(os.Stderr, "inspector:", err)
		os.Exit(1)
	}
}

// say writes a line to the console.
func say(format string, args ...any) { standin.Say(name, format, args...) }

// until waits until f finds nothing missing.
func until(f func() error) error {
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		if err = f(); err == nil {
			return nil
		}
	}
	return err
}

// fetch asks init for the node's status.
func fetch() (status.Document, error) { return status.Fetch(context.Background(), socket) }

// showsItself waits until the node says that it is ready, and looks for what
// everybody should find in its status.
func showsItself() error {
	var d status.Document
	err := until(func() (err error) {
		if d, err = fetch(); err == nil && d.State != status.Ready {
			err = fmt.Errorf("the node is %s: %s", d.State, d.Reason)
		}
		return err
	})
	if err != nil {
		return err
	}
	say("init holds %d KiB, the document has %d steps, %d settings, %d modules", d.Resident>>10, len(d.Boot), len(d.Sysctls), len(d.Modules))
	if ok, wrong := d.Healthy(); !ok {
		return fmt.Errorf("not healthy: %q", wrong)
	}
	for name, there := range map[string]bool{
		"a boot timeline": len(d.Boot) > 5, "settings": len(d.Sysctls) > 3, "modules": len(d.Modules) > 0,
		"links": len(d.Links) > 1, "a default route": slices.ContainsFunc(d.Routes, func(r status.Route) bool { return r.To == "default" }),
		"an uplink with an address": slices.ContainsFunc(d.Links, func(l status.Link) bool { return l.Uplink && len(l.Addresses) > 0 }),
		"a name":                    d.Node.Hostname != "" && d.Node.HostnameSource != "" && d.Node.UUID != "", "netd": len(d.Services) > 0,
		"a data partition": d.Data.Device != "" && d.Data.Size > 0, "an image": d.Image.Kernel != "", "resolvers": len(d.Resolvers) > 0,
	} {
		if !there {
			return fmt.Errorf("the status lacks %s", name)
		}
	}
	// The file follows within two seconds.
	return until(func() error {
		data, err := os.ReadFile("/run/weft/status.json")
		if err != nil {
			return err
		}
		f, err := status.Decode(data)
		if err == nil && f.State != status.Ready {
			err = fmt.Errorf("the file says %s", f.State)
		}
		return err
	})
}

// commands runs what a person on the node can run.
func commands() error {
	for _, c := range []struct{ command, want string }{
		{"status", "CONTRACT"}, {"status --json", `"contract"`}, {"check", "all is well"}, {"sysctl", "want"},
	} {
		out, err := exec.Command("/usr/sbin/init", strings.Fields(c.command)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			return fmt.Errorf("init %s: %w: %s", c.command, err, out)
		}
		if c.command == "status" {
			say("%s", strings.ReplaceAll(string(out), "\n", "\ninspector| "))
		}
	}
	return nil
}

// loaded reports whether a module is in the kernel.
func loaded(name string) bool {
	text, err := os.ReadFile("/proc/modules")
	return err == nil && strings.Contains("\n"+string(text), "\n"+name+" ")
}

// modules takes a module out and has the kernel ask for it: mounting a file
// system asks for "fs-" and its name.
func modules() error {
	const name = "vfat"
	if !loaded(name) {
		return errors.New("vfat is not loaded; the boot partition should have called for it")
	}
	if err := unix.DeleteModule(name, unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("take vfat out: %w", err)
	}
	begin := time.Now()
	if err := unix.Mount("/dev/null", "/boot", name, 0, ""); err == nil {
		return errors.New("/dev/null can be mounted")
	}
	if !loaded(name) {
		return errors.New("the kernel's request for fs-vfat was not answered")
	}
	say("the kernel's request took %d ms", time.Since(begin).Milliseconds())
	for _, c := range []struct {
		args string
		code int
	}{{"-- vfat", 0}, {"-q -- nosuch", 1}, {"nosuch", 1}, {"-r vfat", 1}, {"-n overlay", 0}} {
		err := exec.Command("/sbin/modprobe", strings.Fields(c.args)...).Run()
		exit := new(exec.ExitError)
		if code := 0; err != nil && !errors.As(err, &exit) || err != nil && exit.ExitCode() != c.code || err == nil && c.code != code {
			// overlay may be in no image of this profile; then the answer is 1.
			if c.args != "-n overlay" {
				return fmt.Errorf("modprobe %s: %w, want code %d", c.args, err, c.code)
			}
		}
	}
	return nil
}

// settings changes what keeps the node reachable, and waits until init has
// put it back.
func settings() error {
	kept := map[string]string{
		"/proc/sys/net/ipv6/conf/default/accept_ra": "0",
		"/proc/sys/net/ipv6/conf/eth0/accept_ra":    "2",
	}
	for path := range kept {
		if err := os.WriteFile(path, []byte("1"), 0); err != nil {
			return err
		}
	}
	for path, want := range kept {
		err := until(func() error {
			have, err := os.ReadFile(path)
			if err == nil && strings.TrimSpace(string(have)) != want {
				err = fmt.Errorf("%s is still %s", path, have)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// full fills the data partition, waits until the node says so, makes room and
// waits until it is well again.
func full() error {
	const file = "/data/var/log/greedy/big"
	if err := os.MkdirAll("/data/var/log/greedy", 0o755); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := int64(64 << 20); size >= 4096; {
		st, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		if err := unix.Fallocate(int(f.Fd()), 0, st, size); err != nil {
			size /= 2
		}
	}
	err = until(func() error {
		d, err := fetch()
		if err != nil {
			return err
		}
		for _, n := range d.Contract {
			if n.Name == "data partition" && n.State == "failed" {
				say("data partition: %s; %s", n.Reason, n.Fix)
				if !strings.Contains(n.Reason, "var/log/greedy") || n.Fix == "" {
					return fmt.Errorf("what is largest is not named: %s", n.Reason)
				}
				return nil
			}
		}
		return errors.New("nothing tells that the data partition is full")
	})
	if err != nil {
		return err
	}
	// The node's own state is whole.
	data, err := os.ReadFile("/data/weft/node.json")
	if err != nil {
		return err
	}
	if _, err := identity.Decode(data); err != nil {
		return err
	}
	if err := os.Remove(file); err != nil {
		return err
	}
	f.Close()
	return until(func() error {
		d, err := fetch()
		if err != nil {
			return err
		}
		if ok, wrong := d.Healthy(); !ok {
			return fmt.Errorf("with room again: %q", wrong)
		}
		return nil
	})
}
