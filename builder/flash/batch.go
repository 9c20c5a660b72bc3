package flash

import (
	"context"
	"fmt"
	"io"
)

// A Batch writes card after card.
type Batch struct {
	System   System
	Manifest *Manifest
	// Nodes still need a card, in this order.
	Nodes []string
	// Allowed are the proofs of devices that are not removable.
	Allowed []string
	// Known says which node's card a device holds by what is on it; "" for
	// none. Behind a USB reader it is all there is to tell cards apart.
	Known func(r io.ReaderAt, size int64) string
	// Write puts the image of a node onto a device, after asking. It reports
	// false when the device is to be left alone.
	Write func(ctx context.Context, node string, d Device) (Card, bool, error)
	// Say tells the person at the reader what goes on.
	Say func(format string, args ...any)
}

// Run waits for cards until all nodes have one. A card that is refused or
// known is passed over, once; one that failed is to be replaced.
func (b *Batch) Run(ctx context.Context) error {
	var nodes []string
	for _, n := range b.Nodes {
		if c, done := b.Manifest.Done(n); done {
			b.Say("%s has its card since %s", n, c.Written.Format("2006-01-02 15:04"))
			continue
		}
		nodes = append(nodes, n)
	}
	if len(nodes) == 0 {
		b.Say("all nodes have their cards")
		return nil
	}
	b.Say("put in a card for %s", nodes[0])
	seen := map[string]bool{}
	for err := range b.System.Changes(ctx) {
		if err != nil {
			return err
		}
		all, err := b.System.Devices(ctx)
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, d := range all {
			key := fmt.Sprint(d.Name, d.Number, d.Sequence, d.Size)
			there[key] = true
			if seen[key] || d.Size == 0 || !d.Removable && !contains(b.Allowed, d.Proof()) {
				continue
			}
			seen[key] = true
			done, err := b.card(ctx, nodes[0], d)
			if err != nil {
				return err
			}
			if !done {
				continue
			}
			if nodes = nodes[1:]; len(nodes) == 0 {
				b.Say("all nodes have their cards; they are listed in %s", b.Manifest.path)
				return nil
			}
			b.Say("take it out; put in a card for %s", nodes[0])
		}
		for key := range seen { // where media are not counted, a card may come back as another
			if !there[key] {
				delete(seen, key)
			}
		}
	}
	return ctx.Err()
}

// card writes one card, and reports whether the node has it now.
func (b *Batch) card(ctx context.Context, node string, d Device) (bool, error) {
	if err := Check(d, 0, b.Allowed); err != nil {
		b.Say("%v", err)
		return false, nil
	}
	holder := b.Manifest.Holder(d)
	if holder == "" {
		if disk, err := b.System.Open(ctx, d); err == nil {
			holder = b.Known(blocks{disk}, d.Size)
			disk.Close()
		}
	}
	if _, done := b.Manifest.Done(holder); done {
		b.Say("%s holds the card of %s; it is left as it is", d.Name, holder)
		return false, nil
	}
	c, written, err := b.Write(ctx, node, d)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		b.Say("%v\nthe card in %s is not usable now; put in another for %s", err, d.Name, node)
		return false, nil
	case !written:
		return false, nil
	}
	return true, b.Manifest.Add(c)
}
