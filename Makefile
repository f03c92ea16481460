# `make demo` and `make test` do everything on a fresh Debian machine with a Rust toolchain.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help setup setup-test demo test test-long lint bench clean

help:
	@echo "make demo       a whole replication on a stand-in node (root, or DIR=<folder on XFS or btrfs>)"
	@echo "make test       lints and every test, with reduced counts (root)"
	@echo "make test-long  the same with full counts (root)"
	@echo "make bench      what comparisons and reads cost on a fragmented disk (root)"
	@echo "make setup      install the Debian packages that all of this needs"

setup:
	@scripts/setup.sh demo

setup-test:
	@scripts/setup.sh test

demo: setup
	$(CARGO) build --locked --bin coriolis-ovm-exporter
	$(TARGET)/debug/coriolis-ovm-exporter demo $(if $(DIR),--dir $(DIR))

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	$(CARGO) check --locked --no-default-features
	$(CARGO) check --locked --no-default-features --features client
	RUSTDOCFLAGS="--deny warnings --document-private-items" $(CARGO) doc --locked --no-deps --quiet

# These mount file systems. As root they must run; without root they cannot, and that is said.
ROOT_TESTS := first_steps|old_client|error_table|defects|comparison|inventory|crash|concurrency|page_cache
IS_ROOT := $(filter 0,$(shell id -u))
FILTER := $(if $(IS_ROOT),,-E 'not test(/^($(ROOT_TESTS))::/)')

test: setup-test lint
	@$(if $(IS_ROOT),,echo "Not root: LEFT OUT are all tests on real file systems ($(ROOT_TESTS))")
	$(CARGO) nextest run --locked $(FILTER)
	$(CARGO) test --locked --doc

test-long: setup-test lint
	TEST_LONG=1 $(CARGO) nextest run --locked --profile long $(FILTER)
	$(CARGO) test --locked --doc

bench: setup-test
	$(CARGO) bench --locked --bench fragmented

clean:
	$(CARGO) clean
