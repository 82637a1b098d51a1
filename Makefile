# `make demo` and `make test` set up all they need: git, make and a Python (3.11 to 3.14) with pip are enough.
PYTHON ?= python3
TOOLS := .tools
UV := $(TOOLS)/bin/uv
UV_VERSION := 0.13.9
export UV_PROJECT_ENVIRONMENT := .venv
unexport PYTHONDONTWRITEBYTECODE
# One more than there are processors: tests wait for processes and answers a third of their time.
WORKERS := $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
RUN := $(UV) run --frozen --no-sync

.PHONY: demo test check lint types compiled tests coverage format bench lock setup clean

demo: setup  ## Watch the whole cycle against the sandbox.
	@$(RUN) pdsync demo

test: check  ## Everything that must hold: lint, types, tests, coverage.

# Two at a time: most of a linter's work keeps one processor busy only.
check: setup
	@$(MAKE) --no-print-directory --jobs=2 lint compiled
	@$(MAKE) --no-print-directory --jobs=2 coverage types

setup: .venv/.synced

.venv/.synced: uv.lock pyproject.toml $(UV)
	@$(UV) sync --frozen --quiet --python $(PYTHON)
	@touch $@

# Into a folder of its own: needs neither venv nor the right to install anything on the machine.
$(UV):
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target $(TOOLS) uv==$(UV_VERSION)

lint: setup
	$(UV) lock --check --quiet
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) zizmor --offline --quiet --no-progress --persona=pedantic action.yml .github/workflows pdsync/init_files/workflows
	$(RUN) check-jsonschema --builtin-schema vendor.github-actions action.yml
	$(RUN) check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml pdsync/init_files/workflows/*.yml

types: setup
	$(RUN) mypy

# All workers would compile all tests at the same time, and again in every run if they might not keep what they compiled;
# likewise the tables of characters (tests/conftest.py).
compiled: setup
	-@$(RUN) pytest --collect-only -q > /dev/null

tests: setup
	$(RUN) pytest -n $(WORKERS) --dist worksteal -q

coverage: setup  ## The tests, and how much of the code they reach.
	@rm -f .coverage .coverage.*
	$(RUN) pytest -n $(WORKERS) --dist worksteal -q --durations=15 --cov --cov-report=
	$(RUN) coverage report --fail-under=90 --format=total

format: setup
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

bench: setup  ## Rewrites benchmarks/RESULTS.md on this machine.
	$(RUN) python -m benchmarks

lock: $(UV)
	$(UV) lock

clean:
	rm -rf .venv $(TOOLS) dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
