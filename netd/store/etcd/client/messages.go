package client

import "google.golang.org/protobuf/encoding/protowire"

// The methods, [rpc.proto].
const (
	methodRange        = "/etcdserverpb.KV/Range"
	methodTxn          = "/etcdserverpb.KV/Txn"
	methodCompact      = "/etcdserverpb.KV/Compact"
	methodWatch        = "/etcdserverpb.Watch/Watch"
	methodGrant        = "/etcdserverpb.Lease/LeaseGrant"
	methodRevoke       = "/etcdserverpb.Lease/LeaseRevoke"
	methodKeepAlive    = "/etcdserverpb.Lease/LeaseKeepAlive"
	methodAuthenticate = "/etcdserverpb.Auth/Authenticate"
)

// Header is what every answer says of the store.
type Header struct {
	// Cluster is the number of the cluster.
	Cluster uint64
	// Revision is that of the store when it answered.
	Revision int64
}

// KV is a key with its value. [kv.proto] KeyValue.
type KV struct {
	Key, Value string
	// Created and Modified are the revisions of the first and of the last
	// write.
	Created, Modified int64
	// Lease is the lease the key ends with; 0 for none.
	Lease int64
}

func parseHeader(data []byte) (h Header, err error) {
	err = fields("header", data, func(field protowire.Number, number int64, _ []byte) error {
		switch field {
		case 1:
			h.Cluster = uint64(number)
		case 3:
			h.Revision = number
		}
		return nil
	})
	return h, err
}

func parseKV(data []byte) (kv KV, err error) {
	err = fields("key", data, func(field protowire.Number, number int64, part []byte) error {
		switch field {
		case 1:
			kv.Key = string(part)
		case 2:
			kv.Created = number
		case 3:
			kv.Modified = number
		case 5:
			kv.Value = string(part)
		case 6:
			kv.Lease = number
		}
		return nil
	})
	return kv, err
}

// A Range asks for keys from From up to, without it, End; for the one key
// From when End is empty. [rpc.proto] RangeRequest.
type Range struct {
	From, End string
	// Limit is how many keys at most; 0 is all.
	Limit int64
	// Revision is the state to read; 0 is the newest.
	Revision int64
}

// Prefix is the range of all keys that begin with p, which may not be empty.
func Prefix(p string) Range { return Range{From: p, End: after(p)} }

// after is the first key after all that begin with p.
func after(p string) string {
	end := []byte(p)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return string(end[:i+1])
		}
	}
	return "\x00" // [rpc.proto] range_end: all keys from key on
}

func (r Range) encode() message {
	return message(nil).text(1, r.From).text(2, r.End).number(3, r.Limit).number(4, r.Revision)
}

// Page is a part of the keys of a range.
type Page struct {
	Header
	KVs []KV
	// More says that the limit left keys out.
	More bool
}

func parsePage(data []byte) (p Page, err error) {
	err = fields("range", data, func(field protowire.Number, number int64, part []byte) (err error) {
		switch field {
		case 1:
			p.Header, err = parseHeader(part)
		case 2:
			var kv KV
			kv, err = parseKV(part)
			p.KVs = append(p.KVs, kv)
		case 3:
			p.More = number != 0
		}
		return err
	})
	return p, err
}

// An If is a condition of a transaction. [rpc.proto] Compare.
type If struct{ encoded message }

// Absent holds when no key of the range exists.
func Absent(r Range) If {
	// Result EQUAL and target VERSION are 0 and left out. A key that exists
	// has a version of at least 1, and the comparison must hold for every key
	// of the range.
	return If{message(nil).text(3, r.From).zero(4).text(64, r.End)}
}

// Unchanged holds while the key was last written at revision.
func Unchanged(key string, revision int64) If {
	// Result EQUAL, target MOD.
	return If{message(nil).number(2, 2).text(3, key).number(6, revision)}
}

// NothingNewer holds when no key of the range was written after revision.
func NothingNewer(r Range, revision int64) If {
	// Result LESS, target MOD.
	return If{message(nil).number(1, 2).number(2, 2).text(3, r.From).number(6, revision+1).text(64, r.End)}
}

// zero appends a number of 0 that is part of a oneof, where leaving it out
// would mean another thing.
func (m message) zero(field protowire.Number) message {
	return message(protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), 0))
}

