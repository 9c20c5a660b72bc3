package modules

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Insert puts one module file into the kernel. It reports whether the module
// was there already.
type Insert func(path, options string) (already bool, err error)

// moduleInitCompressedFile is MODULE_INIT_COMPRESSED_FILE of finit_module(2)
// (include/uapi/linux/module.h): the kernel decompresses the file itself.
const moduleInitCompressedFile = 4

// Kernel returns the Insert of the running kernel, by finit_module(2); sys is
// the mount point of sysfs, which tells what is there already.
func Kernel(sys string) Insert {
	return func(path, options string) (bool, error) {
		// Asked first: the kernel would decompress the whole file before it
		// notices.
		state, err := os.ReadFile(filepath.Join(sys, "module", Name(path), "initstate"))
		if err == nil && strings.TrimSpace(string(state)) == "live" {
			return true, nil
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false, fmt.Errorf("open %s: %w", path, err)
		}
		defer unix.Close(fd)
		flags := 0
		if !strings.HasSuffix(path, ".ko") {
			flags = moduleInitCompressedFile
		}
		err = unix.FinitModule(fd, options, flags)
		if err == unix.EEXIST {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("finit_module: %w%s", err, hint(err))
		}
		return false, nil
	}
}

// hint explains what the kernel means by the errors people meet.
func hint(err error) string {
	switch {
	case errors.Is(err, unix.ENOEXEC):
		return " (the module is not for this kernel; the kernel log says more)"
	case errors.Is(err, unix.ENOENT):
		return " (a symbol it needs is missing; the kernel log names it)"
	case errors.Is(err, unix.ENODEV):
		return " (no device for it)"
	case errors.Is(err, unix.EKEYREJECTED):
		return " (its signature is refused: kernel lockdown is on)"
	case errors.Is(err, unix.EPERM): // kernel/module/main.c: blacklisted, may_init_module
		return " (the kernel takes none: module_blacklist names it, or lockdown is on)"
	case errors.Is(err, unix.EOPNOTSUPP):
		return " (the kernel cannot decompress modules itself)"
	}
	return ""
}

// Result is what came of a module.
type Result struct {
	// Name is the module's, as asked for.
	Name string
	// Took is the time the kernel took for this one, dependencies not
	// counted.
	Took time.Duration
	// Builtin says that there was nothing to load, Already that it was there
	// before.
	Builtin, Already bool
	// Err is why it is not there.
	Err error
}

// A Loader loads the modules of an index, each once. Its methods may be
// called from any goroutine.
type Loader struct {
	index   *Index
	insert  Insert
	options func(module string) string
	now     func() time.Duration
	slots   *slots

	mu   sync.Mutex
	jobs map[string]*job
}

// job is one module's loading, done or going on.
type job struct {
	done chan struct{}
	took time.Duration
	// already says that it was in the kernel before.
	already bool
	err     error
}

// NewLoader returns a loader that inserts at most parallel modules at once.
// options gives a module's options, now the time.
func NewLoader(x *Index, insert Insert, options func(string) string, now func() time.Duration, parallel int) *Loader {
	return &Loader{
		index: x, insert: insert, options: options, now: now,
		slots: newSlots(max(parallel, 1)),
		jobs:  make(map[string]*job),
	}
}

// Load loads what name stands for, with all it needs, and waits for it.
func (l *Loader) Load(name string, u Urgency) Result {
	if l.index.builtin[Name(name)] {
		return Result{Name: name, Builtin: true}
	}
	found := l.index.Resolve(name)
	if len(found) == 0 {
		return Result{Name: name, Err: ErrUnknown}
	}
	res := Result{Name: name, Already: true}
	for _, j := range l.start(found, u) {
		<-j.done
		res.Took += j.took
		res.Already = res.Already && j.already
		if res.Err == nil {
			res.Err = j.err
		}
	}
	return res
}

// Has tells whether a name stands for a module that is there, built in or
// loadable.
func (l *Loader) Has(name string) bool {
	return l.index.Has(name)
}

// LoadAll loads names side by side and gives each result to each, one at a
// time, as it comes. It returns when all are done.
func (l *Loader) LoadAll(names []string, u Urgency, each func(Result)) {
	results := make(chan Result)
	for _, name := range names {
		go func() { results <- l.Load(name, u) }()
	}
	for range names {
		each(<-results)
	}
}

// Serve loads the modules that serve a modalias, urgently, and waits for
// them. It returns their results; none when no carried module serves the
// device.
func (l *Loader) Serve(modalias string) []Result {
	names := l.index.Match(modalias)
	var all []Result
	for i, j := range l.start(names, Urgent) {
		<-j.done
		all = append(all, Result{Name: names[i], Took: j.took, Already: j.already, Err: j.err})
	}
	return all
}

// start makes sure that each module is loaded or being loaded.
func (l *Loader) start(names []string, u Urgency) []*job {
	jobs := make([]*job, len(names))
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, name := range names {
		j := l.jobs[name]
		if j == nil {
			j = &job{done: make(chan struct{})}
			l.jobs[name] = j
			go l.run(l.index.modules[name], j, u)
		}
		jobs[i] = j
	}
	return jobs
}

// run loads one module after what it needs. The index has no circles, so the
// waiting ends.
func (l *Loader) run(m *module, j *job, u Urgency) {
	defer close(j.done)
	pre := l.start(m.pre, u)
	for i, dep := range l.start(m.hard, u) {
		<-dep.done
		if dep.err != nil && j.err == nil {
			j.err = fmt.Errorf("needs %s: %w", m.hard[i], dep.err)
		}
	}
	for _, dep := range pre {
		<-dep.done // whether it worked is its own report
	}
	if j.err != nil {
		return
	}
	l.slots.take(u)
	start := l.now()
	j.already, j.err = l.insert(filepath.Join(l.index.dir, m.file), l.options(m.name))
	j.took = l.now() - start
	l.slots.give()
	if j.err == nil {
		l.start(m.post, u)
	}
}

// Serves reports whether a carried module serves a modalias.
func (l *Loader) Serves(modalias string) bool { return len(l.index.Match(modalias)) > 0 }

// ServesFrom reports whether a carried module that serves a modalias lies in a
// folder, such as kernel/drivers/net/.
func (l *Loader) ServesFrom(modalias, folder string) bool {
	return slices.ContainsFunc(l.index.Match(modalias), func(name string) bool {
		return strings.HasPrefix(l.index.modules[name].file, folder)
	})
}
