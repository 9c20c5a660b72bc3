# weft: make help lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := weft

GO      ?= go
ARCHES  := amd64 arm64
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# The programs of a node are compiled so that the same source gives the same
# bytes wherever the tree lies.
NODE_FLAGS := -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$(VERSION)"
GO_SOURCES := $(shell find . -name '*.go' -not -path './out/*' -o -name '*.yaml' -not -path './out/*' -o -name '*.bin' -not -path './out/*')

# Debian packages: what running an image takes, and what proving one takes.
DEMO_PACKAGES := qemu-system-x86 ovmf
TEST_PACKAGES := $(DEMO_PACKAGES) qemu-system-arm qemu-efi-aarch64 qemu-utils dosfstools mtools e2fsprogs gdisk fdisk \
	erofs-utils nftables iptables iproute2 kmod nasm cpio xz-utils zstd iputils-ping dpkg-dev device-tree-compiler \
	etcd-server etcd-client wireguard-tools strongswan-charon strongswan-swanctl libstrongswan-standard-plugins

.PHONY: help weft demo test test-netd test-nightly test-power test-profiles bench bench-boot bench-netd figures chaos lint image fuzz deps deps-demo clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

weft: bin/weft ## build bin/weft, with init and netd for amd64 and arm64 inside

bin/weft: $(foreach a,$(ARCHES),builder/node/bin/$(a)/init builder/node/bin/$(a)/netd) $(GO_SOURCES) go.mod go.sum
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o $@ ./builder/cmd/weft

builder/node/bin/%/init: $(GO_SOURCES) go.mod go.sum
	CGO_ENABLED=0 GOOS=linux GOARCH=$* $(GO) build $(NODE_FLAGS) -o $@ ./init

builder/node/bin/%/netd: $(GO_SOURCES) go.mod go.sum
	CGO_ENABLED=0 GOOS=linux GOARCH=$* $(GO) build $(NODE_FLAGS) -o $@ ./netd

image: bin/weft ## build the default image into out/
	bin/weft build --out out

demo: deps-demo bin/weft ## build a two-node cluster, boot it, show pods pinging each other
	bin/weft build --profile dual-stack --out out/demo
	bin/weft run out/demo/x86-64-cloud-dual-stack.img --nodes 2 --until pods

test: deps bin/weft ## everything: lint, units, namespaces, boots
	$(MAKE) lint
	$(GO) test $$($(GO) list ./... | grep -v -e /qemu-tests -e /netd/chaos)
	$(MAKE) fuzz FUZZPKGS="./netd/... ./profiles" FUZZTIME=5000x
	$(GO) test ./netd/chaos
	$(GO) test -timeout 40m -skip '^TestNightly' ./qemu-tests/...

# The QEMU that emulates a Raspberry Pi 4: 9.0 or later, which Debian 12 has in
# its backports only. An older one boots none.
RASPI4B_QEMU ?= qemu-system-aarch64
test-nightly: deps ## boots that are too heavy for make test: Raspberry Pis, the boot stage; RASPI4B_QEMU is a QEMU >= 9
	$(GO) test -count=1 -v -timeout 60m -run '^TestNightly' ./qemu-tests -raspi4b $(RASPI4B_QEMU)

bench: deps bin/weft ## print every figure as: name value unit
	@$(GO) run ./qemu-tests/bench

BOOTS  ?= 5
BOARDS ?= x86-64-cloud
bench-boot: deps bin/weft ## QEMU's CPU and wall seconds to each milestone of a boot: median of BOOTS (5), of BOARDS (a,b)
	@$(GO) run ./qemu-tests/bench -only boot -boots $(BOOTS) -boards $(BOARDS)

figures: ## lines of tests for each line of init's pure parts, by package
	@$(GO) test -count=1 -v ./init -run PurePartsAreTested

lint: ## gofmt, vet, staticcheck, tidy
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "gofmt -w the files above" >&2; exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./builder/flash ./builder/cmd/weft
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

FUZZTIME ?= 60s
FUZZPKGS ?= ./...
test-netd: deps ## netd alone, in network namespaces
	$(GO) test ./netd/...

bench-flash: deps ## writing a card against dd on the same device (needs root)
	$(GO) test ./builder/flash -run '^$$' -bench 'AgainstDd/card' -benchtime 1x -v
	$(GO) test ./builder/flash -run '^$$' -bench 'AgainstDd/(weft|sparse)' -benchtime 7x -v

bench-netd: deps bin/weft ## netd's figures, beside the kernel's own limit, a line each
	cd netd/bench && $(GO) test -count=1 -timeout 30m -full
	$(GO) run ./qemu-tests/scale

CHAOS ?= 30m
chaos: deps ## netd under kills, partitions, compactions and corrupt keys, for CHAOS (default 30m)
	$(GO) test -count=1 -timeout 90m -v ./netd/chaos -run NoLoss -duration $(CHAOS)

CUTS ?= 50
test-power: deps ## a busy node's power is cut CUTS times (50), and first boots at 20 moments
	$(GO) test -count=1 -timeout 120m -v ./qemu-tests -run 'Plug|LosesItsPower' -cuts $(CUTS) -moments 20

test-profiles: ## profiles, clusters, rules and what they render
	$(GO) test ./profiles/... ./document ./docs ./builder/contract ./builder/payload
	$(GO) test ./builder/image -run 'Shipped|Payload|Hardened'

fuzz: ## run every fuzz target of FUZZPKGS (default all) for FUZZTIME (default 60s)
	@$(GO) list $(FUZZPKGS) | while read -r pkg; do \
		dir=$$($(GO) list -f '{{.Dir}}' "$$pkg"); \
		{ grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go 2>/dev/null || true; } | sed 's/func //' | while read -r target; do \
			echo "$$pkg $$target"; \
			$(GO) test "$$pkg" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME); \
		done; \
	done

deps: ## install the tools that tests need (Debian)
	@$(call install,$(TEST_PACKAGES))

deps-demo: ## install what running an image needs (Debian)
	@$(call install,$(DEMO_PACKAGES))

# install names what is missing and installs it, asking nothing; it is silent
# and needs no privilege when nothing is missing.
define install
missing=; for p in $(1); do \
	dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$p"; \
done; \
if [ -n "$$missing" ]; then \
	command -v apt-get >/dev/null || { echo "install by hand:$$missing" >&2; exit 3; }; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	echo "installing$$missing"; \
	$$sudo apt-get update -qq; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef

clean: ## remove what make built
	rm -rf bin out $(foreach a,$(ARCHES),builder/node/bin/$(a))
