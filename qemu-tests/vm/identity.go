package vm

import (
	"crypto/sha256"
	"fmt"
	"net"
)

// MACFor returns the address of network card index of the guest called name:
// the same for the same arguments, different for any other that one will
// meet. It is locally administered and under QEMU's customary 52:54.
func MACFor(name string, index int) net.HardwareAddr {
	sum := sha256.Sum256(fmt.Appendf(nil, "weft vm mac\x00%s\x00%d", name, index))
	return net.HardwareAddr{0x52, 0x54, sum[0], sum[1], sum[2], sum[3]}
}

// UUIDFor returns the UUID in the machine's SMBIOS tables of the guest called
// name, in the form of RFC 9562 version 8.
func UUIDFor(name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "weft vm uuid\x00%s", name))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
