package devicetree

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Find returns the node at a path, nil when there is none.
func (t *Tree) Find(path string) *Node {
	n := t.Root
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		i := slices.IndexFunc(n.Children, func(c *Node) bool { return c.Name == name })
		if i < 0 {
			return nil
		}
		n = n.Children[i]
	}
	return n
}

// Child returns the named node in n, which is made when there is none.
func (n *Node) Child(name string) *Node {
	for _, c := range n.Children {
		if c.Name == name {
			return c
		}
	}
	c := &Node{Name: name, Parent: n}
	n.Children = append(n.Children, c)
	return c
}

// Set gives n a property, in place of the one of that name if there is one.
func (n *Node) Set(name string, value []byte) {
	for i, p := range n.Properties {
		if p.Name == name {
			n.Properties[i].Value = value
			return
		}
	}
	n.Properties = append(n.Properties, Property{name, value})
}

// Phandle is the number by which other nodes refer to n, which is made when
// it has none.
func (t *Tree) Phandle(n *Node) uint32 {
	next := uint32(1)
	for number, other := range t.phandles {
		if other == n {
			return number
		}
		next = max(next, number+1)
	}
	n.Set("phandle", Cells(next))
	t.phandles[next] = n
	return next
}

// Cells is a value of 32-bit numbers, Text one of strings.
func Cells(list ...uint32) []byte {
	var b []byte
	for _, v := range list {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

// Text is described at [Cells].
func Text(list ...string) []byte {
	return []byte(strings.Join(list, "\x00") + "\x00")
}

// Encode returns the flattened tree.
func (t *Tree) Encode() []byte {
	w := writer{at: map[string]uint32{}}
	w.node(t.Root)
	w.token(tokenLast)
	reserved := append(slices.Clone(t.reserved), make([]byte, reservation)...)
	structure := uint32(headerSize + len(reserved))
	names := structure + uint32(len(w.structure))
	header := Cells(magic, names+uint32(len(w.names)), structure, names, headerSize,
		version, version-1, t.boot, uint32(len(w.names)), uint32(len(w.structure)))
	return slices.Concat(header, reserved, w.structure, w.names)
}

// A writer makes the blocks of a tree.
type writer struct {
	structure, names []byte
	// at is where a name is in names.
	at map[string]uint32
}

func (w *writer) token(v uint32) { w.structure = binary.BigEndian.AppendUint32(w.structure, v) }

// bytes writes a text or value, up to a multiple of four bytes.
func (w *writer) bytes(b []byte) {
	w.structure = append(w.structure, b...)
	w.structure = append(w.structure, make([]byte, -len(b)&3)...)
}

// node writes a node with all that lies in it.
func (w *writer) node(n *Node) {
	w.token(tokenBegin)
	w.bytes(append([]byte(n.Name), 0))
	for _, p := range n.Properties {
		at, ok := w.at[p.Name]
		if !ok {
			at = uint32(len(w.names))
			w.at[p.Name] = at
			w.names = append(append(w.names, p.Name...), 0)
		}
		w.token(tokenProp)
		w.token(uint32(len(p.Value)))
		w.token(at)
		w.bytes(p.Value)
	}
	for _, c := range n.Children {
		w.node(c)
	}
	w.token(tokenEnd)
}
