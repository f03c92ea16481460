# `make demo` and `make test` do everything on a fresh Debian machine with a Rust toolchain.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Nodes have the glibc of 2010: the binary brings its own. Build scripts and procedural macros are
# not static, which is why the target has to be named.
STATIC := RUSTFLAGS="-C target-feature=+crt-static"
TRIPLE := x86_64-unknown-linux-gnu
RELEASE := $(TARGET)/$(TRIPLE)/release
PACKAGES := $(TARGET)/packages

.PHONY: help setup setup-test setup-bench setup-fuzz setup-packages demo release packages wheel test test-long \
        test-ocfs2 test-cluster test-packages test-python test-schema openapi fuzz lint bench bench-python clean

help:
	@echo "make demo       a whole replication on a stand-in node (root, or DIR=<folder on XFS or btrfs>)"
	@echo "make test       lints and every test, with reduced counts (root)"
	@echo "make test-long  the same with full counts (root)"
	@echo "make release    static binaries: $(RELEASE)/coriolis-ovm-exporter, ovm-exporter"
	@echo "make packages   an RPM and a DEB of them: $(PACKAGES)"
	@echo "make test-packages installs, upgrades and removes both in a chroot, and goes from the RPM to curl (root)"
	@echo "make wheel      the Python package, for CPython 3.9 and later: $(TARGET)/wheels"
	@echo "make test-python the Python package in a fresh virtual environment (root; a part of make test)"
	@echo "make test-schema schemathesis asks the daemon for all that docs/openapi.json says (root; a part of make test)"
	@echo "make openapi    writes docs/openapi.json anew"
	@echo "make test-ocfs2 library and daemon on a real OCFS2 in a virtual machine (SCENARIO=<names> for some)"
	@echo "make test-cluster two daemons on one OCFS2 in a cluster of two virtual machines (the same)"
	@echo "make fuzz       hostile bytes for every reader, FUZZ_SECONDS=600 each (FUZZ=<names> for some)"
	@echo "make bench      speed and memory beside nginx, rsync and others (root; FIGURES=<names>, DIR=<folder>)"
	@echo "make bench-python how fast a run from Python is beside the command's (root)"
	@echo "make setup      install the Debian packages that all of this needs"

setup:
	@scripts/setup.sh demo

setup-test:
	@scripts/setup.sh test

setup-bench:
	@scripts/setup.sh bench

setup-fuzz:
	@scripts/setup.sh fuzz

setup-packages:
	@scripts/setup.sh packages

demo: setup
	$(CARGO) build --locked --bins
	$(TARGET)/debug/coriolis-ovm-exporter demo $(if $(DIR),--dir $(DIR))

release: setup
	$(STATIC) $(CARGO) build --locked --release --target $(TRIPLE)
	@scripts/check-static.sh $(RELEASE)/coriolis-ovm-exporter
	@scripts/check-static.sh $(RELEASE)/ovm-exporter

packages: release setup-packages
	@scripts/packages.sh $(RELEASE) $(PACKAGES)

# From PyPI: maturin, in a virtual environment of its own.
wheel:
	@scripts/setup.sh wheel
	python3 -m venv $(TARGET)/maturin
	$(TARGET)/maturin/bin/pip install --quiet "maturin>=1.9,<2"
	$(TARGET)/maturin/bin/maturin build --locked --release --manifest-path python/Cargo.toml --out $(TARGET)/wheels

lint:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	@$(CARGO) tree --locked --manifest-path fuzz/Cargo.toml >/dev/null
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	$(CARGO) clippy --locked --test ocfs2 -- --deny warnings
	$(CARGO) check --locked --no-default-features
	$(CARGO) check --locked --no-default-features --features client
	$(CARGO) check --locked --no-default-features --features cli
	$(CARGO) clippy --locked --package coriolis-ovm-exporter-python -- --deny warnings
	RUSTDOCFLAGS="--deny warnings --allow rustdoc::private_intra_doc_links --document-private-items" $(CARGO) doc --locked --no-deps --quiet

