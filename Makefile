# dutyline: what one does with a checkout. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test lint format bench fuzz kills soak interop rules screens clean lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# The stamps stand for "installed as these files say"; a changed lock or pyproject.toml makes them stale.
$(VENV)/pyvenv.cfg:
	scripts/venv.sh $(PYTHON) $(VENV)

$(VENV)/.runtime: requirements/build.lock requirements/runtime.lock pyproject.toml | $(VENV)/pyvenv.cfg
	scripts/install.sh $(BIN)/python runtime
	@touch $@

# dev.lock holds all of runtime.lock with the same pins, so installing it fulfils both stamps.
$(VENV)/.dev: requirements/build.lock requirements/dev.lock pyproject.toml | $(VENV)/pyvenv.cfg
	scripts/install.sh $(BIN)/python dev
	@touch $(VENV)/.runtime $@

setup: $(VENV)/.dev ## install everything for development into .venv, by the hashed lock

run: $(VENV)/.runtime ## install what the service needs, fetch a speech model once, start the service
	@scripts/system_packages.sh run
	@scripts/first_model.sh $(BIN)/dutyline
	$(BIN)/dutyline serve

test: $(VENV)/.dev ## run the tests (without the slow suites)
	@scripts/system_packages.sh test
	$(PYTEST) -m "not slow"

lint: $(VENV)/.dev ## ruff, formatting, mypy --strict, layer rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

format: $(VENV)/.dev ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## measure: tests/bench
	@scripts/system_packages.sh bench
	$(PYTEST) -m slow tests/bench

fuzz: $(VENV)/.dev ## ten minutes of coverage-guided fuzzing of all that reads the network, then longer property tests
	$(BIN)/python -m pip install -q "$$(sed -n 's/^fuzz = \["\([^;"]*\).*/\1/p' pyproject.toml)"
	scripts/fuzz.sh 600 $(BIN)/python
	$(PYTEST) -m hypothesis --hypothesis-profile=fuzz

kills: $(VENV)/.dev ## 1,000 calls while the telephony process is killed again and again: is anything lost?
	$(BIN)/python -m tests.faults.test_kills --calls 1000

soak: $(VENV)/.dev ## an hour of fifty recorded calls at once through the whole service: does anything grow?
	$(BIN)/python -m tests.bench.soak --calls 50 --minutes 60

interop: $(VENV)/.dev ## only the tests against foreign programs; see docs/interop.md
	@scripts/system_packages.sh interop
	scripts/interop_venv.sh $(BIN)/python build/interop-venv
	$(PYTEST) -m peer

rules: $(VENV)/.dev ## print the requirement table with the tests that prove each row
	@scripts/system_packages.sh test
	$(PYTEST) -m rule --rules

screens: $(VENV)/.dev ## take every screenshot anew, into build/screens
	@scripts/system_packages.sh test
	$(BIN)/python -m tests.web.screenshots build/screens

lock: $(VENV)/.dev ## write requirements/*.lock anew; `make lock UPGRADE=--upgrade` takes newer releases
	scripts/lock.sh $(BIN)/uv $(UPGRADE)

clean: ## remove what tools left behind; data/ and .venv/ stay
	rm -rf build dist test-results .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -path ./$(VENV) -prune -o -path ./data -prune -o -name __pycache__ -type d -exec rm -rf {} +
