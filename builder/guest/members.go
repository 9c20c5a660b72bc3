package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"weft/builder/fleet"
	"weft/profiles"
	"weft/qemu-tests/vm"
)

// NodeImage copies an image to the new file to, which only its owner may read,
// and puts a node file onto the copy. Equal images, node files and times give
// equal bytes. It does not wait for the device: whoever promises that the file
// is there after a power cut calls Sync, once for all nodes.
func NodeImage(ctx context.Context, image, to string, node profiles.Node, now time.Time) error {
	if err := CopyDisk(ctx, image, to); err != nil {
		return err
	}
	if err := spliceFile(to, node, now); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// spliceFile puts a node file onto the disk image path.
func spliceFile(path string, node profiles.Node, now time.Time) (err error) {
	data, err := node.YAML()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := splice(f, data, now); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// CardsOf are the cards that a node's machine has in [Members].
func CardsOf(node string) fleet.Cards {
	return fleet.Cards{Uplink: vm.MACFor(node, 0), Segment: vm.MACFor(node, 1)}
}

// Members prepares a disk for each member of a cluster, which is named after
// it, and returns the machines to start. images are the paths of the bases.
// Image, Nodes and PSK of o do not count.
func Members(ctx context.Context, o Options, images []string, members []fleet.Member) ([]vm.Config, error) {
	bases := make([]vm.Config, len(images))
	for i, path := range images {
		image, err := read(path)
		if err != nil {
			return nil, err
		}
		bases[i] = machine(o.Machine, image.System)
	}
	configs := make([]vm.Config, len(members))
	for i, m := range members {
		configs[i] = bases[m.Base]
		configs[i].Name = m.Name
		configs[i].NICs = []vm.NIC{{}, {Segment: o.Segment}}
		if err := o.disk(ctx, &configs[i], images[m.Base], &m.Node); err != nil {
			return nil, err
		}
	}
	return configs, nil
}
