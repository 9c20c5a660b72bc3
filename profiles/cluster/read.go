package cluster

import (
	"fmt"

	"weft/document"
)

// Read reads a cluster file and checks its form; package rules checks what it
// says. Nodes have the addresses that follow from the networks' [Network.First].
// file is the name it has in messages.
func Read(file string, data []byte) (Cluster, *document.Document, document.Problems) {
	var c Cluster
	d, problems := document.Decode(file, data, &c)
	if d.Parsed() {
		problems = append(problems, version(c.Weft, Version, "cluster", d)...)
	}
	c.numbered()
	return c, d, problems
}

// ReadLock reads the lock of a cluster.
func ReadLock(file string, data []byte) (Lock, *document.Document, document.Problems) {
	var l Lock
	d, problems := document.Decode(file, data, &l)
	if d.Parsed() {
		problems = append(problems, version(l.Weft, LockVersion, "cluster lock", d)...)
	}
	return l, d, problems
}

// version wants the weft key to name the kind and version of the file.
func version(have, want, kind string, d *document.Document) document.Problems {
	if have == want {
		return nil
	}
	return document.Problems{d.Problem("weft", fmt.Sprintf("this is no %s file that this weft reads", kind)).
		WithRule("N1").WithFix("write weft: " + want)}
}
