# Everything a developer types.  `make` alone lists the targets.
# Nothing needs the caller's shell: each tool is run from the project's own environment.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
BASE   := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo warm test test-compiled test-image test-interpreted test-checked bench bench-check compat lint docs clean

help:                   ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-18s %s\n' "$$name" "$$text"; done

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(BASE) $@

venv: $(DEV)            ## the virtual environment, with everything installed

demo: $(BASE)           ## Linux's ping and curl against this stack; no root, no set-up
	$(BIN)/netstack demo $(ARGS)

warm: $(BASE)           ## compile the engine now
	$(BIN)/netstack warm $(ARGS)

test: $(DEV)            ## everything: compiled, interpreted, as users have it, index-checked
	$(BIN)/python -m tests.all $(ARGS)

test-compiled: $(DEV)   ## all tests at full speed, with the Linux kernel as the peer
	$(BIN)/netstack warm
	$(BIN)/python -m tests.all compiled $(ARGS)

test-image: $(DEV)      ## what users call, in processes that load the compiled engine
	$(BIN)/netstack warm
	$(BIN)/python -m tests.all image $(ARGS)

test-interpreted: $(DEV)    ## the unit tests with every line of the stack interpreted
	$(BIN)/python -m tests.all interpreted $(ARGS)

test-checked: $(DEV)    ## the parsers, compiled with every index checked
	$(BIN)/python -m tests.all checked $(ARGS)

bench: $(DEV)           ## the table of speeds, and Linux over a veth pair beside it (ARGS=--quick: a short look)
	$(BIN)/python -m tests.bench --json bench.json $(ARGS)

bench-check: $(DEV)     ## half a minute: ratios to Linux, against those of tests/bench/stored.json
	$(BIN)/python -m tests.bench --check tests/bench/stored.json

compat: $(DEV)          ## which libraries work over it: tries them against servers and clients on Linux, some minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[compat]'
	$(BIN)/netstack warm
	$(BIN)/python -E -S netstack/lab/namespace.py $(BIN)/python -m tests.compat --write $(ARGS)

lint: $(DEV)            ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(DEV)            ## check the documents: links, and the Python in them
	$(BIN)/python -m tests.check_docs

clean:                  ## remove what was built (not the environment)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis bench.json
	find netstack tests -name __pycache__ -type d -prune -exec rm -rf {} +
