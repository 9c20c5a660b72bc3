package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/init/keep"
	"weft/init/ready"
	"weft/profiles/rancher"
)

// itemKubernetes is what K3s or RKE2 reads.
const itemKubernetes = "kubernetes files"

// keepKubernetesFiles writes what K3s or RKE2 reads, once the node has the
// addresses that go into it.
func (s *system) keepKubernetesFiles() {
	<-s.dataDone
	changed := make(chan netlink.AddrUpdate, 16)
	if err := netlink.AddrSubscribe(changed, s.ctx.Done()); err != nil {
		s.log.Problem("kubernetes: addresses cannot be watched: %v", err)
		changed = nil
	}
	told := false
	for {
		files, err := rancher.RenderAt(s.profile, s.conf, s.bootFacts())
		var missing *rancher.NoAddressError
		if err == nil {
			err = writeKubernetesFiles("/", rancher.Folders(s.profile), files)
		} else if errors.As(err, &missing) && changed != nil {
			if !told {
				s.log.Note("%s waits: %v", itemKubernetes, err)
			}
			told = true
			select {
			case <-changed:
			case <-s.ctx.Done():
				return
			}
			// One change seldom comes alone.
			select {
			case <-time.After(addressesSettle):
			case <-s.ctx.Done():
				return
			}
			continue
		}
		if err != nil {
			s.log.Problem("%s: %v", itemKubernetes, err)
			s.board.Set(itemKubernetes, ready.Failed, err.Error())
		}
		s.supervisor.Pass(stageKubernetes, err)
		return
	}
}

// addressesSettle is how long addresses are left to come together.
const addressesSettle = 200 * time.Millisecond

// bootFacts is what the node knows of itself.
func (s *system) bootFacts() rancher.Boot {
	_, err := os.Stat(rancher.TokenFile)
	return rancher.Boot{Name: s.name(), Arch: s.image.Arch, Addresses: presentAddresses(), Token: err == nil}
}

// presentAddresses lists the addresses that others can reach.
func presentAddresses() []rancher.Address {
	var found []rancher.Address
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		addrs, err := netlink.AddrList(nil, family)
		if err != nil {
			continue // a kernel without the family
		}
		defaults := defaultLinks(family)
		for _, a := range addrs {
			prefix, ok := usable(a)
			if !ok {
				continue
			}
			link, err := netlink.LinkByIndex(a.LinkIndex)
			if err != nil {
				continue // it went meanwhile
			}
			found = append(found, rancher.Address{Interface: link.Attrs().Name, Prefix: prefix, Default: defaults[a.LinkIndex]})
		}
	}
	return found
}

// usable is the prefix of an address that stays and is in use.
func usable(a netlink.Addr) (netip.Prefix, bool) {
	const passing = unix.IFA_F_TENTATIVE | unix.IFA_F_DEPRECATED | unix.IFA_F_TEMPORARY | unix.IFA_F_DADFAILED
	ip, ok := netip.AddrFromSlice(a.IP)
	ip = ip.Unmap()
	// In IPv4 the flag of temporary addresses means secondary ones
	// (include/uapi/linux/if_addr.h).
	if !ok || ip.Is6() && a.Flags&passing != 0 || !ip.IsGlobalUnicast() {
		return netip.Prefix{}, false
	}
	bits, _ := a.Mask.Size()
	return netip.PrefixFrom(ip, bits), true
}

// defaultLinks are the devices of the default routes of a family.
func defaultLinks(family int) map[int]bool {
	links := map[int]bool{}
	routes, err := netlink.RouteList(nil, family)
	if err != nil {
		return links
	}
	for _, r := range routes {
		if r.Dst == nil {
			links[r.LinkIndex] = true
		} else if ones, _ := r.Dst.Mask.Size(); ones == 0 {
			links[r.LinkIndex] = true
		}
	}
	return links
}

// writeKubernetesFiles makes folders and files below root, whole each, and
// removes weft's own that are left over from other settings.
func writeKubernetesFiles(root string, folders, files []rancher.File) error {
	var errs []error
	for _, f := range folders {
		path := filepath.Join(root, f.Path)
		if err := os.MkdirAll(path, f.Mode); err != nil {
			errs = append(errs, err)
		}
	}
	wanted := map[string]bool{}
	for _, f := range files {
		path := filepath.Join(root, f.Path)
		wanted[path] = true
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, writeOne(root, path, f))
	}
	for dir := range dirsOf(wanted) {
		left, err := filepath.Glob(filepath.Join(dir, rancher.Own+"*"))
		if err != nil {
			continue // a name that is no pattern; nothing of ours is there
		}
		for _, path := range left {
			if !wanted[path] {
				errs = append(errs, os.Remove(path))
			}
		}
	}
	return errors.Join(errs...)
}

// maxSeed bounds a file that is copied from the image, in bytes.
const maxSeed = 16 << 20

// writeOne writes one file, or leaves it when it is as wanted: cards wear out
// by being written to.
func writeOne(root, path string, f rancher.File) error {
	if f.Link != "" {
		if have, err := os.Readlink(path); err == nil && have == f.Link {
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Symlink(f.Link, path)
	}
	data := f.Data
	if f.From != "" {
		var err error
		if data, err = keep.Read(filepath.Join(root, f.From), maxSeed); err != nil {
			return err
		}
	}
	if have, err := keep.Read(path, maxSeed); err == nil && string(have) == string(data) {
		return nil
	}
	return keep.Write(path, data, f.Mode)
}

// dirsOf are the folders of files.
func dirsOf(files map[string]bool) map[string]bool {
	dirs := map[string]bool{}
	for path := range files {
		dirs[filepath.Dir(path)] = true
	}
	return dirs
}
