package chaos

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"weft/netd/netdtest"
	"weft/netd/store/etcd"
)

// A fault is something that can happen.
type fault struct {
	name   string
	weight int
	// strike makes it happen; false says that it cannot now.
	strike func() bool
}

// lossyEvery is the shortest time between two faults that cannot pass without
// a loss: an excuse that always holds excuses everything.
const lossyEvery = 25 * time.Second

func (r *run) faults() []fault {
	return []fault{
		{"netd killed (SIGKILL)", 12, func() bool { return r.endNetd(unix.SIGKILL) }},
		{"netd ended (SIGTERM)", 8, func() bool { return r.endNetd(unix.SIGTERM) }},
		{"etcd killed", 6, r.killEtcd},
		{"etcd frozen", 6, r.freezeEtcd},
		{"etcd emptied", 1, r.wipeEtcd},
		{"node cut off from etcd", 12, r.cut},
		{"etcd compacted", 6, r.compact},
		{"corrupt key", 12, r.corrupt},
		{"own lease overwritten with nonsense", 5, r.overwrite},
		{"corrupt network configuration", 2, r.corruptConfig},
		{"cloned identity beside", 5, r.cloneBeside},
		{"cloned identity in its place", 4, r.cloneInPlace},
		{"lease deleted", 4, r.deleteLease},
		{"address changed", 4, r.move},
		{"subnet.env and CNI list deleted", 4, r.deleteFiles},
	}
}

// compact makes etcd forget what was, which it does once a revision.
func (r *run) compact() bool {
	return r.store(func() {
		r.cluster.Etcd.Put(r.t, "/chaos", "another revision")
		r.cluster.Etcd.Compact(r.t)
	})
}

// between is a random time between two.
func (r *run) between(min, max time.Duration) time.Duration {
	return min + time.Duration(r.random.Int64N(int64(max-min)))
}

func (r *run) anyNode() *netdtest.Node { return r.cluster.Nodes[r.random.IntN(len(r.cluster.Nodes))] }

// store does something in etcd, if it can be reached.
func (r *run) store(do func()) bool {
	if r.etcdDown {
		return false
	}
	do()
	return true
}

func (r *run) endNetd(signal unix.Signal) bool {
	x := r.anyNode()
	if r.down[x.Number] {
		return false
	}
	pause := r.between(0, 4*time.Second)
	r.say("%s: %v for %v", x.Name, signal, pause.Round(time.Millisecond))
	r.timeline.connected(time.Now(), x.Number, false)
	r.down[x.Number] = true
	x.Stop(r.t, signal)
	r.later(pause, func() {
		x.Start(r.t)
		r.down[x.Number] = false
		r.timeline.connected(time.Now(), x.Number, !r.apart[x.Number])
	})
	return true
}

func (r *run) killEtcd() bool { return r.etcdAway("killed", r.cluster.Etcd.Kill, r.cluster.Etcd.Start) }
func (r *run) freezeEtcd() bool {
	return r.etcdAway("frozen", r.cluster.Etcd.Freeze, r.cluster.Etcd.Thaw)
}

func (r *run) etcdAway(what string, begin, end func(t tb)) bool {
	return r.store(func() {
		pause := r.between(500*time.Millisecond, 10*time.Second)
		r.say("etcd %s for %v", what, pause.Round(time.Millisecond))
		r.timeline.connected(time.Now(), 0, false)
		r.etcdDown = true
		begin(r.t)
		r.later(pause, func() {
			end(r.t)
			r.etcdDown = false
			r.timeline.connected(time.Now(), 0, true)
		})
	})
}

func (r *run) wipeEtcd() bool {
	return r.store(func() {
		r.say("etcd emptied")
		r.forgotten = append(r.forgotten, r.strangers()...)
		r.timeline.connected(time.Now(), 0, false)
		r.cluster.Etcd.Wipe(r.t)
		r.timeline.connected(time.Now(), 0, true)
	})
}

func (r *run) cut() bool {
	x := r.anyNode()
	if r.apart[x.Number] {
		return false
	}
	pause := r.between(500*time.Millisecond, 10*time.Second)
	r.say("%s: cut off for %v", x.Name, pause.Round(time.Millisecond))
	r.timeline.connected(time.Now(), x.Number, false)
	r.apart[x.Number] = true
	x.Way.Cut()
	r.later(pause, func() {
		x.Way.Mend()
		r.apart[x.Number] = false
		r.timeline.connected(time.Now(), x.Number, !r.down[x.Number])
	})
	return true
}

