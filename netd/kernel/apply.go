package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/diff"
	"weft/netd/wanted"
)

// A Failure is a change the kernel did not make.
type Failure struct {
	Change diff.Change
	Err    error
}

// Error says what failed and why.
func (f Failure) Error() string { return fmt.Sprintf("%s: %v", f.Change, f.Err) }

// Unwrap is the cause.
func (f Failure) Unwrap() error { return f.Err }

// atOnce is how many changes are made into messages at a time: all of them
// would be the largest thing in netd's memory.
const atOnce = 1024

// Apply makes changes, in order, and returns those that failed; one failure
// does not keep the others from being tried. Removing what is gone and making
// what is there are no failures.
func (c *Conn) Apply(changes []diff.Change) []Failure {
	var failures []Failure
	for len(changes) > 0 {
		// Changes of devices take several steps and give what follows its
		// device's index; WireGuard's peers go by another protocol; everything
		// else goes out in batches.
		n := 0
		for n < len(changes) && !isLink(changes[n]) && !isPeer(changes[n]) && sameStep(changes[0], changes[n]) {
			n++
		}
		for part := range slices.Chunk(spare(changes[:n], failures), atOnce) {
			failures = append(failures, c.applyBatch(part)...)
		}
		peers := 0
		for n+peers < len(changes) && isPeer(changes[n+peers]) {
			peers++
		}
		if peers > 0 {
			failures = append(failures, c.applyPeers(changes[n:n+peers])...)
			changes = changes[n+peers:]
			continue
		}
		if n < len(changes) && isLink(changes[n]) {
			if err := c.applyLink(changes[n]); err != nil {
				failures = append(failures, Failure{changes[n], err})
			}
			n++
		}
		changes = changes[n:]
	}
	return failures
}

func isLink(c diff.Change) bool {
	_, is := c.Object.(wanted.Link)
	return is
}

// sameStep reports whether two changes may go out together. What is removed
// goes out after it is known that what takes its place has been made, and routes
// after the rules that lead to them.
func sameStep(a, b diff.Change) bool {
	return (a.Verb == diff.Remove) == (b.Verb == diff.Remove) && isRule(a.Object) == isRule(b.Object)
}

func isPeer(c diff.Change) bool {
	_, is := c.Object.(wanted.WGPeer)
	return is
}

// applyBatch makes changes of anything but devices.
func (c *Conn) applyBatch(changes []diff.Change) []Failure {
	var failures []Failure
	requests := make([]*nl.NetlinkRequest, 0, len(changes))
	sent := make([]diff.Change, 0, len(changes))
	for _, change := range changes {
		link := linkOf(change.Object)
		index, found := c.indexOf(link)
		switch {
		case isRule(change.Object), nowhere(change.Object):
			requests = append(requests, request(change, 0))
			sent = append(sent, change)
		case found:
			requests = append(requests, request(change, index))
			sent = append(sent, change)
		case change.Verb != diff.Remove: // what was on a gone device is gone
			failures = append(failures, Failure{change, fmt.Errorf("device %s is missing", link)})
		}
	}
	answers, err := c.rt.Batch(requests)
	for i, change := range sent {
		if err == nil && mismatched(change, answers[i]) {
			index, _ := c.indexOf(linkOf(change.Object))
			answers[i] = c.createOnLink(change.Object.(wanted.Route), index)
		}
		switch {
		case answers[i] != nil && !benign(change.Verb, answers[i]):
			failures = append(failures, Failure{change, answers[i]})
		case err != nil:
			failures = append(failures, Failure{change, err})
		}
	}
	return failures
}

// benign reports whether an error says that the kernel already is as asked.
func benign(verb diff.Verb, err error) bool {
	if verb != diff.Remove {
		return errors.Is(err, unix.EEXIST)
	}
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) ||
		errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// nowhere reports whether an object is a route that no device is part of.
func nowhere(o diff.Object) bool {
	r, is := o.(wanted.Route)
	return is && r.Link == ""
}

// indexOf is the index of a device as last read or made.
func (c *Conn) indexOf(name string) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	index, found := c.index[name]
	return index, found
}

// linkOf is the name of the device an object is on.
func linkOf(o diff.Object) string {
	switch o := o.(type) {
	case wanted.Address:
		return o.Link
	case wanted.Route:
		return o.Link
	case wanted.FDBEntry:
		return o.Link
	case wanted.Neighbour:
		return o.Link
	}
	return ""
}

