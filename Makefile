# Two commands for a newcomer: `make demo` and `make test`. Both set up all they need in .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
export RAY_USAGE_STATS_ENABLED := 0
# Tests, demo and benches start hundreds of processes; each would compile again all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow bench-report chaos lint format proto lock clean

help: ## what can be made
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## the virtual environment, from requirements.lock

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Westward needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made. On Debian: apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@$(BIN)/python -m scheduler.planner.warmup
	@touch $@

demo: setup ## the main job for real: three hubs, three cities, a dozen jobs
	@$(BIN)/python -m examples.demo $(if $(KEEP),--keep)

# A test on real processes and real clocks may lose a race on a noisy machine: CI gives a failed test one more go and
# lists it as rerun. What is deterministic (unit, property, simulation by seed) fails again; at a desk nothing is rerun.
test: setup ## all tests but the slow ones
	@$(BIN)/python -m pytest -m "not slow" $(if $(CI),--reruns 1 --reruns-delay 2 -raR)

test-slow: setup ## the tests that take minutes
	@$(BIN)/python -m pytest -m slow

bench-%: setup ## a bench (bench-submit, -dispatch, -array, -logs, -agents, -planner, -rounds, -explain, -preview, -estimate, -gaia, -philly): prints a table, writes bench/results/; ARGS for its options
	@$(BIN)/python -m bench.$* $(ARGS)

bench-report: setup ## the charts in docs/img/, from bench/results/
	@$(BIN)/python -m bench.charts

chaos: setup ## real parts, real faults, minutes long: CHAOS_FAULTS, CHAOS_JOBS, CHAOS_SEED, CHAOS_MINUTES
	@GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -m tests.chaos

lint: setup ## ruff, strict types, import rules, buf
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/buf lint

format: setup ## let ruff format the tree
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

proto: setup ## write the Python stubs from the .proto files
	@$(BIN)/python proto/generate.py

lock: setup ## resolve requirements.in anew
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 --no-emit-package westward requirements.in -o requirements.lock

clean: ## remove what was set up and what was left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .demo build dist *.egg-info