const leasesDir = etcd.DefaultPrefix + "/subnets/"

// overwrite writes nonsense over a lease. Its node writes it again; that of one
// that cannot, because it is down, counts as its peers knew it.
func (r *run) overwrite() bool {
	x := r.anyNode()
	return r.store(func() {
		r.say("%s: lease overwritten with nonsense", x.Name)
		r.cluster.Etcd.Put(r.t, r.key(x), `{"PublicIP":`)
	})
}

func (r *run) corruptConfig() bool {
	return r.store(func() {
		r.say("etcd: corrupt network configuration")
		r.cluster.Etcd.Put(r.t, etcd.DefaultPrefix+"/config", `{"Network":"10.9.0.0/`)
		r.later(r.between(time.Second, 4*time.Second), r.mendConfig)
	})
}

func (r *run) mendConfig() {
	if !r.store(func() { r.cluster.Etcd.Put(r.t, etcd.DefaultPrefix+"/config", r.networkConfig) }) {
		r.later(time.Second, r.mendConfig)
	}
}

// clone is the lease of a node with the identity of x on another machine.
func (r *run) clone(x *netdtest.Node) string {
	return fmt.Sprintf(`{"PublicIP":"10.0.0.9%d","PublicIPv6":"fd00:10::9%d","BackendType":"vxlan",`+
		`"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:09:0%d"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:09:0%d"},`+
		`"Weft":{"node":"%s","uuid":"%s"}}`, x.Number, x.Number, x.Number, x.Number, x.Name, netdtest.UUID(x.Number))
}

func (r *run) cloneBeside() bool {
	x := r.anyNode()
	name := fmt.Sprintf("10.244.%d.0-24&fd42:0:0:%x::-64", 210+x.Number, 210+x.Number)
	return !r.given(name) && r.store(func() {
		key := leasesDir + name
		r.say("%s: cloned, with other subnets", x.Name)
		r.cluster.Etcd.Put(r.t, key, r.clone(x))
		r.later(r.between(2*time.Second, 10*time.Second), func() { r.store(func() { r.cluster.Etcd.Delete(r.t, key) }) })
	})
}

// lossy reports whether a fault that cannot pass without a loss may be now.
func (r *run) lossy() bool { return !r.etcdDown && time.Since(r.lastLossy) > lossyEvery }

// cloneInPlace is a clone that takes the lease of a node: until that takes it
// back, peers that follow a node whose address changed follow the clone.
func (r *run) cloneInPlace() bool {
	x := r.anyNode()
	if !r.lossy() || r.down[x.Number] || r.apart[x.Number] {
		return false
	}
	r.lastLossy = time.Now()
	r.say("%s: cloned, and its lease taken", x.Name)
	r.timeline.excuse(r.lastLossy, x.Number, "cloned identity in its place")
	r.cluster.Etcd.Put(r.t, r.key(x), r.clone(x))
	return true
}

func (r *run) deleteLease() bool {
	x := r.anyNode()
	if !r.lossy() {
		return false
	}
	r.lastLossy = time.Now()
	r.say("%s: lease deleted", x.Name)
	r.timeline.excuse(r.lastLossy, x.Number, "lease deleted")
	r.cluster.Etcd.Delete(r.t, r.key(x))
	return true
}

func (r *run) move() bool {
	x := r.anyNode()
	if !r.lossy() {
		return false
	}
	r.lastLossy = time.Now()
	which := r.random.IntN(3)
	r.say("%s: address changed (IPv4 %t, IPv6 %t)", x.Name, which != 1, which != 0)
	r.timeline.excuse(r.lastLossy, x.Number, "address changed")
	x.Move(r.t, which != 1, which != 0)
	return true
}

// deleteFiles takes away what netd writes for others; it is back in the end.
func (r *run) deleteFiles() bool {
	x := r.anyNode()
	r.say("%s: its files are deleted", x.Name)
	for _, file := range []string{x.Config.Paths.SubnetEnv, x.Config.Paths.CNI} {
		if err := os.RemoveAll(file); err != nil {
			r.t.Error(err)
		}
	}
	return true
}

// key is where a node's lease is.
func (r *run) key(x *netdtest.Node) string {
	s := r.subnets[x.Number]
	name := fmt.Sprintf("%s-%d", s[0].Addr(), s[0].Bits())
	if len(s) > 1 {
		name += fmt.Sprintf("&%s-%d", s[1].Addr(), s[1].Bits())
	}
	return leasesDir + name
}
