package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/init/dhcp"
	"weft/init/dhcp6"
	"weft/init/router"
	"weft/profiles"
)

// Config is what a manager needs to know and to tell.
type Config struct {
	// Links are the profile's; empty for every Ethernet device.
	Links []profiles.Link
	// Sys is the mount point of sysfs.
	Sys string
	// Random is for transaction ids.
	Random io.Reader
	// Hostname returns the node's name, empty before it has one; UUID its
	// identity, by which DHCPv6 servers know it.
	Hostname func() string
	UUID     func() [16]byte
	// Go starts a goroutine; a panic in one is init's to catch.
	Go func(func())
	// Need loads a kernel module, if it is not there yet.
	Need func(module string)
	// Prepare is called for each uplink that appears, before it is up.
	Prepare func(name string, advertisements bool)
	// Step reports a finished step.
	Step func(name string, took time.Duration, text string)
	// Problem reports a fault.
	Problem func(error)
	// Changed is called whenever the uplinks differ from before, in their
	// order, and once at the start.
	Changed func([]Uplink)
	// Named is called with the name a DHCP server gives, even an empty one.
	Named func(name string)
}

// manager is the state of Run. Only Run's goroutine touches it.
type manager struct {
	Config
	ctx   context.Context
	ups   map[int]*uplink
	ports map[int]string // devices that lie below another, and which
	tasks chan func()
	// defaults are the default routes there are, if anybody waits for one.
	defaults map[defaultRoute]bool
	// names is when the next name server of a router runs out.
	names *time.Timer
}

// uplink is one uplink with what is going on there.
type uplink struct {
	Uplink
	conf     profiles.Link
	cancel   context.CancelFunc
	carriers []chan bool // to the DHCP clients
	began    time.Time   // when the carrier came
	// lease is what DHCP configured, when valid.
	lease  dhcp.Lease
	leased bool
	// lease6 is the same of DHCPv6, mode what routers say of it, and routers
	// the name servers they advertise.
	lease6  dhcp6.Lease
	modes   chan dhcp6.Mode
	routers router.Table
}

// receiveBuffer holds the messages of a few thousand pod devices that come or
// go at once, in bytes.
const receiveBuffer = 1 << 20

// Run keeps the uplinks configured until ctx ends. It is driven by the
// kernel's netlink messages alone.
func Run(ctx context.Context, conf Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the DHCP clients too
	// The channels have no room: the library's reader blocks, the kernel
	// queues, and nothing is reordered.
	links := make(chan netlink.LinkUpdate)
	addrs := make(chan netlink.AddrUpdate)
	lost := make(chan error, 4)
	failed := func(err error) {
		select {
		case lost <- err:
		default:
		}
	}
	err := subscribe(ctx, links, addrs, failed, true)
	if errors.Is(err, unix.EPERM) {
		// Root of a container only: what the system allows must do.
		err = subscribe(ctx, links, addrs, failed, false)
	}
	if err != nil {
		return err
	}
	m := &manager{
		Config: conf, ctx: ctx, ups: make(map[int]*uplink), ports: make(map[int]string),
		tasks: make(chan func()), defaults: make(map[defaultRoute]bool), names: time.NewTimer(time.Hour),
	}
	defer m.names.Stop()
	if err := loopback(); err != nil {
		m.Problem(err)
	}
	m.Go(func() { m.hearRouters(ctx) })
	routes, err := m.subscribeRoutes(failed)
	if err != nil {
		return err
	}
	m.changed()
	for {
		select {
		case u, ok := <-links:
			if !ok {
				return m.over(lost)
			}
			m.link(u)
		case u, ok := <-addrs:
			if !ok {
				return m.over(lost)
			}
			m.address(u)
		case u := <-routes:
			m.route(u)
		case f := <-m.tasks:
			f()
		case <-m.names.C:
			m.changed()
		case <-ctx.Done():
			return nil
		}
	}
}

// subscribe asks for all messages about links and addresses, those that are
// there first. force sets the buffer beyond the system's limit.
func subscribe(ctx context.Context, links chan netlink.LinkUpdate, addrs chan netlink.AddrUpdate, failed func(error), force bool) error {
	err := netlink.LinkSubscribeWithOptions(links, ctx.Done(), netlink.LinkSubscribeOptions{
		ListExisting: true, ErrorCallback: failed, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: force,
	})
	if err != nil {
		return fmt.Errorf("links: subscribe: %w", err)
	}
	err = netlink.AddrSubscribeWithOptions(addrs, ctx.Done(), netlink.AddrSubscribeOptions{
		ListExisting: true, ErrorCallback: failed, ReceiveBufferSize: receiveBuffer, ReceiveBufferForceSize: force,
	})
	if err != nil {
		return fmt.Errorf("addresses: subscribe: %w", err)
	}
	return nil
}

// over says why a subscription ended.
func (m *manager) over(lost <-chan error) error {
	if m.ctx.Err() != nil {
		return nil
	}
	select {
	case err := <-lost:
		return fmt.Errorf("network messages: %w", err)
	default:
		return errors.New("network messages ended")
	}
}

// loopback brings lo up; the kernel gives it its addresses then.
func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("loopback device: %w", err)
	}
	return nil
}

// link takes a message about a device.
func (m *manager) link(u netlink.LinkUpdate) {
	attrs := u.Link.Attrs()
	up := m.ups[attrs.Index]
	if u.Header.Type == unix.RTM_DELLINK {
		// A bridge port that leaves its bridge is "deleted" in the bridge's
		// family; the device stays.
		if u.IfInfomsg.Family != unix.AF_UNSPEC {
			return
		}
		delete(m.ports, attrs.Index)
		if up != nil {
			up.cancel()
			delete(m.ups, attrs.Index)
			m.changed()
		}
		return
	}
	if up == nil {
		if up = m.appear(attrs); up == nil {
			return
		}
	}
	carrier := attrs.RawFlags&unix.IFF_LOWER_UP != 0 && attrs.RawFlags&unix.IFF_UP != 0
	if carrier == up.Carrier {
		return
	}
	if up.Carrier = carrier; carrier {
		up.began = time.Now()
	}
	m.tell(up)
	m.changed()
}

