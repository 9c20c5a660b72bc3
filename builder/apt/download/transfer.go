package download

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"weft/builder/apt/fault"
)

// A transfer is a file on its way: what of it is on the disk, and its
// checksum so far.
type transfer struct {
	File
	client *Client
	path   string

	out     *os.File
	hash    hash.Hash
	have    int64
	resumed bool // part of it is from an earlier request
}

// validatorSuffix is what the name of the file ends with that keeps the ETag
// or the date the beginning of a download had.
const validatorSuffix = ".validator"

// attempt makes one request for what is missing. headway tells whether it
// brought any.
func (t *transfer) attempt(ctx context.Context) (headway bool, err error) {
	if t.out == nil {
		if err := t.openPart(); err != nil {
			return false, err
		}
	}
	before := t.have
	if t.have < t.Size {
		if err := t.request(ctx); err != nil {
			return t.have > before, err
		}
	}
	if [32]byte(t.hash.Sum(nil)) == t.SHA256 {
		return true, nil
	}
	// The beginning may be of an older file under the same name: once more
	// from the start. What came in one piece is what the mirror has.
	resumed := t.resumed
	if err := t.restart(); err != nil {
		return false, err
	}
	if resumed {
		return false, errStale
	}
	return false, fault.New(fault.Tampered, t.URL.Redacted(),
		"the contents do not have the SHA-256 that the signed index (or the lock) gives",
		"try again later, the mirror may be in the middle of an update; else use another mirror")
}

// errStale: what was resumed did not fit together; the next attempt starts
// from nothing.
var errStale = errors.New("the resumed download does not fit its beginning")

// openPart opens the file and takes in what it holds.
func (t *transfer) openPart() error {
	out, err := os.OpenFile(t.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	t.out, t.hash = out, sha256.New()
	n, err := io.Copy(t.hash, io.LimitReader(out, t.Size+1))
	if err != nil {
		return err
	}
	if n > t.Size {
		return t.restart()
	}
	t.have, t.resumed = n, n > 0
	t.report(n)
	return nil
}

// request asks for the missing part and appends it.
func (t *transfer) request(ctx context.Context) error {
	validator, _ := os.ReadFile(t.path + validatorSuffix)
	body, err := t.client.open(ctx, t.URL, t.have, string(validator))
	if errors.Is(err, errRange) {
		if err := t.restart(); err != nil {
			return err
		}
		body, err = t.client.open(ctx, t.URL, 0, "")
	}
	if err != nil {
		return err
	}
	defer body.Close()
	switch {
	case body.start == 0 && t.have > 0: // all of it comes again
		if err := t.restart(); err != nil {
			return err
		}
	case body.start != t.have:
		return fmt.Errorf("the mirror sent bytes from %d on, asked for %d", body.start, t.have)
	case t.have > 0:
		t.resumed = true
	}
	if body.total >= 0 && body.total != t.Size {
		return t.wrongSize(body.total)
	}
	if body.validator != "" {
		if err := os.WriteFile(t.path+validatorSuffix, []byte(body.validator), 0o644); err != nil {
			return err
		}
	}
	return t.receive(body)
}

// receive appends what body brings, one byte beyond the size at most.
func (t *transfer) receive(body io.Reader) error {
	buf := make([]byte, 128<<10)
	for {
		n, err := body.Read(buf)
		if int64(n) > t.Size-t.have {
			return t.wrongSize(-1)
		}
		if n > 0 {
			if _, err := t.out.WriteAt(buf[:n], t.have); err != nil {
				return err
			}
			t.hash.Write(buf[:n])
			t.have += int64(n)
			t.report(int64(n))
		}
		if err == io.EOF && t.have < t.Size {
			return io.ErrUnexpectedEOF
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// wrongSize is the fault of a file that is not as long as announced; total is
// -1 when it is longer than it should be by an unknown amount.
func (t *transfer) wrongSize(total int64) error {
	reason := fmt.Sprintf("it has more than the %d bytes that the signed index (or the lock) gives", t.Size)
	kind := fault.TooLarge
	if total >= 0 {
		reason = fmt.Sprintf("it has %d bytes, the signed index (or the lock) gives %d", total, t.Size)
		if total < t.Size {
			kind = fault.Tampered
		}
	}
	return fault.New(kind, t.URL.Redacted(), reason,
		"try again later, the mirror may be in the middle of an update; else use another mirror")
}

// restart gives up what was received.
func (t *transfer) restart() error {
	t.report(-t.have)
	t.have, t.resumed = 0, false
	t.hash.Reset()
	os.Remove(t.path + validatorSuffix)
	return t.out.Truncate(0)
}

func (t *transfer) report(n int64) {
	if t.Written != nil && n != 0 {
		t.Written(n)
	}
}

// close closes the file; if it is whole, it is brought to the disk first.
func (t *transfer) close(whole bool) error {
	if t.out == nil {
		return nil
	}
	var err error
	if whole {
		err = t.out.Sync()
		os.Remove(t.path + validatorSuffix)
	}
	if e := t.out.Close(); err == nil {
		err = e
	}
	return err
}
