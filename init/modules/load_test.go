package modules

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kernel is a fake kernel that notes what is inserted.
type kernel struct {
	mu       sync.Mutex
	inserted []string
	options  map[string]string
	fails    map[string]error
	there    map[string]bool
	now      time.Duration
}

func (k *kernel) insert(path, options string) (bool, error) {
	name := Name(path)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.there[name] {
		return true, nil
	}
	if err := k.fails[name]; err != nil {
		return false, err
	}
	k.inserted = append(k.inserted, name)
	if k.options == nil {
		k.options = map[string]string{}
	}
	k.options[name] = options
	k.now += 12 * time.Millisecond
	return false, nil
}

func (k *kernel) clock() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *kernel) loader(t *testing.T) *Loader {
	t.Helper()
	options := func(m string) string {
		if m == "vxlan" {
			return "log_ecn_error=1"
		}
		return ""
	}
	return NewLoader(index(t), k.insert, options, k.clock, 2)
}

func (k *kernel) before(t *testing.T, a, b string) {
	t.Helper()
	k.mu.Lock() // what comes after a module is loaded without being waited for
	defer k.mu.Unlock()
	i, j := slices.Index(k.inserted, a), slices.Index(k.inserted, b)
	if i < 0 || j < 0 || i > j {
		t.Errorf("%s does not come before %s in %q", a, b, k.inserted)
	}
}

func TestDependenciesComeFirst(t *testing.T) {
	k := &kernel{}
	res := k.loader(t).Load("vxlan", Urgent)
	if res.Err != nil || res.Took != 12*time.Millisecond || res.Builtin || res.Already {
		t.Errorf("result %+v", res)
	}
	k.before(t, "udp_tunnel", "vxlan")
	k.before(t, "ip6_udp_tunnel", "vxlan")
	if k.options["vxlan"] != "log_ecn_error=1" {
		t.Errorf("options %q", k.options["vxlan"])
	}
}

func TestSoftDependenciesComeFirstWhenTheyExist(t *testing.T) {
	k := &kernel{fails: map[string]error{"crc32c_intel": unix.ENODEV}}
	res := k.loader(t).Load("br_netfilter", Patient)
	if res.Err != nil {
		t.Errorf("a soft dependency that fails must not matter: %v", res.Err)
	}
	k.before(t, "libcrc32c", "br_netfilter")
}

func TestAModuleIsLoadedOnceHoweverManyAsk(t *testing.T) {
	k := &kernel{}
	l := k.loader(t)
	var results []Result
	l.LoadAll([]string{"vxlan", "rtnl-link-vxlan", "udp_tunnel", "vxlan", "ipv6"}, Patient, func(r Result) { results = append(results, r) })
	if len(results) != 5 {
		t.Fatalf("%d results", len(results))
	}
	for _, r := range results {
		if r.Err != nil || r.Builtin != (r.Name == "ipv6") {
			t.Errorf("result %+v", r)
		}
	}
	slices.Sort(k.inserted)
	if want := []string{"ip6_udp_tunnel", "udp_tunnel", "vxlan"}; !slices.Equal(k.inserted, want) {
		t.Errorf("inserted %q", k.inserted)
	}
}

func TestAFailureNamesWhatIsMissing(t *testing.T) {
	k := &kernel{fails: map[string]error{"libcrc32c": unix.ENOEXEC}}
	l := k.loader(t)
	res := l.Load("nf_tables", Urgent)
	if !errors.Is(res.Err, unix.ENOEXEC) || !strings.Contains(res.Err.Error(), "needs libcrc32c") {
		t.Errorf("error %v", res.Err)
	}
	if slices.Contains(k.inserted, "nf_tables") {
		t.Error("it was inserted all the same")
	}
	if res := l.Load("wireguard", Urgent); !errors.Is(res.Err, ErrUnknown) {
		t.Errorf("an unknown module: %v", res.Err)
	}
}

func TestADeviceGetsItsDriver(t *testing.T) {
	k := &kernel{there: map[string]bool{"udp_tunnel": true}}
	l := k.loader(t)
	const nic = "pci:v00001AF4d00001000sv0sd0bc02sc00i00"
	if !l.Serves(nic) || l.Serves("usb:v1") {
		t.Error("who serves whom is wrong")
	}
	if res := l.Serve(nic); len(res) != 1 || res[0].Name != "vxlan" || res[0].Err != nil {
		t.Errorf("results %+v", res)
	}
	if slices.Contains(k.inserted, "udp_tunnel") {
		t.Error("what was there was inserted again")
	}
	if res := l.Load("udp_tunnel", Urgent); !res.Already {
		t.Errorf("result %+v", res)
	}
	if res := l.Serve("usb:v1"); len(res) != 0 {
		t.Errorf("results %+v", res)
	}
}

func TestNoMoreThanAllowedAtOnceAndTheUrgentFirst(t *testing.T) {
	s := newSlots(1)
	s.take(Patient)
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	enter := func(name string, u Urgency) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			s.take(u)
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			s.give()
		}()
		// The next one queues up only once this one waits.
		for {
			s.mu.Lock()
			n := len(s.waiting[u])
			s.mu.Unlock()
			if n > 0 {
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	enter("patient", Patient)
	enter("urgent", Urgent)
	s.give()
	wg.Wait()
	if !slices.Equal(order, []string{"urgent", "patient"}) {
		t.Errorf("order %q", order)
	}
	s.take(Urgent) // the slot came back
}

func TestKernelInsertTellsWhatIsThereAlready(t *testing.T) {
	sys := t.TempDir()
	dir := filepath.Join(sys, "module/my_mod")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "initstate"), []byte("live\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	insert := Kernel(sys)
	if already, err := insert("/nowhere/my-mod.ko.xz", ""); !already || err != nil {
		t.Errorf("already %v, %v", already, err)
	}
	if _, err := insert("/nowhere/other.ko", ""); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/nowhere/other.ko") {
		t.Errorf("error %v", err)
	}
}

func TestHintsTellTheWayOut(t *testing.T) {
	for err, want := range map[error]string{
		unix.ENOEXEC: "not for this kernel", unix.ENOENT: "symbol", unix.EKEYREJECTED: "signature",
		unix.EOPNOTSUPP: "decompress", unix.ENODEV: "no device", unix.EIO: "",
	} {
		if got := hint(err); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%v: %q", err, got)
		}
	}
}
