// Package pathwatch tells when something happens to files at given paths:
// that they are changed, replaced, moved or deleted, or one of the folders
// above them is.
//
// It watches by inotify(7), which follows inodes and not paths, so every
// folder of a path is watched for the next name of it, and again after each
// change. What inotify does not tell of stays unheard: a file system mounted
// over a folder, and what another host does on a network file system. Who has
// to be sure looks at the files now and then.
package pathwatch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// What is to be known of the names in a folder, and besides of those of files:
// a folder such as /tmp tells of every write to any file in it, otherwise.
const (
	ofNames = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	ofFiles = ofNames | unix.IN_MODIFY | unix.IN_CLOSE_WRITE
)

// Changes delivers whenever something may have happened to one of the files,
// until ctx ends. It listens when it returns; the files need not exist.
func Changes(ctx context.Context, files ...string) (iter.Seq2[struct{}, error], error) {
	w := &watch{}
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", file, err)
		}
		w.files = append(w.files, path)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch files: inotify: %w", err)
	}
	w.queue = os.NewFile(uintptr(fd), "inotify") // read by the runtime's poller, so that Close ends a read
	if err := w.arm(); err != nil {
		w.queue.Close()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { w.queue.Close() })
	return func(yield func(struct{}, error) bool) {
		defer w.queue.Close()
		defer stop()
		// The smallest buffer that one event fits into is 16 bytes and a name.
		buffer := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
		for {
			n, err := w.queue.Read(buffer)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(struct{}{}, fmt.Errorf("watch files: inotify: %w", err))
				return
			}
			if !w.concerns(buffer[:n]) {
				continue
			}
			err = w.arm()
			if ctx.Err() != nil || !yield(struct{}{}, err) || err != nil {
				return
			}
		}
	}, nil
}

// watch is what is listened to.
type watch struct {
	files []string
	queue *os.File
	// names are those that matter, by the folder's watch descriptor.
	names map[int]map[string]bool
}

// arm watches the folders of all files as they are now. A folder is watched
// before the next one is looked for: what appears in between is told of.
func (w *watch) arm() error {
	raw, err := w.queue.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	before := w.names
	w.names = map[int]map[string]bool{}
	controlled := raw.Control(func(fd uintptr) {
		for _, file := range w.files {
			if err = w.armOne(int(fd), file); err != nil {
				return
			}
		}
		for old := range before {
			if w.names[old] == nil { // it fails when the folder has gone
				_, _ = unix.InotifyRmWatch(int(fd), uint32(old))
			}
		}
	})
	return errors.Join(controlled, err)
}

// armOne watches the folders of one file, from the root down as far as there
// are any.
func (w *watch) armOne(fd int, file string) error {
	folder, mask := "/", uint32(ofNames)
	for rest := strings.TrimPrefix(file, "/"); ; {
		name, below, more := strings.Cut(rest, "/")
		if !more {
			mask = ofFiles
		}
		descriptor, err := unix.InotifyAddWatch(fd, folder, mask|unix.IN_ONLYDIR|unix.IN_MASK_ADD)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EACCES), errors.Is(err, unix.ELOOP):
			return nil // the folder above tells when that changes
		case err != nil:
			return fmt.Errorf("watch %s: %w", folder, err)
		}
		if w.names[descriptor] == nil {
			w.names[descriptor] = map[string]bool{}
		}
		w.names[descriptor][name] = true
		if !more {
			return nil
		}
		folder, rest = filepath.Join(folder, name), below
	}
}

// concerns reports whether an event among those read is about what is
// watched. Each is a struct inotify_event (inotify(7)): descriptor, mask and
// cookie, the length of the name, and the name, filled up with zeros.
func (w *watch) concerns(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		descriptor := int(int32(binary.NativeEndian.Uint32(events)))
		mask := binary.NativeEndian.Uint32(events[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		if end > len(events) {
			return true
		}
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00")
		events = events[end:]
		names := w.names[descriptor]
		if mask&unix.IN_Q_OVERFLOW != 0 || names[name] || names != nil && mask&(unix.IN_IGNORED|unix.IN_UNMOUNT) != 0 {
			return true
		}
	}
	return false
}
