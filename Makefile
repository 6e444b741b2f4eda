# The commands of vbatch. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first Python that is new enough; if none is, the set-up says so.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && exit; done; echo python3)
VENV := .venv
RUN := $(VENV)/bin/python
MANAGE := $(RUN) manage.py
PYTEST := $(RUN) -m pytest
# Two at a time goes what needs no engine, browser or servers and is no long run; then, three
# files at a time, what starts servers or a browser, and mostly waits; then two at a time what is
# killed. An engine wants both cores.
SLOW := engine or browser or stack or setup or long
FAST := not ($(SLOW) or torture)
# More options for pytest: make test ARGS="-k cancel -x"
ARGS ?=

.PHONY: help setup setup-dev demo stop reset test test-fast torture bench lint lock vendor clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: ## Install what vbatch needs into .venv and prepare the small model.
	@$(PYTHON) -m vbatch_site.bootstrap

setup-dev: ## The same, with the tools for tests and checks.
	@$(PYTHON) -m vbatch_site.bootstrap --dev

demo: setup ## Start all of it, run a sample batch, serve until Ctrl-C.
	@$(MANAGE) demo

stop: ## Stop what runs here: web, worker, engines, embedded database.
	@if [ -x $(RUN) ]; then $(MANAGE) stop; else echo "Nothing is set up here."; fi

reset: ## Delete all data (asks first).
	@if [ -x $(RUN) ]; then $(MANAGE) reset; else echo "Nothing is set up here."; fi

test: setup-dev ## Run every test, real vLLM and real PostgreSQL included.
	@$(PYTEST) -n 2 -m "$(FAST)" $(ARGS)
	@$(PYTEST) -n 3 --dist loadfile -m "(stack or long or browser or setup) and not torture" --ignore tests/torture $(ARGS)
	@$(PYTEST) -n 2 --dist loadfile -m "stack and not torture" tests/torture $(ARGS)
	@$(PYTEST) -m "engine and not torture" $(ARGS)

test-fast: setup-dev ## Run the tests that need no engine, browser or servers: three minutes.
	@$(PYTEST) -n 2 -m "$(FAST)" $(ARGS)

torture: setup-dev ## Kill everything at every moment that is known, and at random, for long.
	@$(PYTEST) -m torture $(ARGS)

bench: setup-dev ## Measure against run-batch and the goals; figures to var/bench (two hours).
	@$(RUN) -m benchmarks.harness.proof $(ARGS)

lint: setup-dev ## Style, types, import contracts, migrations, deployment checks.
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(MANAGE) makemigrations --check --dry-run
	@$(MANAGE) check --deploy --fail-level WARNING

lock: setup-dev ## Make the pinned lists again; ARGS=--upgrade moves to newer versions.
	@$(RUN) requirements/lock.py $(ARGS)

vendor: setup-dev ## Fetch the front-end kit again, from its lockfile.
	@$(RUN) -m vbatch_site.vendoring

clean: ## Remove .venv and caches; data, models and the database stay.
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
