package kernel

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/wanted"
)

// createFlags make an object or put it in the place of the one with its key.
const createFlags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE

// ndMsg is struct ndmsg, the header of neighbour messages.
type ndMsg struct{ unix.NdMsg }

func (m *ndMsg) Len() int { return unix.SizeofNdMsg }

func (m *ndMsg) Serialize() []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = m.Family
	binary.NativeEndian.PutUint32(b[4:], uint32(m.Ifindex))
	binary.NativeEndian.PutUint16(b[8:], m.State)
	b[10], b[11] = m.Flags, m.Type
	return b
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// createLink makes a device, not yet up. Only what is said is sent, so that
// everything else is as flanneld's: ttl auto, UDP checksums on.
func createLink(l wanted.Link) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Name)))
	request.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU))))
	data := addLinkInfo(request, l.Kind)
	if l.Kind != wanted.KindVXLAN {
		return request
	}
	request.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, l.MAC[:]))
	data.AddRtAttr(nl.IFLA_VXLAN_ID, nl.Uint32Attr(uint32(l.VXLAN.VNI)))
	data.AddRtAttr(nl.IFLA_VXLAN_PORT, nl.BEUint16Attr(uint16(l.VXLAN.Port)))
	if l.VXLAN.GBP {
		data.AddRtAttr(nl.IFLA_VXLAN_GBP, nil)
	}
	addVXLANSettings(data, l.VXLAN)
	return request
}

// changeVXLAN changes what a VXLAN device can change while it works.
func changeVXLAN(l wanted.Link) *nl.NetlinkRequest {
	request := linkRequest(l.Index)
	addVXLANSettings(addLinkInfo(request, l.Kind), l.VXLAN)
	return request
}

func addLinkInfo(request *nl.NetlinkRequest, kind wanted.Kind) *nl.RtAttr {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(string(kind)))
	request.AddData(info)
	return info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
}

func addVXLANSettings(data *nl.RtAttr, v wanted.VXLAN) {
	data.AddRtAttr(nl.IFLA_VXLAN_LINK, nl.Uint32Attr(uint32(v.Underlay)))
	local := nl.IFLA_VXLAN_LOCAL6
	if v.Local.Is4() {
		local = nl.IFLA_VXLAN_LOCAL
	}
	data.AddRtAttr(local, v.Local.AsSlice())
	learning := uint8(0)
	if v.Learning {
		learning = 1
	}
	data.AddRtAttr(nl.IFLA_VXLAN_LEARNING, nl.Uint8Attr(learning))
}

// linkRequest is the start of a change of an existing device.
func linkRequest(index int) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	request.AddData(message)
	return request
}

// changeLink sets one attribute of a device.
func changeLink(index int, kind int, value []byte) *nl.NetlinkRequest {
	request := linkRequest(index)
	request.AddData(nl.NewRtAttr(kind, value))
	return request
}

// raiseLink brings a device up.
func raiseLink(index int) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	message.Flags, message.Change = unix.IFF_UP, unix.IFF_UP
	request.AddData(message)
	return request
}

func removeLink(index int) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.RTM_DELLINK, 0)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	request.AddData(message)
	return request
}

// findLink asks for one device by its name.
func findLink(name string) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	return request
}

// changeAddress makes or removes (by kind of message) an address. Duplicate
// address detection is left out: on a tunnel without broadcast nobody could
// answer, and the address would be unusable while it waits.
func changeAddress(kind, flags, index int, prefix netip.Prefix) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(kind, flags)
	message := nl.NewIfAddrmsg(family(prefix.Addr()))
	message.Prefixlen, message.Index = uint8(prefix.Bits()), uint32(index)
	message.Scope = unix.RT_SCOPE_UNIVERSE
	if prefix.Addr().Is6() && kind == unix.RTM_NEWADDR {
		message.IfAddrmsg.Flags = unix.IFA_F_NODAD
	}
	request.AddData(message)
	ip := prefix.Addr().AsSlice()
	request.AddData(nl.NewRtAttr(unix.IFA_LOCAL, ip))
	request.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, ip))
	return request
}

// changeRoute makes or removes (by kind of message) a route.
func changeRoute(kind, flags, index int, r wanted.Route) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(kind, flags)
	message := nl.NewRtMsg()
	message.Family, message.Dst_len, message.Protocol = uint8(family(r.Dst.Addr())), uint8(r.Dst.Bits()), r.Protocol
	if r.OnLink {
		message.RtMsg.Flags = unix.RTNH_F_ONLINK
	}
	switch {
	case r.Unreachable:
		message.Type = unix.RTN_UNREACHABLE
	case r.Throw:
		message.Type = unix.RTN_THROW
	case !r.Via.IsValid() && r.Dst.Addr().Is4():
		// What is behind the device itself, as ip route add gives it; IPv6
		// knows no scopes.
		message.Scope = unix.RT_SCOPE_LINK
	}
	if r.Table != 0 {
		message.Table = unix.RT_TABLE_UNSPEC // the attribute says which
	}
	if kind == unix.RTM_DELROUTE {
		// Whoever made it: destination, gateway and device say which.
		message.Scope, message.Protocol = unix.RT_SCOPE_NOWHERE, unix.RTPROT_UNSPEC
	}
	request.AddData(message)
	request.AddData(nl.NewRtAttr(unix.RTA_DST, r.Dst.Addr().AsSlice()))
	if r.Via.IsValid() {
		request.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, r.Via.AsSlice()))
	}
	if r.Metric != 0 {
		request.AddData(nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(r.Metric)))
	}
	if r.Table != 0 {
		request.AddData(nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(r.Table)))
	}
	if r.Link != "" {
		request.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
	}
	return request
}

// routeLookup asks which route a packet to a would take.
func routeLookup(a netip.Addr) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	request.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family(a)), Dst_len: uint8(a.BitLen())}})
	request.AddData(nl.NewRtAttr(unix.RTA_DST, a.AsSlice()))
	return request
}

// changeNeigh makes or removes (by kind of message) a neighbour.
func changeNeigh(kind, flags, index int, n wanted.Neighbour) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(kind, flags)
	request.AddData(&ndMsg{unix.NdMsg{Family: uint8(family(n.IP)), Ifindex: int32(index),
		State: unix.NUD_PERMANENT, Type: unix.RTN_UNICAST}})
	request.AddData(nl.NewRtAttr(unix.NDA_DST, n.IP.AsSlice()))
	request.AddData(nl.NewRtAttr(unix.NDA_LLADDR, n.MAC[:]))
	return request
}

// changeFDB makes or removes (by kind of message) an FDB entry.
func changeFDB(kind, flags, index int, e wanted.FDBEntry) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(kind, flags)
	request.AddData(&ndMsg{unix.NdMsg{Family: unix.AF_BRIDGE, Ifindex: int32(index),
		State: unix.NUD_PERMANENT, Flags: unix.NTF_SELF}})
	request.AddData(nl.NewRtAttr(unix.NDA_DST, e.Dst.AsSlice()))
	request.AddData(nl.NewRtAttr(unix.NDA_LLADDR, e.MAC[:]))
	return request
}
