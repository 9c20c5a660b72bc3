package kernel

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weft/netd/diff"
	"weft/netd/kernel/socket"
	"weft/netd/wanted"
)

// From include/uapi/linux/fib_rules.h: an action, and the length in bytes of
// struct fib_rule_hdr, which is laid out like struct rtmsg.
const (
	actionToTable  = unix.FR_ACT_TO_TBL
	ruleHeaderSize = unix.SizeofRtMsg
)

// isRule reports whether an object is a rule, which is on no device.
func isRule(o diff.Object) bool {
	_, is := o.(wanted.Rule)
	return is
}

// changeRule makes or removes (by kind of message) a rule. That it is netd's
// is told by its protocol, as of routes.
func changeRule(kind, flags int, r wanted.Rule) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(kind, flags)
	message := &nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Type: actionToTable}}
	if r.IPv6 {
		message.Family = unix.AF_INET6
	}
	request.AddData(message)
	request.AddData(nl.NewRtAttr(nl.FRA_PRIORITY, nl.Uint32Attr(r.Priority)))
	request.AddData(nl.NewRtAttr(nl.FRA_TABLE, nl.Uint32Attr(r.Table)))
	request.AddData(nl.NewRtAttr(nl.FRA_PROTOCOL, nl.Uint8Attr(wanted.Protocol)))
	return request
}

// decodeRule reads an RTM_NEWRULE or RTM_DELRULE message; not ok are rules
// that are not netd's.
func decodeRule(b []byte) (r wanted.Rule, ok bool) {
	if len(b) < ruleHeaderSize {
		return r, false
	}
	family, action := b[0], b[7]
	r.Table, r.IPv6 = uint32(b[4]), family == unix.AF_INET6
	var protocol uint8
	socket.Attributes(b[ruleHeaderSize:], func(kind uint16, v []byte) {
		switch kind {
		case nl.FRA_PRIORITY:
			r.Priority = u32(v)
		case nl.FRA_TABLE:
			r.Table = u32(v)
		case nl.FRA_PROTOCOL:
			if len(v) > 0 {
				protocol = v[0]
			}
		}
	})
	return r, (family == unix.AF_INET || r.IPv6) && action == actionToTable && wanted.Marked(protocol)
}
