# `make` or `make help` lists the targets. Every target makes its own .venv when there is none.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
COMPILED_TESTS := tests/compiled tests/rules tests/spec tests/properties

.DEFAULT_GOAL := help
.PHONY: help run up test test-compiled check compile lint types imports bench clean schemas monitoring lock

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Plaudit needs Python 3.11 or newer; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || { echo "Making $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the locked dependencies (about 400 MB, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP) ## Feed 121,502 real events through the whole chain and print what came out
	@$(BIN)/plaudit run $(ARGS)

up: $(STAMP) ## The same, then stay up and print addresses until Ctrl-C
	@$(BIN)/plaudit up $(ARGS)

test: $(STAMP) ## Run all tests (ARGS="--faults 10" for more faults, ARGS="-k points" for some)
	@$(BIN)/python -m pytest $(ARGS)

test-compiled: $(STAMP) ## The tests of the rules once more, with the rules compiled
	@if $(BIN)/python -m deploy.compiled; then \
		cd build/compiled && PLAUDIT_COMPILED=1 $(abspath $(BIN))/python -m pytest -p no:cacheprovider $(COMPILED_TESTS); \
	elif [ $$? -eq 3 ]; then \
		echo "NOT TESTED: the compiled variant. Install a C compiler and Python's headers, then: make test-compiled"; \
	else exit 1; fi

check: lint types imports test test-compiled ## ruff, mypy --strict, import-linter, all tests

compile: $(STAMP) ## Compile the rules into build/compiled; what is run from there is faster
	@$(BIN)/python -m deploy.compiled

lint: $(STAMP) ## ruff: style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP) ## mypy --strict
	@$(BIN)/mypy

imports: $(STAMP) ## import-linter: who may import whom
	@$(BIN)/lint-imports

bench: $(STAMP) ## Measure; prints a table and writes benchmarks/latest.json
	@$(BIN)/python -m benchmarks $(ARGS)

schemas: $(STAMP) ## Write the JSON Schemas to docs/schemas
	@$(BIN)/plaudit schemas export docs/schemas

monitoring: $(STAMP) ## Write docs/metrics.md, the alert rules and the dashboard
	@$(BIN)/python -m deploy.monitoring

lock: $(STAMP) ## Pin the dependencies of pyproject.toml anew (needs pip-tools)
	@$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --allow-unsafe --strip-extras \
		--extra embedded --extra dev --output-file requirements.lock pyproject.toml

clean: ## Remove .venv, caches and the data of the embedded stack (.plaudit)
	rm -rf $(VENV) .plaudit .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
