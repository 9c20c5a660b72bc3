// Package probe keeps a small pod of netd's own and pings the peers' from it,
// so that the health of the pod network is measured and not assumed.
//
// The pod is a network namespace on the CNI bridge, made like every other
// pod; it runs nothing. Its packets take the way of any pod's packets: bridge,
// forwarding, firewall, tunnel.
package probe

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"weft/netd/cni"
)

// A Config is what the prober should do.
type Config struct {
	// On makes the prober keep its pod; otherwise it removes it.
	On bool
	// Pod is the pod to keep.
	Pod Pod
	// Peers are the peers to ask, by subnet.
	Peers []Peer
}

// A Peer is a peer in one family.
type Peer struct {
	Node   string
	Subnet netip.Prefix
}

// A Prober pings peers. It is made by [New] and works while [Prober.Run] does.
type Prober struct {
	log     *slog.Logger
	now     func() time.Time
	id      uint16
	changed func(Result)

	configs chan Config
	answers chan answer

	mu      sync.Mutex
	targets map[netip.Addr]*target
	failure error
}

// answer is an echo reply that has arrived.
type answer struct {
	from netip.Addr
	seq  uint16
	at   time.Time
}

// New makes a prober. id tells its requests from others'; changed is called
// when a peer starts or stops answering.
func New(log *slog.Logger, now func() time.Time, id uint16, changed func(Result)) *Prober {
	return &Prober{log: log, now: now, id: id, changed: changed,
		configs: make(chan Config, 1), answers: make(chan answer, 64), targets: map[netip.Addr]*target{}}
}

// Set tells the prober what to do; it does not wait.
func (p *Prober) Set(c Config) {
	for {
		select {
		case p.configs <- c:
			return
		case <-p.configs: // one that was not taken yet is out of date
		}
	}
}

// Results are the peers' results, ordered by address, and what keeps the
// prober from working, if anything.
func (p *Prober) Results() ([]Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	results := make([]Result, 0, len(p.targets))
	for _, t := range p.targets {
		results = append(results, t.Result)
	}
	slices.SortFunc(results, func(a, b Result) int { return a.To.Compare(b.To) })
	return results, p.failure
}

// Run works until ctx ends. It leaves the pod as it is.
func (p *Prober) Run(ctx context.Context) {
	var (
		config  Config
		open    sockets
		readers sync.WaitGroup
		renew   bool // the pod has to be looked after
	)
	defer readers.Wait()
	defer func() { open.close() }()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	for checked := p.now(); ; {
		select {
		case <-ctx.Done():
			return
		case next := <-p.configs:
			config, renew = next, true
			p.retarget(config)
		case a := <-p.answers:
			p.tell(p.take(a))
		case <-wake.C:
		}
		if renew || p.now().Sub(checked) >= every {
			fresh, err := p.renew(config, open)
			p.fail(err)
			renew, checked = err != nil, p.now()
			if fresh != open {
				open = fresh
				open.each(func(conn net.PacketConn, ipv6 bool) {
					readers.Go(func() { p.read(ctx, conn, ipv6) })
				})
			}
		}
		due, changes := p.askDue(open)
		p.tell(changes)
		if renew {
			due = min(due, time.Second) // what failed is tried again soon
		}
		wake.Reset(min(due, every))
	}
}

// renew makes the pod what config says and opens its sockets if there are
// none, or if its addresses changed.
func (p *Prober) renew(config Config, open sockets) (sockets, error) {
	if !config.On {
		open.close()
		return sockets{}, remove()
	}
	if err := config.Pod.ensure(); err != nil {
		return open, fmt.Errorf("probe pod: %w", err)
	}
	if open.fits(config.Pod) {
		return open, nil
	}
	open.close()
	fresh, err := config.Pod.open()
	if err != nil {
		return sockets{}, fmt.Errorf("probe pod: %w", err)
	}
	return fresh, nil
}

// fail notes what keeps the prober from working.
func (p *Prober) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && (p.failure == nil || p.failure.Error() != err.Error()) {
		p.log.Warn("probe", "error", err)
	}
	p.failure = err
}

// retarget brings the targets to the peers of config; new ones are due at
// once.
func (p *Prober) retarget(config Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := make(map[netip.Addr]bool, len(config.Peers))
	if config.On {
		for _, peer := range config.Peers {
			to := cni.ProbeAddress(peer.Subnet)
			wanted[to] = true
			if t, found := p.targets[to]; found && t.Node == peer.Node {
				continue
			}
			for _, own := range config.Pod.Subnets {
				if own.Addr().Is4() == to.Is4() {
					p.targets[to] = &target{Result: Result{Node: peer.Node, From: cni.ProbeAddress(own), To: to}}
				}
			}
		}
	}
	for to := range p.targets {
		if !wanted[to] {
			delete(p.targets, to)
		}
	}
}

// askDue asks the peers that are due and returns how long nobody is, and the
// peers that are lost from now on.
func (p *Prober) askDue(open sockets) (next time.Duration, lost []Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	next = time.Hour
	for to, t := range p.targets {
		if t.expire(now) {
			lost = append(lost, t.Result)
		}
		if t.due.After(now) {
			next = min(next, t.due.Sub(now))
			continue
		}
		conn := open.v6
		if to.Is4() {
			conn = open.v4
		}
		seq := t.ask(now)
		next = min(next, t.due.Sub(now))
		if conn != nil {
			// A request that cannot be sent is one without an answer.
			_, _ = conn.WriteTo(echo{p.id, seq}.request(to.Is6()), &net.IPAddr{IP: to.AsSlice()})
		}
	}
	return next, lost
}

// take notes an answer and returns the peer if it answers from now on.
func (p *Prober) take(a answer) []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, found := p.targets[a.from]
	if found && t.answer(a.seq, a.at, interval(len(p.targets))) {
		return []Result{t.Result}
	}
	return nil
}

// tell reports peers that started or stopped answering.
func (p *Prober) tell(results []Result) {
	for _, r := range results {
		p.changed(r)
	}
}

// read hands on the echo replies that arrive at conn until it is closed.
func (p *Prober) read(ctx context.Context, conn net.PacketConn, ipv6 bool) {
	b := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		reply, ok := parseReply(b[:n], ipv6)
		sender, isIP := from.(*net.IPAddr)
		if !ok || !isIP || reply.id != p.id {
			continue
		}
		address, _ := netip.AddrFromSlice(sender.IP)
		select {
		case p.answers <- answer{address.Unmap(), reply.seq, p.now()}:
		case <-ctx.Done():
			return
		}
	}
}
