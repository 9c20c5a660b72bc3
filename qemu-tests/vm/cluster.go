package vm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"weft/qemu-tests/vm/hub"
)

// errClusterEnded is the cause of the end of guests that did not fail.
var errClusterEnded = errors.New("its cluster was ended")

// A Cluster is several guests that live and die together.
type Cluster struct {
	// VMs are the guests, in the order of their configurations.
	VMs    []*VM
	cancel context.CancelCauseFunc
}

// StartCluster starts a guest for each configuration, each with a card on
// segment: the cards that name a segment are left alone, and a guest without
// one gets one more, unless segment is nil. When a guest fails, all others are ended; a guest that
// ends in order, or by [VM.Kill], leaves the others running.
func StartCluster(ctx context.Context, segment *hub.Segment, configs ...Config) (*Cluster, error) {
	joined := make([]Config, len(configs))
	for i, cfg := range configs {
		onSegment := slices.ContainsFunc(cfg.NICs, func(n NIC) bool { return n.Segment != nil })
		if !onSegment && segment != nil {
			cfg.NICs = append(slices.Clone(cfg.NICs), NIC{Segment: segment})
		}
		joined[i] = cfg
	}
	if err := distinct(joined); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c := &Cluster{cancel: cancel}
	for _, cfg := range joined {
		v, err := Start(ctx, cfg)
		if err != nil {
			c.Kill()
			return nil, err
		}
		c.VMs = append(c.VMs, v)
		go func() {
			<-v.Done()
			if v.err != nil {
				cancel(fmt.Errorf("vm %s failed: %w", v.Name(), errClusterEnded))
			}
		}()
	}
	return c, nil
}

// distinct refuses guests that could not tell each other apart.
func distinct(configs []Config) error {
	names, addresses := map[string]bool{}, map[string]string{}
	var errs []error
	for _, cfg := range configs {
		if names[cfg.Name] {
			errs = append(errs, fmt.Errorf("two guests have the name %q; give each its own", cfg.Name))
			continue
		}
		names[cfg.Name] = true
		for i, n := range cfg.NICs {
			address := n.MAC
			if address == nil {
				address = MACFor(cfg.Name, i)
			}
			if other, ok := addresses[address.String()]; ok && other != cfg.Name {
				errs = append(errs, fmt.Errorf("vm %s: network card %d has an address of vm %s: %s", cfg.Name, i, other, address))
			}
			addresses[address.String()] = cfg.Name
		}
	}
	return errors.Join(errs...)
}

// VM returns the guest of that name, or nil.
func (c *Cluster) VM(name string) *VM {
	for _, v := range c.VMs {
		if v.Name() == name {
			return v
		}
	}
	return nil
}

// Wait waits for the end of every guest and returns the failure that ended
// them, if one did. ctx ends the wait, not the guests.
func (c *Cluster) Wait(ctx context.Context) error {
	var first, rest error
	for _, v := range c.VMs {
		_, err := v.Wait(ctx)
		var failure *Failure
		if errors.As(err, &failure) && !errors.Is(failure, errClusterEnded) && first == nil {
			first = err
		} else if err != nil && rest == nil {
			rest = err
		}
	}
	if first != nil {
		return first
	}
	return rest
}

// Kill ends every guest at once and returns when all are gone.
func (c *Cluster) Kill() {
	c.cancel(errKilled)
	for _, v := range c.VMs {
		v.Kill()
	}
}
