# The verbs of this repository. `make demo` and `make test` need nothing but Python 3.11 and make:
# each builds what it needs in .venv first, once, and may be repeated.
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:
SHELL := /bin/bash

BIN := .venv/bin
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1# pyright asks the network for news of itself otherwise

# What tests start a hundred times is compiled once, whatever the environment says.
# Handed out four at a time, tests leave no worker idle at the end.
TESTED := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest --maxschedchunk=4
# Twice two cores, since tests of real processes wait for them a good part of their time.
WORKERS ?= 4

.PHONY: help demo test test-unit check fmt bench docs pictures lock crewai setup clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: setup ## See Rune work (DEMO_ONCE=1: end by itself after one round)
	@$(BIN)/python examples/demo.py

test: setup ## Run every test (ARGS="-k scale" picks some; WORKERS=8 suits more cores)
	@$(TESTED) -n $(WORKERS) $(ARGS)

test-unit: setup ## Run the unit tests alone
	@$(TESTED) -n 2 tests/unit $(ARGS)

check: setup ## Judge format, lint, imports, types, generated files; changes nothing
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

fmt: setup ## Mend format and whatever lint can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

bench: setup ## Measure: every script of benchmarks/, one after another
	@set -e; for script in benchmarks/*.py; do \
	  [ -e "$$script" ] || { echo "There is no benchmark yet."; break; }; \
	  echo "== $$script"; $(BIN)/python "$$script"; done

docs: setup ## Build the documentation into site/
	@$(BIN)/zensical build --clean --strict
	@if [ -d artifacts/dashboard ]; then cp -r artifacts/dashboard site/pictures; \
	else echo "The page with pictures of the dashboard has none: run make pictures, and make docs again."; fi

pictures: setup ## Photograph every page of the dashboard, into artifacts/ (needs Chromium and npm)
	@$(TESTED) -n 2 tests/browser/test_pages.py -k every_page

lock: setup ## Pin the packages anew (UPGRADE=1: take newer ones where they exist)
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/lock $(if $(UPGRADE),--upgrade)

crewai: setup ## Make the environment that CrewAI's tests need (LOCK=1: pin its packages anew)
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/crewai

setup: .venv/ready ## Build or refresh .venv; does nothing when nothing changed

.venv/ready: requirements/dev.lock pyproject.toml scripts/setup
	@scripts/setup

clean: ## Remove .venv and everything that was built
	rm -rf .venv .venv-crewai site dist build artifacts .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache .coverage*
