# Needs Python >= 3.11, make and a package index. Everything is installed into .venv, from locked and hashed releases.

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check -qq

# `make lock UPGRADE=--upgrade` moves every pin to its newest release; without it, pins that still fit stay.
UPGRADE ?=
COMPILE = .venv-lock/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links $(UPGRADE)

.DEFAULT_GOAL := help
.PHONY: help run test lint bench soak simulate examples lock clean
.DELETE_ON_ERROR:

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A .env file counts as set too: the service reads it, and what the environment says would win over it.
run: $(VENV)/.runtime  ## start the service on http://127.0.0.1:8080 (a demo in a sandbox, unless a TokPortal key or a mode is set)
	@if [ -z "$$TOKPORTAL_API_KEY" ] && [ -z "$$ORCHESTRATOR_MODE" ] \
		&& ! grep -qsE '^[[:space:]]*(export[[:space:]]+)?(TOKPORTAL_API_KEY|ORCHESTRATOR_MODE)[[:space:]]*=[[:space:]]*[^[:space:]]' .env; \
	then export ORCHESTRATOR_MODE=sandbox; exec $(VENV)/bin/orchestrator serve --demo --summary; fi; \
	exec $(VENV)/bin/orchestrator serve

test: $(VENV)/.dev  ## run the whole suite, on SQLite and on a real PostgreSQL
	@$(VENV)/bin/pytest -q

lint: $(VENV)/.dev  ## check style, types and the direction of imports
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy orchestrator projections
	$(VENV)/bin/lint-imports

bench: $(VENV)/.dev  ## measure
	@$(VENV)/bin/python -m bench

# The whole house as real processes, killed again and again: `make soak SOAK="--accounts 300 --weeks 6 --seed 7"`.
SOAK ?=

soak: $(VENV)/.dev  ## run the service, the sandbox and PostgreSQL together through six weeks of faults
	@$(VENV)/bin/python -m tests.soak $(SOAK)

# A world of its own for each seed: `make simulate SEEDS=7`, or a range of them.
SEEDS ?= 0-999

simulate: $(VENV)/.dev  ## run simulated worlds (SEEDS=0-999) and check what must always hold
	@$(VENV)/bin/python -m tests.simulation $(SEEDS)

examples: $(VENV)/.dev  ## write the examples of docs/policies.md anew
	@$(VENV)/bin/python -m tests.examples

lock: .venv-lock/.done  ## work out requirements.lock and requirements-dev.lock again from pyproject.toml
	$(COMPILE) --group build --output-file requirements.lock
	$(COMPILE) --group dev --constraint requirements.lock --output-file requirements-dev.lock

clean:  ## remove what the other targets made, except data/
	rm -rf $(VENV) .venv-lock build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The markers say that an installation was finished, so that an interrupted one is taken up again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is missing or older than 3.11: make PYTHON=/path/to/newer/python3 ..." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.created requirements.lock pyproject.toml
	@echo "Installing locked dependencies into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "Installing what tests and checks need into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

.venv-lock/.done:
	@$(PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/python -m pip --disable-pip-version-check -qq install 'uv>=0.13,<0.14'
	@touch $@