// An Op is a part of a transaction. [rpc.proto] RequestOp.
type Op struct{ encoded message }

// Get reads a range.
func Get(r Range) Op { return Op{message(nil).part(1, r.encode())} }

// Put writes a key that ends with lease; 0 is for ever.
func Put(key, value string, lease int64) Op {
	return Op{message(nil).part(2, message(nil).text(1, key).text(2, value).number(3, lease))}
}

// Delete deletes the keys of a range.
func Delete(r Range) Op {
	return Op{message(nil).part(3, message(nil).text(1, r.From).text(2, r.End))}
}

func txnRequest(conditions []If, then []Op) message {
	var m message
	for _, c := range conditions {
		m = m.part(1, c.encoded)
	}
	for _, op := range then {
		m = m.part(2, op.encoded)
	}
	return m
}

// A Result is how a transaction went. [rpc.proto] TxnResponse.
type Result struct {
	Header
	// Done says that all conditions held and everything was done.
	Done bool
	// Pages are the answers to the transaction's [Get] parts, in order.
	Pages []Page
}

func parseResult(data []byte) (r Result, err error) {
	err = fields("transaction", data, func(field protowire.Number, number int64, part []byte) (err error) {
		switch field {
		case 1:
			r.Header, err = parseHeader(part)
		case 2:
			r.Done = number != 0
		case 3:
			err = fields("transaction", part, func(field protowire.Number, _ int64, part []byte) error {
				if field != 1 {
					return nil
				}
				p, err := parsePage(part)
				r.Pages = append(r.Pages, p)
				return err
			})
		}
		return err
	})
	return r, err
}

// An Event is a key that was written or deleted. [kv.proto] Event.
type Event struct {
	// Deleted says that the key is gone; of KV only Key and Modified count.
	Deleted bool
	KV      KV
}

// News is a message of a watch. [rpc.proto] WatchResponse.
type News struct {
	Header
	// Created confirms the watch: everything after its start will be told.
	Created bool
	// Part says that more of the same revision follows.
	Part bool
	// Events are in order of revision.
	Events []Event

	canceled  bool
	compacted int64
	reason    string
}

func parseNews(data []byte) (n News, err error) {
	err = fields("watch", data, func(field protowire.Number, number int64, part []byte) (err error) {
		switch field {
		case 1:
			n.Header, err = parseHeader(part)
		case 3:
			n.Created = number != 0
		case 4:
			n.canceled = number != 0
		case 5:
			n.compacted = number
		case 6:
			n.reason = string(part)
		case 7:
			n.Part = number != 0
		case 11:
			var e Event
			e, err = parseEvent(part)
			n.Events = append(n.Events, e)
		}
		return err
	})
	return n, err
}

func parseEvent(data []byte) (e Event, err error) {
	err = fields("event", data, func(field protowire.Number, number int64, part []byte) (err error) {
		switch field {
		case 1:
			e.Deleted = number == 1
		case 2:
			e.KV, err = parseKV(part)
		}
		return err
	})
	return e, err
}

// watchRequest asks for everything from revision on, with word of the
// revision when nothing happens, in messages of a size etcd takes itself.
func watchRequest(r Range, revision int64) message {
	create := message(nil).text(1, r.From).text(2, r.End).number(3, revision).flag(4, true).flag(8, true)
	return message(nil).part(1, create)
}

func grantRequest(ttl int64) message { return message(nil).number(1, ttl) }
func leaseRequest(id int64) message  { return message(nil).number(1, id) }

// parseLease reads what grants and keep-alives answer alike.
func parseLease(data []byte) (id, ttl int64, err error) {
	err = fields("lease", data, func(field protowire.Number, number int64, _ []byte) error {
		switch field {
		case 2:
			id = number
		case 3:
			ttl = number
		}
		return nil
	})
	return id, ttl, err
}

func authenticateRequest(name, password string) message {
	return message(nil).text(1, name).text(2, password)
}

func parseAuthenticate(data []byte) (token string, err error) {
	err = fields("token", data, func(field protowire.Number, _ int64, part []byte) error {
		if field == 2 {
			token = string(part)
		}
		return nil
	})
	return token, err
}
