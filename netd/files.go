package main

import (
	"errors"
	"net/netip"
	"reflect"

	"weft/netd/cni"
	"weft/netd/firewall"
	"weft/netd/reconcile"
	"weft/netd/wanted"
	"weft/profiles"
)

// files keeps the files by which others learn of the network.
type files struct {
	last cni.Network
}

// write writes the files when what they say has changed. Until the tunnel
// devices are known there is nothing to say.
func (f *files) write(paths profiles.NetdPaths, s reconcile.Snapshot) error {
	if s.MTU() == 0 {
		return nil
	}
	n := networkOf(s)
	if reflect.DeepEqual(n, f.last) {
		return nil
	}
	conflist, err := cni.Conflist(n)
	if err != nil {
		return err
	}
	_, envErr := cni.WriteFile(paths.SubnetEnv, cni.SubnetEnv(n))
	_, cniErr := cni.WriteFile(paths.CNI, conflist)
	if err := errors.Join(envErr, cniErr); err != nil {
		return err
	}
	f.last = n
	return nil
}

// networkOf is what the files tell of.
func networkOf(s reconcile.Snapshot) cni.Network {
	n := cni.Network{MTU: s.MTU()}
	for _, family := range wanted.Families(s.Node, s.Config.Network) {
		n.Networks = append(n.Networks, family.Network)
		n.Subnets = append(n.Subnets, netip.PrefixFrom(family.Own.Addr(), family.Own.Bits()))
	}
	for _, table := range firewall.Wanted(s.Node, s.Config.Network).Tables {
		n.Masquerade = n.Masquerade || len(table.Postrouting) > 0
	}
	return n
}
