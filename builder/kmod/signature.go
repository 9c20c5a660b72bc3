package kmod

import (
	"bytes"
	"encoding/binary"
)

// signatureMagic ends a signed module
// [include/linux/module_signature.h: MODULE_SIG_STRING].
const signatureMagic = "~Module signature appended~\n"

// signatureInfo is the size of the structure before the magic; its last four
// bytes are the length of the signature before it, big-endian
// [include/linux/module_signature.h: struct module_signature].
const signatureInfo = 12

// StripSignature returns a plain .ko without the signature at its end. The
// result shares memory with raw; a module without a sound signature is
// returned as it is.
//
// A kernel that does not insist on signatures still verifies each one it
// finds. That is nothing on a processor and a third of a boot on an emulated
// one: an RSA-4096 operation takes it some 40 ms.
func StripSignature(raw []byte) []byte {
	body, ok := bytes.CutSuffix(raw, []byte(signatureMagic))
	if !ok || len(body) < signatureInfo {
		return raw
	}
	end := len(body) - signatureInfo
	length := int64(binary.BigEndian.Uint32(body[len(body)-4:]))
	if length > int64(end) {
		return raw
	}
	return body[:int64(end)-length]
}
