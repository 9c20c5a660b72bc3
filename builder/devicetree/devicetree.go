// Package devicetree reads the device trees of a kernel and says what a
// machine needs of that kernel: which modules drive what the tree describes,
// which of them storage waits for, and what has no driver.
//
// The format is that of the Devicetree Specification 0.4, section 5 (cited as
// [DT 0.4]). Where the kernel decides, its source is cited. The package
// writes no trees, applies no overlays, and knows no machine: all it says
// follows from the tree and from the kernel it is given.
package devicetree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// A Tree is a device tree.
type Tree struct {
	// Root is the node "/".
	Root *Node

	phandles map[uint32]*Node
	// reserved is the block of memory reservations without its end, and boot
	// the processor that starts first ([DT 0.4], 5.3 and 5.2).
	reserved []byte
	boot     uint32
}

// A Node is one node of a tree.
type Node struct {
	// Name is the node's name with its unit address, such as mmc@7e300000;
	// empty for the root.
	Name string
	// Parent is nil for the root.
	Parent *Node
	// Children and Properties are in the order of the tree.
	Children   []*Node
	Properties []Property
}

// A Property is a named value; what its bytes mean depends on the name.
type Property struct {
	Name  string
	Value []byte
}

// Limits of what is read. The largest tree of Debian's kernels has 0.2 MB,
// 2,300 nodes and nine levels.
const (
	// maxSize is what the kernel takes (Documentation/arch/arm64/booting.rst,
	// section 2: "must not exceed 2 megabytes in size").
	maxSize  = 2 << 20
	maxDepth = 64 // drivers/of/fdt.c, FDT_MAX_DEPTH
	maxNodes = 1 << 16
	// maxProperties bounds those of one node; __symbols__ has as many as the
	// tree has labels.
	maxProperties = 1 << 14
	maxName       = 255 // [DT 0.4] says 31; trees go beyond, and the kernel does not mind
)

// The header and the tokens of the structure block ([DT 0.4], 5.2 and 5.4.1).
const (
	magic      = 0xd00dfeed
	headerSize = 40
	version    = 17

	tokenBegin = 1
	tokenEnd   = 2
	tokenProp  = 3
	tokenNop   = 4
	tokenLast  = 9
)

// Parse reads a flattened tree.
func Parse(data []byte) (*Tree, error) {
	if len(data) < headerSize {
		return nil, fmt.Errorf("device tree of %d bytes: it has no header", len(data))
	}
	word := func(at int) uint32 { return binary.BigEndian.Uint32(data[at:]) }
	if word(0) != magic {
		return nil, fmt.Errorf("no device tree: it begins with %#08x, not with %#08x", word(0), uint32(magic))
	}
	total := word(4)
	if total < headerSize || total > maxSize || int(total) > len(data) {
		return nil, fmt.Errorf("device tree of %d bytes says it has %d; the kernel takes %d", len(data), total, maxSize)
	}
	if word(20) < version || word(24) > version {
		return nil, fmt.Errorf("device tree of version %d, readable by %d: want %d", word(20), word(24), version)
	}
	data = data[:total]
	structure, err := block(data, word(8), word(36))
	if err != nil {
		return nil, fmt.Errorf("device tree: structure block: %w", err)
	}
	names, err := block(data, word(12), word(32))
	if err != nil {
		return nil, fmt.Errorf("device tree: strings block: %w", err)
	}
	reserved, err := reservations(data, word(16))
	if err != nil {
		return nil, fmt.Errorf("device tree: memory reservations: %w", err)
	}
	r := reader{structure: structure, names: names, tree: &Tree{phandles: map[uint32]*Node{}, reserved: reserved, boot: word(28)}}
	if err := r.read(); err != nil {
		return nil, fmt.Errorf("device tree: byte %d of the structure block: %w", r.at, err)
	}
	return r.tree, nil
}

// block is a part of a tree by its offset and size.
func block(data []byte, offset, size uint32) ([]byte, error) {
	if uint64(offset)+uint64(size) > uint64(len(data)) || offset < headerSize {
		return nil, fmt.Errorf("it lies at %d with %d bytes, outside of the tree of %d", offset, size, len(data))
	}
	return data[offset : offset+size], nil
}

// reservation is the size of an entry: an address and a size.
const reservation = 16

