# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -c requirements/constraints.txt
DISTS := $(wildcard core/*/pyproject.toml standards/pyproject.toml federation/pyproject.toml plugins/*/pyproject.toml)
PACKAGES := dianhuan_sdk dianhuan_standards dianhuan_hub dianhuan_federation dianhuan_grid_generic \
            dianhuan_grid_hunan dianhuan_devices dianhuan_models dianhuan_simulator dianhuan_activity dianhuan_bench

.PHONY: help demo test test-all check lint types contracts bench clean setup setup-dev
help:           ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements/constraints.txt hatchling editables setuptools wheel

$(VENV)/.hub: requirements/hub.txt requirements/constraints.txt $(DISTS) | $(VENV)/bin/python
	@echo "installing the hub and its plugins into $(VENV) (about a minute)"
	$(PIP) -r requirements/hub.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.hub
	@echo "installing the tools of the checks into $(VENV)"
	$(PIP) -r requirements/dev.txt
	@for need in node:nodejs mosquitto:mosquitto openssl:openssl; do \
	  PATH="$$PATH:/usr/sbin" command -v $${need%%:*} >/dev/null || { echo "installing $${need##*:} for the tests"; \
	  (apt-get update && apt-get install -y --no-install-recommends $${need##*:}) >/dev/null 2>&1; } \
	  || echo "$${need##*:} could not be installed: the tests that need it will be skipped"; done
	@touch $@

$(VENV)/.all: $(VENV)/.dev
	@echo "fetching other people's verifiers for the slow tests"
	@command -v go >/dev/null || (apt-get update && apt-get install -y --no-install-recommends golang-go \
	  golang-golang-x-mod-dev) >/dev/null 2>&1 || echo "Go could not be installed: its verifier will be skipped"
	@$(PIP) --ignore-requires-python --no-deps aics-tlog==0.2.1 aics-witness==0.1.0 || echo "aics-tlog is skipped"
	@command -v npm >/dev/null || (apt-get update && apt-get install -y --no-install-recommends npm) >/dev/null 2>&1 || true
	@npm install --silent --no-audit --no-fund --no-package-lock --prefix conformance/federation/node >/dev/null 2>&1 \
	  || echo "npm packages could not be fetched: their verifiers will be skipped"
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	@echo "installing the peers of the benchmarks into $(VENV) (about 1 GB)"
	$(PIP) -r requirements/bench.txt
	@touch $@

setup: $(VENV)/.hub          ## install the hub with its plugins
setup-dev: $(VENV)/.dev      ## install the tools of the checks too

demo: $(VENV)/.hub           ## a city's night with known truth, then two cities and an agency in federation
	$(BIN)/dianhuan demo
	$(BIN)/dianhuan federation demo

lint: $(VENV)/.dev           ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev          ## mypy, strict
	$(BIN)/mypy $(addprefix -p ,$(PACKAGES))

contracts: $(VENV)/.dev      ## import contracts
	$(BIN)/lint-imports

check: lint types contracts  ## everything that needs no test run

test: check                  ## checks and tests, as CI runs them
	$(BIN)/pytest -q

test-all: check $(VENV)/.all  ## the slow suites too
	$(BIN)/pytest -q -m "slow or not slow"

bench: $(VENV)/.bench        ## every benchmark; results under benchmarks/out
	$(BIN)/python -m benchmarks

clean:                       ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
