// Package vici speaks VICI, the protocol by which strongSwan's IKE daemon
// charon is configured and watched.
//
// It knows the protocol and no command: what is asked and what the answers
// mean is the business of the caller. One connection does one thing at a time:
// it either calls commands ([Conn.Call], [Conn.Stream]) or listens
// ([Conn.Events]).
//
// The protocol is described in strongSwan's
// src/libcharon/plugins/vici/README.md, cited as [VICI].
package vici

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"sync"
	"time"
)

// The types of packets [VICI, "Packet layer"].
const (
	cmdRequest = iota
	cmdResponse
	cmdUnknown
	eventRegister
	eventUnregister
	eventConfirm
	eventUnknown
	eventPacket
)

// MaxPacket is the longest packet either side may send, in bytes [VICI,
// "Transport protocol"].
const MaxPacket = 512 << 10

// ErrUnknown is the answer to a command or an event that charon does not
// have, because it is too old or a plugin is not loaded.
var ErrUnknown = errors.New("charon does not know it")

// A CommandError is a command that charon understood and could not carry out.
type CommandError struct {
	// Command is its name, Message what charon said.
	Command, Message string
}

func (e *CommandError) Error() string { return fmt.Sprintf("charon: %s: %s", e.Command, e.Message) }

// A Conn is a connection to charon. Its methods may be called from several
// goroutines; calls wait for each other.
//
// After an error of the connection, or a call that was given up, it can only
// be closed: what answers what is no longer known.
type Conn struct {
	conn net.Conn

	mu     sync.Mutex
	broken error
	out    []byte // what was sent last
}

// Dial connects to charon's unix socket.
func Dial(ctx context.Context, socket string) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("charon: %w", err)
	}
	return New(c), nil
}

// New makes a connection from one that is open. Closing it closes that.
func New(c net.Conn) *Conn { return &Conn{conn: c} }

// Close ends the connection, and with it what waits for an answer.
func (c *Conn) Close() error { return c.conn.Close() }

// Call runs a command and returns the answer. A command that charon refuses
// ("success = no") is a [CommandError].
func (c *Conn) Call(ctx context.Context, command string, request *Section) (answer *Section, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.during(ctx, func() error {
		answer, err = c.call(command, request, nil)
		return err
	})
	return answer, err
}

// Stream runs a command that answers by a stream of events, and yields those.
// An error is yielded last. The events of one stream must be taken before
// another command is called.
func (c *Conn) Stream(ctx context.Context, command, event string, request *Section) iter.Seq2[*Section, error] {
	return func(yield func(*Section, error) bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		more := true
		err := c.during(ctx, func() error {
			if err := c.register(eventRegister, event); err != nil {
				return err
			}
			_, err := c.call(command, request, func(name string, s *Section) {
				// The stream is read to its end even if nobody wants it.
				more = more && name == event && yield(s, nil)
			})
			var refused *CommandError
			if err != nil && !errors.As(err, &refused) && !errors.Is(err, ErrUnknown) {
				return err
			}
			return errors.Join(err, c.register(eventUnregister, event))
		})
		if err != nil && more {
			yield(nil, err)
		}
	}
}

// An Event is what charon tells on its own.
type Event struct {
	// Name is the event's, such as child-updown.
	Name string
	// Message is what it says.
	Message *Section
}

// Events registers for events by their names and yields them until ctx ends
// or the connection does, which is the last thing it yields. The connection
// can do nothing else from then on.
func (c *Conn) Events(ctx context.Context, names ...string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		err := c.during(ctx, func() error {
			for _, name := range names {
				if err := c.register(eventRegister, name); err != nil {
					return err
				}
			}
			for {
				kind, body, err := c.read()
				if err != nil {
					return err
				}
				if kind != eventPacket {
					return fmt.Errorf("packet of type %d where an event was expected", kind)
				}
				name, s, err := parseEvent(body)
				if err != nil {
					return err
				}
				if !yield(Event{name, s}, nil) {
					return errDone
				}
			}
		})
		c.broken = errors.Join(c.broken, errors.New("the connection was for events"))
		if !errors.Is(err, errDone) {
			yield(Event{}, err)
		}
	}
}

