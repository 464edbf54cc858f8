# Everything that is done with this folder. `make help` prints the comments that begin with `##`.
#
# Needs Python 3.11 or newer and make, nothing else: the recipes set up .venv by themselves, with what the lock files of
# requirements/ name, and again only when pyproject.toml or one of these has changed; and likewise the third-party files
# of the page, and what checks it, with what package-lock.json names. Whatever comes from elsewhere is checked against a hash
# of these files. Kept to what GNU make 3.81 knows, because macOS ships that.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Each of these files says that its set of packages is installed.
RUNTIME := $(VENV)/runtime.done
DEVELOPMENT := $(VENV)/development.done

# Processes that share the tests, a file each at a time, in the order of their names: those of tests/unit, which are short,
# come last, so that no process is left with a long one. More than there are cores: tests wait more than they compute.
# 0 runs them in one process, as for a debugger.
WORKERS ?= 4

PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What is not in these files, or not of the hash that they have, is refused. Packages without a wheel for this system are built
# of their source, which is checked, too; PIP_ONLY_BINARY=:all: refuses that as well.
INSTALL := $(PIP) install --require-hashes --requirement
# This folder itself, by the build system that was installed with the hashes: otherwise pip would bring another, unchecked.
INSTALL_TALLY := $(PIP) install --no-deps --no-build-isolation --no-index --editable .

# How a lock file is made. One for every Python and system that Tally supports.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
  --no-emit-find-links --custom-compile-command 'make lock'
UPGRADE ?= --upgrade

# The third-party files of the live page and of the API docs page: npm packages. Without Node, Python's package of it does.
VENDOR := api/static/vendor
# Where `npm ci` puts packages it first removes all that is there, so this mark of the page's tools goes with the tools.
TOOLS := node_modules/tools.done
GET_VENDOR = { command -v npm >/dev/null || $(INSTALL) requirements/node.txt; } && $(BIN)/python scripts/assets.py

.PHONY: run test test-slow bench lint reference lock screenshots assets tools-if-possible image clean help

## Run everything on this machine until Ctrl-C: an embedded server, an ingestor, an aggregator, the api.
##   make run ARGS="--source events.ndjson --aggregators 2"
##   Without a source it counts made-up events, apart from all others, in .tally/demo.
run: $(RUNTIME) $(VENDOR)
	$(BIN)/tally up $(ARGS)

## Run all tests that this machine can run, but those that are marked as slow; those that need a Docker Engine or a
## Chromium say so and are skipped.
##   make test ARGS="-k framing"
##   make test ARGS=tests/unit/test_framing.py WORKERS=0
##   TALLY_TEST_SERVER=redis-server make test
test: $(DEVELOPMENT) tools-if-possible
	$(PYTEST) -m 'not slow' $(ARGS)

## Run the tests that are marked as slow: containers, packages, a further variant of what has many. `.ci/run` runs them, too.
##   TALLY_TEST_THOROUGH=1 make test test-slow        all variants, more seeds and examples, longer histories: for a night
test-slow: $(DEVELOPMENT) tools-if-possible
	$(PYTEST) -m slow $(ARGS)

## Measure speed side by side with other ways of counting; takes a few minutes.
bench: $(DEVELOPMENT)
	$(BIN)/python -m bench $(ARGS)

## Check style, format and types, of the page's JavaScript too, and look for holes; change nothing. Lua by luacheck (Debian's
##   package is lua-check), where that is installed.
lint: $(DEVELOPMENT) $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive tally ingestor aggregator api scripts
	$(BIN)/python scripts/lint_page.py
	$(BIN)/python scripts/lint_lua.py

## Write docs/reference anew, as the code has it, what of the code is in the Helm chart, and Grafana's dashboard. Tests
## compare them.
reference: $(DEVELOPMENT)
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/dashboard.py

## Write the lock files of requirements/ anew: the newest versions that pyproject.toml allows, with their hashes.
##   make lock UPGRADE=                              only what a change of pyproject.toml asks for
##   make lock UPGRADE='--upgrade-package redis'     that package alone
lock: $(DEVELOPMENT)
	$(LOCK) $(UPGRADE) --output-file requirements/development.txt --extra dev --group build pyproject.toml
	$(LOCK) --constraint requirements/development.txt --output-file requirements/runtime.txt pyproject.toml
	$(LOCK) --constraint requirements/development.txt --output-file requirements/build.txt --group build
	$(LOCK) $(UPGRADE) --output-file requirements/node.txt --group node

## Bring the live page's chart and the API docs page, which are npm packages, to api/static/vendor, and what the page is
## checked and tested with to node_modules. `make run` brings the former by itself, once, and goes on without them where
## it cannot; `make lint` brings both, and needs them.
assets: | $(BIN)/python
	@$(GET_VENDOR) --tools
	@touch $(TOOLS)

## Take the pictures of docs/images anew, of the page with the demo's story. Needs Chromium, takes three minutes.
screenshots: $(DEVELOPMENT) $(VENDOR)
	$(BIN)/python scripts/screenshots.py

## Build the container image of the three services.
image:
	docker compose build

## Remove what the other recipes made. The counts of `make run`, in .tally, stay.
clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/data node_modules $(VENDOR)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

## Print this.
help:
	@awk '/^## / { text = text "    " substr($$0, 4) "\n"; next } \
	  /^[a-z-]+:/ && text { sub(/:.*/, ""); printf "make %s\n%s\n", $$0, text } { text = "" }' Makefile

# An older Python would fail later and with less clear a word: pip would say that there is no version of Tally for it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Tally needs Python 3.11 or newer, and $(PYTHON) is not; name one, as in: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Editable, so that what is run is what lies here.
$(RUNTIME): pyproject.toml requirements/runtime.txt requirements/build.txt | $(BIN)/python
	@echo "Installing Tally into $(VENV), as the first time and after a change of its packages"
	@$(INSTALL) requirements/runtime.txt --requirement requirements/build.txt
	@$(INSTALL_TALLY)
	@touch $@

$(DEVELOPMENT): pyproject.toml requirements/development.txt | $(BIN)/python
	@echo "Installing Tally and what its tests need into $(VENV), as the first time and after a change of its packages"
	@$(INSTALL) requirements/development.txt
	@$(INSTALL_TALLY)
	@touch $(RUNTIME) $@

# A failure stops nothing: the page itself says what it lacks.
$(VENDOR): package.json package-lock.json scripts/assets.py | $(BIN)/python
	@echo "Getting the live page's chart and the API docs page, as the first time and after a change of their packages"
	@{ $(GET_VENDOR); } || echo "Going on without the chart and the API docs page; to try again: make assets" >&2

# They come together with the third-party files: brought later, those would remove the tools.
$(TOOLS): package.json package-lock.json scripts/assets.py | $(BIN)/python
	@echo "Getting what checks the page's JavaScript, as the first time and after a change of its packages"
	@{ $(GET_VENDOR) --tools; } || { \
	  echo "To check the page's JavaScript takes npm packages, which cannot be had, see above; to try again: make assets" >&2; exit 1; }
	@touch $@

# Tests go on without what needs them, and say so.
tools-if-possible:
	@$(MAKE) --no-print-directory $(TOOLS) || echo "Going on without: tests of the page may be skipped" >&2
