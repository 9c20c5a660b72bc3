package client

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// message appends fields in the wire format of protocol buffers.
type message []byte

// number appends a number; zero is left out, as proto3 does.
func (m message) number(field protowire.Number, v int64) message {
	if v == 0 {
		return m
	}
	return message(protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), uint64(v)))
}

func (m message) flag(field protowire.Number, v bool) message {
	if v {
		return m.number(field, 1)
	}
	return m
}

// text appends bytes; none are left out.
func (m message) text(field protowire.Number, v string) message {
	if v == "" {
		return m
	}
	return message(protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), v))
}

// part appends a message, also an empty one.
func (m message) part(field protowire.Number, v message) message {
	return message(protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), v))
}

// fields calls f for each field of a message that is a number or bytes, and
// skips others.
func fields(what string, data []byte, f func(field protowire.Number, number int64, part []byte) error) error {
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("etcd: %s: %w", what, protowire.ParseError(n))
		}
		data = data[n:]
		var (
			number uint64
			part   []byte
		)
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			part, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(field, kind, data)
		}
		if n < 0 {
			return fmt.Errorf("etcd: %s: field %d: %w", what, field, protowire.ParseError(n))
		}
		data = data[n:]
		if kind != protowire.VarintType && kind != protowire.BytesType {
			continue
		}
		if err := f(field, int64(number), part); err != nil {
			return err
		}
	}
	return nil
}
