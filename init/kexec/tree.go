package kexec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The flattened device tree [Devicetree Specification 0.4, chapter 5].
const (
	treeMagic   = 0xd00dfeed
	treeHeader  = 40
	treeVersion = 17
	maxTree     = 2 << 20 // booting.rst, "Setup the device tree"

	tokenBegin = 1
	tokenEnd   = 2
	tokenProp  = 3
	tokenNop   = 4
	tokenLast  = 9
)

// errTree says that a device tree cannot be read.
var errTree = errors.New("the device tree is damaged")

// A property of the node /chosen, which tells a kernel what its loader chose.
type property struct {
	name  string
	value []byte
}

// withChosen returns a device tree with these properties of /chosen in place
// of those of the same names. A property without a value is taken away.
func withChosen(tree []byte, set []property) ([]byte, error) {
	blocks, err := openTree(tree)
	if err != nil {
		return nil, err
	}
	e := editor{in: blocks.structure, strings: bytes.Clone(blocks.strings), set: set}
	if err := e.run(); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	head := bytes.Clone(tree[:treeHeader])
	out := append(head, blocks.reserved...)
	be.PutUint32(out[16:], treeHeader) // off_mem_rsvmap
	be.PutUint32(out[8:], uint32(len(out)))
	be.PutUint32(out[36:], uint32(len(e.out)))
	out = append(out, e.out...)
	be.PutUint32(out[12:], uint32(len(out)))
	be.PutUint32(out[32:], uint32(len(e.strings)))
	out = append(out, e.strings...)
	if len(out) > maxTree {
		return nil, fmt.Errorf("device tree: %d bytes; the kernel takes %d", len(out), maxTree)
	}
	be.PutUint32(out[4:], uint32(len(out)))
	return out, nil
}

// blocks are the parts of a tree: the structure, the names of properties, and
// the memory that the firmware keeps for itself, such as where CPUs wait.
type blocks struct{ structure, strings, reserved []byte }

func openTree(tree []byte) (blocks, error) {
	if len(tree) < treeHeader || len(tree) > maxTree {
		return blocks{}, fmt.Errorf("%w: it has %d bytes", errTree, len(tree))
	}
	field := func(at int) uint64 { return uint64(binary.BigEndian.Uint32(tree[at:])) }
	if field(0) != treeMagic || field(20) < treeVersion || field(24) > treeVersion || field(4) > uint64(len(tree)) {
		return blocks{}, fmt.Errorf("%w: it has no sound header", errTree)
	}
	part := func(at, size uint64) ([]byte, bool) {
		if at < treeHeader || at+size > field(4) {
			return nil, false
		}
		return tree[at : at+size], true
	}
	var b blocks
	var ok [3]bool
	b.structure, ok[0] = part(field(8), field(36))
	b.strings, ok[1] = part(field(12), field(32))
	b.reserved, ok[2] = part(field(16), max(field(4), field(16))-field(16))
	if ok != [3]bool{true, true, true} {
		return blocks{}, fmt.Errorf("%w: its blocks lie outside of it", errTree)
	}
	// The list ends with an entry of zeros.
	for n := 0; n+16 <= len(b.reserved); n += 16 {
		if bytes.Equal(b.reserved[n:n+16], make([]byte, 16)) {
			b.reserved = b.reserved[:n+16]
			return b, nil
		}
	}
	return blocks{}, fmt.Errorf("%w: its reserved memory has no end", errTree)
}

// An editor copies a structure block, token by token.
type editor struct {
	in, out, strings []byte
	set              []property
	at               int
	done             bool // /chosen was there
}

// run copies the block.
func (e *editor) run() error {
	depth, chosen := 0, 0 // chosen is the depth of /chosen while in it
	for {
		start := e.at
		token, ok := e.word()
		if !ok {
			return fmt.Errorf("%w: it has no end", errTree)
		}
		switch token {
		case tokenBegin:
			end := bytes.IndexByte(e.in[e.at:], 0)
			if end < 0 {
				return fmt.Errorf("%w: a node's name has no end", errTree)
			}
			name := string(e.in[e.at : e.at+end])
			if !e.skip(end + 1) {
				return fmt.Errorf("%w: it ends in a node's name", errTree)
			}
			depth++
			e.out = append(e.out, e.in[start:e.at]...)
			if depth == 2 && name == "chosen" && !e.done {
				chosen, e.done = depth, true
				e.properties()
			}
			continue
		case tokenEnd:
			if depth == 1 && !e.done {
				e.done = true
				e.out = binary.BigEndian.AppendUint32(e.out, tokenBegin)
				e.out = append(e.out, "chosen\x00\x00"...)
				e.properties()
				e.out = binary.BigEndian.AppendUint32(e.out, tokenEnd)
			}
			if depth == chosen {
				chosen = 0
			}
			if depth--; depth < 0 {
				return fmt.Errorf("%w: a node ends that did not begin", errTree)
			}
		case tokenProp:
			size, ok1 := e.word()
			name, ok2 := e.word()
			if !ok1 || !ok2 || size > maxTree || !e.skip(int(size)) {
				return fmt.Errorf("%w: it ends in a property", errTree)
			}
			if depth == chosen && e.replaced(name) {
				continue
			}
		case tokenNop:
			continue
		case tokenLast:
			if depth != 0 {
				return fmt.Errorf("%w: a node does not end", errTree)
			}
			e.out = append(e.out, e.in[start:e.at]...)
			return nil
		default:
			return fmt.Errorf("%w: token %d is not known", errTree, token)
		}
		e.out = append(e.out, e.in[start:e.at]...)
	}
}

// word reads the next word.
func (e *editor) word() (uint32, bool) {
	if e.at+4 > len(e.in) {
		return 0, false
	}
	w := binary.BigEndian.Uint32(e.in[e.at:])
	e.at += 4
	return w, true
}

// skip passes over size bytes and what fills up their last word.
func (e *editor) skip(size int) bool {
	size = (size + 3) &^ 3
	if size > len(e.in)-e.at {
		return false
	}
	e.at += size
	return true
}

// replaced reports whether the property whose name is at an offset is set anew.
func (e *editor) replaced(offset uint32) bool {
	if uint64(offset) >= uint64(len(e.strings)) {
		return false
	}
	name, _, _ := bytes.Cut(e.strings[offset:], []byte{0})
	for _, p := range e.set {
		if p.name == string(name) {
			return true
		}
	}
	return false
}

// properties writes those that are set.
func (e *editor) properties() {
	for _, p := range e.set {
		if p.value == nil {
			continue
		}
		e.out = binary.BigEndian.AppendUint32(e.out, tokenProp)
		e.out = binary.BigEndian.AppendUint32(e.out, uint32(len(p.value)))
		e.out = binary.BigEndian.AppendUint32(e.out, uint32(len(e.strings)))
		e.strings = append(append(e.strings, p.name...), 0)
		e.out = append(e.out, p.value...)
		e.out = append(e.out, make([]byte, -len(p.value)&3)...)
	}
}