# These mount file systems. As root they must run; without root they cannot, and that is said.
ROOT_TESTS := cli|first_steps|old_client|error_table|defects|comparison|inventory|crash|concurrency|page_cache|requests|pause|upgrade|streams|conventions|targets|replicate|setup|guest_volumes|documents
IS_ROOT := $(filter 0,$(shell id -u))
FILTER := $(if $(IS_ROOT),,-E 'not test(/^($(ROOT_TESTS))::/)')

test: setup-test lint
	@$(if $(IS_ROOT),,echo "Not root: LEFT OUT are all tests on real file systems ($(ROOT_TESTS)) and the measurements' own trial")
	$(CARGO) nextest run --locked $(FILTER)
	$(if $(IS_ROOT),$(CARGO) test --locked --bench bench -- --short)
	$(CARGO) test --locked --doc
	$(if $(IS_ROOT),$(MAKE) test-python,@echo "Not root: LEFT OUT are the tests of the Python package")
	$(if $(IS_ROOT),$(MAKE) test-schema,@echo "Not root: LEFT OUT is schemathesis")

# Reaches PyPI. ARGS go to pytest; SEED=<number> repeats a run.
test-python: setup-test
	@scripts/test-python.sh $(ARGS)

# Reaches PyPI. SEED=<number> repeats a run.
REQUESTS := $(if $(TEST_LONG),10000,500)
test-schema: setup-test
	@scripts/test-schema.sh $(REQUESTS)

openapi:
	$(CARGO) build --locked --bin coriolis-ovm-exporter
	$(TARGET)/debug/coriolis-ovm-exporter openapi >docs/openapi.json

test-long: setup-test setup-fuzz lint
	TEST_LONG=1 $(CARGO) nextest run --locked --profile long $(FILTER)
	$(CARGO) test --locked --doc
	TEST_LONG=1 $(MAKE) test-python
	TEST_LONG=1 $(MAKE) test-schema
	@scripts/fuzz.sh 15
	TEST_LONG=1 $(MAKE) test-ocfs2
	TEST_LONG=1 $(MAKE) test-cluster
	$(MAKE) test-packages

# On a nightly compiler. What an earlier run learned is kept below the target directory.
FUZZ_SECONDS ?= 600
fuzz: setup-fuzz
	@scripts/fuzz.sh $(FUZZ_SECONDS) $(FUZZ)

# mkfs.ocfs2 and the like lie where a user's path may not lead.
test-ocfs2 test-cluster: export PATH := $(PATH):/usr/sbin:/sbin

# Boots Debian's kernel in qemu, without KVM. TEST_LONG=1 for full counts, SEED=<number> to repeat.
test-ocfs2: setup
	@scripts/setup-ocfs2.sh
	$(STATIC) $(CARGO) test --locked --release --target $(TRIPLE) --test ocfs2 -- $(SCENARIO)

# Two such machines on one disk image, in a real o2cb cluster: some five minutes.
test-cluster: setup
	@scripts/setup-ocfs2.sh
	$(STATIC) $(CARGO) test --locked --release --target $(TRIPLE) --test ocfs2 -- $(or $(SCENARIO),cluster)

# Takes the programs that an earlier `make release` or `make test-ocfs2` has left.
test-packages: setup-packages
	@test -x $(RELEASE)/coriolis-ovm-exporter -a -x $(RELEASE)/ovm-exporter || $(MAKE) release
	@scripts/test-packages.sh $(RELEASE)

# The programs that `make release` builds. DIR: a folder for the disks, FIGURES: names, with commas.
bench: setup-bench
	$(if $(FIGURES),,$(STATIC) $(CARGO) bench --locked --target $(TRIPLE) --bench pure -- --quiet)
	$(STATIC) $(CARGO) bench --locked --target $(TRIPLE) --bench bench -- $(if $(DIR),--dir "$(DIR)") $(if $(FIGURES),--figures "$(FIGURES)")

# Beside the command, on release builds.
bench-python: setup-test
	@scripts/bench-python.sh

clean:
	$(CARGO) clean
