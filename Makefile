# The few commands of daily work. `make` alone lists them.
#   PYTHON=python3.13 make test                                                  another Python, 3.11 or later

PYTHON ?= python3
BIN := .venv/bin
PINS := pyproject.toml constraints.txt
MODEL ?= .demo/model
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help venv demo test chaos bench bench-micro lint format clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

venv: .venv/.dev  ## create .venv with everything that the tests need

demo: .venv/.demo  ## data, training, service and first page on real films
	@$(BIN)/unirank demo

test: lint  ## everything that must pass: lint, types, tests
	@$(BIN)/python -m pytest -m "not alone" -n 2 --dist loadfile
	@$(BIN)/python -m pytest -m alone

chaos: .venv/.dev  ## every fault for real, half an hour; CHAOS="--seconds 2" passes options on
	@PYTHONPATH=tests:tests/helpers $(BIN)/python -m chaos $(CHAOS)

bench: .venv/.dev .venv-bench/.rivals $(MODEL)/manifest.json  ## this server beside four others; MODEL=folder, BENCH="--full" passes options on
	@$(BIN)/python -m bench serve $(MODEL) $(BENCH)

bench-micro: .venv/.bench $(MODEL)/manifest.json  ## each stage of a request timed alone; MODEL=folder
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest bench/micro --model $(MODEL) --benchmark-sort=name

lint: .venv/.dev  ## style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: .venv/.dev  ## put the code into its style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean:  ## remove .venv and every cache; datasets and models stay
	rm -rf .venv .venv-bench build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find app bench model tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@echo "creating .venv"
	@$(PYTHON) -m venv .venv

.venv/.demo: $(PINS) | $(BIN)/python
	@echo "installing the service and the demo's films into .venv (about a minute)"
	@$(INSTALL) -e '.[demo]'
	@touch $@

.venv/.dev: $(PINS) | $(BIN)/python
	@echo "installing the service, the demo's films and the tools of development into .venv (about a minute)"
	@$(INSTALL) -e '.[demo,dev,studies]'
	@touch .venv/.demo $@

.venv/.bench: .venv/.dev
	@$(INSTALL) -e '.[bench]'
	@touch $@

.venv-bench/.rivals: bench/rivals.txt pyproject.toml
	@echo "installing the servers to compare with into .venv-bench (about two minutes)"
	@test -e .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install -qq --disable-pip-version-check -r bench/rivals.txt -e .
	@touch $@

.demo/model/manifest.json: | .venv/.demo
	@$(BIN)/unirank demo --no-serve