// reservations is the block of memory reservations up to the entry of zeros
// that ends it.
func reservations(data []byte, offset uint32) ([]byte, error) {
	if offset < headerSize || uint64(offset) > uint64(len(data)) {
		return nil, fmt.Errorf("they lie at %d, outside of the tree of %d", offset, len(data))
	}
	var none [reservation]byte
	list := data[offset:]
	for at := 0; at+reservation <= len(list); at += reservation {
		if bytes.Equal(list[at:at+reservation], none[:]) {
			return list[:at], nil
		}
	}
	return nil, errShort
}

// A reader goes through the structure block.
type reader struct {
	structure, names []byte
	at               int
	nodes            int
	tree             *Tree
}

var errShort = errors.New("it ends too early")

// read reads all nodes.
func (r *reader) read() error {
	var open []*Node
	for {
		token, err := r.word()
		if err != nil {
			return err
		}
		switch token {
		case tokenNop:
		case tokenBegin:
			n, err := r.begin(open)
			if err != nil {
				return err
			}
			open = append(open, n)
		case tokenEnd:
			if len(open) == 0 {
				return errors.New("a node ends that did not begin")
			}
			open = open[:len(open)-1]
		case tokenProp:
			if len(open) == 0 {
				return errors.New("a property of no node")
			}
			if err := r.property(open[len(open)-1]); err != nil {
				return err
			}
		case tokenLast:
			if len(open) > 0 || r.tree.Root == nil {
				return errors.New("the tree ends within a node, or has none")
			}
			return nil
		default:
			return fmt.Errorf("unknown token %#x", token)
		}
	}
}

// word reads the next four bytes.
func (r *reader) word() (uint32, error) {
	if len(r.structure)-r.at < 4 {
		return 0, errShort
	}
	v := binary.BigEndian.Uint32(r.structure[r.at:])
	r.at += 4
	return v, nil
}

// begin reads the name of a node and hangs it into the tree.
func (r *reader) begin(open []*Node) (*Node, error) {
	name, err := text(r.structure[r.at:])
	if err != nil {
		return nil, fmt.Errorf("name of a node: %w", err)
	}
	r.at += (len(name) + 1 + 3) &^ 3
	n := &Node{Name: name}
	r.nodes++
	switch {
	case len(open) == 0 && r.tree.Root != nil:
		return nil, errors.New("a second root")
	case len(open) == 0 && name != "":
		return nil, fmt.Errorf("the root is called %q", name)
	case len(open) == 0:
		r.tree.Root = n
		return n, nil
	case name == "" || strings.Contains(name, "/"):
		return nil, fmt.Errorf("a node is called %q", name)
	case len(open) >= maxDepth || r.nodes > maxNodes:
		return nil, fmt.Errorf("more than %d levels or %d nodes", maxDepth, maxNodes)
	}
	n.Parent = open[len(open)-1]
	n.Parent.Children = append(n.Parent.Children, n)
	return n, nil
}

// property reads a property of n ([DT 0.4], 5.4.1, FDT_PROP).
func (r *reader) property(n *Node) error {
	size, err := r.word()
	if err != nil {
		return err
	}
	offset, err := r.word()
	if err != nil {
		return err
	}
	if uint64(size) > uint64(len(r.structure)-r.at) || uint64(offset) >= uint64(len(r.names)) {
		return errShort
	}
	name, err := text(r.names[offset:])
	if err != nil || name == "" {
		return fmt.Errorf("name of a property at %d: it is empty or %w", offset, errors.Join(err, errShort))
	}
	value := r.structure[r.at : r.at+int(size)]
	r.at += (int(size) + 3) &^ 3
	r.at = min(r.at, len(r.structure))
	if len(n.Properties) == maxProperties {
		return fmt.Errorf("%s has more than %d properties", n.Path(), maxProperties)
	}
	if n.Value(name) != nil {
		return fmt.Errorf("%s has %s twice", n.Path(), name)
	}
	if value == nil {
		value = []byte{}
	}
	n.Properties = append(n.Properties, Property{name, value})
	// The older name of the property is linux,phandle.
	if (name == "phandle" || name == "linux,phandle") && size == 4 {
		r.tree.phandles[binary.BigEndian.Uint32(value)] = n
	}
	return nil
}

// text is the string that b begins with, without its NUL. Other characters
// than those of printable ASCII are in no name ([DT 0.4], 2.2.1 and 2.2.4).
func text(b []byte) (string, error) {
	for i, c := range b {
		switch {
		case c == 0:
			return string(b[:i]), nil
		case i == maxName:
			return "", fmt.Errorf("longer than %d bytes", maxName)
		case c <= ' ' || c > '~':
			return "", fmt.Errorf("byte %#02x in it", c)
		}
	}
	return "", errShort
}
