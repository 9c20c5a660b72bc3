package ntp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/beevik/ntp"
)

// Bounds of one round of questions.
const (
	// answerWithin is how long a server may take.
	answerWithin = 3 * time.Second
	// maxServers is how many addresses are asked in a round; maxPerName how
	// many of those one name may bring, half of each family.
	maxServers = 8
	maxPerName = 4
)

// A Network asks servers; [Internet] is the real one.
type Network interface {
	// Lookup finds the addresses of a name.
	Lookup(ctx context.Context, name string) ([]netip.Addr, error)
	// Ask asks one server.
	Ask(ctx context.Context, server netip.Addr) (Sample, error)
}

// Internet asks over the node's own network.
type Internet struct{}

var _ Network = Internet{}

// Lookup implements [Network].
func (Internet) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	return new(net.Resolver).LookupNetIP(ctx, "ip", name)
}

// Ask implements [Network].
func (Internet) Ask(ctx context.Context, server netip.Addr) (Sample, error) {
	return ask(ctx, server, netip.AddrPortFrom(server, 123).String())
}

// ask puts the question to an address and port.
func ask(ctx context.Context, server netip.Addr, address string) (Sample, error) {
	answer, err := ntp.QueryWithOptions(address, ntp.QueryOptions{
		Timeout: answerWithin,
		Dialer: func(_, remote string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "udp", remote)
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			return conn, nil
		},
	})
	if err == nil {
		// Kiss of death, a server that is not synchronised itself, nonsense.
		err = answer.Validate()
	}
	if err != nil {
		return Sample{}, fmt.Errorf("time server %s: %w", server, err)
	}
	return Sample{
		Server: server, Offset: answer.ClockOffset, Stratum: int(answer.Stratum),
		Distance: answer.RootDistance + answer.RTT/2,
	}, nil
}

// round asks all servers named, both families side by side, and returns the
// answers and what went wrong with the others.
func round(ctx context.Context, n Network, names []string) (samples []Sample, failures []error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerWithin)
	defer cancel()
	var (
		mu   sync.Mutex
		wait sync.WaitGroup
	)
	failed := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		failures = append(failures, err)
	}
	asked := map[netip.Addr]bool{}
	for _, name := range names {
		wait.Go(func() {
			addresses, err := n.Lookup(ctx, name)
			if err != nil {
				failed(fmt.Errorf("time server %s: %w", name, err))
				return
			}
			for _, server := range spread(addresses) {
				mu.Lock()
				skip := asked[server] || len(asked) == maxServers
				if !skip {
					asked[server] = true
				}
				mu.Unlock()
				if skip {
					continue
				}
				wait.Go(func() {
					s, err := n.Ask(ctx, server)
					if err != nil {
						failed(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					samples = append(samples, s)
				})
			}
		})
	}
	wait.Wait()
	return samples, failures
}

// spread takes a few of a name's addresses, the families by turns, so that a
// node of one family finds servers of its own among them.
func spread(addresses []netip.Addr) []netip.Addr {
	var v4, v6, all []netip.Addr
	for _, a := range addresses {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	for i := 0; len(all) < maxPerName && (i < len(v4) || i < len(v6)); i++ {
		if i < len(v6) {
			all = append(all, v6[i])
		}
		if i < len(v4) && len(all) < maxPerName {
			all = append(all, v4[i])
		}
	}
	return all
}
