package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"weft/boards"
	"weft/builder/disk"
	"weft/builder/inspect"
	"weft/profiles"
	"weft/profiles/cluster"
	"weft/qemu-tests/vm"
	"weft/qemu-tests/vm/hub"
)

// underlay is the network between the nodes of a cluster: private addresses
// that QEMU's user network, 10.0.2.0/24 and fec0::/64, does not use.
var underlay = []netip.Prefix{
	netip.MustParsePrefix("10.77.0.0/24"),
	netip.MustParsePrefix("fd77::/64"),
}

// Options say which machines an image is to run on.
type Options struct {
	// Image is the image's path; it is not changed.
	Image string
	// Dir is the folder that holds a disk for each node. Disks that are
	// there already are used as they are.
	Dir string
	// Nodes is how many machines there are. One alone gets no node file; of
	// several, each gets its own and a card on the segment they share.
	Nodes int
	// Segment joins several nodes.
	Segment *hub.Segment
	// Machine is what all machines have in common. Name, Disks, NICs and
	// what the image's board says of QEMU are filled in, unless set.
	Machine vm.Config
	// PSK is put into the node files, for networks whose nodes share a key.
	PSK string
	// Now is the time of files that are written.
	Now time.Time
}

// Machines prepares a disk for each node and returns the machines to start.
func Machines(ctx context.Context, o Options) ([]vm.Config, error) {
	image, err := read(o.Image)
	if err != nil {
		return nil, err
	}
	base := machine(o.Machine, image.System)
	if o.Nodes == 1 {
		base.Name = "node"
		base.NICs = []vm.NIC{{}}
		return o.disks(ctx, []vm.Config{base}, nil)
	}
	configs := make([]vm.Config, o.Nodes)
	under := cluster.Underlay{Prefixes: families(image.Profile.Network)}
	for i := range configs {
		configs[i] = base
		configs[i].Name = fmt.Sprintf("node-%d", i+1)
		configs[i].NICs = []vm.NIC{{}, {Segment: o.Segment}}
		under.Uplinks = append(under.Uplinks, vm.MACFor(configs[i].Name, 0))
		under.MACs = append(under.MACs, vm.MACFor(configs[i].Name, 1))
	}
	nodes, err := cluster.Plan(image.Profile.Network.WithDefaults(), under)
	if err != nil {
		return nil, &ImageError{o.Image, fmt.Errorf("as %d nodes: %w", o.Nodes, err)}
	}
	return o.disks(ctx, configs, nodes)
}

// read reads what an image says of itself.
func read(path string) (*inspect.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &ImageError{path, errors.New("it is a folder")}
	}
	image, err := inspect.Open(f, info.Size())
	if err != nil {
		return nil, &ImageError{path, err}
	}
	if image.Disk.Layout.Table == disk.MBR {
		return nil, &ImageError{path, fmt.Errorf("%s boots by the firmware of a Raspberry Pi, which QEMU does not have\n"+
			"fix: to see the network in QEMU, build the same profile for arm64-uefi or x86-64-cloud", image.System.Board)}
	}
	if len(image.Faults) > 0 {
		return nil, &ImageError{path, errors.Join(image.Faults...)}
	}
	return image, nil
}

// An ImageError says that a file is no image that can run, or not on so many
// nodes.
type ImageError struct {
	// Path is the file's.
	Path string
	// Err says what is wrong with it.
	Err error
}

// Error names the file.
func (e *ImageError) Error() string {
	return fmt.Sprintf("image %s cannot run: %v", e.Path, e.Err)
}

// Unwrap gives the cause.
func (e *ImageError) Unwrap() error { return e.Err }

// machine fills in what the image's board says of QEMU.
func machine(m vm.Config, s profiles.System) vm.Config {
	m.Arch = s.Arch
	// A board that weft does not ship leaves the choice to package vm.
	board, _, problems, err := boards.Find(s.Board)
	if err != nil || problems.Errors() != nil {
		return m
	}
	if m.Machine == "" {
		m.Machine = board.QEMU.Machine
	}
	if m.CPU == "" {
		m.CPU = board.QEMU.CPU
	}
	if m.Memory == 0 {
		m.Memory = board.QEMU.Memory
	}
	return m
}

// families are the underlay's prefixes of the families that the pods have.
func families(n profiles.Network) []netip.Prefix {
	var list []netip.Prefix
	for _, pods := range n.Pods {
		for _, p := range underlay {
			if p.Addr().Is4() == pods.Addr().Is4() {
				list = append(list, p)
			}
		}
	}
	return list
}

// disks makes the disk of each machine that has none yet, with its node file.
func (o Options) disks(ctx context.Context, configs []vm.Config, nodes []profiles.Node) ([]vm.Config, error) {
	for i := range configs {
		var node *profiles.Node
		if nodes != nil {
			nodes[i].PSK = o.PSK
			node = &nodes[i]
		}
		if err := o.disk(ctx, &configs[i], o.Image, node); err != nil {
			return nil, err
		}
	}
	return configs, nil
}

// disk gives a machine its disk: the one that is there, or a copy of an image
// with a node file, if there is one.
func (o Options) disk(ctx context.Context, config *vm.Config, image string, node *profiles.Node) error {
	path := filepath.Join(o.Dir, config.Name+".img")
	config.Disks = []vm.Disk{{Path: path}}
	if o.Machine.StateDir != "" {
		config.StateDir = filepath.Join(o.Machine.StateDir, config.Name)
	}
	_, err := os.Stat(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if node == nil {
		return CopyDisk(ctx, image, path)
	}
	return NodeImage(ctx, image, path, *node, o.Now)
}
