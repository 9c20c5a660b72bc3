package kubernetestest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// An Object is an object of the API as JSON has it. Objects that the server
// holds are never changed, only replaced.
type Object = map[string]any

// nodes are the objects and what happened to them.
type nodes struct {
	data sync.Mutex
	// version is the resource version of all.
	version int
	// compacted is the last version whose history is gone.
	compacted int
	uids      int
	objects   map[string]Object
	history   []record
	watchers  map[*watcher]bool
	// pages are the states that continue tokens speak of.
	pages map[int]map[string]Object
}

// A record is one event of the history.
type record struct {
	version int
	kind    string
	name    string
	object  Object
}

func newNodes() nodes {
	return nodes{version: 1000, objects: map[string]Object{}, watchers: map[*watcher]bool{}, pages: map[int]map[string]Object{}}
}

// Node makes a node's object as a kubelet registers it, with pod subnets.
func Node(name string, podCIDRs ...string) Object {
	conditions := []any{}
	for _, kind := range []string{"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"} {
		status := "False"
		if kind == "Ready" {
			status = "True"
		}
		conditions = append(conditions, Object{"type": kind, "status": status, "reason": "Kubelet" + kind})
	}
	spec := Object{}
	if len(podCIDRs) > 0 {
		spec["podCIDR"] = podCIDRs[0]
		spec["podCIDRs"] = podCIDRs
	}
	return Object{
		"apiVersion": "v1", "kind": "Node",
		"metadata": Object{"name": name, "labels": Object{"kubernetes.io/hostname": name}, "annotations": Object{}},
		"spec":     spec,
		"status":   Object{"conditions": conditions, "nodeInfo": Object{"osImage": "weft", "architecture": "amd64"}},
	}
}

// Annotate adds annotations to an object, by pairs of name and value, and
// returns it.
func Annotate(o Object, pairs ...string) Object {
	notes := o["metadata"].(Object)["annotations"].(Object)
	for i := 0; i+1 < len(pairs); i += 2 {
		notes[pairs[i]] = pairs[i+1]
	}
	return o
}

// clone copies an object, in the types that JSON knows.
func clone(o Object) Object {
	var c Object
	if err := json.Unmarshal(must(json.Marshal(o)), &c); err != nil {
		panic(err)
	}
	return c
}

// Put writes objects as they are, with new versions; new ones get UIDs.
func (n *nodes) Put(objects ...Object) {
	n.data.Lock()
	defer n.data.Unlock()
	for _, o := range objects {
		n.put(clone(o))
	}
}

// put takes o over. The lock must be held.
func (n *nodes) put(o Object) Object {
	meta := o["metadata"].(Object)
	name := meta["name"].(string)
	kind := "MODIFIED"
	if was, found := n.objects[name]; found {
		meta["uid"] = was["metadata"].(Object)["uid"]
	} else {
		n.uids++
		kind, meta["uid"] = "ADDED", fmt.Sprintf("uid-%d", n.uids)
	}
	n.version++
	meta["resourceVersion"] = strconv.Itoa(n.version)
	n.objects[name] = o
	n.record(record{n.version, kind, name, o})
	return o
}

// Update changes one object; change may not call the server.
func (n *nodes) Update(name string, change func(Object)) {
	n.data.Lock()
	defer n.data.Unlock()
	o := clone(n.objects[name])
	change(o)
	n.put(o)
}

// Delete removes one object.
func (n *nodes) Delete(name string) {
	n.data.Lock()
	defer n.data.Unlock()
	o := clone(n.objects[name])
	delete(n.objects, name)
	n.version++
	o["metadata"].(Object)["resourceVersion"] = strconv.Itoa(n.version)
	n.record(record{n.version, "DELETED", name, o})
}

// Forget removes one object and tells no watch of it, as if the event had
// been lost.
func (n *nodes) Forget(name string) {
	n.data.Lock()
	defer n.data.Unlock()
	delete(n.objects, name)
	n.version++
}

// Get is a copy of one object; nil when there is none.
func (n *nodes) Get(name string) Object {
	n.data.Lock()
	defer n.data.Unlock()
	if o, found := n.objects[name]; found {
		return clone(o)
	}
	return nil
}

