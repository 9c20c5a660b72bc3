package profiles

import (
	"fmt"
	"slices"

	"weft/document"
)

// NetdFor works out what netd is told on one node: the profile's network with
// the node's overrides, all defaults, and the node's own part. name and uuid
// are the node's hostname and identity.
//
// The node's own entry in the list of peers is taken out; it gives the node's
// addresses, subnets and MAC where the node file does not. A node that has
// subnets from neither gets the ones of [SubnetsFor], unless the store gives
// them; with store kubernetes the list of peers gives none.
//
// The result is checked like a file. When it does not hold together, the
// error is a [document.Problems] that points into no file.
func NetdFor(p Profile, n Node, name, uuid string) (Netd, error) {
	network := p.Network
	if len(n.Peers) > 0 {
		network.Peers = n.Peers
	}
	if n.Probe != nil {
		network.Probe = *n.Probe
	}
	network = network.WithDefaults()
	own, others := splitPeers(network.Peers, name)
	network.Peers = others

	conf := Netd{
		Weft: NetdVersion,
		Node: NetdNode{
			Name: name, UUID: uuid,
			Addresses: n.Addresses, Subnets: n.Subnets, MAC: own.MAC,
		},
		Network: network,
		Paths:   DefaultNetdPaths,
		Listen:  DefaultListen,
	}
	if len(conf.Node.Addresses) == 0 {
		conf.Node.Addresses = own.Addresses
	}
	if len(conf.Node.Subnets) == 0 && network.Store.Type != StoreKubernetes {
		conf.Node.Subnets = own.Subnets
	}
	if len(conf.Node.Subnets) == 0 && !network.Store.GivesSubnets() && len(checkPods(network, nil)) == 0 {
		conf.Node.Subnets = SubnetsFor(network, uuid)
	}
	if conf.Node.MAC == "" {
		conf.Node.MAC = VTEPMAC(name).String()
	}
	if err := document.Apply(netdRules, conf, nil).Errors(); err != nil {
		return Netd{}, fmt.Errorf("network of node %s: %w", name, err)
	}
	return conf, nil
}

// splitPeers takes the entry with a name out of the list. The lists share no
// memory with peers.
func splitPeers(peers []Peer, name string) (own Peer, others []Peer) {
	for _, p := range peers {
		if p.Name == name {
			own = p
			continue
		}
		others = append(others, p)
	}
	return own, slices.Clip(others)
}