// errDone says that nobody wants more events.
var errDone = errors.New("done")

// during runs what talks on the connection, and gives up when ctx ends.
func (c *Conn) during(ctx context.Context, talk func() error) error {
	if c.broken != nil {
		return fmt.Errorf("charon: connection is of no use: %w", c.broken)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	err := talk()
	gone := !stop()
	var refused *CommandError
	switch {
	case err == nil && !gone, errors.As(err, &refused), errors.Is(err, ErrUnknown), errors.Is(err, errDone):
		if gone {
			c.broken = context.Cause(ctx)
		}
		return err
	case gone:
		err = context.Cause(ctx)
	}
	c.broken = err
	return fmt.Errorf("charon: %w", err)
}

// call sends a command and reads up to its answer; event takes the events
// that come before it.
func (c *Conn) call(command string, request *Section, event func(string, *Section)) (*Section, error) {
	if err := c.write(cmdRequest, command, request); err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	for {
		kind, body, err := c.read()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", command, err)
		}
		switch kind {
		case cmdUnknown:
			return nil, fmt.Errorf("command %s: %w", command, ErrUnknown)
		case cmdResponse:
			answer, err := Parse(body)
			if err != nil {
				return nil, fmt.Errorf("%s: answer: %w", command, err)
			}
			if success, said := answer.Get("success"); said && success != "yes" {
				message, _ := answer.Get("errmsg")
				return answer, &CommandError{Command: command, Message: message}
			}
			return answer, nil
		case eventPacket:
			name, s, err := parseEvent(body)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", command, err)
			}
			if event != nil {
				event(name, s)
			}
		default:
			return nil, fmt.Errorf("%s: packet of type %d in the place of an answer", command, kind)
		}
	}
}

// register begins or ends the delivery of an event. Events that are still on
// the way are passed over.
func (c *Conn) register(kind byte, event string) error {
	if err := c.write(kind, event, nil); err != nil {
		return fmt.Errorf("event %s: %w", event, err)
	}
	for {
		kind, _, err := c.read()
		switch {
		case err != nil:
			return fmt.Errorf("event %s: %w", event, err)
		case kind == eventConfirm:
			return nil
		case kind == eventUnknown:
			return fmt.Errorf("event %s: %w", event, ErrUnknown)
		case kind != eventPacket:
			return fmt.Errorf("event %s: packet of type %d in the place of an answer", event, kind)
		}
	}
}

// write sends a packet with a name.
func (c *Conn) write(kind byte, name string, message *Section) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("name of %d bytes; VICI takes 1 to %d", len(name), maxName)
	}
	out := append(c.out[:0], 0, 0, 0, 0, kind, byte(len(name)))
	out, err := message.appendTo(append(out, name...), 0)
	if err != nil {
		return err
	}
	c.out = out
	size := len(out) - 4
	if size > MaxPacket {
		return fmt.Errorf("packet of %d bytes; charon takes %d", size, MaxPacket)
	}
	binary.BigEndian.PutUint32(out, uint32(size))
	_, err = c.conn.Write(out)
	return err
}

// read receives a packet.
func (c *Conn) read() (kind byte, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > MaxPacket {
		return 0, nil, fmt.Errorf("packet of %d bytes; VICI has 1 to %d", size, MaxPacket)
	}
	packet := make([]byte, size)
	if _, err := io.ReadFull(c.conn, packet); err != nil {
		return 0, nil, err
	}
	return packet[0], packet[1:], nil
}

// parseEvent reads the name and the message of an event packet.
func parseEvent(body []byte) (string, *Section, error) {
	r := bytes.NewBuffer(body)
	name, err := readName(r)
	if err != nil {
		return "", nil, fmt.Errorf("event: %w", err)
	}
	s, err := Parse(r.Bytes())
	if err != nil {
		return name, nil, fmt.Errorf("event %s: %w", name, err)
	}
	return name, s, nil
}
