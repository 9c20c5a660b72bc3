package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// maxObject limits one node's object, in bytes: etcd refuses requests
	// beyond 1.5 MiB (--max-request-bytes), and JSON is up to some times as
	// large as what is stored.
	maxObject = 4 << 20
	// maxAnswer limits one answer that lists nodes, which is read as it comes
	// and not held: 5,000 nodes of 50 kB.
	maxAnswer = 256 << 20
	// maxNodes is how many nodes there can be: ten times what Kubernetes is
	// made for ("Considerations for large clusters": 5,000).
	maxNodes = 50000
)

// A meter limits what is read, and remembers when reading failed: an answer
// cut off is something else than a wrong one.
type meter struct {
	r io.Reader
	// left is what may still be read before the next refill, and all in
	// total.
	left, all int64
	failed    error
}

// refill allows for another object.
func (m *meter) refill() { m.left = maxObject }

func (m *meter) Read(b []byte) (int, error) {
	most := min(m.left, m.all, int64(len(b)))
	if most <= 0 && len(b) > 0 {
		return 0, errTooLarge
	}
	n, err := m.r.Read(b[:most])
	m.left -= int64(n)
	m.all -= int64(n)
	if err != nil && err != io.EOF {
		m.failed = err
	}
	return n, err
}

// A list is what a list of nodes says beside the nodes.
type list struct {
	version, next string
}

// readList reads a NodeList [API] and hands its nodes to visit one by one.
func readList(r io.Reader, visit func(object) error) (l list, err error) {
	m := &meter{r: r, all: maxAnswer}
	m.refill()
	d := json.NewDecoder(m)
	kind := ""
	err = eachField(d, func(key string) error {
		switch key {
		case "kind":
			return d.Decode(&kind)
		case "metadata":
			var meta struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			}
			err := d.Decode(&meta)
			l.version, l.next = meta.ResourceVersion, meta.Continue
			return err
		case "items":
			return eachItem(d, func() error {
				m.refill()
				var o object
				if err := d.Decode(&o); err != nil {
					return err
				}
				if o.Metadata.Name == "" {
					return errors.New("a node has no name")
				}
				return visit(o)
			})
		}
		var other json.RawMessage
		return d.Decode(&other)
	})
	switch {
	case m.failed != nil:
		return l, m.failed
	case err != nil:
		return l, fmt.Errorf("no list of nodes: %w", err)
	// An empty object of some other server must not pass for an empty
	// cluster.
	case kind != "NodeList" || l.version == "":
		return l, fmt.Errorf("no list of nodes but %.40q; fix: check that the address is an API server's", kind)
	}
	return l, nil
}

// eachField reads an object and calls read at the value of each field.
func eachField(d *json.Decoder, read func(key string) error) error {
	if err := expect(d, '{'); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := read(key.(string)); err != nil {
			return err
		}
	}
	return expect(d, '}')
}

// eachItem reads an array and calls read at each element. An array may be
// null.
func eachItem(d *json.Decoder, read func() error) error {
	token, err := d.Token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('[') {
		return fmt.Errorf("%v where a list should be", token)
	}
	for d.More() {
		if err := read(); err != nil {
			return err
		}
	}
	return expect(d, ']')
}

func expect(d *json.Decoder, delim json.Delim) error {
	token, err := d.Token()
	if err == nil && token != delim {
		err = fmt.Errorf("%.40q where %v should be", fmt.Sprint(token), delim)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// The types of watch events [API].
const (
	added    = "ADDED"
	modified = "MODIFIED"
	deleted  = "DELETED"
	bookmark = "BOOKMARK"
)

// An event is one of a watch.
type event struct {
	kind   string
	object object
}

// events reads the events of a watch as they come.
type events struct {
	meter   *meter
	decoder *json.Decoder
}

func newEvents(r io.Reader) *events {
	m := &meter{r: r}
	return &events{meter: m, decoder: json.NewDecoder(m)}
}

// next is the next event: io.EOF at the end of the watch, the error of the
// connection when that broke, a statusError when the server ended the watch
// by an ERROR event, and another error for what is no event.
func (e *events) next() (event, error) {
	e.meter.left, e.meter.all = maxObject, maxObject
	var raw struct {
		Type   string          `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	switch err := e.decoder.Decode(&raw); {
	case e.meter.failed != nil:
		return event{}, e.meter.failed
	case err == io.EOF:
		return event{}, io.EOF
	case err != nil:
		return event{}, &badEvent{err}
	}
	v := event{kind: raw.Type}
	switch raw.Type {
	case added, modified, deleted, bookmark:
		if err := json.Unmarshal(raw.Object, &v.object); err != nil {
			return event{}, &badEvent{err}
		}
		if v.object.Metadata.ResourceVersion == "" || v.object.Metadata.Name == "" && v.kind != bookmark {
			return event{}, &badEvent{errors.New("its object has no name or no resourceVersion")}
		}
		return v, nil
	case "ERROR":
		var s status
		if err := json.Unmarshal(raw.Object, &s); err != nil {
			return event{}, &badEvent{err}
		}
		return event{}, s.error("watch nodes")
	}
	return event{}, &badEvent{fmt.Errorf("type %.40q", raw.Type)}
}

// A badEvent is what is no event of a watch. What follows it cannot be
// trusted to be complete.
type badEvent struct{ cause error }

func (e *badEvent) Error() string { return "watch nodes: no event: " + e.cause.Error() }

func (e *badEvent) Unwrap() error { return e.cause }
