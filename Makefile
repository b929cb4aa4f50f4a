# The few commands people use.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# rustup's folder, for a shell that has not read the profile that rustup wrote.
export PATH := $(PATH):$(HOME)/.cargo/bin
.DEFAULT_GOAL := help
.PHONY: help build demo test torture bench check fuzz clean setup shellcheck host-contract pot

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup:
	@scripts/setup

build: setup ## the command line, the native library and the Erlang code, for use
	scripts/build-nif
	scripts/cargo-for-use build --release --package zbackup
	rebar3 as test compile

demo: setup ## back up a sample site, lose it and bring it back
	@scripts/with-postgres demo/run

test: setup ## all tests, with a PostgreSQL and an object store of their own
	scripts/with-postgres scripts/with-s3 cargo test --workspace
	scripts/with-postgres scripts/with-s3 rebar3 as test do eunit, ct

torture: setup ## accidents at every step and any time, many times more than in make test (TIMES=20)
	scripts/with-postgres scripts/with-s3 scripts/torture $(or $(TIMES),20)

bench: setup ## how fast this is beside other programs, as a table (BENCH_SIZES="small large")
	@scripts/setup bench
	scripts/cargo-for-use build --release --package zbackup
	scripts/build-nif
	rebar3 as test compile
	scripts/with-postgres bench/run $(BENCH_SIZES)

check: setup shellcheck ## formatting, lints, types, cross references, shell scripts, licences and sources
	@scripts/setup check
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings
	rebar3 as test xref
	rebar3 as test dialyzer
	scripts/deny

fuzz: setup ## random input for whatever reads what comes from outside (TIME=seconds for each target)
	@scripts/setup fuzz
	scripts/fuzz $(or $(TIME),60)

host-contract: setup ## what src/ needs of Zotonic, as Erlang terms: {Module, Function, Arity} and {record, Name, Fields}
	@rebar3 as test do compile, eunit --module=host_contract_tests >&2
	@erl -noshell -pa _build/test/lib/*/ebin _build/test/lib/zotonic_mod_backup/test \
		-eval 'host_contract:print(), halt().'

pot: setup ## the texts to translate, where Zotonic keeps them: priv/translations/template
	@rebar3 as test compile >&2
	@erl -noshell -pa _build/test/lib/zotonic_mod_backup/test -eval 'translations:write_pot("."), halt().'

# Every script of the project that says that it is for a shell.
shellcheck: setup
	find . \( -name .git -o -name target -o -name '_build*' -o -name .rebar3 \) -prune -o -type f -print0 \
		| xargs -0 awk 'FNR == 1 && /^#!.*[\/ ](ba|da)?sh( |$$)/ { printf "%s%c", FILENAME, 0 } { nextfile }' \
		| xargs -0 --no-run-if-empty shellcheck

clean: ## remove what was built
	rm -rf target _build priv/zbackup_nif.so
