package devicetree

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compile makes a tree of a source by dtc, the reference compiler.
func compile(t testing.TB, source string) []byte {
	t.Helper()
	return dtc(t, source, "dts", "dtb")
}

// dtc turns one form of a tree into another.
func dtc(t testing.TB, source, from, to string) []byte {
	t.Helper()
	path, err := exec.LookPath("dtc")
	if err != nil {
		t.Fatal("install device-tree-compiler: make deps")
	}
	cmd := exec.Command(path, "-q", "-q", "-I", from, "-O", to, "-o", "-", "-")
	cmd.Stdin = strings.NewReader(source)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dtc: %v\n%s", err, problems.Bytes())
	}
	return out
}

// board is the tree in testdata, compiled.
func board(t testing.TB) []byte {
	t.Helper()
	source, err := os.ReadFile("testdata/board.dts")
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, string(source))
}

func parse(t testing.TB, data []byte) *Tree {
	t.Helper()
	tree, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// write writes a tree as source text in which all values are bytes.
func write(b *strings.Builder, n *Node) {
	name := n.Name
	if name == "" {
		name = "/"
	}
	fmt.Fprintf(b, "%s {\n", name)
	for _, p := range n.Properties {
		if len(p.Value) == 0 {
			fmt.Fprintf(b, "%s;\n", p.Name)
			continue
		}
		fmt.Fprintf(b, "%s = [% x];\n", p.Name, p.Value)
	}
	for _, c := range n.Children {
		write(b, c)
	}
	b.WriteString("};\n")
}

// TestTreesAreReadAsDtcReadsThem writes what was read as source text and has
// dtc make a tree of it: it must be the one that was read.
func TestTreesAreReadAsDtcReadsThem(t *testing.T) {
	data := board(t)
	var b strings.Builder
	b.WriteString("/dts-v1/;\n/memreserve/ 0x0 0x1000;\n")
	write(&b, parse(t, data).Root)
	if again := compile(t, b.String()); !bytes.Equal(again, data) {
		t.Errorf("%d bytes became %d:\n%s", len(data), len(again), b.String())
	}
}

// TestWrittenTreesAreThoseThatWereRead has dtc write both as source text.
func TestWrittenTreesAreThoseThatWereRead(t *testing.T) {
	data := board(t)
	want := dtc(t, string(data), "dtb", "dts")
	if got := dtc(t, string(parse(t, data).Encode()), "dtb", "dts"); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTreesAreChanged(t *testing.T) {
	tree := parse(t, compile(t, "/dts-v1/; / { a { phandle = <7>; b = \"x\"; }; };"))
	a := tree.Find("/a")
	if a == nil || tree.Find("/a/b") != nil || tree.Find("/c/d") != nil || tree.Root.Child("a") != a {
		t.Fatalf("nodes are not found: %v", a)
	}
	a.Set("b", Text("y", "z"))
	c := tree.Root.Child("c")
	c.Set("cells", Cells(tree.Phandle(a), tree.Phandle(c), tree.Phandle(c)))
	got := dtc(t, string(tree.Encode()), "dtb", "dts")
	want := dtc(t, string(compile(t, `/dts-v1/; / { a { phandle = <7>; b = "y", "z"; }; c { phandle = <8>; cells = <7 8 8>; }; };`)), "dtb", "dts")
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNodesAnswerWhatTheTreeSays(t *testing.T) {
	tree := parse(t, board(t))
	for n := range tree.Root.All() {
		switch n.Path() {
		case "/":
			if got := n.text("model"); got != "A test board" || n.Kind() != "" {
				t.Errorf("the root is %q, %q", n.Kind(), got)
			}
		case "/soc/mmc@3000":
			if n.Kind() != "mmc" || strings.Join(n.Compatible(), " ") != "test,mmc-2 test,mmc" || !n.Enabled() {
				t.Errorf("%s: %q, %q, %v", n.Path(), n.Kind(), n.Compatible(), n.Enabled())
			}
		case "/soc/off@a000":
			if n.Enabled() {
				t.Errorf("%s is in use", n.Path())
			}
		}
	}
}

// begin, prop and end are parts of a structure block.
func begin(name string) []byte {
	b := append(binary.BigEndian.AppendUint32(nil, tokenBegin), name...)
	return append(b, make([]byte, 4-len(name)%4)...)
}

func prop(offset uint32, value string) []byte {
	b := binary.BigEndian.AppendUint32(nil, tokenProp)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	b = append(binary.BigEndian.AppendUint32(b, offset), value...)
	return append(b, make([]byte, (4-len(value)%4)%4)...)
}

func token(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// tree makes a tree of the parts of a structure block; names begins with "a".
func tree(parts ...[]byte) []byte {
	structure := bytes.Join(parts, nil)
	names := "a\x00\x01\x00"
	var b []byte
	size := headerSize + 16 + len(structure) + len(names)
	for _, v := range []int{magic, size, headerSize + 16, headerSize + 16 + len(structure), headerSize, version, 16, 0, len(names), len(structure)} {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	b = append(b, make([]byte, 16)...)
	return append(append(b, structure...), names...)
}

func TestBrokenTreesAreRefused(t *testing.T) {
	whole := tree(begin(""), prop(0, "value"), token(tokenEnd), token(tokenLast))
	if _, err := Parse(whole); err != nil {
		t.Fatalf("the base of all cases: %v", err)
	}
	set := func(at int, v uint32) []byte {
		b := bytes.Clone(whole)
		binary.BigEndian.PutUint32(b[at:], v)
		return b
	}
	deep := [][]byte{begin("")}
	for range maxDepth {
		deep = append(deep, begin("n"))
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":               {nil, "no header"},
		"another file":          {[]byte(strings.Repeat("x", 100)), "no device tree"},
		"a cut tree":            {whole[:len(whole)-1], "says it has"},
		"less than a header":    {set(4, headerSize-1), "says it has 39"},
		"more than 2 MiB":       {append(set(4, maxSize+1), make([]byte, maxSize)...), "the kernel takes"},
		"an old version":        {set(20, 16), "version 16"},
		"a new version":         {set(24, 18), "readable by 18"},
		"a block outside":       {set(8, 1<<31), "structure block: it lies at"},
		"a block in the header": {set(12, 4), "strings block: it lies at"},
		"reservations outside":  {set(16, 1<<31), "reservations: they lie at"},
		"open reservations":     {set(16, uint32(len(whole)-8)), "reservations: it ends too early"},
		"no end":                {tree(begin(""), token(tokenEnd)), "ends too early"},
		"an open node":          {tree(begin(""), token(tokenLast)), "within a node"},
		"no node":               {tree(token(tokenLast)), "or has none"},
		"an end too many":       {tree(begin(""), token(tokenEnd), token(tokenEnd)), "did not begin"},
		"two roots":             {tree(begin(""), token(tokenEnd), begin("")), "second root"},
		"a named root":          {tree(begin("x")), "the root is called"},
		"a nameless node":       {tree(begin(""), begin("")), `a node is called ""`},
		"a path as a name":      {tree(begin(""), begin("a/b")), `a node is called "a/b"`},
		"an escape in a name":   {tree(begin(""), begin("\x1b[2J")), "byte 0x1b"},
		"a long name":           {tree(begin(""), begin(strings.Repeat("n", 300))), "longer than"},
		"a name without an end": {tree(begin(""), token(tokenBegin), []byte("name")), "ends too early"},
		"too deep":              {tree(deep...), "more than 64 levels"},
		"a stray property":      {tree(prop(0, "")), "property of no node"},
		"a nameless property":   {tree(begin(""), prop(9, "")), "ends too early"},
		"a property's bad name": {tree(begin(""), prop(2, "")), "byte 0x01"},
		"a property twice":      {tree(begin(""), prop(0, ""), prop(0, "")), "has a twice"},
		"a value too long":      {tree(begin(""), token(tokenProp), token(100), token(0)), "ends too early"},
		"an unknown token":      {tree(begin(""), token(7)), "unknown token 0x7"},
	} {
		if _, err := Parse(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(tree(begin(""), prop(0, "value"), begin("n"), token(tokenEnd), token(tokenEnd), token(tokenLast)))
	if found, err := filepath.Glob("testdata/*.dts"); err == nil && len(found) > 0 {
		f.Add(board(f))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := Parse(data)
		if err != nil {
			return
		}
		again, err := Parse(tree.Encode())
		if err != nil || !bytes.Equal(again.Encode(), tree.Encode()) {
			t.Errorf("what was written cannot be read: %v", err)
		}
		// Whatever was read can be checked.
		Check(tree, []string{"sd", "ethernet", "usb", "nvme"}, fakeKernel{})
	})
}
