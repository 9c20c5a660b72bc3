package fat

import (
	"encoding/binary"
	"io/fs"
	"strings"
	"time"
	"unicode/utf16"
)

// A node is a file or directory of an existing volume. It is what [FS.Open]
// and its kin describe as [fs.FileInfo].
type node struct {
	name string
	root bool
	entry
}

func (n node) dir() bool { return n.root || n.attr&attrDirectory != 0 }

func (n node) Name() string       { return n.name }
func (n node) ModTime() time.Time { return moment(n.modified.date, n.modified.time) }
func (n node) IsDir() bool        { return n.dir() }
func (n node) Sys() any           { return nil }

func (n node) Size() int64 {
	if n.dir() {
		return 0
	}
	return int64(n.size)
}

// Mode makes up permissions, of which FAT has only one.
func (n node) Mode() fs.FileMode {
	mode := fs.FileMode(0o644)
	if n.dir() {
		mode = fs.ModeDir | 0o755
	}
	if n.attr&attrReadOnly != 0 {
		mode &^= 0o222
	}
	return mode
}

// rootNode is the root directory, which no entry describes.
func (f *FS) rootNode() node {
	return node{name: ".", root: true, entry: entry{cluster: f.rootCluster}}
}

// contents are the bytes of a directory and where they are.
type contents struct {
	f        *FS
	data     []byte
	clusters []uint32 // nil for the fixed root of FAT12 and FAT16
	label    string   // of the volume entry, after parse
}

// A record is an entry of a directory with its names and its place.
type record struct {
	node
	short       shortName
	first, last int // slots of its first long entry and its short one
}

// matches reports whether name means this record.
func (r record) matches(folded string) bool {
	return fold(r.name) == folded || fold(r.short.String()) == folded
}

// readDirectory reads all bytes of a directory; visit sees each cluster.
func (f *FS) readDirectory(n node, visit func(uint32) error) (*contents, error) {
	d := &contents{f: f}
	if n.root && f.typ != FAT32 {
		d.data = make([]byte, f.rootEntries*entrySize)
		_, err := f.r.ReadAt(d.data, f.rootOffset())
		return d, err
	}
	limit := max(1, maxDirectory/f.clusterSize)
	clusters, err := f.chain(n.cluster, limit, visit)
	if err != nil {
		return nil, err
	}
	d.clusters = clusters
	d.data = make([]byte, int64(len(clusters))*f.clusterSize)
	for i, c := range clusters {
		at := int64(i) * f.clusterSize
		if _, err := f.r.ReadAt(d.data[at:at+f.clusterSize], f.clusterOffset(c)); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// slots is how many entries the directory has room for.
func (d *contents) slots() int { return len(d.data) / entrySize }

// slot returns the bytes of one entry.
func (d *contents) slot(i int) []byte { return d.data[i*entrySize : (i+1)*entrySize] }

// offset is where a slot is on the volume.
func (d *contents) offset(i int) int64 {
	at := int64(i) * entrySize
	if d.clusters == nil {
		return d.f.rootOffset() + at
	}
	return d.f.clusterOffset(d.clusters[at/d.f.clusterSize]) + at%d.f.clusterSize
}

// end is the first slot after the entries in use.
func (d *contents) end() int {
	for i := range d.slots() {
		if d.slot(i)[0] == entryEnd {
			return i
		}
	}
	return d.slots()
}

// parse returns the files and directories, without "." and "..".
func (d *contents) parse() ([]record, error) {
	var records []record
	var long longName
	for i := range d.end() {
		b := d.slot(i)
		switch {
		case b[0] == entryFree:
			long = longName{}
			continue
		case b[11]&attrLongMask == attrLong:
			long.add(b, i)
			continue
		}
		e := parseEntry(b, d.f.typ)
		if e.attr&attrVolume != 0 {
			d.label = strings.TrimRight(string(e.name[:]), " ")
			long = longName{}
			continue
		}
		r := record{node: node{name: e.display(), entry: e}, short: e.name, first: i, last: i}
		if name, ok := long.finish(e.name); ok {
			r.name, r.first = name, long.first
		}
		long = longName{}
		if r.name == "." || r.name == ".." {
			continue
		}
		if !sound(r.name) {
			return nil, corrupt("entry %d has the name %q", i, r.name)
		}
		records = append(records, r)
	}
	return records, nil
}

// sound reports whether a name can be one element of a path. Everything else
// is left to the caller, as other systems write names this package would not.
func sound(name string) bool {
	if name == "" || !fs.ValidPath(name) {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == '/' || r == '\\' })
}

// display is the short name as people see it: with the lower case that NT
// marks, and bytes above 127 read as code page 437.
func (e entry) display() string {
	s := e.name
	if s[0] == entryKanji {
		s[0] = entryFree
	}
	text := func(b []byte, lower bool) string {
		var sb strings.Builder
		for _, c := range b {
			switch {
			case c >= 0x80:
				sb.WriteRune(codePage437[c-0x80])
			case lower && c >= 'A' && c <= 'Z':
				sb.WriteByte(c + 'a' - 'A')
			default:
				sb.WriteByte(c)
			}
		}
		return strings.TrimRight(sb.String(), " ")
	}
	base, ext := text(s[:8], e.lower&lowerBase != 0), text(s[8:], e.lower&lowerExt != 0)
	if ext == "" {
		return base
	}
	return base + "." + ext
}

// codePage437 is the upper half of the PC's first character set
// [unicode.org: VENDORS/MICSFT/PC/CP437.TXT].
var codePage437 = []rune("ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
	"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0")

// A longName is put together from the long entries before a short one.
type longName struct {
	units []uint16 // of the whole name, filled from the end
	first int      // slot of the first entry
	next  byte     // number the next entry must have; 0 when complete
	sum   byte
	live  bool
}

// add takes one long entry; an entry out of order loses the name.
func (l *longName) add(b []byte, slot int) {
	n := b[0]
	if n&lastLong != 0 {
		n &^= lastLong
		if n == 0 || int(n) > (maxName+unitsPerLong-1)/unitsPerLong {
			*l = longName{}
			return
		}
		*l = longName{units: make([]uint16, int(n)*unitsPerLong), first: slot, next: n, sum: b[13], live: true}
	}
	if !l.live || n == 0 || n != l.next || b[13] != l.sum {
		*l = longName{}
		return
	}
	for i, at := range longOffsets {
		l.units[int(n-1)*unitsPerLong+i] = binary.LittleEndian.Uint16(b[at:])
	}
	l.next--
}

// finish returns the name, if it is complete and belongs to the short name.
func (l *longName) finish(short shortName) (string, bool) {
	if !l.live || l.next != 0 || l.sum != short.checksum() {
		return "", false
	}
	units := l.units
	for i, u := range units {
		if u == 0 {
			units = units[:i]
			break
		}
	}
	return string(utf16.Decode(units)), true
}
