package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"weft/init/service"
	"weft/profiles"
	"weft/profiles/rancher"
)

// How services of the profile are run.
const (
	// stopWithinOwn and stopWithinKubernetes are how long they may take to
	// end; K3s closes its database in that time.
	stopWithinOwn        = 10 * time.Second
	stopWithinKubernetes = 20 * time.Second
	// graceOwn is how long an own service must have run to count as ready.
	graceOwn = time.Second
	// networkWithin is how long they wait for the network and for others.
	networkWithin = 2 * time.Minute
	// lateOwn and lateKubernetes are when they are told as late. A Raspberry
	// Pi takes minutes for the API server.
	lateOwn        = 2 * time.Minute
	lateKubernetes = 10 * time.Minute
	// An own service that ends burst times within burstWindow stays down.
	burst       = 8
	burstWindow = 10 * time.Minute
)

// payloads lists the services of the profile: Kubernetes, if the node has it,
// and own ones.
func (s *system) payloads() []service.Spec {
	specs := ownServices(s.profile.Services)
	if k, on := rancher.ServiceFor(s.profile, s.conf); on {
		switch _, err := os.Stat(k.Path); {
		case errors.Is(err, fs.ErrNotExist):
			s.log.Note("%s is not in the image; only its settings are written", k.Name)
		case err != nil:
			s.log.Problem("%s: %v", k.Name, err)
		default:
			specs = append(specs, kubernetesSpec(k, s.profile.Network.Store.Type))
		}
		s.goes(s.keepKubernetesFiles)
	}
	return specs
}

// kubernetesSpec is how K3s or RKE2 is run. It has all capabilities, or runc
// fails in obscure ways; it alone is signalled, so that pods outlive it; and it
// is started again for ever, for it ends whenever something it needs is not
// there yet. Nothing in it names INVOCATION_ID, which it takes for a sign of
// systemd.
//
// It comes after netd, unless netd's store is Kubernetes: that netd waits for
// the API server, the node's object and its pod subnet, all of which begin with
// this service. Nothing is lost by not waiting: what netd kept is in the kernel
// long before a kubelet is up, and one without a network makes no pods, for it
// has no CNI configuration then.
func kubernetesSpec(k rancher.Service, store string) service.Spec {
	after := []string{stageNetwork, stageClock, stageData}
	if store != profiles.StoreKubernetes {
		after = append(after, itemNetd)
	}
	return service.Spec{
		Name: k.Name, Path: k.Path, Args: k.Args, Env: k.Env, OOMScore: k.OOMScore,
		After:       after,
		Requires:    []string{stageKubernetes},
		WaitWithin:  networkWithin,
		ReadyWithin: lateKubernetes,
		Restart:     service.Restart{First: k.RestartAfter, Longest: k.RestartAtMost},
		StopWithin:  stopWithinKubernetes,
		Alone:       true,
		// The share of everything else is 100: pods have cgroups of their own.
		Limits: service.Limits{CPUWeight: 200},
	}
}

// ownServices says how the profile's own services are run.
func ownServices(list []profiles.Service) []service.Spec {
	var specs []service.Spec
	for _, p := range list {
		spec := service.Spec{
			Name: p.Name, Path: p.File(), Args: p.Args, Dir: p.Directory,
			Env:      []string{"PATH=" + profiles.BinDir + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"},
			After:    slices.Concat([]string{stageData}, p.After),
			Requires: p.Requires, WaitWithin: networkWithin,
			Grace: graceOwn, ReadyWithin: lateOwn,
			Restart:    service.Restart{Burst: burst, Window: burstWindow},
			StopWithin: stopWithinOwn,
			Limits:     service.Limits{MemoryMax: int64(p.Memory) << 20, Together: p.Memory > 0},
			OOMScore:   p.OOMScore, Capabilities: p.Capabilities,
		}
		if len(p.After) == 0 && len(p.Requires) == 0 {
			spec.After = append(spec.After, stageNetwork, itemNetd)
		}
		for _, key := range slices.Sorted(maps.Keys(p.Env)) {
			spec.Env = append(spec.Env, fmt.Sprintf("%s=%s", key, p.Env[key]))
		}
		if slices.Equal(p.Capabilities, []string{profiles.NoCapabilities}) {
			spec.Capabilities = []string{}
		}
		if p.Notify {
			spec.Grace = 0
		}
		if p.Watchdog > 0 {
			spec.Watchdog = time.Duration(p.Watchdog) * time.Second
		}
		switch p.Restart {
		case profiles.RestartOnFailure:
			spec.Restart.Policy = service.OnFailure
		case profiles.RestartNever:
			spec.Restart.Policy = service.Never
			spec.Grace, spec.ReadyWithin = 0, 0 // it is ready when it is done
			if p.Notify {
				spec.ReadyWithin = lateOwn
			}
		}
		specs = append(specs, spec)
	}
	return specs
}
