package chaos

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"weft/netd/netdtest"
	"weft/netd/nstest"
	"weft/netd/store/etcd"
	"weft/netd/store/etcd/client"
	"weft/netd/store/etcd/etcdtest"
)

var (
	duration = flag.Duration("duration", 2*time.Minute, "how long faults are made")
	seed     = flag.Uint64("seed", 0, "the seed of what happens when; by the clock when 0")
	only     = flag.String("only", "", "only the faults whose name matches this expression")
)

const nodes = 5

// pingEvery is the pace of each pod, so that there are 50 packets a second.
const pingEvery = nodes * time.Second / 50

// underWay is how long a packet may be under way, so that what happens
// meanwhile can cost it.
const underWay = time.Second

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

type tb = testing.TB

// run is one run.
type run struct {
	t             *testing.T
	cluster       *netdtest.Cluster
	random        *rand.Rand
	start         time.Time
	timeline      *timeline
	subnets       map[int][]netip.Prefix // of the nodes, from their first start
	networkConfig string                 // as the first node wrote it

	etcdDown    bool
	down, apart map[int]bool // nodes without netd, and without etcd
	pending     []action
	lastLossy   time.Time
	// forgotten are the strangers' entries that went when etcd was emptied.
	forgotten []client.KV
}

// action is what is to happen later, mostly the end of a fault.
type action struct {
	at time.Time
	do func()
}

func (r *run) later(wait time.Duration, do func()) {
	r.pending = append(r.pending, action{time.Now().Add(wait), do})
	slices.SortFunc(r.pending, func(a, b action) int { return a.at.Compare(b.at) })
}

func (r *run) say(format string, args ...any) {
	fmt.Printf("%8.2f s  %s\n", time.Since(r.start).Seconds(), fmt.Sprintf(format, args...))
}

