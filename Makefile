# Every target sets up .venv by itself; it needs Python 3.11 or newer, pip and the network, once.
PYTHON ?= python3
BIN := .venv/bin
OLDEST := .venv-oldest/bin
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadgroup
FAST := not slow and not exhaustive
# One test that goes astray may not take the time of all.
PYTEST_FAST := $(PYTEST) --timeout 240
EXTRAS_run := doom,play
EXTRAS_dev := dev
EXTRAS_docs := docs
CHECKS := $(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy && $(BIN)/lint-imports --no-logo
MAKEFLAGS += --no-print-directory
# Where it is set, as in many containers, every process compiles PyTorch and Lightning again, since
# pip did not: some ten seconds for each worker and each command that a test starts.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo study-small quick oldest test test-all test-fast check fix docs bench

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

demo: .venv/.run ## show the claim in rooms of a game engine (VIDEOS=folder: a tiny model on yours instead)
	$(BIN)/python -m cf.demo $(if $(VIDEOS),"videos='$(VIDEOS)'")

study-small: .venv/.run ## the demo with more arms, about 40 minutes
	$(BIN)/python -m cf.demo study=small

test: .venv/.dev ## every check, and the tests of less than ten seconds each
	@($(CHECKS)) >.venv/checks.log 2>&1 & checks=$$!; \
	$(PYTEST_FAST) -m "$(FAST)"; tests=$$?; \
	wait $$checks || { cat .venv/checks.log; exit 1; }; exit $$tests

test-all: check ## every check and every test, with shapes checked at every call
	CF_CHECK_SHAPES=1 $(PYTEST)

quick: .venv/.dev ## the first case of every test of about a second: two minutes, while you work
	$(PYTEST_FAST) -m "$(FAST) and not whole" --first-cases

oldest: .venv-oldest/.dev ## the same tests as quick, with the oldest versions that pyproject.toml allows
	$(subst $(BIN),$(OLDEST),$(PYTEST_FAST)) -m "$(FAST) and not whole" --first-cases

test-fast: .venv/.dev ## the same without style, types and import layers
	$(PYTEST_FAST) -m "$(FAST)"

check: .venv/.dev ## style, types and import layers
	$(CHECKS)

fix: .venv/.dev ## let ruff repair and format what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: .venv/.docs ## draw the memories and build the documentation into site/
	$(BIN)/python -m cf.memory_map docs=docs
	$(BIN)/python benchmarks/settings_page.py
	$(BIN)/mkdocs build --strict

bench: .venv/.run ## measure training and streaming speed
	$(BIN)/python benchmarks/throughput.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "context-forcing needs Python 3.11 or newer; try: make PYTHON=python3.12" >&2; exit 1; }
	@if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then $(PYTHON) -m venv .venv; \
	else $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python $@ install -q pip; fi \
	  || { echo "cannot make .venv: install Python's venv and pip (Debian: python3-venv, python3-pip)" >&2; exit 1; }

# --no-compile: Python compiles the hundredth part that is imported; pip would compile everything.
.venv/.run .venv/.dev .venv/.docs: .venv/.%: pyproject.toml | $(BIN)/python
	@echo "Installing into .venv (the first time takes a few minutes) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile -e '.[$(EXTRAS_$*)]'
	@touch $@

.venv-oldest/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing the oldest versions into .venv-oldest ..."
	@$(BIN)/python -m venv --clear .venv-oldest && $(OLDEST)/python -m pip install -qq uv
	@$(OLDEST)/uv pip install -q --python $(OLDEST)/python --resolution lowest-direct -e '.[$(EXTRAS_dev)]'
	@touch $@
