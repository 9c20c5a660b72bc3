package profiles

import "weft/document"

// linkModules adds what the devices need that init makes. Links of node files
// are not known when an image is built; a profile lists their modules itself.
func linkModules(p Profile, c *collector) {
	for i, l := range p.Links {
		at := document.Index("links", i)
		switch {
		case l.VLAN != nil:
			c.add("8021q", "CONFIG_VLAN_8021Q", at+".vlan", "the link is a tagged network")
		case l.Bond != nil:
			c.add("bonding", "CONFIG_BONDING", at+".bond", "the link is several devices that act as one")
		case l.Bridge != nil:
			c.add("bridge", "CONFIG_BRIDGE", at+".bridge", "the link is a bridge")
		}
	}
}