// tell passes the carrier on to the link's DHCP clients: only the latest state
// counts.
func (m *manager) tell(up *uplink) {
	for _, carrier := range up.carriers {
		latest(carrier, up.Carrier)
	}
}

// latest puts a value into a channel with room for one, in place of one that
// nobody took.
func latest[T any](to chan T, value T) {
	select {
	case <-to:
	default:
	}
	to <- value
}

// appear takes a device in if it is an uplink.
func (m *manager) appear(attrs *netlink.LinkAttrs) *uplink {
	mac := attrs.HardwareAddr
	if len(attrs.PermHWAddr) > 0 {
		mac = attrs.PermHWAddr
	}
	if attrs.Alias != mark && m.makes(attrs.Name) {
		// Not ours, such as the bond0 that the bonding module brings along. It
		// makes way for ours, which is told of again once it is marked.
		return nil
	}
	d := ReadDevice(m.Sys, attrs.Index, attrs.Name, mac)
	m.placeBelow(d)
	conf, place, ok := Choose(d, m.Links)
	if !ok || attrs.Flags&net.FlagLoopback != 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(m.ctx)
	up := &uplink{Uplink: Uplink{Device: d, Place: place}, conf: conf, cancel: cancel}
	m.ups[d.Index] = up
	m.lookForDefaults(up)
	m.Prepare(d.Name, WantsAdvertisements(conf))
	m.configure(up)
	if WantsDHCP(conf) && d.Ethernet {
		carrier := make(chan bool, 1)
		up.carriers = append(up.carriers, carrier)
		m.Go(func() { m.lease(ctx, d, attrs.HardwareAddr, carrier) })
	}
	if WantsDHCP6(conf) && d.Ethernet {
		m.startDHCP6(ctx, up, attrs.HardwareAddr)
	}
	m.changed()
	return up
}

// address takes a message about an address.
func (m *manager) address(u netlink.AddrUpdate) {
	up := m.ups[u.LinkIndex]
	a, ok := netip.AddrFromSlice(u.LinkAddress.IP)
	if up == nil || !ok {
		return
	}
	a = a.Unmap()
	// Not usable yet, or never: duplicate address detection goes on or failed.
	const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	usable := u.NewAddr && u.Flags&unusable == 0 && a.IsGlobalUnicast()
	i := slices.Index(up.Addresses, a)
	switch {
	case usable && i < 0:
		up.Addresses = append(up.Addresses, a)
		if a.Is6() {
			m.Step("address "+up.Device.Name, time.Since(up.began), a.String())
		}
	case !usable && i >= 0:
		up.Addresses = slices.Delete(up.Addresses, i, i+1)
	default:
		return
	}
	m.changed()
}

// changed tells the uplinks, in the order of profile and device.
func (m *manager) changed() {
	list := make([]Uplink, 0, len(m.ups))
	now, next := time.Now(), time.Time{}
	for _, up := range m.ups {
		list = append(list, up.known(now, &next))
	}
	if m.names.Reset(time.Hour); !next.IsZero() {
		m.names.Reset(next.Sub(now))
	}
	slices.SortFunc(list, func(a, b Uplink) int {
		if a.Place != b.Place {
			return a.Place - b.Place
		}
		return a.Device.Index - b.Device.Index
	})
	m.Changed(list)
}

// do runs f on the manager's goroutine.
func (m *manager) do(f func()) {
	select {
	case m.tasks <- f:
	case <-m.ctx.Done():
	}
}

// lease runs DHCP on a device until ctx ends.
func (m *manager) lease(ctx context.Context, d Device, mac net.HardwareAddr, carrier <-chan bool) {
	client := dhcp.Client{
		Link:    dhcp.Link{Index: d.Index, Name: d.Name, MAC: mac},
		Machine: dhcp.NewMachine(mac, m.Hostname, m.Random),
		Carrier: carrier,
		Lease:   func(l dhcp.Lease, since time.Time) { m.do(func() { m.leased(d.Index, l, since) }) },
		Lost:    func(l dhcp.Lease, why string) { m.do(func() { m.unleased(d.Index, why) }) },
		Problem: func(err error) {
			// A link that just went down is told by its carrier.
			if !errors.Is(err, unix.ENETDOWN) && !strings.Contains(err.Error(), "network is down") {
				m.Problem(err)
			}
		},
	}
	if err := client.Run(ctx); err != nil {
		m.Problem(err)
	}
}

// leased configures what a server lends.
func (m *manager) leased(index int, l dhcp.Lease, since time.Time) {
	up := m.ups[index]
	if up == nil {
		return
	}
	before, had := up.lease, up.leased
	if had && before.Address != l.Address {
		m.remove(up)
	}
	up.lease, up.leased = l, true
	m.apply(up, since, before, had)
	if !had || !before.Same(l) {
		m.Step("dhcp "+up.Device.Name, time.Since(up.began), fmt.Sprintf("%s from %s", l.Address, l.Server))
	}
	m.Named(l.Hostname)
	m.changed()
}

// unleased takes back what a lost lease configured.
func (m *manager) unleased(index int, why string) {
	up := m.ups[index]
	if up == nil || !up.leased {
		return
	}
	m.remove(up)
	up.lease, up.leased = dhcp.Lease{}, false
	m.Problem(fmt.Errorf("dhcp on %s: %s", up.Device.Name, why))
	m.changed()
}
