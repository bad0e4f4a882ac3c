# One way in: people, pre-commit and CI call these targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.ready
SIMULATOR := $(BIN)/p2pnode-sim

# Tests start thousands of processes: with it, each would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run test unit coverage simulation mutants sim soak integration integration-together integration-alone api-long long endurance faults ceremonies fuzz lint types bench testnet-containers lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

setup: $(SETUP) $(SIMULATOR)  ## make .venv with every pinned version, and p2pnode and p2pnode-sim in .venv/bin

$(SETUP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "p2pnode needs Python 3.11 or later: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python's venv module is missing; installing it: apt-get install python3-venv"; \
	       apt-get update -qq && apt-get install -y -qq python3-venv; }
	@echo "Setting up .venv ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(SETUP)

$(SIMULATOR): $(SETUP) Makefile
	@printf '%s\n' '#!/bin/sh' 'root=$$(cd "$$(dirname "$$0")/../.." && pwd) || exit 1' \
	  'PYTHONPATH=$$root exec "$$root/.venv/bin/python" -P -m tests.simulation "$$@"' > $@
	@chmod +x $@

run: setup  ## the main job: five households trade 48 hours of real solar energy on their own chain
	@rm -rf build/testnet
	@$(BIN)/p2pnode testnet run --dir build/testnet --hours 48

test: unit simulation integration  ## all tests but the long ones: endurance, faults, ceremonies

unit: setup  ## pure functions and single parts
	@$(BIN)/pytest tests/unit -q -n auto

coverage: setup  ## the unit tests once more, with the branches that they do not reach
	@$(BIN)/pytest tests/unit -q -n auto --cov --cov-report=term:skip-covered

simulation: setup  ## the production replica on a virtual clock, network and disk: rules, mutants, 2,000 seeds, Twins, 500 ceremonies, 900 changes of members; 100,000 damaged inputs
	@$(BIN)/pytest tests/simulation tests/fuzz -q -n auto
	@$(BIN)/p2pnode-sim run --seeds 0:2000
	@$(BIN)/p2pnode-sim twins --every 11
	@$(BIN)/p2pnode-sim ceremonies --seeds 0:500
	@$(BIN)/p2pnode-sim changes --seeds 0:250

mutants: setup  ## rules, driver, disk, ledger and block sync broken on purpose, one by one: each must be noticed (part of `simulation`)
	@$(BIN)/pytest tests/simulation/test_mutants.py -q -n auto

sim: setup  ## 20,000 seeds, every Twins scenario, dead links, small chains in full, 2,000 ceremonies, 9,000 changes of members; writes docs/simulation-result.json, docs/links-result.json, docs/models-result.json, docs/ceremony-simulation.json, docs/changes-result.json
	@$(BIN)/p2pnode-sim record --seeds 0:20000 --output docs/simulation-result.json
	@$(BIN)/p2pnode-sim links --members 4:7 --output docs/links-result.json
	@$(BIN)/p2pnode-sim models --output docs/models-result.json
	@nice -n 10 $(BIN)/p2pnode-sim ceremonies --seeds 0:2000 --output docs/ceremony-simulation.json
	@nice -n 10 $(BIN)/p2pnode-sim changes --seeds 0:2500 --output docs/changes-result.json

soak: setup  ## seeds until one fails
	@$(BIN)/p2pnode-sim soak

integration: setup  ## real daemons, sockets, TLS, LevelDB, and a few that lie
	@$(MAKE) --no-print-directory -j1 -k integration-together integration-alone

INTEGRATION := $(BIN)/pytest tests/integration tests/faults -q --timeout 600

integration-together: setup  ## its tests that mostly wait: two processes at a time, each module in one of them
	@$(INTEGRATION) -m "not alone" -n 2 --dist loadfile --no-loadscope-reorder

integration-alone: setup  ## its tests that need the machine for themselves: grep -r mark.alone tests
	@$(INTEGRATION) -m alone

api-long: setup  ## 1,000 requests to each operation of the API, made from its OpenAPI document: 15 minutes
	@$(BIN)/python -m tests.conformance --cases 1000

endurance: setup  ## kills, pauses, joins and leaves, flipped bytes and long catching up, at full length; writes docs/endurance-result.json
	@$(BIN)/python -m tests.endurance record --output docs/endurance-result.json

faults: setup  ## every behaviour of docs/threat-model.md at 4 and 7 nodes, and in 48 hours of 7 homes: 7 minutes; writes build/faults.json, build/street-of-seven.json
	@$(BIN)/python -m tests.faults
	@$(BIN)/python -m tests.faults.street_of_seven

ceremonies: setup  ## what homes lose at 4, 5 and 7 nodes, and the ceremony after it, by the commands; writes docs/ceremony-result.json
	@$(BIN)/python -m tests.ceremonies record --output docs/ceremony-result.json

fuzz: setup  ## 5,000,000 damaged and grown inputs for all decoders, minutes; what fails is kept in build/fuzz
	@nice -n 19 $(BIN)/python -m tests.fuzz run --cases 5000000

long: coverage sim fuzz api-long faults ceremonies endurance  ## all that takes longer than `make test`, one after the other: hours

lint: setup  ## style, import arrows, dead code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types: setup  ## mypy, strict
	@$(BIN)/mypy

bench: setup  ## throughput and latency, as ratios to what the machine can do
	@$(BIN)/python -m bench

testnet-containers: setup  ## build the images, run five nodes with Prometheus, check that all trade
	@deploy/containers/run

LOCK_OPTIONS := -q --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
  --no-emit-trusted-host

lock:  ## pin the newest versions that pyproject.toml allows (needs pip-tools); images get the same without dev tools
	pip-compile $(LOCK_OPTIONS) --extra dev -o requirements.lock pyproject.toml
	pip-compile $(LOCK_OPTIONS) --build-deps-for wheel -c requirements.lock -o requirements-runtime.lock pyproject.toml

clean:  ## remove everything that the other targets made
	rm -rf .venv build .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