// request is the message that makes a change of anything but a device.
func request(change diff.Change, index int) *nl.NetlinkRequest {
	add := change.Verb != diff.Remove
	pick := func(create, remove int) (kind, flags int) {
		if add {
			return create, createFlags
		}
		return remove, 0
	}
	switch o := change.Object.(type) {
	case wanted.Address:
		kind, flags := pick(unix.RTM_NEWADDR, unix.RTM_DELADDR)
		return changeAddress(kind, flags, index, o.Prefix)
	case wanted.Route:
		kind, flags := pick(unix.RTM_NEWROUTE, unix.RTM_DELROUTE)
		return changeRoute(kind, flags, index, o)
	case wanted.Rule:
		if add {
			return changeRule(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, o)
		}
		return changeRule(unix.RTM_DELRULE, 0, o)
	case wanted.FDBEntry:
		kind, flags := pick(unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH)
		return changeFDB(kind, flags, index, o)
	case wanted.Neighbour:
		kind, flags := pick(unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH)
		return changeNeigh(kind, flags, index, o)
	}
	panic(fmt.Sprintf("kernel: no message for a %T", change.Object))
}

// applyLink makes a change of a device.
func (c *Conn) applyLink(change diff.Change) error {
	link := change.Object.(wanted.Link)
	if link.Index == 0 {
		link.Index, _ = c.indexOf(link.Name)
	}
	switch change.Verb {
	case diff.Remove:
		err := c.do(removeLink(link.Index))
		if err != nil && !benign(diff.Remove, err) {
			return err
		}
		c.forget(link)
		return nil
	case diff.Create:
		if err := c.do(createLink(link)); err != nil {
			return c.conflict(link, err)
		}
		made, err := c.find(link.Name)
		if err != nil {
			return err
		}
		link.Index = made.Index
		change.Was = &made
	}
	c.remember(link)
	return c.adjustLink(*change.Was, link)
}

// adjustLink gives a device the settings it lacks. It comes up last, so that
// it never works with wrong ones.
func (c *Conn) adjustLink(was, is wanted.Link) error {
	steps := []struct {
		what    string
		differs bool
		do      func() error
	}{
		{"mark it", was.Alias != is.Alias, func() error {
			return c.do(changeLink(is.Index, unix.IFLA_IFALIAS, []byte(is.Alias)))
		}},
		{"set its key and port", was.WireGuard != is.WireGuard, func() error { return c.setWireGuard(is) }},
		{"change the tunnel", was.VXLAN != is.VXLAN, func() error { return c.do(changeVXLAN(is)) }},
		{"set its MAC", was.MAC != is.MAC && is.Kind != wanted.KindWireGuard, func() error {
			return c.do(changeLink(is.Index, unix.IFLA_ADDRESS, is.MAC[:]))
		}},
		// Changing the tunnel may have lowered the MTU, so it is set again.
		{"set its MTU", was.MTU != is.MTU || was.VXLAN != is.VXLAN, func() error {
			return c.do(changeLink(is.Index, unix.IFLA_MTU, nl.Uint32Attr(uint32(is.MTU))))
		}},
		{"set accept_ra", was.AcceptRA != is.AcceptRA, func() error { return setAcceptRA(is.Name, is.AcceptRA) }},
		{"set checksum offload", was.ChecksumOffload != is.ChecksumOffload, func() error {
			return c.setChecksumOffload(is.Name, is.ChecksumOffload)
		}},
		{"bring it up", !was.Up && is.Up, func() error { return c.do(raiseLink(is.Index)) }},
	}
	for _, step := range steps {
		if !step.differs {
			continue
		}
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// do sends one request.
func (c *Conn) do(request *nl.NetlinkRequest) error {
	answers, err := c.rt.Batch([]*nl.NetlinkRequest{request})
	if err != nil {
		return err
	}
	return answers[0]
}

// find reads one device.
func (c *Conn) find(name string) (link wanted.Link, err error) {
	err = c.rt.Ask([]*nl.NetlinkRequest{findLink(name)}, func(_ int, data []byte) {
		link, _ = decodeLink(data)
	})
	if err == nil && link.Name == "" {
		err = fmt.Errorf("device %s: %w", name, unix.ENODEV)
	}
	if err != nil {
		return link, err
	}
	link.ChecksumOffload, err = c.checksumOffload(name)
	return link, err
}

// remember notes the index of a device of netd's, forget that it is gone.
func (c *Conn) remember(l wanted.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index[l.Name], c.names[l.Index], c.own[l.Index] = l.Index, l.Name, true
}

func (c *Conn) forget(l wanted.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index[l.Name] == l.Index {
		delete(c.index, l.Name)
	}
}
