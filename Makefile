# The few commands of daily work. `make` alone lists them.
#   PYTHON=python3.13 make test                                                  another Python, 3.11 or later

PYTHON ?= python3
BIN := .venv/bin
PINS := pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help venv demo test chaos lint format clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

venv: .venv/.dev  ## create .venv with everything that the tests need

demo: .venv/.demo  ## data, training, service and first page on real films
	@$(BIN)/unirank demo

test: lint  ## everything that must pass: lint, types, tests
	@$(BIN)/python -m pytest

chaos: .venv/.dev  ## every fault for real, half an hour; CHAOS="--seconds 2" passes options on
	@PYTHONPATH=tests $(BIN)/python -m chaos $(CHAOS)

lint: .venv/.dev  ## style and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: .venv/.dev  ## put the code into its style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean:  ## remove .venv and every cache; datasets and models stay
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find app model tests -name __pycache__ -type d -prune -exec rm -rf {} +

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
