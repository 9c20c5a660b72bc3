package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// maxQMPLine is the longest message taken from QEMU, 4 MiB.
const maxQMPLine = 4 << 20

// qmp speaks the QEMU Machine Protocol (docs/interop/qmp-spec) with one QEMU.
type qmp struct {
	conn   io.ReadWriter
	handle func(event string, data json.RawMessage)
	ready  chan struct{} // closed after the greeting
	ended  chan struct{} // closed when QEMU hangs up

	mu      sync.Mutex
	next    int
	waiting map[int]chan qmpMessage
}

type qmpMessage struct {
	Greeting json.RawMessage `json:"QMP"`
	ID       *int            `json:"id"`
	Return   json.RawMessage `json:"return"`
	Error    *struct {
		Class       string `json:"class"`
		Description string `json:"desc"`
	} `json:"error"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

// newQMP starts to speak on conn. Every event goes to handle, one at a time.
func newQMP(conn io.ReadWriter, handle func(string, json.RawMessage)) *qmp {
	q := &qmp{
		conn: conn, handle: handle,
		ready: make(chan struct{}), ended: make(chan struct{}),
		waiting: map[int]chan qmpMessage{},
	}
	go q.read()
	return q
}

// read takes messages until QEMU hangs up.
func (q *qmp) read() {
	defer close(q.ended)
	lines := bufio.NewScanner(q.conn)
	lines.Buffer(nil, maxQMPLine)
	for lines.Scan() {
		var m qmpMessage
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue
		}
		switch {
		case m.Greeting != nil:
			// Commands are taken once capabilities are negotiated; its
			// answer has an id nobody waits for.
			_, _ = io.WriteString(q.conn, `{"execute":"qmp_capabilities","id":-1}`+"\n")
			close(q.ready)
		case m.Event != "":
			q.handle(m.Event, m.Data)
		case m.ID != nil:
			q.mu.Lock()
			answer := q.waiting[*m.ID]
			delete(q.waiting, *m.ID)
			q.mu.Unlock()
			if answer != nil {
				answer <- m
			}
		}
	}
}

// do sends a command and returns QEMU's answer.
func (q *qmp) do(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	select {
	case <-q.ready:
	case <-q.ended:
		return nil, fmt.Errorf("qmp %s: QEMU has ended: %w", command, io.EOF)
	case <-ctx.Done():
		return nil, fmt.Errorf("qmp %s: %w", command, ctx.Err())
	}
	answer := make(chan qmpMessage, 1)
	q.mu.Lock()
	id := q.next
	q.next++
	q.waiting[id] = answer
	request, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        int    `json:"id"`
	}{command, arguments, id})
	if err == nil {
		_, err = q.conn.Write(append(request, '\n'))
	}
	q.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("qmp %s: %w", command, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return nil, fmt.Errorf("qmp %s: %s: %s", command, m.Error.Class, m.Error.Description)
		}
		return m.Return, nil
	case <-q.ended:
		return nil, fmt.Errorf("qmp %s: QEMU has ended: %w", command, io.EOF)
	case <-ctx.Done():
		return nil, fmt.Errorf("qmp %s: %w", command, ctx.Err())
	}
}
