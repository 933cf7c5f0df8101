# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -c requirements/constraints.txt
DISTS := $(wildcard core/*/pyproject.toml standards/pyproject.toml federation/pyproject.toml plugins/*/pyproject.toml)
PACKAGES := dianhuan_sdk dianhuan_standards dianhuan_hub dianhuan_federation dianhuan_grid_generic \
            dianhuan_grid_hunan dianhuan_devices dianhuan_models dianhuan_simulator

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
	@command -v node >/dev/null || { echo "installing Node for the second verifier"; \
	  (apt-get update && apt-get install -y --no-install-recommends nodejs) >/dev/null 2>&1; } \
	  || echo "Node could not be installed: the test of the second verifier will be skipped"
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

test-all: check              ## the slow suites too
	$(BIN)/pytest -q -m "slow or not slow"

bench: $(VENV)/.bench        ## every benchmark; results under benchmarks/out
	$(BIN)/python -m benchmarks

clean:                       ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