// TestNoLossIsNetdsFault is the run.
func TestNoLossIsNetdsFault(t *testing.T) {
	if testing.Short() {
		*duration = min(*duration, 15*time.Second)
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	fmt.Printf("chaos for %v: go test ./netd/chaos -duration %v -seed %d\n", *duration, *duration, *seed)
	r := &run{t: t, random: rand.New(rand.NewPCG(*seed, 0)), timeline: &timeline{faults: map[string]int{}},
		subnets: map[int][]netip.Prefix{}, down: map[int]bool{}, apart: map[int]bool{}}
	pingers := r.begin()
	stop := make(chan struct{})
	var pinging sync.WaitGroup
	for _, p := range pingers {
		pinging.Go(func() { p.Run(stop) })
	}
	r.start = time.Now()
	r.strike(r.start.Add(*duration))
	r.calm()
	close(stop)
	pinging.Wait()
	var packets []netdtest.Packet
	for _, p := range pingers {
		packets = append(packets, p.Packets()...)
	}
	r.judge(packets)
}

// begin starts the cluster and gives each node a pod, and each pod a pinger.
func (r *run) begin() []*netdtest.Pinger {
	t := r.t
	r.cluster = netdtest.New(t, netdtest.Config{Program: netdtest.Build(t), Etcd: etcdtest.Start(t), Nodes: nodes, IPv6: true})
	for _, x := range r.cluster.Nodes {
		x.Start(t)
	}
	pods := map[int]*nstest.Node{}
	targets := map[int][]netdtest.Target{}
	for _, x := range r.cluster.Nodes {
		x.WaitReady(t, 2*(nodes-1))
		var err error
		if r.subnets[x.Number], err = x.Subnets(); err != nil {
			t.Fatal(err)
		}
		pod, addresses := x.AddPod(t, 10)
		pods[x.Number] = pod
		for _, a := range addresses {
			for other := 1; other <= nodes; other++ {
				if other != x.Number {
					targets[other] = append(targets[other], netdtest.Target{Node: x.Number, Address: a})
				}
			}
		}
	}
	for _, kv := range r.cluster.Etcd.All(t, etcd.DefaultPrefix+"/config") {
		r.networkConfig = kv.Value
	}
	var pingers []*netdtest.Pinger
	for n := 1; n <= nodes; n++ {
		pingers = append(pingers, netdtest.NewPinger(t, pods[n], n, pingEvery, targets[n]))
	}
	return pingers
}

// strike makes faults until a time.
func (r *run) strike(until time.Time) {
	chosen := regexp.MustCompile(*only)
	faults := slices.DeleteFunc(r.faults(), func(f fault) bool { return !chosen.MatchString(f.name) })
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	next := time.Now().Add(2 * time.Second)
	for time.Now().Before(until) {
		if !r.act(next) {
			continue
		}
		next = time.Now().Add(r.between(100*time.Millisecond, 1500*time.Millisecond))
		pick := r.random.IntN(total)
		for _, f := range faults {
			if pick -= f.weight; pick < 0 {
				if f.strike() {
					r.timeline.fault(f.name)
				}
				break
			}
		}
		for _, x := range r.cluster.Nodes {
			if !r.down[x.Number] && x.Ended() {
				r.t.Errorf("%s: netd has ended by itself:\n%s", x.Name, tail(x.Log()))
				x.Start(r.t)
			}
		}
	}
}

// act waits for the next action or until a time; true says that it is the
// time.
func (r *run) act(until time.Time) bool {
	if len(r.pending) > 0 && r.pending[0].at.Before(until) {
		time.Sleep(time.Until(r.pending[0].at))
		do := r.pending[0].do
		r.pending = r.pending[1:]
		do()
		return false
	}
	time.Sleep(time.Until(until))
	return true
}

// calm ends all faults and expects everything to be as in the beginning.
func (r *run) calm() {
	for len(r.pending) > 0 {
		r.act(time.Now().Add(time.Hour))
	}
	// What stood in the store when it was emptied is held by whoever knew it,
	// for a day: a node may be behind it. It ends by being there once more and
	// then deleted.
	for _, kv := range r.forgotten {
		r.cluster.Etcd.Put(r.t, kv.Key, kv.Value)
	}
	time.Sleep(settle)
	for _, kv := range r.strangers() {
		r.cluster.Etcd.Delete(r.t, kv.Key)
	}
	time.Sleep(settle)
	r.say("calm")
	r.tellStrangers()
	for _, x := range r.cluster.Nodes {
		x.WaitReady(r.t, 2*(nodes-1))
		now, err := x.Subnets()
		if err != nil || !slices.Equal(now, r.subnets[x.Number]) {
			r.t.Errorf("%s: its subnets are %v (%v), they were %v", x.Name, now, err, r.subnets[x.Number])
		}
		if report, err := x.Report(); err != nil || len(report.Alarms)+len(report.Refusals)+len(report.Drift) > 0 {
			r.t.Errorf("%s: in the end: %v, alarms %v, refusals %v, drift %v", x.Name, err, report.Alarms, report.Refusals, report.Drift)
		}
	}
	time.Sleep(2 * time.Second)
}

// strangers are the entries of the store that are none of the nodes' own.
func (r *run) strangers() []client.KV {
	return slices.DeleteFunc(r.cluster.Etcd.All(r.t, leasesDir), func(kv client.KV) bool {
		return slices.ContainsFunc(r.cluster.Nodes, func(x *netdtest.Node) bool { return r.key(x) == kv.Key })
	})
}

// tellStrangers says what a node knows beside the others, and what the store
// holds then.
func (r *run) tellStrangers() {
	for _, x := range r.cluster.Nodes {
		report, err := x.Report()
		if err == nil && len(report.Peers) == 2*(nodes-1) {
			continue
		}
		r.say("%s: peers %+v, error %v", x.Name, report.Peers, err)
		for _, kv := range r.cluster.Etcd.All(r.t, leasesDir) {
			r.say("etcd holds %.80q", kv.Key)
		}
	}
}

// judge holds each lost packet against what happened.
func (r *run) judge(packets []netdtest.Packet) {
	slices.SortFunc(packets, func(a, b netdtest.Packet) int { return a.Sent.Compare(b.Sent) })
	causes := map[string]int{}
	var slowest time.Duration
	lost, guilty := 0, 0
	for _, p := range packets {
		slowest = max(slowest, p.After)
		if p.Answered {
			continue
		}
		lost++
		cause := r.timeline.cause(p.Sent, underWay, p.From, p.To)
		causes[cause]++
		if cause == "" {
			if guilty++; guilty <= 200 {
				fmt.Printf("%8.2f s  LOST without a cause: %s\n", p.Sent.Sub(r.start).Seconds(), p)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.timeline.faults)) {
		fmt.Printf("chaos faults: %4d  %s\n", r.timeline.faults[name], name)
	}
	fmt.Printf("chaos packets: %d sent, %d lost, slowest answer %v\n", len(packets), lost, slowest.Round(time.Millisecond))
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		name := cause
		if name == "" {
			name = "none: netd's fault"
		}
		fmt.Printf("chaos lost:   %4d  by %s\n", causes[cause], name)
	}
	if guilty > 0 {
		r.t.Errorf("%d packets of %d were lost without a cause; seed %d", guilty, len(packets), *seed)
		for _, x := range r.cluster.Nodes {
			_ = os.WriteFile(fmt.Sprintf("/tmp/chaos-%s.log", x.Name), []byte(x.Log()), 0o644)
		}
	}
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-4000):] }