// Annotations are those of one object.
func (n *nodes) Annotations(name string) map[string]string {
	notes := map[string]string{}
	if o := n.Get(name); o != nil {
		all, _ := o["metadata"].(Object)["annotations"].(Object)
		for k, v := range all {
			notes[k] = v.(string)
		}
	}
	return notes
}

// Conditions are those of one object, type to "status reason".
func (n *nodes) Conditions(name string) map[string]string {
	conditions := map[string]string{}
	if o := n.Get(name); o != nil {
		all, _ := o["status"].(Object)["conditions"].([]any)
		for _, c := range all {
			c := c.(Object)
			conditions[fmt.Sprint(c["type"])] = fmt.Sprintf("%v %v", c["status"], c["reason"])
		}
	}
	return conditions
}

// Version is the resource version of all.
func (n *nodes) Version() int {
	n.data.Lock()
	defer n.data.Unlock()
	return n.version
}

// Skip moves the version on, as objects of other kinds do.
func (n *nodes) Skip(by int) {
	n.data.Lock()
	defer n.data.Unlock()
	n.version += by
}

// Compact ends the history: what is older than now has expired.
func (n *nodes) Compact() {
	n.data.Lock()
	defer n.data.Unlock()
	n.compacted, n.history = n.version, nil
	clear(n.pages)
}

// A Snapshot is a copy of all data.
type Snapshot struct {
	version int
	objects map[string]Object
}

// Snapshot copies the data.
func (n *nodes) Snapshot() Snapshot {
	n.data.Lock()
	defer n.data.Unlock()
	return Snapshot{n.version, maps.Clone(n.objects)}
}

// Restore puts a copy back, as the restore of a datastore does: versions go
// back with it, and watches that are open are told nothing.
func (n *nodes) Restore(s Snapshot) {
	n.data.Lock()
	defer n.data.Unlock()
	n.version, n.objects, n.history = s.version, maps.Clone(s.objects), nil
	n.compacted = s.version
}

// list answers a list.
func (s *Server) list(q question) {
	query := q.r.URL.Query()
	limit, _ := strconv.Atoi(query.Get("limit"))
	s.data.Lock()
	version, objects, after := s.version, s.objects, ""
	if token := query.Get("continue"); token != "" {
		decoded, _ := base64.StdEncoding.DecodeString(token)
		at, last, _ := strings.Cut(string(decoded), " ")
		version, _ = strconv.Atoi(at)
		objects, after = s.pages[version], last
	}
	s.data.Unlock()
	if objects == nil {
		Refuse(q.w, http.StatusGone, "Expired", "The provided continue parameter is too old to display a consistent list result.")
		return
	}
	s.data.Lock()
	defer s.data.Unlock()
	items, next := []Object{}, ""
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		if name <= after || q.only() != "" && q.only() != name {
			continue
		}
		if limit > 0 && len(items) == limit {
			last := items[limit-1]["metadata"].(Object)["name"]
			next = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", version, last))
			if s.pages[version] == nil {
				s.pages[version] = maps.Clone(objects)
			}
			break
		}
		items = append(items, objects[name])
	}
	meta := Object{"resourceVersion": strconv.Itoa(version)}
	if next != "" {
		meta["continue"] = next
	}
	reply(q.w, http.StatusOK, Object{"kind": "NodeList", "apiVersion": "v1", "metadata": meta, "items": items})
}

// get answers for one object.
func (s *Server) get(q question) {
	if o := s.Get(q.name); o != nil {
		reply(q.w, http.StatusOK, o)
		return
	}
	notFound(q)
}

func notFound(q question) {
	Refuse(q.w, http.StatusNotFound, "NotFound", fmt.Sprintf("nodes %q not found", q.name))
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v) // the client may be gone
}

// status is a Status object that tells of an error.
func status(code int, reason, message string) Object {
	return Object{"kind": "Status", "apiVersion": "v1", "metadata": Object{}, "status": "Failure",
		"message": message, "reason": reason, "code": code}
}

// Refuse answers with an error, as the API does.
func Refuse(w http.ResponseWriter, code int, reason, message string) {
	reply(w, code, status(code, reason, message))
}
